"""Which weekly archives a source holds.

A source is a folder of archives: a local path or any fsspec address. Names are read, never guessed: the extension of a
week follows no rule, and a re-issue `_r1` replaces the week before it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import fsspec

from patentdata.errors import SourceError
from patentdata.folder import sha256_of

_ARCHIVE_NAME = re.compile(r"^(I(\d{8}))(?:_r(\d{1,3}))?\.(tar|zip)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class WeeklyArchive:
    """One weekly archive as its source offers it.

    Attributes:
        week: Canonical name, "I20210105".
        revision: 0 for the first issue, n for `_rn`.
        file_name: As the source spells it.
        url: Where it lies, without keys.
        num_bytes: Size that the source states; None where it does not.
    """

    week: str
    revision: int
    file_name: str
    url: str
    num_bytes: int | None = None

    @property
    def date(self) -> datetime.date:
        return datetime.datetime.strptime(self.week[1:], "%Y%m%d").date()

    def sha256(self) -> str:
        """Hash of the archive's bytes; one that has not changed since is not read again. Raises SourceError."""
        fs, path = fsspec.core.url_to_fs(self.url)
        try:
            return sha256_of(fs, path)
        except OSError as error:
            raise SourceError(f"cannot read {self.url}: {error.strerror or error}") from error

    def open(self) -> BinaryIO:
        """Open for reading; raises SourceError."""
        try:
            return fsspec.open(self.url, "rb").open()
        except OSError as error:
            raise SourceError(f"cannot read {self.url}: {error.strerror or error}") from error


def list_weeks(source: str, *, years: Iterable[int] | None = None) -> list[WeeklyArchive]:
    """The weeks of a folder in order of their dates, the newest issue of each.

    Args:
        source: Folder of weekly archives: a path or an fsspec address.
        years: Only weeks of these years; None for all.

    Raises:
        SourceError: The folder cannot be listed, or holds no weekly archive.
    """
    fs, root = fsspec.core.url_to_fs(str(source))
    try:
        entries = fs.ls(root, detail=True)
    except FileNotFoundError:
        raise SourceError(f"no folder {source}; name one that holds weekly archives such as I20210105.tar") from None
    except OSError as error:
        raise SourceError(f"cannot list {source}: {error.strerror or error}") from error
    found = [
        _archive(match, fs.unstrip_protocol(entry["name"]), entry.get("size"))
        for entry in entries
        if fs.isfile(entry["name"]) and (match := _ARCHIVE_NAME.match(entry["name"].rsplit("/", 1)[-1]))
    ]
    weeks = newest_issues(archive for archive in found if archive is not None)
    if not weeks:
        raise SourceError(f"{source} holds no weekly archive; their names look like I20210105.tar or I20210209.ZIP")
    wanted = None if years is None else set(years)
    return [week for week in weeks if wanted is None or week.date.year in wanted]


def newest_issues(archives: Iterable[WeeklyArchive]) -> list[WeeklyArchive]:
    """One archive a week, the highest revision, in order of date.

    Where one revision lies there twice, as `.tar` and as `.zip`, the name first in the alphabet is taken.
    """
    newest: dict[str, WeeklyArchive] = {}
    for archive in sorted(archives, key=lambda archive: (archive.week, -archive.revision, archive.file_name.lower())):
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


def _archive(match: re.Match[str], url: str, num_bytes: int | None) -> WeeklyArchive | None:
    parsed = parse_archive_name(match[0])
    if parsed is None:
        return None
    return WeeklyArchive(week=parsed[0], revision=parsed[1], file_name=match[0], url=url, num_bytes=num_bytes)
