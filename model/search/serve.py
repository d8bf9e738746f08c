"""A web page that searches a dataset by words, by images or by one of its patents, and the same as JSON.

From the results one can follow patents, similar views and citations, and compare two patents. Whatever a request names
is looked up in the gallery and never becomes a path. The pages load nothing from other servers.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import json
import secrets
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import cv2
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware

from model.clip.patent_scores import DEFAULT_SCORING, SCORINGS
from model.dataset.query_image import MAX_BYTES, QueryError, check_photograph, read_query_image
from model.errors import ConfigError, ModelError, NonFiniteError
from model.pages import page_environment
from model.search.access import ENTER, TokenGate, check_access, is_loopback
from model.search.api import api_routes
from model.search.comparison import compare_patents
from model.search.form import MAX_PAGE_RESULTS, Form, address
from model.search.found import Found
from model.search.gallery import GalleryView
from model.search.query import MAX_PICTURES, Picture
from model.search.record import make_record, render_record
from model.search.search import Search

HOST = "127.0.0.1"
_MAX_RECENT = 64  # searches by pictures that addresses can refer to
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_NO_STORE = {"Cache-Control": "no-store"}


class ServeError(ModelError):
    """The page cannot be served, for example because its port is in use."""


class RequestError(Exception):
    """A request cannot be answered.

    Attributes:
        status: Status of the answer.
    """

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Settings of the page.

    Attributes:
        host: Address that the page is served on; only the loopback interface needs no token.
        port: Port; 0 for any free port.
        token: What a browser or program must know; None lets everybody in who can connect.
        num_results: Number of results if the page does not ask for another number.
        max_upload_mb: Size of all images of a query together, in MiB.
        photograph: Which images are searched as line drawings as well: "auto", photographs; "always"; or "never".
    """

    host: str = HOST
    port: int = 8321
    token: str | None = field(default=None, repr=False)
    num_results: int = 24
    max_upload_mb: int = MAX_BYTES >> 20
    photograph: str = "auto"

    def __post_init__(self) -> None:
        check_access(self.host, self.token)
        check_photograph(self.photograph)
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}; choose 1024 to 65535, or 0 for any free port")
        if not 1 <= self.num_results <= MAX_PAGE_RESULTS:
            raise ConfigError(f"num_results is {self.num_results}; choose 1 to {MAX_PAGE_RESULTS}")
        if not 1 <= self.max_upload_mb <= MAX_BYTES >> 20:
            raise ConfigError(f"max_upload_mb is {self.max_upload_mb}; choose 1 to {MAX_BYTES >> 20}")


def bind(port: int, host: str = HOST) -> socket.socket:
    """A socket bound to a port of an address of this machine. Raises ServeError if it cannot be used."""
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        holder.bind((host, port))
    except OSError as error:
        holder.close()
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise ServeError(f"{host} is not an address of this machine; use one that it has, or 0.0.0.0") from None
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
        name = f"[{config.host}]" if ":" in config.host else config.host
        on_ready(f"http://{name}:{holder.getsockname()[1]}/")
        server.run(sockets=[holder])


def make_app(search: Search, config: ServeConfig) -> FastAPI:
    """The web application with all its pages."""
    app = FastAPI(title=f"Search {search.gallery.dataset.name}", version="1", docs_url=None, redoc_url=None)
    if config.token is not None:
        app.add_middleware(TokenGate, token=config.token)
    if is_loopback(config.host):  # elsewhere the token is what other sites do not have
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost", "[::1]"])
    pages = _Pages(search, config)
    routes = APIRouter(include_in_schema=False)
    routes.get("/")(pages.home)
    routes.post("/picture")(pages.by_image)
    routes.get("/picture")(pages.picture)
    routes.get("/asked")(pages.asked)
    routes.get("/record")(pages.record)
    routes.post("/record")(pages.record_by_image)
    routes.get("/favicon.ico")(lambda: Response(status_code=204))
    routes.get("/patent")(pages.patent)
    routes.get("/compare")(pages.compare)
    routes.get("/api")(lambda: pages.describe_api(app.openapi()))
    if config.token is not None:
        routes.get(ENTER)(pages.enter)
    app.include_router(routes)
    app.include_router(api_routes(search, pages.find, pages.pictures_in))
    app.exception_handler(404)(pages.not_found)
    app.exception_handler(RequestError)(pages.refused)
    return app


