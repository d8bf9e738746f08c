"""Which week's archive is fetched when, and when a source is left alone.

A week that cannot be fetched stops no other: the next one is tried. But if several in a row fail for a reason that is
the source's or the disk's and not the week's, the rest would fare no better, and hundreds of weeks must not each be
waited for. A source that has refused further requests is not asked again at all. That is decided once for all weeks of
a run; the next run begins afresh.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Iterable

from patentdata.archives.sources import AccessConfig
from patentdata.archives.weekly_archive import WeeklyArchive
from patentdata.errors import OutputError, SourceClosedError, SourceDownError

_LOG = logging.getLogger(__name__)

_FAILURES_IN_A_ROW = 5  # that many broken files next to each other would be a strange coincidence
_MOST_AT_ONCE = 64  # from a mirror or a store, however large the cluster
_BRIEF_ATTEMPTS, _BRIEF_PATIENCE_S = 2, 60.0  # for a week that follows one that failed


class FetchQueue:
    """The weeks that wait for their archives, let through as many at a time as the source allows.

    Args:
        num_at_once: How many archives are fetched in parallel.

    Attributes:
        stop_reason: Why nothing more is fetched, as a sentence; None as long as archives are fetched.
    """

    def __init__(self, num_at_once: int) -> None:
        self.stop_reason: str | None = None
        self._num_free = num_at_once
        self._waiting: collections.deque[str] = collections.deque()
        self._num_failed = 0  # in a row

    def begins(self, week: str) -> bool:
        """Whether the archive of a week is fetched now; if not, the week waits until `ended` names it."""
        if self._num_free:
            self._num_free -= 1
            return True
        self._waiting.append(week)
        return False

    def ended(self, error: Exception | None) -> list[str]:
        """The weeks whose turn has come, now that a fetch has ended; all that wait, once nothing more is fetched.

        Args:
            error: Why the fetch failed; None if it did not.
        """
        if isinstance(error, SourceDownError | OutputError):
            self._num_failed += 1
        elif error is None:
            self._num_failed = 0
        if stop_reason := self._reason_to_stop(error):
            if self.stop_reason is None:
                _LOG.info("no more archives are fetched in this run; %s", stop_reason)
            self.stop_reason = stop_reason
            weeks = list(self._waiting)
            self._waiting.clear()
            return weeks
        if self._waiting:
            return [self._waiting.popleft()]  # takes the slot that has become free
        self._num_free += 1
        return []

    def _reason_to_stop(self, error: Exception | None) -> str:
        """Why no more archives are fetched now that a fetch has ended, as a sentence; empty if more are."""
        if isinstance(error, SourceClosedError):
            return f"skipped: the source accepts no further requests at present: {error}"
        if self._num_failed >= _FAILURES_IN_A_ROW:
            return f"skipped: {self._num_failed} consecutive weeks failed, the last one: {error}"
        return ""

    def access(self, usual: AccessConfig) -> AccessConfig:
        """How the next archive is accessed: as usual, or with little patience if the fetch before it failed."""
        if not self._num_failed:
            return usual
        downloads = dataclasses.replace(
            usual.downloads,
            attempts=min(usual.downloads.attempts, _BRIEF_ATTEMPTS),
            patience_s=min(usual.downloads.patience_s, _BRIEF_PATIENCE_S),
        )
        return dataclasses.replace(usual, downloads=downloads)


def num_at_once(archives: Iterable[WeeklyArchive], num_workers: int | None) -> int:
    """How many archives are fetched in parallel: from the portal one, which is what it allows a key.

    Args:
        archives: What the source lists.
        num_workers: Workers that could each fetch one; None if their number is not known, as on a cluster.
    """
    if any(archive.kind == "portal" for archive in archives):
        return 1
    return _MOST_AT_ONCE if num_workers is None else num_workers
