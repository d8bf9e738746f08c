"""The Open Data Portal of the USPTO: which files a product has, and their bytes.

It needs a key, which is free of charge. The key is read when it is used, from `ODP_API_KEY` or a key file, and is sent
to the portal's own host only; it never gets into settings, messages, records or other files.
"""

from __future__ import annotations

import codecs
import contextlib
import datetime
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import platformdirs
import requests
import urllib3

from patentdata.archives.downloads import (
    DownloadsConfig,
    InterruptionError,
    plain_session,
    raise_if_html,
    raise_if_transient,
    send,
    shown_url,
    with_retries,
)
from patentdata.archives.portal_limits import Limits, LimitsConfig
from patentdata.archives.remote_file import RemoteFile
from patentdata.archives.weekly_archive import ListedFile
from patentdata.errors import SourceChangedError, SourceDownError, SourceError

PRODUCT = "PTGRDT"
KEY_VARIABLE = "ODP_API_KEY"
_KEY_PAGE = "https://data.uspto.gov/apis/getting-started"
_QUOTES = "\"'`‘’“”„«»"
_MOST_KEY_FILE_BYTES = 4096
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_LISTING_BYTES = 64 << 20
_DAYS_AROUND = datetime.timedelta(days=7)  # the listed date of a file sometimes differs from that of its week

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PortalConfig:
    """Where the portal is, and what it allows.

    Attributes:
        url: Address of the portal's products.
        key_file: File that holds the key, if `ODP_API_KEY` does not; None for `odp_api_key` in the user's configuration
            folder.
        signed_for_s: How long a signed download address is used, in seconds; the portal's are valid for 5 seconds.
        limits: The limits of one key.
    """

    url: str = "https://api.uspto.gov/api/v1/datasets/products"
    key_file: Path | None = None
    signed_for_s: float = 4.0
    limits: LimitsConfig = LimitsConfig()

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError(f"url is {shown_url(self.url)}; the key is only sent by https")
        if self.signed_for_s < 0:
            raise ValueError(f"signed_for_s is {self.signed_for_s}; it must not be below 0")

    @property
    def key_path(self) -> Path:
        """Path of the key file, which may not exist."""
        return self.key_file or Path(platformdirs.user_config_dir("designclip")) / "odp_api_key"


class ApiKey:
    """A key that is neither printed nor pickled."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "ApiKey(…)"

    def __reduce__(self) -> Any:
        raise TypeError("a key must not be pickled")


def read_key(config: PortalConfig) -> ApiKey:
    """The key from the environment or the key file.

    Raises:
        SourceError: There is none, it cannot be read, or it does not have the form of a key.
    """
    where, text = KEY_VARIABLE, _stripped(os.environ.get(KEY_VARIABLE, ""))
    if not text:
        where, text = str(config.key_path), _read_key_file(config.key_path)
    if not text:
        raise SourceError(
            f"the portal needs a key: set {KEY_VARIABLE}, or put the key into {where}; {_KEY_PAGE} gives one"
        )
    if text[0] in _QUOTES or text[-1] in _QUOTES:
        raise SourceError(f"the key in {where} is in quotes; remove them")
    if re.match(r"(?:(?:export|set|setx)\s+)?[\w$:-]+\s*[=:]\s*[^\s=]", text, re.IGNORECASE):
        raise SourceError(f"{where} holds a name and a key; leave the key alone, without what is before it")
    if not re.fullmatch(r"[!-~]{1,512}", text):
        raise SourceError(f"the content of {where} is not a key: a key is one word of ASCII characters")
    return ApiKey(text)


def _read_key_file(path: Path) -> str:
    """The text of a key file, in UTF-8 or, as editors of Windows write it, in UTF-16; empty if there is no file."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_KEY_FILE_BYTES)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SourceError(f"cannot read the key file {path}: {error.strerror}") from error
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    return _stripped(data.decode(encoding, errors="replace"))


def _stripped(text: str) -> str:
    """Text without white space and byte order marks at its ends."""
    return text.strip("\ufeff \t\r\n\v\f")


