"""Which weekly archives a source offers, and how one is opened."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Any

import fsspec

from patentdata.archives.downloads import DownloadsConfig, ListedFile
from patentdata.archives.mirrors import list_mirror
from patentdata.archives.portal import PRODUCT, Portal, PortalConfig
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.errors import SourceError
from patentdata.store.weeks import parse_archive_name

_PORTAL_SOURCE = re.compile(r"portal(?::([A-Za-z0-9_-]+))?", re.IGNORECASE)

BLOCK_BYTES = 4 << 20  # read ahead on an object store

_AS_PUBLISHED, _AS_USUAL = PortalConfig(), DownloadsConfig()


def list_weeks(
    source: str,
    *,
    years: Iterable[int] | None = None,
    portal: PortalConfig = _AS_PUBLISHED,
    downloads: DownloadsConfig = _AS_USUAL,
) -> list[WeeklyArchive]:
    """The weeks of a source in order of their dates, the newest issue of each.

    Args:
        source: "portal", "portal:PRODUCT", the address of a mirror, or a folder: a path or an fsspec address.
        years: Only weeks of these years; None for all.
        portal: How the portal is asked.
        downloads: How patient a listing and a download are.

    Raises:
        SourceError: The source cannot be listed, or holds no weekly archive.
    """
    source, wanted = str(source), None if years is None else set(years)
    if _PORTAL_SOURCE.fullmatch(source):
        dates = (datetime.date(min(wanted), 1, 1), datetime.date(max(wanted), 12, 31)) if wanted else None
        weeks = list_portal(source, dates, portal, downloads)
        if not weeks and dates is None:
            raise SourceError(f"{source} lists no weekly archive; the product of the Grant Red Book is {PRODUCT}")
    elif source.lower().startswith(("http://", "https://")):
        listed = list_mirror(source, config=downloads, wanted=lambda name: parse_archive_name(name) is not None)
        weeks = newest_issues(_archives(listed, None, portal, downloads))
    else:
        weeks = newest_issues(_archives(_list_folder(source), None, portal, downloads))
        if not weeks:
            raise SourceError(f"{source} holds no weekly archive; their names look like I20210105.tar or I20210209.ZIP")
    return [week for week in weeks if wanted is None or week.date.year in wanted]


def list_portal(
    source: str, dates: tuple[datetime.date, datetime.date] | None, portal: PortalConfig, downloads: DownloadsConfig
) -> list[WeeklyArchive]:
    match = _PORTAL_SOURCE.fullmatch(source)
    product = (match[1] if match else None) or PRODUCT
    listed = Portal(portal, downloads).list_files(product.upper(), dates=dates)
    return newest_issues(_archives(listed, product.upper(), portal, downloads))


def _list_folder(source: str) -> list[ListedFile]:
    fs, root = fsspec.core.url_to_fs(str(source))
    try:
        entries = fs.ls(root, detail=True)
    except FileNotFoundError:
        raise SourceError(f"no folder {source}; name one that holds weekly archives such as I20210105.tar") from None
    except OSError as error:
        raise SourceError(f"cannot list {source}: {error.strerror or error}") from error
    return [
        ListedFile(
            name=entry["name"].rsplit("/", 1)[-1],
            url=fs.unstrip_protocol(entry["name"]),
            num_bytes=entry.get("size"),
            modified=_modified_of(entry),
            etag=entry.get("ETag"),
        )
        for entry in entries
        if parse_archive_name(entry["name"].rsplit("/", 1)[-1]) and fs.isfile(entry["name"])
    ]


def _modified_of(entry: dict[str, Any]) -> str | None:
    """When an object of a store was last changed; local files are told apart by their hash."""
    moment = entry.get("LastModified")
    return moment.isoformat() if isinstance(moment, datetime.datetime) else None


def _archives(
    listed: Iterable[ListedFile], product: str | None, portal: PortalConfig, downloads: DownloadsConfig
) -> Iterable[WeeklyArchive]:
    """The weekly archives among listed files."""
    for file in listed:
        parsed = parse_archive_name(file.name)
        if parsed is not None:
            yield WeeklyArchive(
                week=parsed[0],
                revision=parsed[1],
                file_name=file.name,
                url=file.url,
                num_bytes=file.num_bytes,
                released=file.released,
                modified=file.modified,
                etag=file.etag,
                listed_sha256=file.sha256,
                product=product,
                portal=portal,
                downloads=downloads,
            )


def newest_issues(archives: Iterable[WeeklyArchive]) -> list[WeeklyArchive]:
    """One archive a week, the highest revision, in order of date.

    Of one revision that lies there twice, the one changed last is taken; where no times are stated, as in a folder that
    holds a `.tar` and a `.zip`, the name first in the alphabet.
    """
    newest: dict[str, WeeklyArchive] = {}
    by_name = sorted(archives, key=lambda archive: archive.file_name.lower())
    by_time = sorted(by_name, key=lambda archive: (archive.released or "", archive.modified or ""), reverse=True)
    for archive in sorted(by_time, key=lambda archive: (archive.week, -archive.revision)):
        newest.setdefault(archive.week, archive)
    return list(newest.values())
