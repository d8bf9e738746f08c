"""A web page on the loopback interface that searches a dataset by words or by an image.

From the results one can follow patents, similar views and citations. Whatever a request names is looked up in the
gallery and never becomes a path. The pages load nothing from other servers.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from model.dataset.query_image import MAX_BYTES, QueryError, read_query_image
from model.errors import ConfigError, ModelError, NonFiniteError
from model.pages import page_environment
from model.search.gallery import Filters, GalleryView, Hit
from model.search.search import MAX_QUERY_CHARS, Search

HOST = "127.0.0.1"
_MAX_PAGE_RESULTS = 200
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_NO_STORE = {"Cache-Control": "no-store"}


class ServeError(ModelError):
    """The page cannot be served, for example because its port is in use."""


class _TooLargeError(Exception):
    """The body of a request is larger than allowed."""


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Settings of the page.

    Attributes:
        port: Port on the loopback interface; 0 for any free port.
        num_results: Number of results if the page does not ask for another number.
        max_upload_mb: Size of the largest image that is accepted, in MiB.
    """

    port: int = 8321
    num_results: int = 24
    max_upload_mb: int = MAX_BYTES >> 20

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}; choose 1024 to 65535, or 0 for any free port")
        if not 1 <= self.num_results <= _MAX_PAGE_RESULTS:
            raise ConfigError(f"num_results is {self.num_results}; choose 1 to {_MAX_PAGE_RESULTS}")
        if not 1 <= self.max_upload_mb <= MAX_BYTES >> 20:
            raise ConfigError(f"max_upload_mb is {self.max_upload_mb}; choose 1 to {MAX_BYTES >> 20}")


@dataclass(frozen=True, kw_only=True)
class Form:
    """The content of the form on the page, as it was typed.

    Attributes:
        q: Words to search for.
        view: Name of a view whose similar views are searched for.
        cls: A class; empty for all.
        granted_from: Earliest day of grant; empty for no limit.
        granted_to: Latest day of grant; empty for no limit.
        k: Number of results; empty for the default.
        a_patent_once: Whether each patent is found only once.
    """

    q: str = ""
    view: str = ""
    cls: str = ""
    granted_from: str = ""
    granted_to: str = ""
    k: str = ""
    a_patent_once: bool = False

    @classmethod
    def of(cls, request: Request) -> Form:
        """The form from the query string of a request; unknown names are ignored, long values are cut."""
        values = request.query_params
        return cls(
            q=values.get("q", "")[:MAX_QUERY_CHARS],
            view=values.get("view", "")[:200],
            cls=values.get("class", "")[:40],
            granted_from=values.get("from", "")[:40],
            granted_to=values.get("to", "")[:40],
            k=values.get("k", "")[:10],
            a_patent_once=values.get("once") == "1",
        )

    def filters(self) -> Filters:
        """The filters of the form. Raises QueryError if they are not valid."""
        return Filters.parse([self.cls], self.granted_from, self.granted_to)

    def num_results(self, default: int) -> int:
        """The number of results asked for. Raises QueryError if it is not valid."""
        if not self.k:
            return default
        if not (self.k.isascii() and self.k.isdigit() and 1 <= int(self.k) <= _MAX_PAGE_RESULTS):
            raise QueryError(f"{self.k!r} is not a number of results; choose 1 to {_MAX_PAGE_RESULTS}")
        return int(self.k)


def bind(port: int) -> socket.socket:
    """A socket bound to a port of the loopback interface. Raises ServeError if the port cannot be used."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((HOST, port))
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            raise ServeError(
                f"port {port} is in use; stop the process using it, or choose another port, or 0 for any free one"
            ) from None
        raise ServeError(f"port {port} cannot be used ({error.strerror}); choose another, such as 8321") from None
    return holder


def serve(search: Search, config: ServeConfig, holder: socket.socket, *, on_ready: Callable[[str], None]) -> None:
    """Serve the page on a bound socket until the process is interrupted.

    Args:
        search: What the page searches.
        config: Settings.
        holder: The socket from `bind`.
        on_ready: Called with the address of the page.
    """
    import uvicorn

    search.encoder.load()  # otherwise the first request would wait for it
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(search, config), log_level="warning", server_header=False, timeout_graceful_shutdown=3, ws="none"
        )
    )
    holder.listen()  # a request that arrives before the server has started waits
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the way to stop it
        on_ready(f"http://{HOST}:{holder.getsockname()[1]}/")
        server.run(sockets=[holder])


def make_app(search: Search, config: ServeConfig) -> FastAPI:
    """The web application with all its pages."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    pages = _Pages(search, config)
    app.get("/")(pages.home)
    app.post("/picture")(pages.by_image)
    app.get("/picture")(pages.picture)
    app.get("/favicon.ico")(lambda: Response(status_code=204))
    app.get("/patent")(pages.patent)
    app.exception_handler(404)(pages.not_found)
    return app


