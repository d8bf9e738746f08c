"""The sources of weekly archives: which weeks one offers, and how an archive is opened.

A source is the Open Data Portal (`portal`, or `portal:PTGRDT` with the product's name), a mirror on the web, or a
folder: a local path or any fsspec address. Names are read, never guessed: the extension of a week follows no rule, and
a re-issue `_r1` replaces the issue before it. Folders and mirrors may keep the weeks of each year in a folder of its
own. What a source has and cannot give is returned with the weeks, so that a run can end by saying so.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem

from patentdata.archives.downloads import DownloadsConfig
from patentdata.archives.mirrors import is_year_folder, list_mirror, open_mirrored
from patentdata.archives.portal import PRODUCT, Portal, PortalConfig
from patentdata.archives.weekly_archive import ListedFile, WeeklyArchive
from patentdata.errors import SourceError
from patentdata.store.folder import refuse_escapes, resolve
from patentdata.store.weeks import is_week, parse_archive_name

_PORTAL_SOURCE = re.compile(r"portal(?::([A-Za-z0-9_-]+))?", re.IGNORECASE)
_OF_WEEK = re.compile(r"(I\d{8})(?:_r\d{1,3})?(.*)", re.IGNORECASE)
# What may follow the week in the name of a file that is its archive, but not as it is read → what to do about it
_NEARLY_ARCHIVES = (
    (r"\.(?:tar\.)?(?:gz|bz2|xz|zst|z|7z|rar)|\.t(?:gz|bz2?|xz|zst)", "unpack it to {week}.tar"),
    (
        r"(?:\.tar|\.zip)?\.(?:part|partial|crdownload|download|tmp|aria2)",
        "it is an unfinished download; fetch it again",
    ),
    (r"(?:[ _-]*(?:\(\d+\)|copy(?: \d+)?))?(?:\.tar|\.zip)?", "if it is the archive of the week, name it {week}.tar"),
)
_STORE_BLOCK_BYTES = 4 << 20  # read ahead on an object store


@dataclass(frozen=True, kw_only=True)
class AccessConfig:
    """How sources are accessed.

    Attributes:
        portal: Where the portal is and what it allows.
        downloads: How patient a listing and a download are.
    """

    portal: PortalConfig = PortalConfig()
    downloads: DownloadsConfig = DownloadsConfig()


USUAL_ACCESS = AccessConfig()


@dataclass(frozen=True, kw_only=True)
class SourceWeeks:
    """What a source offers.

    Attributes:
        weeks: Its weekly archives in order of date, the newest issue of each.
        problems: What it has beyond these and cannot give, each as a sentence.
    """

    weeks: list[WeeklyArchive]
    problems: tuple[str, ...] = ()


def list_weeks(
    source: str, *, years: Iterable[int] | None = None, access: AccessConfig = USUAL_ACCESS
) -> list[WeeklyArchive]:
    """The weeks of `read_source`, without its problems; the arguments and errors are the same."""
    return read_source(source, years=years, access=access).weeks


def read_source(source: str, *, years: Iterable[int] | None = None, access: AccessConfig = USUAL_ACCESS) -> SourceWeeks:
    """The weeks of a source in order of date, the newest issue of each, and what it cannot give.

    Args:
        source: "portal", "portal:PRODUCT", the address of a mirror, or a folder: a path or an fsspec address.
        years: Only weeks of these years; None for all.
        access: How the source is accessed.

    Raises:
        SourceError: The source cannot be listed, or holds no weekly archive.
        ConfigError: The source is a `file://` address with escapes such as %20.
    """
    source, wanted = str(source), None if years is None else set(years)
    problems: list[str] = []
    if match := _PORTAL_SOURCE.fullmatch(source):
        dates = (datetime.date(min(wanted), 1, 1), datetime.date(max(wanted), 12, 31)) if wanted else None
        weeks = _list_portal(match[1] or PRODUCT, dates, access, problems)
        if not weeks and dates is None:
            raise SourceError(f"{source} lists no weekly archive; the product of the Grant Red Book is {PRODUCT}")
    elif source.lower().startswith(("http://", "https://")):
        listed = list_mirror(source, config=access.downloads, wanted=lambda name: parse_archive_name(name) is not None)
        weeks = _newest_issues(_archives(listed))
    else:
        listed, unread = _list_folder(source)
        weeks = _newest_issues(_archives(listed))
        if not weeks:
            raise SourceError(_no_archive_in(source, list(unread.values())))
        unread = {week: problem for week, problem in unread.items() if week not in {archive.week for archive in weeks}}
        problems += [problem for week, problem in unread.items() if wanted is None or _year(week) in wanted]
    weeks = [week for week in weeks if wanted is None or week.date.year in wanted]
    return SourceWeeks(weeks=weeks, problems=tuple(problems))


def open_archive(archive: WeeklyArchive, access: AccessConfig = USUAL_ACCESS, *, to_end: bool = False) -> BinaryIO:
    """Open an archive for reading; reading raises SourceError, too.

    Args:
        archive: The archive, as its source lists it.
        access: How the source is accessed.
        to_end: The archive will be read to its end, so the server may send ahead of the reader.

    Raises:
        SourceError: The archive cannot be opened.
    """
    listed = ListedFile(name=archive.file_name, url=archive.url)
    if archive.kind == "portal":
        return Portal(access.portal, access.downloads).open(listed, to_end=to_end)  # type: ignore[return-value]
    if archive.kind == "mirror":
        return open_mirrored(listed, config=access.downloads, to_end=to_end)  # type: ignore[return-value]
    try:
        fs, path = resolve(archive.url)
        return fs.open(path, "rb", **({"block_size": _STORE_BLOCK_BYTES} if archive.kind == "store" else {}))
    except OSError as error:
        raise SourceError(f"cannot read {archive.url}: {error.strerror or error}") from error


def relisted(archive: WeeklyArchive, access: AccessConfig = USUAL_ACCESS) -> WeeklyArchive | None:
    """The newest issue of the same week as the portal lists it now; None if it lists none.

    An archive of another source is returned as it is. Raises SourceError if the portal cannot be listed.
    """
    if archive.product is None:
        return archive
    weeks = _list_portal(archive.product, (archive.date, archive.date), access, problems=[])
    return next((week for week in weeks if week.week == archive.week), None)


def _list_portal(
    product: str, dates: tuple[datetime.date, datetime.date] | None, access: AccessConfig, problems: list[str]
) -> list[WeeklyArchive]:
    """The weeks of a product of the portal, of about these dates (both included); None for all.

    What the listing lacks is added to `problems`.
    """
    listed = Portal(access.portal, access.downloads).list_files(product.upper(), dates=dates)
    if listed.problem:
        problems.append(listed.problem)
    return _newest_issues(_archives(listed, product.upper()))


def _list_folder(source: str) -> tuple[list[ListedFile], dict[str, str]]:
    """Weekly archives in a folder and in its folders of years, and the weeks that are there in another form.

    Returns:
        The archives, and week → what is there instead of its archive and what to do about it.
    """
    refuse_escapes(source)
    fs, root = resolve(source)
    entries = _entries(fs, root, source)
    for entry in list(entries):
        if is_year_folder(_name_of(entry)) and fs.isdir(entry["name"]):
            entries += _entries(fs, entry["name"], source)
    listed: list[ListedFile] = []
    unread: dict[str, str] = {}
    if week := _unpacked_week(root, [_name_of(entry) for entry in entries]):
        unread[week] = _unpacked(week, root)
    for entry in entries:
        name, path = _name_of(entry), entry["name"]
        if parse_archive_name(name) and fs.isfile(path):
            listed.append(
                ListedFile(
                    name=name,
                    url=fs.unstrip_protocol(path),
                    num_bytes=entry.get("size"),
                    modified=_modified_of(entry),
                    etag=entry.get("ETag"),
                )
            )
        elif (parsed := parse_archive_name(name) or parse_archive_name(f"{name}.tar")) and fs.isdir(path):
            unread[parsed[0]] = _unpacked(parsed[0], path)
        elif (nearly := _nearly_archive(name)) and fs.isfile(path):
            unread.setdefault(*nearly)
    return listed, unread


def _entries(fs: AbstractFileSystem, path: str, source: str) -> list[dict[str, Any]]:
    """What a folder holds, as its file system describes it. Raises SourceError."""
    try:
        return list(fs.ls(path, detail=True))
    except FileNotFoundError:
        raise SourceError(f"no folder {source}; name one that holds weekly archives such as I20210105.tar") from None
    except OSError as error:
        raise SourceError(f"cannot list {source}: {error.strerror or error}") from error


def _name_of(entry: dict[str, Any]) -> str:
    return entry["name"].rstrip("/").rsplit("/", 1)[-1]


def _unpacked_week(root: str, names: list[str]) -> str | None:
    """The week that a folder itself is, if it is an unpacked archive: by its own name or by the DESIGN folder in it."""
    name = root.rstrip("/").rsplit("/", 1)[-1]
    if parsed := parse_archive_name(f"{name}.tar"):
        return parsed[0]
    return name if "DESIGN" in names else None


def _unpacked(week: str, path: str) -> str:
    """What to do about a week that was unpacked."""
    return f"{week} is unpacked in {path}, which is not read; pack it with tar -cf {week}.tar -C {path} ."


def _nearly_archive(name: str) -> tuple[str, str] | None:
    """The week of a file that is its archive but for its packing or its name, and what to do; None for other files."""
    match = _OF_WEEK.fullmatch(name)
    if match is None or not is_week(week := match[1].upper()):
        return None
    for pattern, advice in _NEARLY_ARCHIVES:
        if re.fullmatch(pattern, match[2], re.IGNORECASE):
            return week, f"{week} is there only as {name}, which is not read; {advice.format(week=week)}"
    return None


def _no_archive_in(source: str, unread: list[str]) -> str:
    """Why a folder gives no week, from what is there instead of archives."""
    if unread:
        more = f" (and {len(unread) - 1:,} more weeks like it)" if len(unread) > 1 else ""
        return f"{source} holds no weekly archive: {unread[0]}{more}, and name the folder of the tars as source"
    return f"{source} holds no weekly archive; their names look like I20210105.tar or I20210209.ZIP"


def _year(week: str) -> int:
    """The year of a week, "I20210105"; 0 for a folder that is not named as one, which belongs to no year."""
    return int(week[1:5]) if is_week(week) else 0


def _modified_of(entry: dict[str, Any]) -> str | None:
    """When an object of a store was last changed; None for a local file, which is known by its hash."""
    moment = entry.get("LastModified")
    return moment.isoformat() if isinstance(moment, datetime.datetime) else None


def _archives(listed: Iterable[ListedFile], product: str | None = None) -> Iterable[WeeklyArchive]:
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
            )


def _newest_issues(archives: Iterable[WeeklyArchive]) -> list[WeeklyArchive]:
    """One archive a week, the highest revision, in order of date.

    If a revision is listed twice, the one changed last is taken; if no times are stated, as in a folder that holds a
    `.tar` and a `.zip`, the one whose name comes first in the alphabet.
    """
    newest: dict[str, WeeklyArchive] = {}
    by_name = sorted(archives, key=lambda archive: archive.file_name.lower())
    by_time = sorted(by_name, key=lambda archive: (archive.released or "", archive.modified or ""), reverse=True)
    for archive in sorted(by_time, key=lambda archive: (archive.week, -archive.revision)):
        newest.setdefault(archive.week, archive)
    return list(newest.values())
