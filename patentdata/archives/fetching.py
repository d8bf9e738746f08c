"""Which week's archive is fetched when, and when a source is left in peace.

A week that cannot be fetched stops no other: the next is tried. But where one after the other fails for a reason that
lies with the source or the disk and not with the week, the rest would fare no better, and hundreds of weeks are not
each waited for. The decision is one for all weeks of a run; the next run begins afresh.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable

from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.errors import OutputError, SourceDownError

_FAILURES_IN_A_ROW = 5  # so many broken files next to each other would be a strange chance
_MOST_AT_ONCE = 64  # of a mirror or a store, however large the cluster
_BRIEF_ATTEMPTS, _BRIEF_PATIENCE_S = 2, 60.0  # of a week that follows one that failed


class FetchQueue:
    """The weeks that want their archives, handed on as many at a time as the source allows.

    Args:
        num_at_once: How many are fetched side by side.

    Attributes:
        given_up: Why nothing more is fetched, in a sentence; None as long as something is.
    """

    def __init__(self, num_at_once: int) -> None:
        self.stop_reason: str | None = None
        self._num_free = num_at_once
        self._waiting: collections.deque[str] = collections.deque()
        self._num_failed = 0  # in a row

    def begins(self, week: str) -> bool:
        """Whether a week's archive is fetched now; else its turn comes by `ended`."""
        if self._num_free:
            self._num_free -= 1
            return True
        self._waiting.append(week)
        return False

    def ended(self, error: Exception | None) -> list[str]:
        """The weeks whose turn has come, now that one was fetched or failed; all of them once nothing more is."""
        if isinstance(error, SourceDownError | OutputError):
            self._num_failed += 1
        elif error is None:
            self._num_failed = 0
        if self._num_failed >= _FAILURES_IN_A_ROW:
            self.stop_reason = f"not fetched, since {self._num_failed} weeks in a row failed, the last so: {error}"
            weeks = list(self._waiting)
            self._waiting.clear()
            return weeks
        if self._waiting:
            return [self._waiting.popleft()]  # it takes the place that has become free
        self._num_free += 1
        return []

    def asked_for(self, archive: WeeklyArchive) -> WeeklyArchive:
        """An archive as patient as it is set, or briefly where the week before it failed."""
        if not self._num_failed:
            return archive
        usual = archive.downloads
        brief = dataclasses.replace(
            usual,
            attempts=min(usual.attempts, _BRIEF_ATTEMPTS),
            patience_s=min(usual.patience_s, _BRIEF_PATIENCE_S),
        )
        return dataclasses.replace(archive, downloads=brief)


def num_at_once(archives: Iterable[WeeklyArchive], num_workers: int | None) -> int:
    """How many archives are fetched in parallel: from the portal one, which is what it allows a key.

    Args:
        archives: What the source offers.
        num_workers: Workers that could each fetch one; None if their number is not known, as on a cluster.
    """
    if any(archive.kind == "portal" for archive in archives):
        return 1
    return _MOST_AT_ONCE if num_workers is None else num_workers
