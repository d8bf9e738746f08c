"""What the portal allows a key: one call at a time, few files at once, each file a few times a year.

The portal refuses requests beyond its limits, so they are obeyed here, across all processes of this machine: what was
fetched is recorded in a small database in the user's cache folder (`DESIGNCLIP_CACHE`), in which a key is known only by
its hash. If several machines share a key, only one of them should fetch.
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
        downloads_a_year: How many times one file may be fetched with one key within 365 days.
        files_at_once: How many files may be requested within `files_window_s`, over all keys of this machine.
        files_window_s: Length of that window, in seconds.
        call_interval_s: Least time between two calls, in seconds.
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
        key: The key; only its hash is stored.
        config: The limits.

    Raises:
        SourceError: From every method, if the record cannot be read or written.
    """

    def __init__(self, key: str, config: LimitsConfig) -> None:
        self._key = hashlib.sha256(key.encode()).hexdigest()[:16]
        self._config = config

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Lock the key for the length of a `with` block; others that want it, in any process, wait."""
        with _errors_of_the_record():
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
        """Wait until another file may be requested, and count the download.

        Returns:
            The number of the download, for `granted` and `take_back`.

        Raises:
            SourceError: The year's downloads of the file are used up.
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
        """Count a download from now, when it was answered: the portal counted it no later than that."""
        with self._record() as record:
            record.execute("UPDATE downloads SET at = ? WHERE rowid = ?", (time.time(), download))

    def take_back(self, download: int) -> None:
        """Do not count a download that the portal did not grant."""
        with self._record() as record:
            record.execute("DELETE FROM downloads WHERE rowid = ?", (download,))

    def downloads_left(self, file_names: Iterable[str]) -> dict[str, int]:
        """File name → how many more times it may be fetched now."""
        with self._record() as record:
            used = dict(
                record.execute(
                    "SELECT file, count(*) FROM downloads WHERE key = ? AND at > ? GROUP BY file",
                    (self._key, time.time() - _YEAR_S),
                ).fetchall()
            )
        return {name: max(self._config.downloads_a_year - used.get(name, 0), 0) for name in file_names}

    def _free_again(self, file_name: str) -> str:
        """The day on which a file whose downloads are used up may be fetched again."""
        with self._record() as record:
            (at,) = record.execute(
                "SELECT at FROM downloads WHERE key = ? AND file = ? ORDER BY at DESC LIMIT 1 OFFSET ?",
                (self._key, file_name, self._config.downloads_a_year - 1),
            ).fetchone()
        return time.strftime("%Y-%m-%d", time.localtime(at + _YEAR_S))

    @contextlib.contextmanager
    def _record(self) -> Iterator[sqlite3.Connection]:
        """The database, for one transaction."""
        with _errors_of_the_record():
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
def _errors_of_the_record() -> Iterator[None]:
    """Raise SourceError if the record cannot be read or written: without it the limits cannot be obeyed."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise SourceError(
            f"cannot keep the record of downloads in {cache_folder()} ({error}); set DESIGNCLIP_CACHE to a folder that "
            "can be written"
        ) from error


def _sleep_until(moment: float) -> None:
    """Sleep until a time of the wall clock, at most a minute, in case the clock was set back."""
    time.sleep(min(max(moment - time.time(), 0.0), 60.0))
