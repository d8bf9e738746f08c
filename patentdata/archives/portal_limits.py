"""What the portal allows a key: one call at a time, few files at once, each file a few times a year.

What was fetched is on record on this machine, where a key is known by its hash alone: a small database in the user's
cache folder (`DESIGNCLIP_CACHE`), shared by all processes. Of several machines with one key, one should fetch.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import filelock

from patentdata.errors import SourceError
from patentdata.store.hashes import cache_folder

_YEAR_S = 365 * 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class LimitsConfig:
    """The portal's published limits.

    Attributes:
        downloads_a_year: Times one file may be fetched with one key within 365 days.
        files_at_once: Files that may be asked for within `files_window_s`, over all keys of this machine.
        files_window_s: See `files_at_once`.
        call_interval_s: Least time between two calls.
    """

    downloads_a_year: int = 20
    files_at_once: int = 5
    files_window_s: float = 10.0
    call_interval_s: float = 0.25

    def __post_init__(self) -> None:
        for name in ("downloads_a_year", "files_at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("files_window_s", "call_interval_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be below 0")


class Limits:
    """The limits of one key.

    Args:
        key: The key; kept as its hash.
        config: The limits.

    Raises:
        SourceError: From every method, where the record cannot be kept.
    """

    def __init__(self, key: str, config: LimitsConfig) -> None:
        self._key = hashlib.sha256(key.encode()).hexdigest()[:16]
        self._config = config

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the key for the length of a block; whoever else wants it, in any process, waits."""
        with _kept():
            cache_folder().mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(cache_folder() / f"portal-{self._key}.lock")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def before_call(self) -> None:
        """Wait until another call is allowed."""
        with self._record() as record:
            last = record.execute("SELECT max(at) FROM calls").fetchone()[0]
        _sleep_until((last or 0.0) + self._config.call_interval_s)
        with self._record() as record:
            record.execute("DELETE FROM calls")
            record.execute("INSERT INTO calls VALUES (?)", (time.time(),))

    def before_download(self, file_name: str) -> int:
        """Wait until another file may be asked for, and count it; returns what `granted` and `take_back` want.

        Raises SourceError where the year's downloads of the file are used up.
        """
        if self.downloads_left([file_name])[file_name] < 1:
            raise SourceError(
                f"{file_name} was fetched {self._config.downloads_a_year} times within a year with this key, which is "
                f"all the portal allows; wait until {self._free_again(file_name)}, or name a mirror or folder as source"
            )
        while True:
            with self._record() as record:
                record.execute("BEGIN IMMEDIATE")
                now = time.time()
                recent = record.execute(
                    "SELECT at FROM downloads WHERE at > ? ORDER BY at DESC LIMIT ?",
                    (now - self._config.files_window_s, self._config.files_at_once),
                ).fetchall()
                if len(recent) < self._config.files_at_once:
                    inserted = record.execute("INSERT INTO downloads VALUES (?, ?, ?)", (self._key, file_name, now))
                    return inserted.lastrowid or 0
            _sleep_until(recent[-1][0] + self._config.files_window_s)

    def granted(self, download: int) -> None:
        """Count a download from now on, when its answer has come: the portal counted it on the way, not later."""
        with self._record() as record:
            record.execute("UPDATE downloads SET at = ? WHERE rowid = ?", (time.time(), download))

    def take_back(self, download: int) -> None:
        """Do not count a download that the portal did not grant."""
        with self._record() as record:
            record.execute("DELETE FROM downloads WHERE rowid = ?", (download,))

    def downloads_left(self, file_names: Iterable[str]) -> dict[str, int]:
        """File name → how many times it may still be fetched within this year."""
        with self._record() as record:
            used = dict(
                record.execute(
                    "SELECT file, count(*) FROM downloads WHERE key = ? AND at > ? GROUP BY file",
                    (self._key, time.time() - _YEAR_S),
                ).fetchall()
            )
        return {name: max(self._config.downloads_a_year - used.get(name, 0), 0) for name in file_names}

    def _free_again(self, file_name: str) -> str:
        with self._record() as record:
            (at,) = record.execute(
                "SELECT at FROM downloads WHERE key = ? AND file = ? ORDER BY at DESC LIMIT 1 OFFSET ?",
                (self._key, file_name, self._config.downloads_a_year - 1),
            ).fetchone()
        return time.strftime("%Y-%m-%d", time.localtime(at + _YEAR_S))

    @contextlib.contextmanager
    def _record(self) -> Iterator[sqlite3.Connection]:
        with _kept():
            cache_folder().mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(cache_folder() / "portal.sqlite", timeout=60)
            try:
                with connection:
                    connection.execute("CREATE TABLE IF NOT EXISTS downloads (key TEXT, file TEXT, at REAL)")
                    connection.execute("CREATE TABLE IF NOT EXISTS calls (at REAL)")
                with connection:
                    yield connection
            finally:
                connection.close()


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """A record that cannot be kept is an error: without it the portal's limits cannot be obeyed."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise SourceError(
            f"cannot keep the record of downloads in {cache_folder()} ({error}); set DESIGNCLIP_CACHE to a folder that "
            "can be written"
        ) from error


def _sleep_until(moment: float) -> None:
    """Sleep until a moment of the wall clock, but not through a clock that was set back."""
    time.sleep(min(max(moment - time.time(), 0.0), 60.0))
