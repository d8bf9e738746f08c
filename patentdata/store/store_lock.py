"""The lock of a data folder on an object store: an object that names who writes there, and until when.

File systems lock a folder for as long as a process lives; an object store knows no processes. So the lock is a lease:
its owner renews it while it works, and if it is not renewed, for example because the machine is gone, it ends by
itself. It is created with a conditional write (If-None-Match on S3), so that of two runs that start together one wins.
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import psutil
from fsspec import AbstractFileSystem

from patentdata.errors import OutputError
from patentdata.store.outages import unreachable_errors

_LOG = logging.getLogger(__name__)

LEASE_S = 120.0
_RENEWALS_A_LEASE = 4
_CLOCK_SKEW_S = 15.0  # by which the clocks of two machines may differ
_SETTLE_S = 1.0  # until a lock that was taken over is looked at again: another run may have done the same


class StoreLock:
    """A lease on a folder of an object store.

    Args:
        fs: The file system.
        path: Path of the lock's object.
        lease_s: Seconds for which the lock holds without being renewed.
    """

    def __init__(self, fs: AbstractFileSystem, path: str, *, lease_s: float = LEASE_S) -> None:
        self._fs, self._path, self._lease_s = fs, path, lease_s
        self._token = uuid.uuid4().hex

    @property
    def _folder(self) -> str:
        return self._path.rpartition("/")[0]

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock until the block ends.

        Raises:
            OutputError: Another run holds it, or the store cannot be written.
        """
        try:
            self._acquire()
        except unreachable_errors(self._fs) as error:
            raise OutputError(f"cannot write to {self._folder}: {getattr(error, 'strerror', '') or error}") from error
        ended = threading.Event()
        renewing = threading.Thread(target=self._renew_until, args=(ended,), name="store lock", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            ended.set()
            renewing.join()
            self._release()

    def _acquire(self) -> None:
        self._fs.makedirs(self._folder, exist_ok=True)
        if self._create():
            return
        holder = self._read()
        if holder is not None and not self._has_ended(holder):
            raise OutputError(
                f"another run is writing to {self._folder}: {holder['owner']}; wait for it to end, then run again (if "
                f"that machine is gone, its lock ends at {holder['until']:%H:%M:%S} UTC)"
            )
        # The lock of a run that has ended without releasing it is taken over. Another run may be doing the same, so
        # what is there after a moment counts.
        _LOG.info("%s is taken over from a run that has ended", self._path)
        self._remove()
        self._create()
        time.sleep(_SETTLE_S)
        holder = self._read()
        if holder is None or holder["token"] != self._token:
            raise OutputError(f"another run has just begun to write to {self._folder}; run again when it has ended")

    def _create(self) -> bool:
        """Write the lock unless there is one; returns whether it was written."""
        try:
            self._fs.pipe_file(self._path, self._content(), mode="create")
        except FileExistsError:
            return False
        except (TypeError, NotImplementedError):  # a store without conditional writes
            return self._create_unconditionally()
        return True

    def _create_unconditionally(self) -> bool:
        """As `_create`, with a look before and after: of two runs that write together the later one has the lock."""
        if self._fs.exists(self._path):
            return False
        self._fs.pipe_file(self._path, self._content())
        time.sleep(_SETTLE_S)
        holder = self._read()
        return holder is not None and holder["token"] == self._token

    def _content(self) -> bytes:
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self._lease_s)
        values = {
            "owner": f"{getpass.getuser()} on {socket.gethostname()}, process {os.getpid()}",
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": psutil.Process().create_time(),
            "token": self._token,
            "until": until.isoformat(timespec="seconds"),
        }
        return json.dumps(values).encode()

    def _read(self) -> dict[str, Any] | None:
        """What the lock says; None if there is none, or none that this version can read."""
        self._fs.invalidate_cache()
        try:
            values = json.loads(self._fs.cat_file(self._path))
            return values | {"until": datetime.datetime.fromisoformat(values["until"])}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def _has_ended(self, holder: dict[str, Any]) -> bool:
        """Whether the holder of a lock is gone: its process, if it ran on this machine, or else its lease."""
        if holder.get("host") == socket.gethostname():
            try:
                process = psutil.Process(holder["pid"])
                return process.create_time() != holder["started"] or process.status() == psutil.STATUS_ZOMBIE
            except psutil.NoSuchProcess:
                return True
        ends_at = holder["until"] + datetime.timedelta(seconds=_CLOCK_SKEW_S)
        return datetime.datetime.now(datetime.UTC) > ends_at

    def _renew_until(self, ended: threading.Event) -> None:
        """Write the lock again and again; a store that does not answer is asked again at the next time."""
        while not ended.wait(self._lease_s / _RENEWALS_A_LEASE):
            try:
                holder = self._read()
                if holder is not None and holder["token"] != self._token:
                    _LOG.error("%s is held by another run now: %s", self._path, holder["owner"])
                    return
                self._fs.pipe_file(self._path, self._content())
            except Exception as error:  # of whatever kind: the lease has time for further tries
                _LOG.warning("%s could not be renewed: %s", self._path, error)

    def _release(self) -> None:
        """Remove the lock, if it is still this run's."""
        with contextlib.suppress(*unreachable_errors(self._fs)):
            holder = self._read()
            if holder is not None and holder["token"] == self._token:
                self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path)
