"""Files that a server lists, and how their bytes come: in order or by Range, resumed when a connection is cut.

Nothing that a message could give away passes this module: exceptions of the HTTP libraries, which carry addresses with
their signatures, are turned into sentences that name the file and the host alone.
"""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import logging
import random
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import stamina
import urllib3
from requests.adapters import HTTPAdapter

from patentdata.errors import SourceDownError, SourceError

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True)
class DownloadsConfig:
    """How patient a download is, and how it asks.

    Attributes:
        attempts: Tries in a row without a byte gained before a file is given up.
        patience_s: Or this long since the first of them.
        wait_initial_s: Wait before the second try; doubles from try to try.
        wait_max_s: Longest wait between two tries.
        wait_jitter_s: Up to this much more, at random.
        wait_429_s: Least wait after "too many requests" where the server names none.
        connect_timeout_s: Longest wait for a connection.
        read_timeout_s: Longest wait for the next bytes; the portal may take minutes to begin.
        max_ranges: Range requests for one ZIP before it is rather fetched whole.
        receive_buffer_bytes: What the system may take in ahead of the reader, who stops somewhere in the middle of an
            archive; 0 leaves it to the system, which is faster from far away and wastes some megabytes an archive.
    """

    attempts: int = 20
    patience_s: float = 900.0
    wait_initial_s: float = 1.0
    wait_max_s: float = 60.0
    wait_jitter_s: float = 1.0
    wait_429_s: float = 5.0
    connect_timeout_s: float = 30.0
    read_timeout_s: float = 600.0
    max_ranges: int = 8
    receive_buffer_bytes: int = 256 << 10

    def __post_init__(self) -> None:
        for name in ("attempts", "patience_s", "connect_timeout_s", "read_timeout_s", "max_ranges"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("wait_initial_s", "wait_max_s", "wait_jitter_s", "wait_429_s", "receive_buffer_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be below 0")

    @property
    def timeouts_s(self) -> tuple[float, float]:
        return self.connect_timeout_s, self.read_timeout_s


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """One file as its source lists it; what the source does not state is None.

    Attributes:
        name: Its own name, without folders.
        url: Where it lies, without keys.
        num_bytes: Size.
        released: When it was published, ISO 8601.
        modified: When it was last changed, ISO 8601.
        etag: The server's own mark of this very content.
        sha256: Hash of the content, hexadecimal.
    """

    name: str
    url: str
    num_bytes: int | None = None
    released: str | None = None
    modified: str | None = None
    etag: str | None = None
    sha256: str | None = None


class InterruptionError(SourceError):
    """A passing trouble of a server or a connection, worth another try.

    Args:
        sentence: What happened.
        wait_s: Least wait that the server asks for, in seconds.
    """

    def __init__(self, sentence: str, wait_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.wait_s = wait_s

    def __reduce__(self) -> tuple[type[InterruptionError], tuple[str, float]]:
        return InterruptionError, (str(self), self.wait_s)


class Ask(Protocol):
    """Asks the server for a stretch of a file and gives its answer, 200, 206 or 416, unread."""

    def __call__(self, headers: dict[str, str], /) -> requests.Response:
        """Raises InterruptionError where another try may help, another SourceError where it will not."""


def with_retries(config: DownloadsConfig, action: Callable[[], ResultT]) -> ResultT:
    """The result of an action, tried again after each `InterruptionError` as the settings say.

    Raises:
        SourceDownError: It was given up; the sentence is that of the last try.
    """

    def wait_s(error: Exception) -> bool | float:
        if not isinstance(error, InterruptionError) or error.wait_s > config.patience_s:
            return False
        return error.wait_s + random.uniform(0, config.wait_jitter_s) if error.wait_s else True

    num_tries = 0
    try:
        for attempt in stamina.retry_context(
            on=wait_s,
            attempts=config.attempts,
            timeout=config.patience_s,
            wait_initial=config.wait_initial_s,
            wait_max=config.wait_max_s,
            wait_jitter=config.wait_jitter_s,
        ):
            with attempt:
                num_tries = attempt.num
                return action()
    except InterruptionError as error:
        asked = f"it asks for {error.wait_s:.0f} s of rest" if error.wait_s > config.patience_s else ""
        gave_up = asked or (f"given up after {num_tries} tries" if num_tries > 1 else "not tried again")
        raise SourceDownError(f"{error}; {gave_up}, run again later") from None
    raise AssertionError("unreachable")


class SmallBufferAdapter(HTTPAdapter):
    """Connections into which the system takes no more than so many bytes ahead of the reader."""

    def __init__(self, receive_buffer_bytes: int) -> None:
        self._buffer = (socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        super().__init__()

    def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
        defaults = urllib3.connection.HTTPConnection.default_socket_options
        super().init_poolmanager(*sizes, socket_options=[*defaults, self._buffer], **options)


def plain_session(*, receive_buffer_bytes: int = 0) -> requests.Session:
    """A session that takes bytes as they are and tries nothing again by itself.

    Args:
        receive_buffer_bytes: See `DownloadsConfig`.
    """
    session = requests.Session()
    if receive_buffer_bytes:
        for scheme in ("http://", "https://"):
            session.mount(scheme, SmallBufferAdapter(receive_buffer_bytes))
    session.headers["Accept-Encoding"] = "identity"
    session.headers["User-Agent"] = "designclip"
    session.max_redirects = 5
    return session


def send(
    session: requests.Session, method: str, url: str, *, name: str, config: DownloadsConfig, **options: Any
) -> requests.Response:
    """The answer to a request, its body unread; `name` is what the request is about, for messages.

    Raises:
        InterruptionError: No answer came.
        SourceError: The address cannot be asked at all.
    """
    failure: SourceError
    host = urlsplit(url).hostname or "the server"
    with contextlib.suppress(ValueError):  # of an address that cannot be parsed: left to requests
        host = urlsplit(url).netloc.rpartition("@")[2] or host
    try:
        return session.request(method, url, stream=True, timeout=config.timeouts_s, **options)
    except requests.Timeout:
        failure = InterruptionError(f"{host} did not answer in time for {name}")
    except requests.TooManyRedirects:
        failure = SourceError(f"{host} sends {name} in circles; check the address")
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
        failure = SourceError(f"the address of {name} at {host} is none that can be asked; check the address")
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        failure = InterruptionError(f"no connection to {host} for {name} ({type(error).__name__})")
    except ValueError:  # of requests, which looks at where an answer redirects to, though nobody follows
        failure = SourceError(f"{host} sends {name} to an address that is none; run again later")
    raise failure  # outside of the handler: the library's exception, which names the whole address, is not chained


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of rest that an answer asks for, as a number or a date; None where it says nothing readable.

    >>> retry_after_s({"Retry-After": "7"})
    7.0
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        moment = email.utils.parsedate_to_datetime(text)
        return max((moment - datetime.datetime.now(datetime.UTC)).total_seconds(), 0.0)
    return None


def raise_if_transient(response: requests.Response, *, who: str, name: str, config: DownloadsConfig) -> None:
    """Raise InterruptionError for an answer that says "later": 408, 429 and all of the server's own faults."""
    status = response.status_code
    if status == 429:
        rest_s = max(retry_after_s(response.headers) or 0.0, config.wait_429_s)
        raise InterruptionError(f"{who} has had too many requests (429), the last for {name}", rest_s)
    if status == 408 or status >= 500:
        raise InterruptionError(f"{who} is out of order ({status}) for {name}", retry_after_s(response.headers) or 0.0)


def raise_if_html(response: requests.Response, *, who: str, name: str) -> None:
    """Raise SourceDownError where the answer, whatever its status, is a page for a browser."""
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise SourceDownError(
            f"{who} sent a web page instead of {name}; the address is an old one or the way there asks for a login, "
            "check the source"
        )


def shown_url(url: str) -> str:
    """An address fit for messages and notes: without user, password, query and fragment.

    >>> shown_url("https://user:secret@host/a.tar?signature=x")
    'https://host/a.tar'
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class _WithoutSignatures(logging.Filter):
    """Takes what follows a "?" out of what urllib3 says at its most talkative: signatures live there."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


logging.getLogger("urllib3.connectionpool").addFilter(_WithoutSignatures())
