"""Journal of a week that is being captioned: an append-only file of finished rows that survives a kill.

A week takes hours of GPU time, and its table appears only when all of it is done, so each row is stored as soon as it
is finished. Each line is one row as JSON, with its cache key. A line counts if it ends with a line break and can be
parsed; what a kill left after the last line break is cut off. The file is synced to disk at intervals: a killed program
loses nothing, a power failure at most the last second or so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from patentdata.captions.captioner import Row
from patentdata.errors import OutputError
from patentdata.store.folder import DataFolder

_SYNC_EVERY_ROWS = 256
_SYNC_EVERY_S = 1.0


def journal_path(folder: DataFolder, week: str) -> Path:
    """Path of the journal of a week: hidden next to the output; for an object store, in the cache of this machine."""
    if folder.is_local:
        return Path(folder.path("captions", f".{week}.journal"))
    return folder.local_cache_dir("captions") / f"{week}.journal"


@contextlib.contextmanager
def lock_week(folder: DataFolder, week: str) -> Iterator[None]:
    """Lock a week for captioning; another run on this machine, or on a shared file system, waits."""
    path = journal_path(folder, week).with_suffix(".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path)
        lock.acquire()
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


class Journal:
    """The journal of one week, open for reading by key and for writing; one thread may read while another adds.

    Args:
        path: The file; created if it does not exist.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[bytes, tuple[int, int]] = {}  # digest of the key → start and length of its line, in bytes
        self._num_unsynced = 0
        self._synced_at = time.monotonic()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
            self._num_bytes = self._read_index()
            self._file.truncate(self._num_bytes)
        except OSError as error:
            raise _write_error(path, error) from error

    def __len__(self) -> int:
        return len(self._lines)

    def _read_index(self) -> int:
        """Index the position of each row; returns the length of the complete lines in bytes."""
        end = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a line that cannot be parsed is not a row
                    self._lines[_digest(json.loads(line)["cache_key"])] = (end, len(line))
                end += len(line)
        return end

    def __contains__(self, cache_key: str) -> bool:
        return _digest(cache_key) in self._lines

    def get(self, cache_key: str) -> Row | None:
        """The row of a key that was in the journal when it was opened, or was added by `keep`; None otherwise."""
        found = self._lines.get(_digest(cache_key))
        if found is None:
            return None
        start, length = found
        row: dict[str, Any] = json.loads(os.pread(self._file.fileno(), length, start))
        return row if row.get("cache_key") == cache_key else None

    def keep(self, row: Row) -> None:
        """Add a finished row of an earlier run, so that `get` finds it."""
        start = self._num_bytes
        self.add(row)
        self._lines[_digest(row["cache_key"])] = (start, self._num_bytes - start)

    def add(self, row: Row) -> None:
        """Add a finished row. Raises OutputError if it cannot be written."""
        line = json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:]) or 0
            self._num_bytes += len(line)
            self._num_unsynced += 1
            if self._num_unsynced >= _SYNC_EVERY_ROWS or time.monotonic() - self._synced_at > _SYNC_EVERY_S:
                os.fsync(self._file.fileno())
                self._num_unsynced, self._synced_at = 0, time.monotonic()
        except OSError as error:
            raise _write_error(self.path, error) from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()


def _digest(cache_key: str) -> bytes:
    return hashlib.blake2b(cache_key.encode(), digest_size=16).digest()


def _write_error(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}; captions finished so far are kept in it")
