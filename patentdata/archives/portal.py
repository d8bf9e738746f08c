"""The Open Data Portal of the USPTO: which files a product has, and their bytes.

A key is needed, free of charge. It is read where it is used, from `ODP_API_KEY` or a key file, and goes to the portal's
own host and nowhere else: into no setting, message, record or file.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
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
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_LISTING_BYTES = 64 << 20
_DAYS_BESIDE = datetime.timedelta(days=7)  # a file's date is now and then not its week's

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PortalConfig:
    """Where the portal is, and what it allows.

    Attributes:
        url: Address above the products.
        key_file: File that holds the key, where `ODP_API_KEY` does not; None for `odp_api_key` in the user's folder of
            settings.
        signed_for_s: How long a download address is used; the portal's own are valid for 5 seconds.
        limits: What one key may do.
    """

    url: str = "https://api.uspto.gov/api/v1/datasets/products"
    key_file: Path | None = None
    signed_for_s: float = 4.0
    limits: LimitsConfig = LimitsConfig()

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError(f"url is {shown_url(self.url)}; the key travels by https alone")
        if self.signed_for_s < 0:
            raise ValueError(f"signed_for_s is {self.signed_for_s}; it must not be below 0")

    @property
    def key_path(self) -> Path:
        return self.key_file or Path(platformdirs.user_config_dir("designclip")) / "odp_api_key"


class ApiKey:
    """A key that does not show itself and does not travel."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "ApiKey(…)"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not to be pickled")


def read_key(config: PortalConfig) -> ApiKey:
    """The key from the environment or the key file.

    Raises:
        SourceError: There is none, or what is there is none.
    """
    where, text = KEY_VARIABLE, os.environ.get(KEY_VARIABLE, "").strip()
    if not text:
        where = str(config.key_path)
        with contextlib.suppress(FileNotFoundError):
            try:
                text = config.key_path.read_text(encoding="ascii", errors="replace").strip()
            except FileNotFoundError:
                raise
            except OSError as error:
                raise SourceError(f"cannot read the key file {where}: {error.strerror}") from error
    if not text:
        raise SourceError(
            f"the portal needs a key: set {KEY_VARIABLE}, or put the key into {where}; {_KEY_PAGE} gives one"
        )
    if not re.fullmatch(r"[!-~]{1,512}", text):
        raise SourceError(f"what stands in {where} is no key: a key is one word of ASCII characters")
    return ApiKey(text)