@dataclass(frozen=True, eq=False)
class PortalListing(Sequence[ListedFile]):
    """The files that the portal lists of a product.

    Attributes:
        product: Identifier of the product.
        files: Its files, in the portal's order.
        num_counted: How many there are: the portal's own count, or the rows it sent if those are more.
    """

    product: str
    files: list[ListedFile]
    num_counted: int

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Any:
        return self.files[index]

    @property
    def problem(self) -> str:
        """What is missing, as a sentence; empty if nothing is."""
        if self.num_counted <= len(self.files):
            return ""
        return (
            f"the portal counts {self.num_counted} files of {self.product} and lists {len(self.files)} that can be "
            "read, so weeks may be missing; run again later"
        )


class Portal:
    """The portal, accessed with one key.

    Args:
        config: Where the portal is, and what it allows.
        downloads: Patience.

    Raises:
        SourceError: There is no key. Every method raises it, too, if the portal cannot be used.
    """

    def __init__(self, config: PortalConfig, downloads: DownloadsConfig) -> None:
        self._config, self._downloads = config, downloads
        self._key = read_key(config)
        self._limits = Limits(self._key.reveal(), config.limits)
        self._own = plain_session()  # for the portal's own host only, as the key
        self._own.auth = _no_auth
        self._who = urlsplit(config.url).netloc

    def list_files(
        self, product: str = PRODUCT, *, dates: tuple[datetime.date, datetime.date] | None = None
    ) -> PortalListing:
        """All files of a product, in the portal's order.

        Args:
            product: Identifier of the product.
            dates: Only files of about these dates, first and last included; None for all.
        """
        parameters = {"includeFiles": "true"}
        if dates is not None:
            first, last = dates[0] - _DAYS_AROUND, dates[1] + _DAYS_AROUND
            parameters = {"fileDataFromDate": str(first), "fileDataToDate": str(last)} | parameters
        name, url = f"the listing of {product}", f"{self._config.url}/{quote(product)}"

        def ask() -> PortalListing:
            with self._limits.turn(), self._request(url, name, parameters) as response:
                if response.status_code == 404 and dates is not None:
                    return PortalListing(product, [], 0)  # "No matching records found"
                self._check(response, name)
                return parse_listing(_json_of(response, name, self._who), product)

        return with_retries(self._downloads, ask)

    def open(self, file: ListedFile, *, to_end: bool = False) -> RemoteFile:
        """Open a file for reading. The key is locked until the file is closed, so that no two calls run in parallel.

        Args:
            file: The file as listed.
            to_end: The file will be read to its end, so the server may send ahead of the reader.
        """
        with contextlib.ExitStack() as lock:
            lock.enter_context(self._limits.turn())
            return RemoteFile(
                file.name,
                self._requests_of(file, to_end=to_end),
                config=self._downloads,
                head_first=file.name.lower().endswith(".zip"),
                on_close=lock.pop_all().close,
            )

    def downloads_left(self, file_names: Iterable[str]) -> dict[str, int]:
        """File name → how many more times this key may fetch it now, by the record of this machine."""
        return self._limits.downloads_left(file_names)

    def _requests_of(self, file: ListedFile, *, to_end: bool) -> Callable[[dict[str, str]], requests.Response]:
        """The function that requests parts of a file; it asks for a new signed address when the last has expired."""
        store = plain_session(receive_buffer_bytes=0 if to_end else self._downloads.receive_buffer_bytes)
        store.auth = _no_auth
        signed: tuple[str, float] | None = None  # address, and when it was granted

        def ask(headers: dict[str, str]) -> requests.Response:
            nonlocal signed
            if signed is None or time.monotonic() - signed[1] > self._config.signed_for_s:
                granted = self._grant(file)
                if isinstance(granted, requests.Response):
                    return granted
                signed = granted, time.monotonic()
            who = f"the portal's store, {urlsplit(signed[0]).netloc.rpartition('@')[2]},"
            response = send(store, "GET", signed[0], name=file.name, config=self._downloads, headers=headers)
            if response.status_code in (200, 206, 416):
                raise_if_html(response, who=who, name=file.name)
                return response
            response.close()
            signed = None
            raise self._error_of_store(response, who, file.name)

        return ask

    def _error_of_store(self, response: requests.Response, who: str, name: str) -> SourceError:
        """The error that an answer of the store means. Raises InterruptionError if another try may succeed."""
        status = response.status_code
        raise_if_transient(response, who=who, name=name, config=self._downloads)
        if status in (400, 401, 403):
            return InterruptionError(
                f"the download address of {name} was refused ({status}): it had expired, which it does 5 seconds after "
                "the portal grants it, so something on the way is slow"
            )
        if status in (404, 410):
            return SourceChangedError(
                f"{who} does not have {name} ({status}), though the portal lists it; run again later"
            )
        return SourceError(f"{who} answered {status} for {name}; run again later")

    def _grant(self, file: ListedFile) -> str | requests.Response:
        """The signed address of a file, or the answer with the file itself if the portal does not redirect."""
        download = self._limits.before_download(file.name)
        is_granted = False
        try:
            response = self._request(file.url, file.name)
            status, location = response.status_code, response.headers.get("Location")
            if status in (301, 302, 303, 307, 308) and location:
                response.close()
                signed = _joined(file.url, location)
                if signed is None:
                    raise SourceError(f"{self._who} redirects {file.name} to an invalid address; run again later")
                is_granted = True
                return signed
            if status == 200:
                is_granted = True
                raise_if_html(response, who=self._who, name=file.name)
                return response
            with response:
                self._check(response, file.name)
            raise SourceError(f"{self._who} answered {status} for {file.name}; run again later")
        finally:
            if is_granted:
                self._limits.granted(download)
            else:
                self._limits.take_back(download)

    def _request(self, url: str, name: str, parameters: dict[str, str] | None = None) -> requests.Response:
        """Call the portal. The key is sent to the portal's own host only, and redirects are not followed."""
        self._limits.before_call()
        is_own = urlsplit(url)[:2] == urlsplit(self._config.url)[:2]
        headers = {"X-API-KEY": self._key.reveal()} if is_own else {}
        return send(
            self._own,
            "GET",
            url,
            name=name,
            config=self._downloads,
            params=parameters,
            headers=headers,
            allow_redirects=False,
        )

    def _check(self, response: requests.Response, name: str) -> None:
        """Raise SourceError unless an answer is the one wanted; the message says what it means and what to do."""
        status = response.status_code
        if status == 200:
            return raise_if_html(response, who=self._who, name=name)
        raise_if_transient(response, who=self._who, name=name, config=self._downloads)
        if status == 401:
            raise SourceDownError(
                f"{self._who} treats the request for {name} as one without a key (401); check {KEY_VARIABLE} or "
                f"{self._config.key_path}"
            )
        if status == 403:
            raise SourceDownError(
                f"{self._who} refuses the key for {name} (403): it is invalid, has expired or was blocked, or it "
                "is new, since a new key takes a while to be accepted; try again in an hour, or get another key at "
                f"{_KEY_PAGE}"
            )
        if status in (404, 410):
            raise SourceChangedError(
                f"{self._who} does not have {name} ({status}): it was withdrawn or re-issued under another name; run "
                "again to list it again"
            )
        if 300 <= status < 400:
            raise SourceError(f"{self._who} has moved {name} to another address ({status}); set the portal's url")
        raise SourceError(f"{self._who} does not understand the request for {name} ({status}{self._detail(response)})")

    def _detail(self, response: requests.Response) -> str:
        """What the portal says about its error, in one line of bounded length, from which the key is removed."""
        with contextlib.suppress(ValueError, requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            values = json.loads(response.raw.read(8192, decode_content=True))
            reasons = (values.get(name) for name in ("errorDetails", "detailedMessage", "error", "message"))
            text = next((str(words) for words in reasons if words), "no reason given")
            return ": " + " ".join(text.replace(self._key.reveal(), "…").split())[:200]
        return ""


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Leave a request as it is; without this, requests looks for a password in ~/.netrc."""
    return request


def parse_listing(answer: Any, product: str = PRODUCT) -> PortalListing:
    """All files of a product in the portal's answer, in its order; if some are missing, that is also logged.

    Bags may be objects, lists, or lists of lists; names may differ in case and between Uri, URI and Url; a number may
    be text or a float. A row without a name or an address cannot be read; rows of other products are left out.

    >>> row = {"fileName": "I20210105.tar", "fileDownloadUri": "https://host/I20210105.tar", "fileSize": "3.7e9"}
    >>> [(file.name, file.num_bytes) for file in parse_listing({"productFileBag": {"fileDataBag": [[row]]}})]
    [('I20210105.tar', 3700000000)]
    """
    files: list[ListedFile] = []
    num_counted = 0
    for bag in _bags(answer, "productfilebag", product):
        rows = [row for row in _objects(bag.get("filedatabag")) if row]
        num_counted += max(_whole_number(bag.get("count")) or 0, len(rows))
        files += [file for row in rows if (file := _listed(row)) is not None]
    listing = PortalListing(product, files, num_counted)
    if listing.problem:
        _LOG.warning("%s", listing.problem)
    return listing


def _bags(value: Any, wanted: str, product: str) -> Iterator[dict[str, Any]]:
    """Every object under a name, at any depth, except those of other products."""
    for item in _objects(value):
        if str(item.get("productidentifier", product)).upper() != product.upper():
            continue
        for name, inner in item.items():
            if name == wanted:
                yield from _objects(inner)
            elif isinstance(inner, dict | list):
                yield from _bags(inner, wanted, product)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a bag, with their keys in lower case."""
    if isinstance(value, dict):
        yield {str(name).lower(): item for name, item in value.items()}
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _listed(row: dict[str, Any]) -> ListedFile | None:
    """The file of a row; None if the row has no name or no web address."""
    name = row.get("filename")
    url = next((row[key] for key in ("filedownloaduri", "filedownloadurl", "fileuri", "fileurl") if row.get(key)), None)
    if not isinstance(name, str) or not isinstance(url, str) or _joined("", url) is None:
        return None
    return ListedFile(
        name=name.strip().rpartition("/")[2],
        url=url.strip(),
        num_bytes=_whole_number(row.get("filesize")),
        released=_moment(row.get("filereleasedate") or row.get("filereleasedatetime")),
        modified=_moment(row.get("filelastmodifieddatetime") or row.get("lastmodifieddatetime")),
    )


def _joined(base: str, address: str) -> str | None:
    """A web address, given relative to another; None if it is not a web address."""
    with contextlib.suppress(ValueError):
        joined = urljoin(base, address.strip())
        return joined if urlsplit(joined).scheme in ("http", "https") else None
    return None


def _whole_number(value: Any) -> int | None:
    """A count or size, written as a number, a float or text; None for anything else."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        number = float(str(value).replace(",", "").replace("_", ""))
        return int(value) if isinstance(value, int) else round(number) if number >= 0 else None
    return None


def _moment(value: Any) -> str | None:
    """A date, with or without time, in ISO 8601; text that cannot be read stays as it is."""
    if not isinstance(value, str) or not value.strip():
        return None
    with contextlib.suppress(ValueError):
        return datetime.datetime.fromisoformat(value.strip()).isoformat()
    return value.strip()


def _json_of(response: requests.Response, name: str, who: str) -> Any:
    """The answer's JSON, of bounded size. Raises InterruptionError if the connection is cut or it is not JSON."""
    failure: SourceError
    try:
        return json.loads(response.raw.read(_MOST_LISTING_BYTES, decode_content=True))
    except (urllib3.exceptions.HTTPError, OSError) as error:
        failure = InterruptionError(f"the connection to {who} was cut within {name} ({type(error).__name__})")
    except ValueError:
        failure = InterruptionError(f"{who} sent {name} not as JSON")
    raise failure
