"""The JSON interface of the page: the same searches for programs, described by OpenAPI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from model.dataset.query_image import QueryError
from model.errors import NonFiniteError
from model.search.comparison import PatentComparison, compare_patents
from model.search.form import Form, address
from model.search.found import Found
from model.search.gallery import GalleryView
from model.search.query import Picture, canonical_number
from model.search.search import Search

_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "A value cannot be used; `error` says which and why."},
    401: {"description": "The server has a token, and the request does not."},
}
_IMAGES = {
    "requestBody": {
        "required": True,
        "description": "The bytes of one image (TIFF, PNG or JPEG), or of several after each other, with their sizes.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def form_fields(
    request: Request,
    q: Annotated[str, Query(description="Words to search for.")] = "",
    avoid: Annotated[str, Query(alias="not", description="Words to avoid; commas between several texts.")] = "",
    patent: Annotated[str, Query(description="A patent whose views are the pictures, such as D907292.")] = "",
    view: Annotated[str, Query(description="A view whose similar views are searched for.")] = "",
    cls: Annotated[str, Query(alias="class", description="US class (D7) or Locarno class (07, 07-01).")] = "",
    granted_from: Annotated[str, Query(alias="from", description="Earliest day of grant, 2021-03-31 or 2021.")] = "",
    granted_to: Annotated[str, Query(alias="to", description="Latest day of grant, included.")] = "",
    viewpoint: Annotated[str, Query(description="Only views from there, such as front.")] = "",
    owner: Annotated[str, Query(description="Only patents of owners with this in their names.")] = "",
    scoring: Annotated[str, Query(description="max, mean, maxsim or weighted.")] = "",
    fusion: Annotated[str, Query(description="rrf ranks by titles and captions as well.")] = "",
    min_score: Annotated[str, Query(alias="min-score", description="A number, or similar or maybe.")] = "",
    k: Annotated[str, Query(description="Number of patents, 1 to 200.")] = "",
    offset: Annotated[str, Query(description="Number of patents that are passed over.")] = "",
) -> Form:
    """The values of a search; the parameters declare them for OpenAPI, and `Form` reads them."""
    return Form.of(request)


Fields = Annotated[Form, Depends(form_fields)]
Number = Annotated[str, Query(description="Number of a patent, such as D907292.")]


def api_routes(
    search: Search,
    find: Callable[[Form, tuple[Picture, ...]], Found],
    pictures_in: Callable[[Request], Awaitable[tuple[Picture, ...]]],
) -> APIRouter:
    """The routes of the interface.

    Args:
        search: What is searched.
        find: The results for a form and pictures; raises QueryError, NonFiniteError.
        pictures_in: The images in the body of a request; raises QueryError.
    """
    routes = APIRouter(prefix="/api", responses=_ERRORS)

    @routes.get("/search", summary="Search by words, by a patent or by a view")
    def search_by_words(form: Fields) -> JSONResponse:
        if form.is_empty:
            return _failed("say what to search for: q, patent or view")
        return _answer(lambda: find(form, ()).to_dict())

    @routes.post("/search", summary="Search by up to eight images of one product", openapi_extra=_IMAGES)
    async def search_by_images(
        request: Request,
        form: Fields,
        sizes: Annotated[str, Query(description='Bytes of each image, such as "1200,3400"; empty for one.')] = "",
    ) -> JSONResponse:
        try:
            pictures = await pictures_in(request)
        except QueryError as error:
            return _failed(str(error))
        return await run_in_threadpool(_answer, lambda: find(form, pictures).to_dict())

    @routes.get("/patents/{number}", summary="A patent with its views and citations")
    def patent(number: str) -> JSONResponse:
        gallery = search.gallery
        rows = gallery.rows_of(canonical_number(number))
        if not rows:
            return _failed(f"there is no patent {number[:40]!r} in this dataset", status=404)
        views = [gallery.view(row) for row in rows]
        first = views[0]
        citing = [gallery.patent_number(other) for other in gallery.citing_ids(first.patent_number)]
        values = {**_facts(first), "views": [_view(view) for view in views], "cited_in_this_dataset_by": citing}
        return JSONResponse(values, headers=_HEADERS)

    @routes.get("/compare", summary="Two patents: each view of one with the most similar of the other")
    def compare(a: Number = "", b: Number = "") -> JSONResponse:
        return _answer(lambda: _comparison(compare_patents(search, a, b)))

    return routes


def _comparison(found: PatentComparison) -> dict[str, Any]:
    """Two patents side by side."""
    return {
        "one": _facts(found.one[0]),
        "other": _facts(found.other[0]),
        "score": found.score,
        "verdict": found.verdict,
        "pairs": [{"one": pair.one.view_id, "other": pair.other.view_id, "score": pair.score} for pair in found.pairs],
        "unmatched": [view.view_id for view in found.unmatched],
    }


def _answer(values: Callable[[], dict[str, Any]]) -> JSONResponse:
    """What `values` returns, or the sentence of its error."""
    try:
        return JSONResponse(values(), headers=_HEADERS)
    except (QueryError, NonFiniteError) as error:
        return _failed(str(error))


def _failed(sentence: str, *, status: int = 400) -> JSONResponse:
    return JSONResponse({"error": sentence}, status_code=status, headers=_HEADERS)


def _facts(view: GalleryView) -> dict[str, Any]:
    """What the views of a patent share."""
    return {
        "patent_number": view.patent_number,
        "title": view.title,
        "uspc_class": view.uspc_class,
        "locarno_class": view.locarno_class,
        "grant_date": str(view.grant_date) if view.grant_date else None,
        "owners": list(view.owners),
        "split": view.split,
        "cited_by_examiner": list(view.cited_by_examiner),
    }


def _view(view: GalleryView) -> dict[str, Any]:
    """One view, with the address of its picture."""
    return {
        "view_id": view.view_id,
        "figure_label": view.figure_label,
        "viewpoint": view.viewpoint,
        "text": view.text,
        "picture": address("picture", view=view.view_id),
    }
