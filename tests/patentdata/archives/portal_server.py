"""The Open Data Portal and its store on the loopback: two real HTTP servers that keep its rules and can misbehave.

The portal lists files and answers a download with a redirect to a signed address at the store, which is another host to
a client. An answer that shall go wrong is a `Fault` in a queue; every request is on record.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Protocol
from urllib.parse import parse_qs, urlsplit

from patentdata.archives.downloads import DownloadsConfig
from patentdata.archives.portal import PortalConfig
from patentdata.archives.portal_limits import LimitsConfig
from patentdata.archives.sources import AccessConfig, list_weeks, open_archive
from patentdata.archives.weekly_archive import WeeklyArchive

KEY = "k3y-0f-the-tests-that-nobody-may-see"
SIGNATURE = "s1gnature0f"  # begins every signature, so that one in a message is found
_PIECE_BYTES = 64 << 10
_PATH = "/api/v1/datasets/products"


class Content(Protocol):
    """A file too large for memory."""

    num_bytes: int

    def pieces(self, first: int) -> Iterator[bytes]:
        """The bytes from a position on."""


@dataclass
class Fault:
    """One answer that goes wrong.

    Attributes:
        status: Sent instead of the answer.
        headers: Sent with `status`.
        body: Sent with `status`.
        cut_after: The answer is sent, but its connection ends after this many bytes of the body.
        reset: The connection is cut by a reset, not by an end.
        ignores_range: The answer is the whole file, whatever was asked for.
        length: Content-Length is this, whatever the length of the body.
        expired: The signed address has expired.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None
    reset: bool = False
    ignores_range: bool = False
    length: int | None = None
    expired: bool = False


@dataclass(frozen=True)
class Asked:
    """One request: "portal" or "store", its path with query, its headers in lower case."""

    host: str
    method: str
    path: str
    headers: Mapping[str, str]