class Portal:
    """The portal, asked with one key.

    Raises:
        SourceError: From every method, with a sentence of what went wrong; from here, where there is no key.
    """

    def __init__(self, config: PortalConfig, downloads: DownloadsConfig) -> None:
        self._config, self._downloads = config, downloads
        self._key = read_key(config)
        self._limits = Limits(self._key.reveal(), config.limits)
        self._own = plain_session()  # for the portal's own host; a signed address never sees it, nor the key
        self._own.auth = _no_auth
        self._who = urlsplit(config.url).netloc

    def list_files(
        self, product: str = PRODUCT, *, dates: tuple[datetime.date, datetime.date] | None = None
    ) -> list[ListedFile]:
        """Files of a product, of whatever kind, as the portal orders them.

        Args:
            product: Its identifier.
            dates: Only files of about these dates, both included; None for all.
        """
        parameters = {"includeFiles": "true"}
        if dates is not None:
            first, last = dates[0] - _DAYS_BESIDE, dates[1] + _DAYS_BESIDE
            parameters = {"fileDataFromDate": str(first), "fileDataToDate": str(last)} | parameters
        name, url = f"the listing of {product}", f"{self._config.url}/{quote(product)}"

        def ask() -> list[ListedFile]:
            with self._limits.turn(), self._request(url, name, parameters) as response:
                if response.status_code == 404 and dates is not None:
                    return []  # "No matching records found"
                self._check(response, name)
                return parse_listing(_json_of(response, name, self._who), product)

        return with_retries(self._downloads, ask)

    def open(self, file: ListedFile, *, to_end: bool = False) -> RemoteFile:
        """A file's bytes. The key is held until it is closed, so that no two calls run side by side.

        Args:
            file: The file as listed.
            to_end: It will be read to its end, so nothing that comes early is lost.
        """
        with contextlib.ExitStack() as held:
            held.enter_context(self._limits.turn())
            return RemoteFile(
                file.name,
                self._asking_for(file, to_end=to_end),
                config=self._downloads,
                head_first=file.name.lower().endswith(".zip"),
                on_close=held.pop_all().close,
            )

    def downloads_left(self, file_names: Iterable[str]) -> dict[str, int]:
        """File name → how many times this key may still fetch it within a year, by this machine's record."""
        return self._limits.downloads_left(file_names)

    def _asking_for(self, file: ListedFile, *, to_end: bool) -> Callable[[dict[str, str]], requests.Response]:
        store = plain_session(receive_buffer_bytes=0 if to_end else self._downloads.receive_buffer_bytes)
        store.auth = _no_auth
        signed: tuple[str, float] | None = None  # address, and when it was given

        def ask(headers: dict[str, str]) -> requests.Response:
            nonlocal signed
            if signed is None or time.monotonic() - signed[1] > self._config.signed_for_s:
                granted = self._grant(file)
                if isinstance(granted, requests.Response):
                    return granted
                signed = granted, time.monotonic()
            response = send(store, "GET", signed[0], name=file.name, config=self._downloads, headers=headers)
            if response.status_code in (200, 206, 416):
                raise_if_html(response, who=f"the portal's store, {self._host_of(signed[0])},", name=file.name)
                return response
            response.close()
            who, signed = f"the portal's store, {self._host_of(signed[0])},", None
            raise_if_transient(response, who=who, name=file.name, config=self._downloads)
            if response.status_code in (400, 401, 403):
                raise InterruptionError(
                    f"the download address of {file.name} was refused ({response.status_code}): it had expired, which "
                    "it does 5 seconds after the portal gives it, so something on the way is slow"
                )
            if response.status_code in (404, 410):
                raise SourceChangedError(
                    f"{who} does not have {file.name} ({response.status_code}), though the portal lists it; run "
                    "again later"
                )
            raise SourceError(f"{who} answered {response.status_code} for {file.name}; run again later")

        return ask

    def _grant(self, file: ListedFile) -> str | requests.Response:
        """The signed address of a file, or the file itself where the portal sends it without one."""
        download = self._limits.before_download(file.name)
        is_granted = False
        try:
            response = self._request(file.url, file.name)
            status, location = response.status_code, response.headers.get("Location")
            if status in (301, 302, 303, 307, 308) and location:
                response.close()
                signed = _joined(file.url, location)
                if signed is None:
                    raise SourceError(f"{self._who} sends {file.name} to an address that is none; run again later")
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
        """Call the portal. The key goes along to the portal's own host alone, and a redirect is not followed."""
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
        """Raise for an answer that is none, with what it means and what to do."""
        status = response.status_code
        if status == 200:
            return raise_if_html(response, who=self._who, name=name)
        raise_if_transient(response, who=self._who, name=name, config=self._downloads)
        if status == 401:
            raise SourceDownError(
                f"{self._who} takes the request for {name} for one without a key (401); check {KEY_VARIABLE} or "
                f"{self._config.key_path}"
            )
        if status == 403:
            raise SourceDownError(
                f"{self._who} refuses the key for {name} (403): it is invalid, has expired or was blocked; "
                f"{_KEY_PAGE} gives a new one"
            )
        if status in (404, 410):
            raise SourceChangedError(
                f"{self._who} does not have {name} ({status}): it was withdrawn or re-issued under another name; run "
                "again, which lists anew"
            )
        if 300 <= status < 400:
            raise SourceError(f"{self._who} has moved {name} elsewhere ({status}); set the portal's url anew")
        raise SourceError(f"{self._who} does not understand the request for {name} ({status}{self._detail(response)})")

    def _detail(self, response: requests.Response) -> str:
        """What the portal says of its error, in one bounded line, the key taken out should it be in there."""
        with contextlib.suppress(ValueError, requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            values = json.loads(response.raw.read(8192, decode_content=True))
            told = (values.get(name) for name in ("errorDetails", "detailedMessage", "error", "message"))
            text = next((str(words) for words in told if words), "no reason given")
            return ": " + " ".join(text.replace(self._key.reveal(), "…").split())[:200]
        return ""

    @staticmethod
    def _host_of(url: str) -> str:
        return urlsplit(url).netloc.rpartition("@")[2]


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Without this requests looks into ~/.netrc for the host."""
    return request


def parse_listing(answer: Any, product: str = PRODUCT) -> list[ListedFile]:
    """The files of a product in the portal's answer, in its order, whatever their kind.

    Bags may be objects, lists, or lists of lists; names may differ in case and between Uri, URI and Url; a number may
    be text or a float. A row without a name or an address is passed over, as are rows of other products.

    >>> row = {"fileName": "I20210105.tar", "fileDownloadUri": "https://host/I20210105.tar", "fileSize": "3.7e9"}
    >>> [(file.name, file.num_bytes) for file in parse_listing({"productFileBag": {"fileDataBag": [[row]]}})]
    [('I20210105.tar', 3700000000)]
    """
    files: list[ListedFile] = []
    num_counted = 0
    for bag in _bags(answer, "productfilebag", product):
        rows = [row for row in _objects(bag.get("filedatabag")) if row]
        num_counted += _whole_number(bag.get("count")) or len(rows)
        files += [file for row in rows if (file := _listed(row)) is not None]
    if num_counted > len(files):
        _LOG.warning("the portal counts %d files of %s and lists %d", num_counted, product, len(files))
    return files


def _bags(value: Any, wanted: str, product: str) -> Iterator[dict[str, Any]]:
    """Every object under a name, at any depth, but not of other products."""
    for item in _objects(value):
        if str(item.get("productidentifier", product)).upper() != product.upper():
            continue
        for name, inner in item.items():
            if name == wanted:
                yield from _objects(inner)
            elif isinstance(inner, dict | list):
                yield from _bags(inner, wanted, product)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a bag, with their names in lower case."""
    if isinstance(value, dict):
        yield {str(name).lower(): item for name, item in value.items()}
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _listed(row: dict[str, Any]) -> ListedFile | None:
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
    """A web address, of one relative to another; None where it is none."""
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
    """A date, with or without time, in one spelling; text that is none stays as it is."""
    if not isinstance(value, str) or not value.strip():
        return None
    with contextlib.suppress(ValueError):
        return datetime.datetime.fromisoformat(value.strip()).isoformat()
    return value.strip()


def _json_of(response: requests.Response, name: str, who: str) -> Any:
    """The answer's JSON, bounded; a connection cut within it is an interruption."""
    failure: SourceError
    try:
        return json.loads(response.raw.read(_MOST_LISTING_BYTES, decode_content=True))
    except (urllib3.exceptions.HTTPError, OSError) as error:
        failure = InterruptionError(f"the connection to {who} was cut within {name} ({type(error).__name__})")
    except ValueError:
        failure = InterruptionError(f"{who} sent no JSON for {name}")
    raise failure
