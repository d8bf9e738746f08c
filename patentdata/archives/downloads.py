"""Requests for listings and files: how patiently they are made, and what the answers mean.

No secret leaves this module in a message: exceptions of the HTTP libraries, whose addresses include signatures, are
turned into sentences that name only the file and the host.
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
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import stamina
import urllib3
from requests.adapters import HTTPAdapter

from patentdata.errors import SourceClosedError, SourceDownError, SourceError

ResultT = TypeVar("ResultT")

_LOG = logging.getLogger(__name__)
_RETRY_NAME = "designclip fetch"


@dataclass(frozen=True, kw_only=True)
class DownloadsConfig:
    """How patient a download is, and how it asks.

    Attributes:
        attempts: Tries without a single byte received, in a row, before a file is given up.
        patience_s: Time since the first of these tries after which a file is given up, in seconds.
        wait_initial_s: Wait before the second try, in seconds; it doubles from try to try.
        wait_max_s: Longest wait between two tries, in seconds.
        wait_jitter_s: Largest random time that is added to a wait, in seconds.
        wait_429_s: Least wait after the first "too many requests", in seconds; it doubles with each that follows.
        max_429: How many "too many requests" in a row end the source for this run.
        connect_timeout_s: Longest wait for a connection, in seconds.
        read_timeout_s: Longest wait for the next bytes, in seconds; the portal may take minutes to begin.
        max_ranges: Range requests for one ZIP after which it is fetched whole.
        receive_buffer_bytes: How much the system may receive ahead of the reader, which stops somewhere in the middle
            of an archive; 0 leaves it to the system, which is faster over long distances and wastes some megabytes for
            each archive.
    """

    attempts: int = 20
    patience_s: float = 900.0
    wait_initial_s: float = 1.0
    wait_max_s: float = 60.0
    wait_jitter_s: float = 1.0
    wait_429_s: float = 5.0
    max_429: int = 5
    connect_timeout_s: float = 30.0
    read_timeout_s: float = 600.0
    max_ranges: int = 8
    receive_buffer_bytes: int = 256 << 10

    def __post_init__(self) -> None:
        for name in ("attempts", "patience_s", "max_429", "connect_timeout_s", "read_timeout_s", "max_ranges"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("wait_initial_s", "wait_max_s", "wait_jitter_s", "wait_429_s", "receive_buffer_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be below 0")

    @property
    def timeouts_s(self) -> tuple[float, float]:
        """Timeouts of connecting and of reading, as `requests` takes them."""
        return self.connect_timeout_s, self.read_timeout_s


class InterruptionError(SourceError):
    """A transient failure of a server or a connection; another try may succeed.

    Args:
        sentence: What happened.
        wait_s: Least wait that the server asks for, in seconds; 0 if it asks for none.
    """

    def __init__(self, sentence: str, wait_s: float = 0.0) -> None:
        super().__init__(sentence)
        self.wait_s = wait_s

    def __reduce__(self) -> tuple[type[InterruptionError], tuple[str, float]]:
        return type(self), (str(self), self.wait_s)


class TooManyRequestsError(InterruptionError):
    """A server refuses requests because there were too many (429); asking it further makes it worse."""


def with_retries(config: DownloadsConfig, action: Callable[[], ResultT]) -> ResultT:
    """The result of an action, which is tried again after each `InterruptionError` as the settings say.

    Raises:
        SourceDownError: No try succeeded; the sentence is that of the last one. If the server asks to wait for longer
            than the settings allow, or keeps answering 429, it is a SourceClosedError.
    """
    num_tries = num_429 = 0

    def wait_s(error: Exception) -> bool | float:
        if not isinstance(error, InterruptionError) or error.wait_s > config.patience_s or num_429 >= config.max_429:
            return False
        least_s = error.wait_s
        if isinstance(error, TooManyRequestsError):
            least_s = max(least_s, config.wait_429_s * 2.0 ** (num_429 - 1))
        return least_s + random.uniform(0, config.wait_jitter_s) if least_s else True

    try:
        for attempt in stamina.retry_context(
            on=wait_s,
            attempts=config.attempts,
            timeout=config.patience_s,
            wait_initial=config.wait_initial_s,
            wait_max=config.wait_max_s,
            wait_jitter=config.wait_jitter_s,
        ).with_name(_RETRY_NAME, (), {}):
            num_tries = attempt.num
            with attempt:
                try:
                    return action()
                except InterruptionError as error:
                    num_429 = num_429 + 1 if isinstance(error, TooManyRequestsError) else 0
                    _LOG.info("try %d of %d failed: %s", num_tries, config.attempts, error)
                    raise
    except InterruptionError as error:
        if error.wait_s > config.patience_s:
            raise SourceClosedError(
                f"{error}; it asks to wait {shown_duration(error.wait_s)}, run again later"
            ) from None
        outcome = f"given up after {num_tries} tries" if num_tries > 1 else "not tried again"
        kind = SourceClosedError if num_429 >= config.max_429 else SourceDownError
        raise kind(f"{error}; {outcome}, run again later") from None
    raise AssertionError("unreachable")


def shown_duration(seconds: float) -> str:
    """A duration in the unit in which a person would state it.

    >>> shown_duration(5000), shown_duration(14_400), shown_duration(86_400), shown_duration(216_000)
    ('5000 s', '4 hours', '1 day', '2.5 days')
    """
    if seconds < 7_200:
        return f"{seconds:.0f} s"
    unit, num = ("hour", seconds / 3_600) if seconds < 86_400 else ("day", seconds / 86_400)
    return f"{round(num, 1):g} {unit}{'' if round(num, 1) == 1 else 's'}"


class SmallBufferAdapter(HTTPAdapter):
    """Connections on which the system receives only a limited number of bytes ahead of the reader.

    Args:
        receive_buffer_bytes: That number.
    """

    def __init__(self, receive_buffer_bytes: int) -> None:
        self._buffer = (socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        super().__init__()

    def init_poolmanager(self, *sizes: Any, **options: Any) -> None:
        defaults = urllib3.connection.HTTPConnection.default_socket_options
        super().init_poolmanager(*sizes, socket_options=[*defaults, self._buffer], **options)


def plain_session(*, receive_buffer_bytes: int = 0) -> requests.Session:
    """A session that does not decompress bytes and does not retry by itself.

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
    """The answer to a request, with its body unread.

    Args:
        session: Sends the request.
        method: "GET" or "HEAD".
        url: The address.
        name: What is requested, for messages.
        config: Timeouts.
        options: Further arguments of `requests.Session.request`.

    Raises:
        InterruptionError: There was no answer.
        SourceError: No request can be sent to the address.
    """
    failure: SourceError
    host = urlsplit(url).hostname or "the server"
    with contextlib.suppress(ValueError):  # an address that cannot be parsed is an error of requests, below
        host = urlsplit(url).netloc.rpartition("@")[2] or host
    try:
        return session.request(method, url, stream=True, timeout=config.timeouts_s, **options)
    except requests.Timeout:
        failure = InterruptionError(f"{host} did not answer in time for {name}")
    except requests.TooManyRedirects:
        failure = SourceError(f"{host} redirects {name} in a circle; check the address")
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
        failure = SourceError(f"the address of {name} at {host} is not a web address; check it")
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        failure = InterruptionError(f"no connection to {host} for {name} ({type(error).__name__})")
    except ValueError:  # requests parses the address that an answer redirects to, even if redirects are not followed
        failure = SourceError(f"{host} redirects {name} to an invalid address; run again later")
    raise failure  # outside of the handlers, so that the library's exception, which has the address, is not chained


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait that an answer asks for, as a number or as a date; None if it does not say or cannot be read.

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
    """Raise InterruptionError if an answer means that another try may succeed: 408, 429, and all errors of the server.

    Args:
        response: The answer.
        who: What to call the server in messages.
        name: What was requested, for messages.
        config: Says how long to wait after 429, if the server does not.
    """
    status = response.status_code
    if status == 429:
        wait_s = max(retry_after_s(response.headers) or 0.0, config.wait_429_s)
        raise TooManyRequestsError(f"{who} received too many requests (429), the last for {name}", wait_s)
    if status == 408 or status >= 500:
        raise InterruptionError(f"{who} is out of order ({status}) for {name}", retry_after_s(response.headers) or 0.0)


def raise_if_html(response: requests.Response, *, who: str, name: str) -> None:
    """Raise SourceDownError if an answer, whatever its status, is a page for a browser."""
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise SourceDownError(
            f"{who} sent a web page instead of {name}; the address is outdated, or something on the way asks for a "
            "login; check the source"
        )


def shown_url(url: str) -> str:
    """An address as it may appear in messages and notes: without user, password, query and fragment.

    >>> shown_url("https://user:secret@host/a.tar?signature=x")
    'https://host/a.tar'
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _without_signature(record: logging.LogRecord) -> bool:
    """Remove what follows a "?" from a record of urllib3, which logs addresses with their signatures at DEBUG."""
    if isinstance(record.args, tuple):
        record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
    return True


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Whether a record of stamina is about retries of other code; `with_retries` logs its own, as sentences."""
    return getattr(record, "stamina.callable", None) != _RETRY_NAME


logging.getLogger("urllib3.connectionpool").addFilter(_without_signature)
logging.getLogger("stamina").addFilter(_is_not_ours)