class PortalServer:
    """Both servers; they run for the length of a `with` block.

    Attributes:
        files: Name → content; changing it changes what is published.
        rows: Name → fields of its row in the listing that differ from the truth.
        unlisted: Names that the listing leaves out.
        phantoms: Rows of the listing for files that do not exist.
        count: The count that the listing states; None for the true one.
        portal_faults, store_faults: The next answers; None for one that does not go wrong.
        key: The key that is accepted; None for any.
        takes_ranges: Whether the store understands Range.
        states_etag: Whether the store states entity tags.
        redirects: Whether the portal redirects to the store; if not, it sends the file itself.
        has_years: Whether the index of the mirror links to a folder for each year.
        valid_s: How long a signed address is valid, in seconds.
        window: How many files are granted in how many seconds; more are answered with 429.
        asked: Every request so far.
        num_bytes_sent: Bytes of files that the servers have sent.
        most_at_once: The largest number of requests that waited for their answers at one time.
        num_refused: Requests answered with 429 because of the window.
    """

    def __init__(self, files: Mapping[str, bytes | Content]) -> None:
        self.files: dict[str, bytes | Content] = dict(files)
        self.rows: dict[str, dict[str, Any]] = {}
        self.unlisted: set[str] = set()
        self.phantoms: list[dict[str, Any]] = []
        self.count: int | None = None
        self.portal_faults: deque[Fault | None] = deque()
        self.store_faults: deque[Fault | None] = deque()
        self.key: str | None = KEY
        self.takes_ranges = self.states_etag = True
        self.redirects = True
        self.has_years = False
        self.valid_s = 120.0  # the portal's own are valid for 5 s, too little on a busy machine; see `Fault.expired`
        self.window: tuple[int, float] | None = None
        self.asked: list[Asked] = []
        self.num_bytes_sent = 0
        self.most_at_once = 0
        self.num_refused = 0
        self._answering: set[BaseHTTPRequestHandler] = set()
        self._lock = threading.Lock()
        self._signed: dict[str, tuple[str, float]] = {}
        self._granted: deque[float] = deque()
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, host)) for host in ("portal", "store")]
        for server in self._servers:
            server.daemon_threads = True

    @property
    def url(self) -> str:
        """Address of the portal, without a product."""
        return f"http://127.0.0.1:{self._servers[0].server_port}{_PATH}"

    @property
    def store_url(self) -> str:
        """Address of the store, which is also a mirror: with an index at `/mirror/`, without one at `/bare/`."""
        return f"http://127.0.0.1:{self._servers[1].server_port}"

    def __enter__(self) -> PortalServer:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def downloads(self) -> list[str]:
        """Files that the portal was asked for, in order."""
        return [
            asked.path.rpartition("/")[2] for asked in self.asked if asked.host == "portal" and "/files/" in asked.path
        ]

    def stretches(self) -> list[str]:
        """The Range of each request to the store, in order; "" for a request without one."""
        return [
            asked.headers.get("range", "") for asked in self.asked if asked.host == "store" and asked.method == "GET"
        ]

    def size_of(self, name: str) -> int:
        content = self.files[name]
        return len(content) if isinstance(content, bytes) else content.num_bytes

    def listing(self, product: str, first: str, last: str) -> dict[str, Any]:
        """The portal's answer, newest first."""
        rows = [dict(row) for row in self.phantoms]
        for name in sorted(set(self.files) - self.unlisted, reverse=True):
            digits = re.search(r"(\d{4})(\d\d)(\d\d)", name)
            date = "-".join(digits.groups()) if digits else "2024-01-02"
            row = {
                "fileName": name,
                "fileSize": self.size_of(name),
                "fileDataFromDate": date,
                "fileDataToDate": date,
                "fileTypeText": "Data",
                "fileDownloadURI": f"{self.url}/files/{product}/{date[:4]}/{name}",
                "fileReleaseDate": f"{date} 00:02:57",
                "fileLastModifiedDateTime": f"{date} 00:02:59",
            }
            if first <= date <= last:
                rows.append(row | self.rows.get(name, {}))
        count = len(rows) if self.count is None else self.count
        bag = {"productIdentifier": product, "productFileBag": {"count": count, "fileDataBag": rows}}
        return {"count": 1, "bulkDataProductBag": [bag]}

    # --- What the handlers do -----------------------------------------------------------------------------------------

    def answer(self, host: str, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        with self._lock:
            self.asked.append(Asked(host, request.command, request.path, headers))
            self._answering.add(request)
            self.most_at_once = max(self.most_at_once, sum(map(_is_awaited, self._answering)))
            faults = self.portal_faults if host == "portal" else self.store_faults
            fault = (faults.popleft() if faults else None) or Fault()
        try:
            if fault.status is not None:
                _send(request, fault.status, fault.body, fault.headers)
            elif host == "portal":
                self._answer_as_portal(request, headers, fault)
            else:
                self._answer_as_store(request, headers, fault)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            request.close_connection = True
            with self._lock:
                self._answering.discard(request)

    def _answer_as_portal(self, request: BaseHTTPRequestHandler, headers: Mapping[str, str], fault: Fault) -> None:
        if "x-api-key" not in headers:
            return _send_json(request, 401, {"message": "Unauthorized"})
        if self.key is not None and headers["x-api-key"] != self.key:
            return _send_json(request, 403, {"code": 403, "error": "Forbidden"})
        parts = urlsplit(request.path)
        if "/files/" in parts.path:
            return self._grant(request, parts.path.rpartition("/")[2], headers, fault)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        first, last = query.get("fileDataFromDate", "0000"), query.get("fileDataToDate", "9999")
        answer = self.listing(parts.path.rpartition("/")[2], first, last)
        if not answer["bulkDataProductBag"][0]["productFileBag"]["fileDataBag"]:
            error = {"code": 404, "error": "Not Found", "errorDetails": "No matching records found"}
            return _send_json(request, 404, error)
        _send_json(request, 200, answer, fault)

    def _grant(self, request: BaseHTTPRequestHandler, name: str, headers: Mapping[str, str], fault: Fault) -> None:
        if name not in self.files:
            return _send_json(request, 404, {"code": 404, "error": "Not Found"})
        with self._lock:
            now = time.monotonic()
            if self.window is not None:
                num, seconds = self.window
                while self._granted and now - self._granted[0] > seconds:
                    self._granted.popleft()
                if len(self._granted) >= num:
                    self.num_refused += 1
                    return _send(request, 429, b"", {})
            self._granted.append(now)
            token = SIGNATURE + secrets.token_hex(8)
            self._signed[token] = name, now if not fault.expired else now - 2 * self.valid_s
        if not self.redirects:
            return self._send_file(request, name, headers, fault)
        _send(request, 302, b"", {"Location": f"{self.store_url}/signed/{name}?X-Amz-Signature={token}"})

    def _answer_as_store(self, request: BaseHTTPRequestHandler, headers: Mapping[str, str], fault: Fault) -> None:
        parts = urlsplit(request.path)
        if parts.path.startswith("/mirror/") and parts.path.endswith("/"):
            linked = sorted(self.files)
            if self.has_years:
                year = parts.path.removeprefix("/mirror/").rstrip("/")
                years = [*sorted({f"{name[1:5]}/" for name in self.files}), "../", "old/"]
                linked = [name for name in linked if name[1:5] == year] if year else years
            links = "".join(f'<a href="{name}">{name}</a>\n' for name in linked)
            return _send(request, 200, f"<html><pre>{links}</pre></html>".encode(), {"Content-Type": "text/html"})
        name = parts.path.rpartition("/")[2]
        if parts.path.startswith("/signed/"):
            token = parse_qs(parts.query).get("X-Amz-Signature", [""])[0]
            granted = self._signed.get(token)
            if granted is None or granted[0] != name or time.monotonic() - granted[1] > self.valid_s:
                return _send(request, 403, b"<Error><Message>Request has expired</Message></Error>", {})
        if name not in self.files or not parts.path.startswith(("/signed/", "/mirror/", "/bare/")):
            return _send(request, 404, b"", {})
        self._send_file(request, name, headers, fault)

    def _send_file(self, request: BaseHTTPRequestHandler, name: str, headers: Mapping[str, str], fault: Fault) -> None:
        content, total = self.files[name], self.size_of(name)
        etag = f'"{hash(content) if isinstance(content, bytes) else total}"'
        first, last, status = 0, total - 1, 200
        answer = {"Content-Type": "application/octet-stream"} | ({"ETag": etag} if self.states_etag else {})
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", ""))
        is_same = headers.get("if-range", etag) == etag
        if match and self.takes_ranges and is_same and not fault.ignores_range:
            first, last, status = int(match[1]), min(int(match[2] or last), last), 206
            if first > last:
                return _send(request, 416, b"", {"Content-Range": f"bytes */{total}"})
            answer["Content-Range"] = f"bytes {first}-{last}/{total}"
        length = last + 1 - first
        request.send_response(status)
        for key, value in answer.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(length if fault.length is None else fault.length))
        request.end_headers()
        if request.command == "HEAD":
            return
        # a small buffer, so that bytes counted as sent have left, except for a little
        request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE_BYTES)
        left = length if fault.cut_after is None else min(fault.cut_after, length)
        for piece in _pieces(content, first):
            if left <= 0:
                break
            request.wfile.write(piece[:left])
            with self._lock:
                self.num_bytes_sent += len(piece[:left])
            left -= len(piece[:left])
        if fault.cut_after is not None and fault.reset:
            _reset(request)


