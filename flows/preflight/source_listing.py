"""What a source offers and what the data folder holds: which weeks are missing, and what fetching them would cost."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flows.preflight.rates import Rate, arrival_of, share_of_designs
from flows.weeks import WeeksConfig, offered_weeks
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.kept import is_kept
from patentdata.archives.portal import Portal
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import kept_weeks, missing_weeks, read_note

_WEEK = datetime.timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class WeekOffered:
    """A week, as the source offers it and as the data folder holds it.

    Attributes:
        week: "I20210105".
        state: "here", "missing" (offered, and not here), "changed" (here, but offered with other content, or to be read
            with other bounds or by a newer version) or "not offered" (here, and not at the source).
        file_name: Name of the archive that is offered; None if none is.
        num_bytes: Size of the archive that is offered; None if the source does not state it.
        num_bytes_to_fetch: Estimated bytes that would be moved; 0 if there is nothing to do.
        downloads_left: Downloads of the file that the portal still allows this key this year; None for other sources.
        num_numbers_missing: Patent numbers between the first and the last of the week that are not in it because they
            were withdrawn or lost; None if the week is not here.
        num_numbers_before: Patent numbers missing between the last of the week before and the first of this one; None
            if the week before is not here.
    """

    week: str
    state: str
    file_name: str | None
    num_bytes: int | None
    num_bytes_to_fetch: int
    downloads_left: int | None = None
    num_numbers_missing: int | None = None
    num_numbers_before: int | None = None


@dataclass(frozen=True, kw_only=True)
class SourceListing:
    """All weeks of a source and a data folder.

    Attributes:
        weeks: One entry per week, in order of date.
        without_archive: Tuesdays between the first and the last week without an archive here or at the source.
        share: The share of an archive's bytes that is moved.
        speed: How fast archives arrive.
        problems: What the source has and cannot give, each as a sentence.
    """

    weeks: list[WeekOffered]
    without_archive: list[str]
    share: Rate
    speed: Rate
    problems: tuple[str, ...] = ()

    @property
    def num_to_fetch(self) -> int:
        return sum(week.state in ("missing", "changed") for week in self.weeks)

    @property
    def num_bytes_to_fetch(self) -> int:
        return sum(week.num_bytes_to_fetch for week in self.weeks)

    @property
    def seconds_to_fetch(self) -> float:
        return self.num_bytes_to_fetch / self.speed.value

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "weeks": [vars(week) for week in self.weeks],
            "without_archive": self.without_archive,
            "problems": self.problems,
            "num_to_fetch": self.num_to_fetch,
            "num_bytes_to_fetch": self.num_bytes_to_fetch,
            "seconds_to_fetch": round(self.seconds_to_fetch, 1),
            "share": self.share.to_dict(),
            "speed": self.speed.to_dict(),
        }


def list_source(config: WeeksConfig, *, bytes_per_s: float | None = None) -> SourceListing:
    """Compare what a source lists with what a data folder holds; nothing is fetched.

    Args:
        config: Source, data folder and years.
        bytes_per_s: How fast archives arrive; None for an assumed rate.

    Raises:
        SourceError: The source cannot be listed.
    """
    folder, years = DataFolder(config.data_dir), config.years or None
    listed = offered_weeks(config)
    offered = {archive.week: archive for archive in listed.weeks}
    kept = [week for week in kept_weeks(folder) if years is None or int(week[1:5]) in years]
    notes = {week: read_note(folder, week) or {} for week in kept}

    share = share_of_designs(notes)
    if config.archives.whole or (offered and all(archive.kind == "folder" for archive in offered.values())):
        share = Rate(1.0, "of an archive's bytes", "archives are read whole")

    downloads_left = _downloads_left(config, offered.values())
    weeks = []
    for week in sorted({*offered, *notes}):
        archive, note = offered.get(week), notes.get(week)
        state = _state_of(archive, note, config.archives)
        weeks.append(
            WeekOffered(
                week=week,
                state=state,
                file_name=archive.file_name if archive else None,
                num_bytes=archive.num_bytes if archive else None,
                num_bytes_to_fetch=_num_bytes_to_fetch(archive, state, share),
                downloads_left=downloads_left.get(archive.file_name) if archive else None,
                num_numbers_missing=_numbers(note).get("num_missing"),
                num_numbers_before=_numbers_between(notes.get(_week_before(week)), note),
            )
        )
    return SourceListing(
        weeks=weeks,
        without_archive=_without_archive([week.week for week in weeks]),
        share=share,
        speed=arrival_of(offered.values(), bytes_per_s),
        problems=listed.problems,
    )


def _state_of(archive: WeeklyArchive | None, note: dict[str, Any] | None, config: ArchivesConfig) -> str:
    """The state of a week, as `WeekOffered` names it; the note is None if nothing of the week is kept."""
    if archive is None:
        return "not offered"
    if note is None:
        return "missing"
    return "here" if is_kept(note, archive, config) else "changed"


def _num_bytes_to_fetch(archive: WeeklyArchive | None, state: str, share: Rate) -> int:
    if archive is None or state not in ("missing", "changed"):
        return 0
    return round(share.value * (archive.num_bytes or 0))


def _downloads_left(config: WeeksConfig, offered: Iterable[WeeklyArchive]) -> dict[str, int]:
    names = [archive.file_name for archive in offered if archive.kind == "portal"]
    return Portal(config.portal, config.downloads).downloads_left(names) if names else {}


def _numbers(note: dict[str, Any] | None) -> dict[str, Any]:
    complete = (note or {}).get("complete")
    return complete.get("numbers", {}) if isinstance(complete, dict) else {}


def _numbers_between(before: dict[str, Any] | None, note: dict[str, Any] | None) -> int | None:
    """Patent numbers missing between two consecutive weeks, whose numbers follow each other without a gap."""
    last, first = _numbers(before).get("last"), _numbers(note).get("first")
    return max(first - last - 1, 0) if last is not None and first is not None else None


def _week_before(week: str) -> str:
    return f"I{datetime.datetime.strptime(week[1:], '%Y%m%d') - _WEEK:%Y%m%d}"


def _without_archive(weeks: list[str]) -> list[str]:
    if not weeks:
        return []
    last = datetime.datetime.strptime(weeks[-1][1:], "%Y%m%d").date()
    years = range(int(weeks[0][1:5]), last.year + 1)
    return [week for week in missing_weeks(years, weeks, last) if week > weeks[0]]
