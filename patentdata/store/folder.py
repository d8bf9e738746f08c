"""The data folder: any fsspec address, one sub-folder per stage, files that appear whole or not at all.

Since a file appears only when it is whole, a run that was killed leaves nothing that a later run could take for done.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

import filelock
import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from patentdata.errors import ConfigError, OutputError
from patentdata.store.hashes import cache_folder, sha256_of
from patentdata.store.outages import wait_through_outages
from patentdata.store.store_lock import StoreLock

_LOG = logging.getLogger(__name__)

_PARTIAL = ".partial"
_LOCK = ".lock"
_RUNS = "runs"  # training runs, which have a lock of their own each
_LOCAL_SCHEMES = ("file://", "local://")
_REFUSALS_TO_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENOTDIR}
_UPLOAD_BYTES = 64 << 20


def resolve(address: str) -> tuple[AbstractFileSystem, str]:
    """File system and path of an address, as fsspec has them; a path on this machine is taken literally.

    Raises ConfigError if no file system has the address.

    fsspec takes "::" in any address for a chain of file systems, so that it would read `out/x::y` as `out/x`.

    >>> resolve("/data/x::y")[1], resolve("file:///data/a%20b")[1]
    ('/data/x::y', '/data/a%20b')
    """
    if "://" not in address or address.startswith(_LOCAL_SCHEMES):
        fs = fsspec.filesystem("file")
        return fs, fs._strip_protocol(address)
    try:
        return fsspec.core.url_to_fs(address)
    except ValueError as error:
        raise ConfigError(f"cannot read the address {address}: {error}") from error


def refuse_escapes(address: str) -> None:
    """Raise ConfigError for a `file://` address with escapes such as %20, which would be taken literally."""
    path = address.partition("://")[2]
    if address.startswith(_LOCAL_SCHEMES) and unquote(path) != path:
        raise ConfigError(f"{address} has escapes such as %20; write the path itself, {unquote(path)}")


class DataFolder:
    """A folder of the file system or of an object store, addressed by parts relative to it.

    Args:
        url: `./data`, `s3://bucket/prefix`, or any other fsspec address. The folder is made at the first write.

    Raises:
        ConfigError: An empty address, one that no file system has, or a `file://` address with escapes such as %20.

    Attributes:
        url: The address given.
        fs: The file system of the address.
        root: Path of the folder in that file system.

    >>> DataFolder("/tmp/data").path("grants", "I20210105.parquet")
    '/tmp/data/grants/I20210105.parquet'
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        if not self.url.strip():
            raise ConfigError("the data folder has no name; name a folder, such as data")
        refuse_escapes(self.url)
        self.fs, root = resolve(self.url)
        self.root: str = root.rstrip("/") or "/"

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a file system of this machine, and not on an object store."""
        return isinstance(self.fs, LocalFileSystem)

    def __reduce__(self) -> tuple[Callable[[str], DataFolder], tuple[str]]:
        return _in_worker, (self.url,)

    def path(self, *parts: str) -> str:
        """Path of a file of this folder in the file system."""
        return "/".join((self.root, *parts))

    def local_cache_dir(self, kind: str) -> Path:
        """A folder in the user's cache for local files of one kind, such as copies, of this data folder."""
        address = self.fs.unstrip_protocol(self.root)
        return cache_folder() / kind / hashlib.sha256(address.encode()).hexdigest()[:16]

    def exists(self, path: str) -> bool:
        """Whether a finished file exists."""
        return self.fs.isfile(path)

    def names(self, *parts: str) -> list[str]:
        """Names of the finished files directly in a sub-folder, sorted; empty if it does not exist.

        Raises:
            OutputError: The sub-folder cannot be listed.
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
        """Open a finished file for reading; raises OutputError if it does not exist."""
        try:
            return self.fs.open(path, "rb")
        except FileNotFoundError:
            raise OutputError(f"{path} does not exist; run the stage that writes it") from None

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[BinaryIO]:
        """Write a file that appears when the block ends without an error, and not otherwise.

        Locally the bytes are written to a hidden file in the same folder, which is synced and renamed; for an object
        store they are collected in a temporary file, which is uploaded as one object.

        Raises:
            OutputError: The file system refuses to write, for example because the disk is full.
        """
        if not self.is_local:
            with tempfile.TemporaryFile() as file:
                yield file
                file.seek(0)
                self._upload(file, path)
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
            if error.errno not in _REFUSALS_TO_WRITE:  # an error of what is read inside the block
                raise
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _upload(self, file: BinaryIO, path: str) -> None:
        """Upload a file to the object store; an upload that fails leaves no object."""
        self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        target = self.fs.open(path, "wb", block_size=_UPLOAD_BYTES, autocommit=False)
        try:
            shutil.copyfileobj(file, target, _UPLOAD_BYTES)
            target.close()
        except BaseException:
            target.discard()
            target.closed = True  # closing it would upload what has been copied so far
            raise
        target.commit()
        self.fs.invalidate_cache()

    def write_json(self, path: str, values: Any) -> None:
        """Write values as JSON in a fixed layout, so that equal values give equal bytes."""
        with self.writing(path) as file:
            file.write((json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())

    def read_json(self, path: str) -> Any:
        """The values of a JSON file; None if it is missing or not JSON."""
        try:
            with self.fs.open(path, "rb") as file:
                return json.load(file)
        except (FileNotFoundError, ValueError):
            return None

    def remove(self, path: str) -> None:
        """Remove a file, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(path)

    def sha256(self, path: str) -> str:
        """SHA-256 of a file, hexadecimal; see `hashes.sha256_of`."""
        return sha256_of(self.fs, path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for one run, and remove the leftovers of runs that were killed.

        On an object store the lock is a lease, see `store_lock`, and there are no leftovers. Runs of training may be
        writing to their own folders meanwhile, which stay as they are.

        Raises:
            OutputError: Another run has locked the folder, or it cannot be written.
        """
        if not self.is_local:
            with StoreLock(self.fs, self.path(_LOCK)).held():
                wait_through_outages(self.fs)
                yield
            return
        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(Path(self.root) / _LOCK, timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise OutputError(f"another run is writing to {self.root}; wait for it to end, then run again") from None
        except OSError as error:
            raise OutputError(f"cannot write to {self.root}: {error.strerror or error}") from error
        try:
            for stage in (entry for entry in Path(self.root).iterdir() if entry.is_dir() and entry.name != _RUNS):
                for leftover in stage.rglob(f".*{_PARTIAL}"):
                    _LOG.info("removing %s, which a run that was killed has left", leftover)
                    leftover.unlink(missing_ok=True)
            yield
        finally:
            lock.release()


def _in_worker(url: str) -> DataFolder:
    """The folder in a worker, to which it was sent by a process that works with it."""
    folder = DataFolder(url)
    wait_through_outages(folder.fs)
    return folder