def _is_awaited(request: BaseHTTPRequestHandler) -> bool:
    """Whether the client still has its end of the connection open, however much of the answer has been sent."""
    try:
        return request.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _pieces(content: bytes | Content, first: int) -> Iterator[bytes]:
    if not isinstance(content, bytes):
        yield from content.pieces(first)
        return
    for at in range(first, len(content), _PIECE_BYTES):
        yield content[at : at + _PIECE_BYTES]


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _send_json(request: BaseHTTPRequestHandler, status: int, values: Any, fault: Fault | None = None) -> None:
    body = json.dumps(values).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body if fault is None or fault.cut_after is None else body[: fault.cut_after])


def _reset(request: BaseHTTPRequestHandler) -> None:
    """Reset a connection."""
    request.wfile.flush()
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _handler(server: PortalServer, host: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(host, self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    return Handler


BRISK = DownloadsConfig(
    attempts=5, wait_initial_s=0.01, wait_max_s=0.02, wait_jitter_s=0.0, wait_429_s=0.01, read_timeout_s=20
)
UNHURRIED = LimitsConfig(downloads_a_year=10_000, files_at_once=10_000, files_window_s=0.0, call_interval_s=0.0)


def portal_of(server: PortalServer, limits: LimitsConfig = UNHURRIED) -> PortalConfig:
    """Settings with which a server is the portal; signed addresses are used for half of the time they are valid."""
    return PortalConfig(url=server.url, signed_for_s=server.valid_s / 2, limits=limits)


def access_to(server: PortalServer, **limits: Any) -> AccessConfig:
    """Access to a server as the portal, with little patience; of its limits those given are not lifted."""
    return AccessConfig(portal=portal_of(server, replace(UNHURRIED, **limits)), downloads=BRISK)


def listed(server: PortalServer, source: str = "portal") -> WeeklyArchive:
    """The one week that a server lists."""
    (week,) = list_weeks(source, access=access_to(server))
    return week


def opened(server: PortalServer, **limits: Any) -> BinaryIO:
    """The archive of the one week that a server lists, open for reading."""
    return open_archive(listed(server), access_to(server, **limits))