class _Pages:
    """Answers requests; only one request at a time uses the model and the gallery."""

    def __init__(self, search: Search, config: ServeConfig) -> None:
        self._search = search
        self._gallery = search.gallery
        self._config = config
        self._lock = threading.Lock()
        environment = page_environment(Path(__file__).parent)
        environment.globals["address"] = _address
        environment.globals["alt"] = _alt
        self._template = environment.get_template("serve.html")
        self._results = environment.get_template("serve_results.html").module.results  # type: ignore[attr-defined]

    def home(self, request: Request) -> Response:
        """The form, with the results of a search if one was asked for."""
        form = Form.of(request)
        hits: list[Hit] | None = None
        sentence, like = "", None
        remarks: tuple[str, ...] = ()
        try:
            filters, k = form.filters(), form.num_results(self._config.num_results)
            if form.view:
                row = self._gallery.row_of(form.view)
                if row is None:
                    raise QueryError(f"there is no view {form.view!r} in this dataset")
                like = self._gallery.view(row)
                hits = self._locked(lambda: self._search.by_view(row, k, filters, a_patent_once=form.a_patent_once))
            elif form.q.strip():
                hits = self._locked(lambda: self._search.by_text(form.q, k, filters, a_patent_once=form.a_patent_once))
                remarks = self._search.remarks_on(form.q)
        except (QueryError, NonFiniteError) as error:
            sentence = str(error)
        status = 400 if sentence else 200
        return self._page("home", form, status=status, hits=hits, sentence=sentence, remarks=remarks, like=like)

    async def by_image(self, request: Request) -> Response:
        """The results for the image in the body of the request, as a fragment of the page."""
        from starlette.concurrency import run_in_threadpool

        if not request.headers.get("content-type", "").startswith(("image/", "application/octet-stream")):
            return self._fragment([], "send the bytes of a TIFF, PNG or JPEG image", status=415)
        try:
            data = await self._body(request)
        except _TooLargeError:
            sentence = f"the image has more than {self._config.max_upload_mb} MiB; make it smaller"
            return self._fragment([], sentence, status=413)
        return await run_in_threadpool(self._find_by_image, data, Form.of(request))

    def picture(self, view: str = "") -> Response:
        """The picture of a view."""
        row = self._gallery.row_of(view)
        if row is None:
            return self._page("missing", Form(), status=404, sentence="There is no such view in this dataset.")
        headers = {
            **_HEADERS,
            "Cache-Control": "private, max-age=3600",
            "Content-Security-Policy": "default-src 'none'",
        }
        return Response(self._gallery.jpeg(row), media_type="image/jpeg", headers=headers)

    def patent(self, number: str = "") -> Response:
        """The views of a patent, and the designs that its examiner cited, in the gallery or not."""
        rows = self._gallery.rows_of(number)
        if not rows:
            return self._page("missing", Form(), status=404, sentence="There is no such patent in this dataset.")
        views = [self._gallery.view(row) for row in rows]
        here: list[GalleryView] = []
        elsewhere: list[str] = []
        for cited in dict.fromkeys(number for view in views for number in view.cited_by_examiner):
            found = self._gallery.rows_of(cited)
            if found:
                here.append(self._gallery.view(found[0]))
            else:
                elsewhere.append(cited)
        return self._page("patent", Form(), views=views, here=here, elsewhere=elsewhere)

    def not_found(self, request: Request, _: Exception) -> Response:
        """The page for unknown addresses."""
        return self._page("missing", Form(), status=404, sentence="There is no such page.")

    def _find_by_image(self, data: bytes, form: Form) -> Response:
        try:
            filters, k = form.filters(), form.num_results(self._config.num_results)
            image = read_query_image(data, self._search.image)
            hits = self._locked(
                lambda: self._search.by_image(image.pixels, k, filters, a_patent_once=form.a_patent_once)
            )
        except (QueryError, NonFiniteError) as error:
            return self._fragment([], str(error), status=400)
        return self._fragment(hits, "", status=200, remarks=image.remarks)

    def _locked(self, search: Callable[[], list[Hit]]) -> list[Hit]:
        with self._lock:
            return search()

    async def _body(self, request: Request) -> bytes:
        """The body of a request. Raises _TooLargeError as soon as it is larger than allowed."""
        max_bytes = self._config.max_upload_mb << 20
        stated_length = request.headers.get("content-length", "")
        if stated_length.isdigit() and int(stated_length) > max_bytes:
            raise _TooLargeError
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > max_bytes:
                raise _TooLargeError
        return bytes(data)

    def _fragment(self, hits: list[Hit], sentence: str, *, status: int, remarks: tuple[str, ...] = ()) -> Response:
        """The part of the page that shows results or an error, for a script that inserts it."""
        headers = {**_HEADERS, **_NO_STORE, **_policy("")}
        return HTMLResponse(str(self._results(hits, sentence, remarks)), status_code=status, headers=headers)

    def _page(self, kind: str, form: Form, *, status: int = 200, **values: Any) -> Response:
        """A whole page: kind is "home", "patent" or "missing"."""
        nonce = secrets.token_urlsafe(16)
        html = self._template.render(
            kind=kind,
            form=form,
            nonce=nonce,
            search=self._search,
            gallery=self._gallery,
            num_results=self._config.num_results,
            max_results=_MAX_PAGE_RESULTS,
            max_upload_mb=self._config.max_upload_mb,
            **{
                "hits": None,
                "sentence": "",
                "remarks": (),
                "like": None,
                "views": [],
                "here": [],
                "elsewhere": [],
                **values,
            },
        )
        return HTMLResponse(html, status_code=status, headers={**_HEADERS, **_NO_STORE, **_policy(nonce)})


def _policy(nonce: str) -> dict[str, str]:
    """The content security policy: a page may use its own style, script and pictures, and nothing else."""
    own = f"style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; form-action 'self'; "
    rules = f"default-src 'none'; img-src 'self' blob:; {own if nonce else ''}base-uri 'none'; frame-ancestors 'none'"
    return {"Content-Security-Policy": rules}


def _address(path: str, **values: str) -> str:
    """An address on this server; values are quoted, whatever characters they contain."""
    return f"/{path}?{urlencode(values)}"


def _alt(view: GalleryView) -> str:
    """The alternative text of a picture."""
    words = [view.title or "Untitled", view.figure]
    if view.viewpoint and view.viewpoint != "none":
        words.append(f"{view.viewpoint} view".replace("_", " "))
    return ", ".join(word for word in words if word)
