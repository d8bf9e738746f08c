"""Which weekly archives a source holds.

A source is the Open Data Portal (`portal`, or `portal:PTGRDT` with the product's name), a mirror on the web, or a
folder: a local path or any fsspec address. Names are read, never guessed: the extension of a week follows no rule, and
a re-issue `_r1` replaces the week before it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import fsspec

from patentdata.downloads import DownloadsConfig, ListedFile, shown_url
from patentdata.errors import SourceError
from patentdata.folder import sha256_of
from patentdata.mirrors import list_mirror, open_mirrored
from patentdata.portal import PRODUCT, Portal, PortalConfig

_ARCHIVE_NAME = re.compile(r"^(I(\d{8}))(?:_r(\d{1,3}))?\.(tar|zip)$", re.IGNORECASE)
_PORTAL_SOURCE = re.compile(r"portal(?::([A-Za-z0-9_-]+))?", re.IGNORECASE)
_BLOCK_BYTES = 4 << 20  # read ahead on an object store
_AS_PUBLISHED, _AS_USUAL = PortalConfig(), DownloadsConfig()
_SIZE_ROUNDING = 1e-6  # sizes have been seen rounded to a float's seven digits


@dataclass(frozen=True, kw_only=True)
class WeeklyArchive:
    """One weekly archive as its source offers it.

    Attributes:
        week: Canonical name, "I20210105".
        revision: 0 for the first issue, n for `_rn`.
        file_name: As the source spells it.
        url: Where it lies.
        num_bytes: Size that the source states; None where it does not.
        released: When it was published, as the source states it; None where it does not.
        modified: When it was last changed, likewise.
        etag: The server's mark of this very content, likewise.
        listed_sha256: Hash that the source lists; None where it lists none.
        product: The portal's product it belongs to; None for other sources.
        portal: How the portal is asked.
        downloads: How patient a download is.
    """

    week: str
    revision: int
    file_name: str
    url: str
    num_bytes: int | None = None
    released: str | None = None
    modified: str | None = None
    etag: str | None = None
    listed_sha256: str | None = None
    product: str | None = None
    portal: PortalConfig = PortalConfig()
    downloads: DownloadsConfig = DownloadsConfig()

    @property
    def date(self) -> datetime.date:
        return datetime.datetime.strptime(self.week[1:], "%Y%m%d").date()

    @property
    def kind(self) -> str:
        """Kind of the source: "portal", "mirror", "store" (an object store) or "folder" (on this machine)."""
        if self.product is not None:
            return "portal"
        scheme = self.url.partition("://")[0] if "://" in self.url else "file"
        return {"http": "mirror", "https": "mirror", "file": "folder", "local": "folder"}.get(scheme, "store")

    def stated(self) -> dict[str, Any]:
        """What the source states of the archive, as plain values without keys."""
        return {
            "kind": self.kind,
            "file_name": self.file_name,
            "url": shown_url(self.url) if self.kind in ("portal", "mirror") else self.url,
            "revision": self.revision,
            "num_bytes": self.num_bytes,
            "released": self.released,
            "modified": self.modified,
            "etag": self.etag,
        }

    def is_as_stated(self, noted: dict[str, Any]) -> bool:
        """Whether the archive is, by what its source states now, the one of which `noted` was stated.

        Another kind of source has times of its own: then name, revision and size decide.
        """
        stated = self.stated()
        if noted["file_name"].lower() != self.file_name.lower() or noted["revision"] != self.revision:
            return False
        names = ("released", "modified", "etag") if noted.get("kind", "folder") == self.kind else ()
        if any(None not in (noted.get(name), stated[name]) and noted[name] != stated[name] for name in names):
            return False
        return is_same_size(noted["num_bytes"], self.num_bytes)

    def sha256(self) -> str:
        """Hash of the archive's bytes; one that has not changed since is not read again. Raises SourceError."""
        fs, path = fsspec.core.url_to_fs(self.url)
        try:
            return sha256_of(fs, path)
        except OSError as error:
            raise SourceError(f"cannot read {self.url}: {error.strerror or error}") from error

    def open(self, *, to_end: bool = False) -> BinaryIO:
        """Open for reading; raises SourceError, as does reading from it.

        Args:
            to_end: It will be read to its end, so nothing that a server sends early is lost.
        """
        listed = ListedFile(name=self.file_name, url=self.url)
        if self.kind == "portal":
            return Portal(self.portal, self.downloads).open(listed, to_end=to_end)  # type: ignore[return-value]
        if self.kind == "mirror":
            return open_mirrored(listed, config=self.downloads, to_end=to_end)  # type: ignore[return-value]
        try:
            fs, path = fsspec.core.url_to_fs(self.url)
            return fs.open(path, "rb", **({"block_size": _BLOCK_BYTES} if self.kind == "store" else {}))
        except OSError as error:
            raise SourceError(f"cannot read {self.url}: {error.strerror or error}") from error

    def listed_anew(self) -> WeeklyArchive | None:
        """The newest issue of the same week as the portal lists it now; None where it lists none. Raises SourceError.

        Other sources give the archive itself.
        """
        if self.product is None:
            return self
        source = f"portal:{self.product}"
        weeks = _list_portal(source, (self.date, self.date), self.portal, self.downloads)
        return next((week for week in weeks if week.week == self.week), None)


def is_same_size(one: int | None, other: int | None) -> bool:
    """Whether two stated sizes are the same but for a float's rounding; a size that is not stated is no other.

    >>> is_same_size(3_712_345_678, 3_712_345_600), is_same_size(1000, 1001), is_same_size(None, 5)
    (True, False, True)
    """
    return one is None or other is None or abs(one - other) <= _SIZE_ROUNDING * max(one, other)


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
        weeks = _list_portal(source, dates, portal, downloads)
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


def _list_portal(
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


def parse_archive_name(name: str) -> tuple[str, int] | None:
    """Week and revision of an archive's file name, or None where it names no weekly archive.

    >>> parse_archive_name("i20210105_R2.ZIP")
    ('I20210105', 2)
    """
    match = _ARCHIVE_NAME.match(name)
    if match is None:
        return None
    try:
        datetime.datetime.strptime(match[2], "%Y%m%d")
    except ValueError:
        return None
    return match[1].upper(), int(match[3] or 0)


def is_week(name: str) -> bool:
    """Whether a name is the canonical name of a week.

    >>> is_week("I20210105"), is_week("I20211305"), is_week("notes")
    (True, False, False)
    """
    return parse_archive_name(f"{name}.tar") == (name, 0)
