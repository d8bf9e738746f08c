"""The data folder: any fsspec address, one sub-folder a stage, files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import filelock
import fsspec
import platformdirs
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from patentdata.errors import OutputError

_PARTIAL = ".partial"
_REFUSALS_TO_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR}
_CHUNK_BYTES = 1 << 20
_PUT_BYTES = 64 << 20


class DataFolder:
    """A folder of the file system or of an object store, addressed by parts relative to it.

    Args:
        url: `./data`, `s3://bucket/prefix`, or any other fsspec address. Made at the first write.

    >>> DataFolder("/tmp/data").path("grants", "I20210105.parquet")
    '/tmp/data/grants/I20210105.parquet'
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self.fs, root = fsspec.core.url_to_fs(self.url)
        self.root: str = root.rstrip("/") or "/"

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    def __reduce__(self) -> tuple[type[DataFolder], tuple[str]]:
        return DataFolder, (self.url,)

    def path(self, *parts: str) -> str:
        """The file system's own path of a file within the folder."""
        return "/".join((self.root, *parts))

    def kept_here(self, kind: str) -> Path:
        """Where this machine keeps what a data folder on an object store cannot hold: in the user's cache folder."""
        address = self.fs.unstrip_protocol(self.root)
        return cache_folder() / kind / hashlib.sha256(address.encode()).hexdigest()[:16]

    def exists(self, path: str) -> bool:
        return self.fs.isfile(path)

    def names(self, *parts: str) -> list[str]:
        """Names of the finished files directly in a sub-folder, sorted; empty where it does not exist.

        Raises OutputError where it cannot be listed.
        """
        self.fs.invalidate_cache()
        path = self.path(*parts)
        try:
            names = [entry["name"].rsplit("/", 1)[-1] for entry in self.fs.ls(path, detail=True)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise OutputError(f"cannot list {path}: {error.strerror or error}") from error
        return sorted(name for name in names if name and not name.startswith("."))

    def open(self, path: str) -> BinaryIO:
        """Open a finished file for reading; raises OutputError where it does not exist."""
        try:
            return self.fs.open(path, "rb")
        except FileNotFoundError:
            raise OutputError(f"{path} is not there; run the stage that writes it") from None

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Write a file that appears when the block ends without an error, and not otherwise.

        Locally the bytes go to a hidden neighbour, which is synced and renamed; for an object store they are gathered
        in a temporary file and put there in one piece.
        """
        if not self.is_local:
            with tempfile.TemporaryFile() as file:
                yield file
                file.seek(0)
                self._put(file, path)
            return
        target = Path(path)
        partial = target.with_name(f".{target.name}{_PARTIAL}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:
            partial.unlink(missing_ok=True)
            if error.errno not in _REFUSALS_TO_WRITE:  # from what is read inside the block
                raise
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _put(self, file: BinaryIO, path: str) -> None:
        self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        target = self.fs.open(path, "wb", block_size=_PUT_BYTES, autocommit=False)
        try:
            shutil.copyfileobj(file, target, _PUT_BYTES)
            target.close()
        except BaseException:
            target.discard()
            target.closed = True  # closing it would put there what has come so far
            raise
        target.commit()
        self.fs.invalidate_cache()

    def write_json(self, path: str, values: Any) -> None:
        """Write values as JSON with a fixed layout, so that equal values are equal bytes."""
        with self.writing(path) as file:
            file.write((json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())

    def read_json(self, path: str) -> Any:
        """The values of a JSON file, or None where it is missing or no JSON."""
        try:
            with self.fs.open(path, "rb") as file:
                return json.load(file)
        except (FileNotFoundError, ValueError):
            return None

    def remove(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(path)

    def sha256(self, path: str) -> str:
        """SHA-256 of a file; see `sha256_of`."""
        return sha256_of(self.fs, path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one run; a second run leaves with one sentence. Object stores are not locked.

        Leftovers of a run that was killed are cleared away.
        """
        if not self.is_local:
            yield
            return
        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(Path(self.root) / ".lock", timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise OutputError(f"another run is writing to {self.root}; wait for it to end, then run again") from None
        except OSError as error:
            raise OutputError(f"cannot write to {self.root}: {error.strerror or error}") from error
        try:
            for leftover in Path(self.root).glob(f"*/**/.*{_PARTIAL}"):
                leftover.unlink(missing_ok=True)
            yield
        finally:
            lock.release()


def sha256_of(fs: AbstractFileSystem, path: str, *, blank: tuple[int, bytes] | None = None) -> str:
    """SHA-256 of a file, hexadecimal.

    A file that has not changed since it was last hashed or written (by the file system's own mark: size, times, entity
    tag) is not read again.

    Args:
        blank: Start of a stretch, and the bytes that count there, whatever stands there.
    """
    with _HashMemo() as memo:
        if known := memo.get(fs.unstrip_protocol(path), _mark(fs, path, blank)):
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
    remember_sha256(fs, path, digest.hexdigest(), blank=blank)
    return digest.hexdigest()


def remember_sha256(fs: AbstractFileSystem, path: str, sha256: str, *, blank: tuple[int, bytes] | None = None) -> None:
    """Note the hash of a file just written or read, so that the next `sha256_of` need not read it."""
    with _HashMemo() as memo:
        memo.put(fs.unstrip_protocol(path), _mark(fs, path, blank), sha256)


def _mark(fs: AbstractFileSystem, path: str, blank: tuple[int, bytes] | None) -> str:
    return f"{fs.ukey(path)}:{'' if blank is None else blank[0]}"


def cache_folder() -> Path:
    """Where this machine's own notes lie: hashes of files, the record of downloads. Not made here."""
    return Path(os.environ.get("DESIGNCLIP_CACHE") or platformdirs.user_cache_dir("designclip"))


class _HashMemo:
    """Hashes of files already read, in the user's cache folder. Losing it costs time and nothing else."""

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
            kind = mark.rpartition(":")[2]
            self._connection.execute("DELETE FROM hashes WHERE url = ? AND mark LIKE ?", (url, f"%:{kind}"))
            self._connection.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", (url, mark, sha256))
