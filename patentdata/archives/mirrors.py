"""Mirrors of weekly archives on a web server: with a directory index, or with a file that lists them.

Names of archives are never guessed. If a server has no index, it is asked for a listing under three usual names; the
address of a listing can also be the source itself.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import email.utils
import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import lxml.html
import requests
import urllib3
from lxml import etree

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
from patentdata.archives.remote_file import RemoteFile
from patentdata.archives.weekly_archive import ListedFile
from patentdata.errors import SourceChangedError, SourceDownError, SourceError

LISTING_NAMES = ("SHA256SUMS", "index.json", "weeks.txt")
_LISTING_ENDINGS = (".json", ".txt", "sums")
_MOST_LISTING_BYTES = 16 << 20
_REQUESTS_AT_ONCE = 8
_MOST_YEARS = 200
_YEAR_FOLDER = re.compile(r"(?:.*[^0-9])?(?:19|20)[0-9]{2}(?:[^0-9].*)?")


def list_mirror(url: str, *, config: DownloadsConfig, wanted: Callable[[str], bool]) -> list[ListedFile]:
    """Files that a web address lists, with what the server states of each.

    Args:
        url: A folder of archives, or a file that lists them: plain text with one address or name per line (such as the
            output of `sha256sum`), or JSON.
        config: Patience.
        wanted: Whether a file of this name is wanted; no requests are made for the others.

    Raises:
        SourceError: Nothing there lists wanted files.
    """
    session = plain_session()
    is_listing = urlsplit(url).path.lower().endswith(_LISTING_ENDINGS)
    folder = url if is_listing or urlsplit(url).path.endswith("/") else _with_slash(url)
    for address in [folder] if is_listing else [folder, *(urljoin(folder, name) for name in LISTING_NAMES)]:
        page = with_retries(config, functools.partial(_page, session, address, config))
        pages = {address: page}
        for of_year in _year_folders(page, address):
            pages[of_year] = with_retries(config, functools.partial(_page, session, of_year, config))
        listed = {file.url: file for at, text in pages.items() for file in _read_listing(text, at) if wanted(file.name)}
        if listed:
            return _with_headers(session, listed.values(), config)
    hint = "" if is_listing else f"; put one of {', '.join(LISTING_NAMES)} there, or name the listing itself as source"
    raise SourceError(f"nothing at {shown_url(url)} lists weekly archives such as I20210105.tar{hint}")


def is_year_folder(name: str) -> bool:
    """Whether a folder, by its name, holds the weeks of a year.

    >>> is_year_folder("2024"), is_year_folder("grants-2024"), is_year_folder("I20240102"), is_year_folder("old")
    (True, True, False, False)
    """
    return _YEAR_FOLDER.fullmatch(name) is not None


def open_mirrored(file: ListedFile, *, config: DownloadsConfig, to_end: bool = False) -> RemoteFile:
    """Open a file for reading; reading raises SourceError.

    Args:
        file: The file as listed.
        config: Patience.
        to_end: The file will be read to its end, so the server may send ahead of the reader.
    """
    session = plain_session(receive_buffer_bytes=0 if to_end else config.receive_buffer_bytes)

    def ask(headers: dict[str, str]) -> requests.Response:
        response = send(session, "GET", file.url, name=file.name, config=config, headers=headers)
        if response.status_code in (200, 206, 416):
            raise_if_html(response, who=_host(file.url), name=file.name)
            return response
        response.close()
        raise _error_of(response, file.url, file.name, config)

    return RemoteFile(
        file.name, ask, config=config, head_first=file.name.lower().endswith(".zip"), on_close=session.close
    )


def _page(session: requests.Session, url: str, config: DownloadsConfig) -> bytes:
    """The content of an address, bounded; empty if it does not exist or needs a login."""
    name = f"the listing {shown_url(url)}"
    failure: SourceError
    with send(session, "GET", url, name=name, config=config) as response:
        if response.status_code in (401, 403, 404, 410):
            return b""
        if response.status_code != 200:
            raise _error_of(response, url, name, config)
        try:
            page = response.raw.read(_MOST_LISTING_BYTES + 1, decode_content=True)
            if len(page) <= _MOST_LISTING_BYTES:
                return page
            failure = SourceError(
                f"{name} is larger than {_MOST_LISTING_BYTES >> 20} MiB; name a shorter one as source"
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            failure = InterruptionError(f"the connection was cut within {name} ({type(error).__name__})")
    raise failure


def _with_headers(session: requests.Session, files: Iterable[ListedFile], config: DownloadsConfig) -> list[ListedFile]:
    """Listed files with what the server states of each, several requested in parallel; the first failure ends it."""
    with concurrent.futures.ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        requested = [
            pool.submit(with_retries, config, functools.partial(_with_header, session, file, config)) for file in files
        ]
        try:
            return [future.result() for future in requested]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # each of the others would take as long to fail
            raise


def _with_header(session: requests.Session, file: ListedFile, config: DownloadsConfig) -> ListedFile:
    """A listed file with the size, time and entity tag that the server states of it now, as far as it does."""
    with send(session, "HEAD", file.url, name=file.name, config=config, allow_redirects=True) as response:
        raise_if_transient(response, who=_host(file.url), name=file.name, config=config)
        if response.status_code != 200:
            return file
        size, modified = response.headers.get("Content-Length", ""), response.headers.get("Last-Modified", "")
        with contextlib.suppress(ValueError, TypeError):
            moment = email.utils.parsedate_to_datetime(modified).astimezone(datetime.UTC)
            file = replace(file, modified=moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
        return replace(
            file,
            num_bytes=int(size) if size.isdecimal() else file.num_bytes,
            etag=response.headers.get("ETag", file.etag),
        )


def _read_listing(page: bytes, url: str) -> Iterator[ListedFile]:
    """Files that an index page, a JSON document or lines of text name."""
    text = page.decode("utf-8", "replace").lstrip("\ufeff")
    head = text.lstrip()[:1]
    if head == "<":
        yield from (_linked(link, url) for link in _links(page))
    elif head in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            yield from _in_json(json.loads(text), url)
    else:
        for line in text.splitlines():
            words = line.split()
            if words and not words[0].startswith("#"):
                is_hashed = len(words) > 1 and re.fullmatch(r"[0-9a-fA-F]{64}", words[0])
                yield replace(_linked(words[-1].lstrip("*"), url), sha256=words[0].lower() if is_hashed else None)


def _links(page: bytes) -> Iterator[str]:
    """The addresses that an HTML page links to, as it spells them."""
    with contextlib.suppress(etree.ParserError, ValueError):
        for link in lxml.html.document_fromstring(page).iter("a"):
            yield link.get("href", "")


def _year_folders(page: bytes, url: str) -> list[str]:
    """The folders of years directly below the address of an index page, as that page links to them.

    Raises SourceError if there are more than a server could have.
    """
    if page.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<":
        return []
    addresses: dict[str, None] = {}
    for link in _links(page):
        with contextlib.suppress(ValueError):
            address = urljoin(url, link)
            name = address.removeprefix(url).removesuffix("/")
            if address == f"{url}{name}/" and "/" not in name and is_year_folder(unquote(name)):
                addresses[address] = None
    if len(addresses) > _MOST_YEARS:
        raise SourceError(f"{shown_url(url)} has {len(addresses):,} folders of years; name one of them as source")
    return list(addresses)


def _in_json(value: Any, url: str) -> Iterator[ListedFile]:
    """Every text in a JSON document as a file, with the size that stands next to it in an object, if any."""
    if isinstance(value, str):
        yield _linked(value, url)
    elif isinstance(value, list):
        for item in value:
            yield from _in_json(item, url)
    elif isinstance(value, dict):
        size = next((value[name] for name in ("size", "bytes", "num_bytes") if isinstance(value.get(name), int)), None)
        for item in value.values():
            yield from (replace(file, num_bytes=file.num_bytes or size) for file in _in_json(item, url))


def _linked(link: str, url: str) -> ListedFile:
    """The file that a link of a page at `url` leads to; its name is empty if the link is not a web address."""
    with contextlib.suppress(ValueError):
        address = urljoin(url, link)
        if urlsplit(address).scheme in ("http", "https"):
            return ListedFile(name=unquote(urlsplit(address).path.rpartition("/")[2]), url=address)
    return ListedFile(name="", url=url)


def _error_of(response: requests.Response, url: str, name: str, config: DownloadsConfig) -> SourceError:
    """The error that an answer means. Raises InterruptionError if another try may succeed."""
    status, host = response.status_code, _host(url)
    raise_if_transient(response, who=host, name=name, config=config)
    if status in (404, 410):
        return SourceChangedError(f"{host} does not have {name} ({status}), though it lists it; run again")
    if status in (401, 403):
        return SourceDownError(f"{host} refuses access to {name} ({status}); check user and password in its address")
    return SourceError(f"{host} answered {status} for {name}; check the source")


def _host(url: str) -> str:
    """Host and port of an address, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _with_slash(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=parts.path + "/").geturl()
