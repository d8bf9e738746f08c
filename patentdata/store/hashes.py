"""SHA-256 of files, remembered as long as a file does not change.

Whether output is done is decided by hashes of whole files, and a walk over years has hundreds of gigabytes of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path

import platformdirs
from fsspec import AbstractFileSystem

_CHUNK_BYTES = 1 << 20


def sha256_of(fs: AbstractFileSystem, path: str, *, blank: tuple[int, bytes] | None = None) -> str:
    """SHA-256 of a file, hexadecimal.

    A file whose mark (see `mark_of`) is the one of when it was last hashed or written is not read again.

    Args:
        fs: The file system.
        path: Path of the file in it.
        blank: A position in the file, and the bytes to hash in place of those that the file has there.
    """
    mark = mark_of(fs, path)
    with _HashMemo() as memo:
        if known := memo.get(fs.unstrip_protocol(path), _marked(mark, blank)):
            return known
    digest = hashlib.sha256()
    at, (blank_at, blank_bytes) = 0, blank or (0, b"")
    with fs.open(path, "rb", block_size=8 * _CHUNK_BYTES) as file:
        while chunk := file.read(_CHUNK_BYTES):
            first, last = max(blank_at - at, 0), min(blank_at + len(blank_bytes) - at, len(chunk))
            if first < last:
                counted = blank_bytes[at + first - blank_at : at + last - blank_at]
                chunk = chunk[:first] + counted + chunk[last:]
            digest.update(chunk)
            at += len(chunk)
    remember_sha256(fs, path, digest.hexdigest(), blank=blank, mark=mark)
    return digest.hexdigest()


def remember_sha256(
    fs: AbstractFileSystem,
    path: str,
    sha256: str,
    *,
    blank: tuple[int, bytes] | None = None,
    mark: str | None = None,
) -> None:
    """Remember the hash of a file just written or read, so that the next `sha256_of` need not read it.

    Args:
        fs: The file system.
        path: Path of the file in it.
        sha256: The hash, hexadecimal.
        blank: See `sha256_of`.
        mark: The file's mark from before it was read, so that a change in between is noticed; None for its mark now.
    """
    with _HashMemo() as memo:
        memo.put(fs.unstrip_protocol(path), _marked(mark or mark_of(fs, path), blank), sha256)


def mark_of(fs: AbstractFileSystem, path: str) -> str:
    """The file system's own mark of a file's present content: over its size, its times, its entity tag."""
    return fs.ukey(path)


def _marked(mark: str, blank: tuple[int, bytes] | None) -> str:
    return f"{mark}:{'' if blank is None else blank[0]}"


def cache_folder() -> Path:
    """The folder of this machine's own notes: hashes of files, the record of downloads. It may not exist yet."""
    return Path(os.environ.get("DESIGNCLIP_CACHE") or platformdirs.user_cache_dir("designclip"))


class _HashMemo:
    """Hashes of files already read, in the user's cache folder. Losing them costs time and nothing else."""

    def __enter__(self) -> _HashMemo:
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(OSError, sqlite3.Error):
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(folder / "hashes.sqlite", timeout=10)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS hashes (url TEXT, mark TEXT, sha256 TEXT, PRIMARY KEY (url, mark))"
            )
            self._connection = connection
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def get(self, url: str, mark: str) -> str | None:
        if self._connection is None:
            return None
        with contextlib.suppress(sqlite3.Error):
            row = self._connection.execute(
                "SELECT sha256 FROM hashes WHERE url = ? AND mark = ?", (url, mark)
            ).fetchone()
            return row[0] if row else None
        return None

    def put(self, url: str, mark: str, sha256: str) -> None:
        if self._connection is None:
            return
        with contextlib.suppress(sqlite3.Error), self._connection:
            kind = mark.rpartition(":")[2]  # hashed as it is, or with a blank
            self._connection.execute("DELETE FROM hashes WHERE url = ? AND mark LIKE ?", (url, f"%:{kind}"))
            self._connection.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", (url, mark, sha256))
