"""A web page on the loopback interface that searches a dataset by words, by images or by one of its patents.

From the results one can follow patents, similar views and citations. Whatever a request names is looked up in the
gallery and never becomes a path. The pages load nothing from other servers.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from model.clip.patent_scores import DEFAULT_SCORING, SCORINGS
from model.dataset.query_image import MAX_BYTES, QueryError, read_query_image
from model.errors import ConfigError, ModelError, NonFiniteError
from model.pages import page_environment
from model.search.found import Found
from model.search.gallery import Filters, GalleryView
from model.search.query import MAX_OFFSET, MAX_PICTURES, MAX_QUERY_CHARS, Picture, Query
from model.search.record import make_record, render_record
from model.search.search import Search

HOST = "127.0.0.1"
_MAX_PAGE_RESULTS = 200
_MAX_FIELD_CHARS = 200
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
        max_upload_mb: Size of all images of a query together, in MiB.
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
    """The content of the form on the page, as it was typed; an address with these values repeats the search.

    Attributes:
        q: Words to search for.
        avoid: Words that the results should not resemble, one text a comma.
        patent: Number of a patent whose views are the pictures.
        view: Name of a view whose similar views are searched for.
        cls: A class; empty for all.
        granted_from: Earliest day of grant; empty for no limit.
        granted_to: Latest day of grant; empty for no limit.
        viewpoint: Only views from there; empty for all.
        owner: Only patents of owners with this in their names; empty for all.
        scoring: How views become the score of a patent; empty for the default.
        fusion: "rrf" to rank by words as well; empty for the model alone.
        min_score: Least score; empty for no limit.
        hide: Not empty if only the claimed lines of the results are shown.
        k: Number of results; empty for the default.
        offset: Number of patents that are passed over; empty for the first page.
    """

    q: str = ""
    avoid: str = ""
    patent: str = ""
    view: str = ""
    cls: str = ""
    granted_from: str = ""
    granted_to: str = ""
    viewpoint: str = ""
    owner: str = ""
    scoring: str = ""
    fusion: str = ""
    min_score: str = ""
    hide: str = ""
    k: str = ""
    offset: str = ""

    @classmethod
    def of(cls, request: Request) -> Form:
        """The form from the query string of a request; unknown names are ignored, long values are cut."""
        values = request.query_params
        return cls(
            **{
                field: values.get(name, "")[: MAX_QUERY_CHARS if field in ("q", "avoid") else _MAX_FIELD_CHARS]
                for field, name in _FIELDS.items()
            }
        )

    @property
    def is_empty(self) -> bool:
        """Whether the form asks for nothing, not counting pictures."""
        return not (self.q.strip() or self.patent.strip() or self.view)

    def address(self, offset: int) -> str:
        """The address of the page of results that begins after `offset` patents."""
        values = {name: getattr(self, field) for field, name in _FIELDS.items() if field != "offset"}
        values["offset"] = str(offset) if offset else ""
        return _address("", **{name: value for name, value in values.items() if value})

    def query(self, pictures: tuple[Picture, ...], default_k: int) -> Query:
        """The query of the form. Raises QueryError if a value is not valid."""
        return Query(
            text=self.q if self.q.strip() else "",
            pictures=pictures,
            patent="" if pictures else self.patent.strip(),
            view="" if pictures or self.patent.strip() else self.view,
            avoid=tuple(part.strip() for part in self.avoid.split(",") if part.strip()),
            scoring=self.scoring or DEFAULT_SCORING,
            fusion=self.fusion if self.q.strip() and self.fusion else "none",
            filters=Filters.parse([self.cls], self.granted_from, self.granted_to, [self.viewpoint], [self.owner]),
            min_score=self.min_score,
            k=_number(self.k, default_k, 1, _MAX_PAGE_RESULTS, "a number of results"),
            offset=_number(self.offset, 0, 0, MAX_OFFSET, "a number of patents to pass over"),
        )


_FIELDS = {
    "q": "q",
    "avoid": "not",
    "patent": "patent",
    "view": "view",
    "cls": "class",
    "granted_from": "from",
    "granted_to": "to",
    "viewpoint": "viewpoint",
    "owner": "owner",
    "scoring": "scoring",
    "fusion": "fusion",
    "min_score": "min-score",
    "hide": "hide",
    "k": "k",
    "offset": "offset",
}
"""Field of the form → its name in an address."""


def _number(text: str, default: int, least: int, most: int, what: str) -> int:
    """A number from a form, or the default if the field is empty. Raises QueryError if it is not valid."""
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise QueryError(f"{text!r} is not {what}; choose {least} to {most}")
    return int(text)


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
    app.get("/record")(pages.record)
    app.post("/record")(pages.record_by_image)
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
        environment.globals["is_layered"] = lambda view: self._gallery.is_layered(view.row)
        self._template = environment.get_template("serve.html")
        self._results = environment.get_template("serve_results.html").module.results  # type: ignore[attr-defined]

    def home(self, request: Request) -> Response:
        """The form, with the results of a search if one was asked for."""
        form = Form.of(request)
        found: Found | None = None
        sentence, like = "", None
        if not form.is_empty:
            try:
                found = self._find(form, ())
                row = self._gallery.row_of(form.view) if form.view else None
                like = self._gallery.view(row) if row is not None else None
            except (QueryError, NonFiniteError) as error:
                sentence = str(error)
        return self._page("home", form, status=400 if sentence else 200, found=found, sentence=sentence, like=like)

    async def by_image(self, request: Request) -> Response:
        """The results for the images in the body of the request, as a fragment of the page."""
        return await self._with_pictures(request, lambda form, pictures: self._results_of(self._find(form, pictures)))

    def record(self, request: Request) -> Response:
        """A search by words, a patent or a view as a record, to be saved."""
        form = Form.of(request)
        try:
            return self._record_of(self._find(form, ()), request)
        except (QueryError, NonFiniteError) as error:
            return self._page("missing", form, status=400, sentence=f"{error}.")

    async def record_by_image(self, request: Request) -> Response:
        """A search by the images in the body of the request as a record, to be saved."""
        return await self._with_pictures(
            request, lambda form, pictures: self._record_of(self._find(form, pictures), request)
        )

    def picture(self, view: str = "", lines: str = "all") -> Response:
        """The picture of a view: of all its lines, or its claimed or unclaimed ones alone."""
        row = self._gallery.row_of(view)
        if row is None:
            return self._page("missing", Form(), status=404, sentence="There is no such view in this dataset.")
        headers = {
            **_HEADERS,
            "Cache-Control": "private, max-age=3600",
            "Content-Security-Policy": "default-src 'none'",
        }
        layers = self._gallery.layers(row) if lines in ("claimed", "unclaimed") else None
        if layers is None:
            return Response(self._gallery.jpeg(row), media_type="image/jpeg", headers=headers)
        png = layers.claimed_png if lines == "claimed" else layers.unclaimed_png
        return Response(png, media_type="image/png", headers=headers)

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

    def _find(self, form: Form, pictures: tuple[Picture, ...]) -> Found:
        """The results for a form and pictures. Raises QueryError, NonFiniteError."""
        query = form.query(pictures, self._config.num_results)
        with self._lock:
            return self._search.find(query)

    async def _with_pictures(
        self, request: Request, answer: Callable[[Form, tuple[Picture, ...]], Response]
    ) -> Response:
        """What `answer` returns for the form and the images of a request, or a fragment that says what is wrong."""
        from starlette.concurrency import run_in_threadpool

        if not request.headers.get("content-type", "").startswith(("image/", "application/octet-stream")):
            return self._failed("send the bytes of a TIFF, PNG or JPEG image", status=415)
        try:
            data = await self._body(request)
        except _TooLargeError:
            return self._failed(
                f"the image has more than {self._config.max_upload_mb} MiB; make it smaller", status=413
            )

        def find() -> Response:
            try:
                parts = split_body(data, request.query_params.get("sizes", ""))
                images = [read_query_image(part, self._search.image) for part in parts]
                names = ["image"] if len(images) == 1 else [f"image {number}" for number in range(1, len(images) + 1)]
                pictures = tuple(
                    Picture(name=name, pixels=image.pixels, remarks=image.remarks)
                    for name, image in zip(names, images, strict=True)
                )
                return answer(Form.of(request), pictures)
            except (QueryError, NonFiniteError) as error:
                return self._failed(str(error), status=400)

        return await run_in_threadpool(find)

    def _record_of(self, found: Found, request: Request) -> Response:
        """A record as a file to be saved: a page, or JSON if the request says so."""
        now = datetime.datetime.now(datetime.UTC)
        record = make_record(found, now)
        is_json = request.query_params.get("format") == "json"
        name = f"search-{now:%Y%m%d-%H%M%S}.{'json' if is_json else 'html'}"
        headers = {**_HEADERS, **_NO_STORE, "Content-Disposition": f'attachment; filename="{name}"'}
        if is_json:
            text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
            return Response(text, media_type="application/json", headers={**headers, **_policy("")})
        # Saved and opened from a file, the page has its own policy; shown here, it would have no script to run.
        return HTMLResponse(render_record(found, record), headers={**headers, **_policy("")})

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

    def _results_of(self, found: Found) -> Response:
        """The part of the page that shows results, for a script that inserts it."""
        return self._fragment(found, "", status=200)

    def _failed(self, sentence: str, *, status: int) -> Response:
        """The part of the page that shows an error, for a script that inserts it."""
        return self._fragment(None, sentence, status=status)

    def _fragment(self, found: Found | None, sentence: str, *, status: int) -> Response:
        headers = {**_HEADERS, **_NO_STORE, **_policy("")}
        return HTMLResponse(str(self._results(found, sentence, Form())), status_code=status, headers=headers)

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
            scorings=SCORINGS,
            default_scoring=DEFAULT_SCORING,
            max_pictures=MAX_PICTURES,
            **{
                "found": None,
                "sentence": "",
                "like": None,
                "views": [],
                "here": [],
                "elsewhere": [],
                **values,
            },
        )
        return HTMLResponse(html, status_code=status, headers={**_HEADERS, **_NO_STORE, **_policy(nonce)})


def split_body(data: bytes, sizes: str) -> list[bytes]:
    """The images of a body: one, or several after each other.

    Args:
        data: The body.
        sizes: Number of bytes of each image, such as "1200,3400"; empty for one image.

    Raises:
        QueryError: The sizes are not those of the body, or there are too many images.

    >>> split_body(b"aabbb", "2,3")
    [b'aa', b'bbb']
    """
    if not sizes:
        return [data]
    numbers = sizes.split(",")
    if len(numbers) > MAX_PICTURES:
        raise QueryError(f"{len(numbers)} pictures are too many; give at most {MAX_PICTURES}")
    if not all(number.isascii() and number.isdigit() and len(number) < 12 for number in numbers):
        raise QueryError("the sizes of the images are not numbers")
    ends = list(accumulate(map(int, numbers)))
    if ends[-1] != len(data):
        raise QueryError("the sizes of the images do not add up to what was sent")
    return [data[end - int(number) : end] for number, end in zip(numbers, ends, strict=True)]


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
