"""A file on a server that is read like a local one, and resumed when a connection is cut.

Of a weekly archive of several gigabytes a small part is needed. A tar is read as one answer, which is closed when that
part has been read; a ZIP by a few Range requests, for its directory and its designs.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import requests
import urllib3

from patentdata.archives.downloads import DownloadsConfig, InterruptionError, ResultT, with_retries
from patentdata.errors import OutputError, SourceChangedError
from patentdata.store.hashes import cache_folder

_LOG = logging.getLogger(__name__)

_HEAD_BYTES = 64 << 10
_TAIL_BYTES = 1 << 20  # holds the directory of a weekly ZIP: some 7,000 entries of 100 bytes
_SKIP_BYTES = 1 << 20  # the longest gap that is read and discarded rather than left out by another request
_CHUNK_BYTES = 1 << 20
_SECONDS_A_NOTICE = 0.5
_STALE_NOTICE_S = 30.0


class Ask(Protocol):
    """Requests a part of a file from a server and returns its answer, 200, 206 or 416, with the body unread."""

    def __call__(self, headers: dict[str, str], /) -> requests.Response:
        """Raises InterruptionError if another try may succeed, and another SourceError if not."""


class RemoteFile(io.RawIOBase):
    """A file on a server, read like a local one.

    If the file is read from front to back, it is one answer, which is resumed by Range where the connection is cut. If
    it is read at several positions, as a ZIP is, it is a few Range requests; if the server ignores Range, the file is
    copied to a temporary one first.

    Args:
        name: What to call the file in messages.
        ask: Requests the file.
        config: Patience.
        head_first: Request only the first bytes at first, since the file will be read from its end.
        on_close: Called once, when the file is closed.

    Attributes:
        name: The name given.
        num_bytes_received: Bytes of the file that have been received.
        num_asked: Requests made.
    """

    def __init__(
        self,
        name: str,
        ask: Ask,
        *,
        config: DownloadsConfig,
        head_first: bool = False,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.num_bytes_received = 0
        self.num_asked = 0
        self._ask, self._config, self._on_close = ask, config, on_close
        self._head_first = head_first
        self._at = 0
        self._stream: requests.Response | None = None
        self._stream_at = self._stream_end = 0
        self._total: int | None = None
        self._etag: str | None = None
        self._modified: str | None = None
        self._is_known = False  # whether the server has answered once
        self._ignores_range = False
        self._is_sought = False  # whether it is read at several positions
        self._num_jumps = 0
        self._head = self._tail = b""
        self._copy: BinaryIO | None = None
        self._notice = _Notice(name)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    @property
    def num_bytes(self) -> int | None:
        """Size that the server states; None if it does not state it."""
        if not self._is_known:
            self._with_retries(lambda: self._connect(0))
        return self._total

    def read(self, num_bytes: int | None = -1) -> bytes:
        """The next bytes, fewer than `num_bytes` only at the end of the file; None or -1 for all that are left."""
        wanted = (1 << 62) if num_bytes is None or num_bytes < 0 else num_bytes
        pieces: list[bytes] = []
        while wanted and (piece := self._piece(min(wanted, _CHUNK_BYTES))):
            pieces.append(piece)
            wanted -= len(piece)
            self._at += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_CUR:
            offset += self._at
        elif whence == io.SEEK_END:
            if self.num_bytes is None:
                self._copy_whole("the server does not state its size")
            offset += self.num_bytes or 0
        self._is_sought = self._is_sought or offset != self._at
        self._at = max(offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if self.closed:
            return
        self._drop_stream()
        if self._copy is not None:
            self._copy.close()
        self._notice.end()
        super().close()
        self._on_close()

    def _piece(self, num_bytes: int) -> bytes:
        """Some bytes from the current position on; empty at the end of the file."""
        if self._copy is None and not self._is_known:
            self._with_retries(lambda: self._connect(0))
        if self._copy is not None:
            self._copy.seek(self._at)
            return self._copy.read(num_bytes)
        if self._at < len(self._head):
            return self._head[self._at : self._at + num_bytes]
        if self._total is not None:
            if self._at >= self._total:
                return b""
            from_end = self._total - self._at
            if from_end <= len(self._tail):
                return self._tail[-from_end:][:num_bytes]
        return self._with_retries(lambda: self._request_piece(num_bytes))

    def _request_piece(self, num_bytes: int) -> bytes:
        """Some bytes from the current position on, from the answer that is being read or from a new one."""
        is_ahead = self._stream is not None and 0 <= self._at - self._stream_at <= _SKIP_BYTES
        is_ahead = is_ahead or (self._stream is not None and not self._is_sought and self._stream_at < self._at)
        if not is_ahead and not self._open_stream_here():
            return self._piece(num_bytes)
        return self._receive_from_here(num_bytes)

    def _receive_from_here(self, num_bytes: int) -> bytes:
        """Next bytes from the current position on; bytes of the answer before it are discarded."""
        while self._stream is not None and self._stream_at < self._at:
            if not self._receive(min(self._at - self._stream_at, _CHUNK_BYTES)):
                return b""
        return b"" if self._stream is None else self._receive(num_bytes)

    def _open_stream_here(self) -> bool:
        """Open an answer that leads to the current position.

        Returns:
            False if no answer is open now, since the position is in memory, in the temporary copy, or the end.
        """
        if not self._is_sought or self._stream_at == self._at:
            # Read from front to back: the rest of the file is one answer. If that ignores Range and begins at 0, the
            # bytes before the position are discarded.
            self._connect(self._at)
            if not self._is_sought or self._stream_at == self._at:
                return self._stream is not None
        elif self._ignores_range or self._num_jumps >= self._config.max_ranges:
            why = "the server ignores Range" if self._ignores_range else "many parts of it are needed"
            self._copy_whole(why, continues=self._ignores_range)
            return False
        else:
            # A jump: one more Range request, which near the end of the file fetches the end as a whole, into memory.
            self._num_jumps += 1
            first = self._at
            if self._total is not None and self._at >= self._total - _TAIL_BYTES:
                first = max(self._total - _TAIL_BYTES, 0)
            self._connect(first)
            if self._stream_at == first and first < self._at and self._stream is not None:
                self._tail = self._receive_upto(_TAIL_BYTES)
                self._drop_stream()
                return False
            if self._stream_at == first:
                return self._stream is not None
        # Range was ignored, so the answer is the whole file.
        self._ignores_range = True
        self._copy_whole("the server ignores Range", continues=True)
        return False

    def _connect(self, at: int) -> None:
        """Request the file from a position on; if the server ignores Range, the answer begins at 0."""
        self._drop_stream()
        is_head = at == 0 and self._head_first and not self._is_known
        headers = {}
        if at or is_head:
            headers["Range"] = f"bytes={at}-{_HEAD_BYTES - 1 if is_head else ''}"
        if at and (mark := self._etag if self._etag and not self._etag.startswith("W/") else self._modified):
            headers["If-Range"] = mark
        self.num_asked += 1
        response = self._ask(headers)
        try:
            self._accept(response, at)
        except BaseException:
            response.close()
            raise
        if is_head:  # if Range was ignored, the rest of the answer stays open in case it is needed
            self._ignores_range = response.status_code == 200
            self._head = self._receive_upto(_HEAD_BYTES)
        self._is_known = True

    def _accept(self, response: requests.Response, at: int) -> None:
        """Make an answer the one that is read.

        Args:
            response: The answer; 416 means that the file ends at or before `at`.
            at: The position requested.

        Raises:
            InterruptionError: The answer holds other bytes than those requested.
            SourceChangedError: The file is not the one that was read before.
        """
        first, end, total = 0, _content_length(response), _content_length(response)
        if response.status_code == 416:
            first, end, total = at, at, _total_of(response)
            if total is None or at < total:
                raise InterruptionError(f"{self.name}: the server has no bytes from {at:,} on (416)")
        elif response.status_code == 206:
            found = re.match(r"bytes\s+(\d+)-(\d+)/", response.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != at:
                raise InterruptionError(f"{self.name}: the server sent other bytes than those from {at} on")
            first, total = at, _total_of(response)
            end = int(found[2]) + 1 if not self._is_known or total is None else total
        etag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        if self._is_known and self._is_other_file(etag, modified, total):
            raise SourceChangedError(f"{self.name} became another file while it was read; run again")
        if not self._is_known:
            self._etag, self._modified, self._total = etag, modified, total
        self._stream, self._stream_at, self._stream_end = response, first, -1 if end is None else end
        if response.status_code == 416:  # the end of a file whose size was not known
            self._total = total
            self._drop_stream()

    def _is_other_file(self, etag: str | None, modified: str | None, total: int | None) -> bool:
        """Whether a server now states another entity tag, time or size than when it was first asked."""
        marks = (self._etag, etag) if etag else (self._modified, modified)
        pairs = (marks, (self._total, total))
        return any(known is not None and now is not None and known != now for known, now in pairs)

    def _receive(self, num_bytes: int) -> bytes:
        """Next bytes of the answer; empty only at its true end. Raises InterruptionError if the connection was cut."""
        failure: InterruptionError | None = None
        data = b""
        try:
            # read1 returns what has been received; read would lose it if the connection is cut
            data = self._stream.raw.read1(num_bytes, decode_content=False) or b""  # type: ignore[union-attr]
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            failure = InterruptionError(f"the connection was cut within {self.name} ({type(error).__name__})")
        self.num_bytes_received += len(data)
        self._stream_at += len(data)
        self._notice.show(self._stream_at, self._total)
        if failure is None and not data and self._stream_at < self._stream_end:
            failure = InterruptionError(
                f"the connection was cut within {self.name}, after {self._stream_at:,} of {self._stream_end:,} bytes"
            )
        if failure is not None:
            self._drop_stream()
            raise failure
        return data

    def _receive_upto(self, num_bytes: int) -> bytes:
        """The next `num_bytes` bytes of the answer, fewer only if it ends."""
        pieces = []
        while num_bytes and (data := self._receive(num_bytes)):
            pieces.append(data)
            num_bytes -= len(data)
        return b"".join(pieces)

    def _copy_whole(self, why: str, *, continues: bool = False) -> None:
        """Copy the file to a temporary one, and read from that.

        Args:
            why: The reason, for the log.
            continues: The answer that is being read is the whole file, of which at most the head has been read.
        """
        _LOG.info("%s: copying the whole file, since %s", self.name, why)
        copy = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open for reading
        at, data = self._at, b""
        try:
            if continues and self._stream is not None and self._stream_at in (0, len(self._head)):
                data = self._head[: self._stream_at]
            else:
                self._drop_stream()
                self._stream_at = 0
            self._at = 0
            self._head = self._tail = b""
            while data or (data := self._with_retries(self._next_in_order)):
                self._append(copy, data)
                self._at += len(data)
                data = b""
            self._copy, self._total = copy, self._at
        except BaseException:
            copy.close()
            raise
        finally:
            self._at = at
            self._drop_stream()

    def _append(self, copy: BinaryIO, data: bytes) -> None:
        try:
            copy.write(data)
        except OSError as error:
            raise OutputError(
                f"cannot write the temporary copy of {self.name}: {error.strerror}; set TMPDIR to a folder with room "
                f"for {self._total or 0:,} bytes"
            ) from error

    def _next_in_order(self) -> bytes:
        """The next bytes of a file that is read from front to back."""
        if self._total is not None and self._at >= self._total:
            return b""
        if self._stream is None:
            self._connect(self._at)
        return self._receive_from_here(_CHUNK_BYTES)

    def _with_retries(self, action: Callable[[], ResultT]) -> ResultT:
        """The result of `with_retries`, without its cost if the first try succeeds."""
        try:
            return action()
        except InterruptionError as error:
            first_try = [error]

        def next_try() -> ResultT:
            if first_try:
                raise first_try.pop()
            return action()

        return with_retries(self._config, next_try)

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def in_progress() -> Iterator[tuple[str, int, int | None]]:
    """Downloads in progress on this machine: name, bytes so far, and bytes in all if known."""
    for path in sorted(_notices().glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if time.time() - path.stat().st_mtime < _STALE_NOTICE_S:
                values = json.loads(path.read_text())
                yield values["name"], values["num_bytes"], values["total"]


class _Notice:
    """A small file that shows other processes the progress of a download."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._path = _notices() / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:100]}.json"
        self._shown_at = 0.0

    def show(self, num_bytes: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._shown_at < _SECONDS_A_NOTICE:
            return
        self._shown_at = now
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps({"name": self._name, "num_bytes": num_bytes, "total": total}))

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _notices() -> Path:
    """The folder of the notices."""
    return cache_folder() / "downloads"


def _content_length(response: requests.Response) -> int | None:
    """Length of an answer's body as its header states it; None if it does not."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdecimal() else None


def _total_of(response: requests.Response) -> int | None:
    """Size of the whole file as the header of a partial answer states it; None if it does not."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None