class _Pages:
    """Answers requests; only one request at a time uses the model and the gallery."""

    def __init__(self, search: Search, config: ServeConfig) -> None:
        self._search = search
        self._gallery = search.gallery
        self._config = config
        self._lock = threading.Lock()
        self._recent = _RecentPictures()
        environment = page_environment(Path(__file__).parent)
        environment.globals["address"] = address
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
                found = self.find(form, ())
                row = self._gallery.row_of(form.view) if form.view else None
                like = self._gallery.view(row) if row is not None else None
            except (QueryError, NonFiniteError) as error:
                sentence = str(error)
        return self._page(
            "home",
            form,
            status=400 if sentence else 200,
            found=found,
            sentence=sentence,
            like=like,
            num_asked=len(found.query.pictures) if found else 0,
        )

    async def by_image(self, request: Request) -> Response:
        """The results for the images in the body of the request, as a fragment of the page, and their address."""

        def answer(form: Form, pictures: tuple[Picture, ...]) -> Response:
            found = self.find(form, pictures)
            kept = replace(form, pictures=self._recent.keep(pictures), patent="", view="")
            response = self._fragment(found, "", kept, status=200)
            response.headers["X-Address"] = kept.address(found.query.offset)
            return response

        return await self._with_pictures(request, answer)

    def asked(self, pictures: str = "", number: int = 0) -> Response:
        """An image that was sent before, as it is compared."""
        kept = self._recent.get(pictures)
        if not 0 <= number < len(kept):
            return self._page("missing", Form(), status=404, sentence="There is no such picture.")
        png = cv2.imencode(".png", kept[number].pixels)[1].tobytes()
        headers = {**_HEADERS, **_NO_STORE, "Content-Security-Policy": "default-src 'none'"}
        return Response(png, media_type="image/png", headers=headers)

    def record(self, request: Request) -> Response:
        """A search by words, a patent or a view as a record, to be saved."""
        form = Form.of(request)
        try:
            return self._record_of(self.find(form, ()), request)
        except (QueryError, NonFiniteError) as error:
            return self._page("missing", form, status=400, sentence=f"{error}.")

    async def record_by_image(self, request: Request) -> Response:
        """A search by the images in the body of the request as a record, to be saved."""
        return await self._with_pictures(
            request, lambda form, pictures: self._record_of(self.find(form, pictures), request)
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
        citing = [self._gallery.view(self._gallery.rows_of_id(other)[0]) for other in self._gallery.citing_ids(number)]
        return self._page("patent", Form(), views=views, here=here, elsewhere=elsewhere, citing=citing)

    def compare(self, a: str = "", b: str = "") -> Response:
        """Two patents side by side."""
        try:
            with self._lock:
                comparison = compare_patents(self._search, a, b)
        except (QueryError, NonFiniteError) as error:
            return self._page("missing", Form(), status=404, sentence=f"{str(error)[:1].upper()}{str(error)[1:]}.")
        return self._page("compare", Form(), comparison=comparison)

    def describe_api(self, schema: dict[str, Any]) -> Response:
        """The page that documents the JSON interface."""
        return self._page("api", Form(), schema=schema)

    def enter(self, wrong: str = "") -> Response:
        """The page that asks for the token."""
        return self._page("enter", Form(), sentence="This is not the token of this server." if wrong else "")

    def refused(self, request: Request, error: Exception) -> Response:
        """The answer to a request that cannot be answered, where no page inserts it."""
        status = error.status if isinstance(error, RequestError) else 400
        return JSONResponse({"error": str(error)}, status_code=status, headers={**_HEADERS, **_NO_STORE, **_policy("")})

    def not_found(self, request: Request, _: Exception) -> Response:
        """The page for unknown addresses, or for programs an error as JSON."""
        if request.url.path.startswith("/api/"):
            return JSONResponse(
                {"error": "there is no such address"}, status_code=404, headers={**_HEADERS, **_policy("")}
            )
        return self._page("missing", Form(), status=404, sentence="There is no such page.")

    def find(self, form: Form, pictures: tuple[Picture, ...]) -> Found:
        """The results for a form and pictures, else those that it refers to. Raises QueryError, NonFiniteError."""
        if form.pictures and not pictures:
            pictures = self._recent.get(form.pictures)
            if not pictures:
                raise QueryError("the pictures of this address are no longer kept; choose them again")
        query = form.query(pictures, self._config.num_results)
        with self._lock:
            return self._search.find(query)

    async def _with_pictures(
        self, request: Request, answer: Callable[[Form, tuple[Picture, ...]], Response]
    ) -> Response:
        """What `answer` returns for the form and the images of a request, or a fragment that says what is wrong."""
        from starlette.concurrency import run_in_threadpool

        try:
            pictures = await self.pictures_in(request)
            return await run_in_threadpool(lambda: answer(Form.of(request), pictures))
        except RequestError as error:
            return self._failed(str(error), status=error.status)
        except (QueryError, NonFiniteError) as error:
            return self._failed(str(error), status=400)

    async def pictures_in(self, request: Request) -> tuple[Picture, ...]:
        """The images in the body of a request. Raises RequestError, or QueryError for one that cannot be read."""
        from starlette.concurrency import run_in_threadpool

        if not request.headers.get("content-type", "").startswith(("image/", "application/octet-stream")):
            raise RequestError("send the bytes of a TIFF, PNG or JPEG image", 415)
        data = await self._body(request)

        def read() -> tuple[Picture, ...]:
            parts = split_body(data, request.query_params.get("sizes", ""))
            images = [read_query_image(part, self._search.image, self._config.photograph) for part in parts]
            names = ["image"] if len(images) == 1 else [f"image {number}" for number in range(1, len(images) + 1)]
            return tuple(Picture.of(name, image) for name, image in zip(names, images, strict=True))

        return await run_in_threadpool(read)

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
        """The body of a request. Raises RequestError as soon as it is larger than allowed."""
        max_bytes = self._config.max_upload_mb << 20
        too_large = RequestError(f"the image has more than {self._config.max_upload_mb} MiB; make it smaller", 413)
        stated_length = request.headers.get("content-length", "")
        if stated_length.isdigit() and int(stated_length) > max_bytes:
            raise too_large
        data = bytearray()
        async for chunk in request.stream():
            data += chunk
            if len(data) > max_bytes:
                raise too_large
        return bytes(data)

    def _failed(self, sentence: str, *, status: int) -> Response:
        """The part of the page that shows an error, for a script that inserts it."""
        return self._fragment(None, sentence, Form(), status=status)

    def _fragment(self, found: Found | None, sentence: str, form: Form, *, status: int) -> Response:
        headers = {**_HEADERS, **_NO_STORE, **_policy("")}
        return HTMLResponse(str(self._results(found, sentence, form)), status_code=status, headers=headers)

    def _page(self, kind: str, form: Form, *, status: int = 200, **values: Any) -> Response:
        """A whole page: kind is "home", "patent", "compare", "api", "enter" or "missing"."""
        nonce = secrets.token_urlsafe(16)
        html = self._template.render(
            kind=kind,
            form=form,
            nonce=nonce,
            search=self._search,
            gallery=self._gallery,
            num_results=self._config.num_results,
            max_results=MAX_PAGE_RESULTS,
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
                "citing": [],
                "num_asked": 0,
                **values,
            },
        )
        return HTMLResponse(html, status_code=status, headers={**_HEADERS, **_NO_STORE, **_policy(nonce)})


class _RecentPictures:
    """The pictures of the last searches, so that an address can refer to them; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Picture, ...]] = OrderedDict()

    def keep(self, pictures: tuple[Picture, ...]) -> str:
        """Keep pictures in place of the oldest; returns their key, the same for the same pixels."""
        key = hashlib.sha256("".join(picture.sha256 for picture in pictures).encode()).hexdigest()[:16]
        with self._lock:
            self._kept[key] = pictures
            self._kept.move_to_end(key)
            if len(self._kept) > _MAX_RECENT:
                self._kept.popitem(last=False)
        return key

    def get(self, key: str) -> tuple[Picture, ...]:
        """The pictures of a key; none if they are not kept any more."""
        with self._lock:
            return self._kept.get(key, ())


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


def _alt(view: GalleryView) -> str:
    """The alternative text of a picture."""
    words = [view.title or "Untitled", view.figure]
    if view.viewpoint and view.viewpoint != "none":
        words.append(f"{view.viewpoint} view".replace("_", " "))
    return ", ".join(word for word in words if word)
