"""The form of the page: its values are those of an address, so that an address holds the whole query."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from fastapi import Request

from model.clip.patent_scores import DEFAULT_SCORING
from model.dataset.query_image import QueryError
from model.search.gallery import Filters
from model.search.query import MAX_OFFSET, MAX_QUERY_CHARS, Picture, Query

MAX_PAGE_RESULTS = 200
_MAX_FIELD_CHARS = 200


@dataclass(frozen=True, kw_only=True)
class Form:
    """The content of the form on the page, as it was typed; an address with these values repeats the search.

    Attributes:
        q: Words to search for.
        avoid: Words that the results should not resemble, one text a comma.
        patent: Number of a patent whose views are the pictures.
        view: Name of a view whose similar views are searched for.
        pictures: Key of images that were sent before and that the server still has.
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
    pictures: str = ""
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
                for field, name in FIELDS.items()
            }
        )

    @property
    def is_empty(self) -> bool:
        """Whether the form asks for nothing, not counting images that come with it."""
        return not (self.q.strip() or self.patent.strip() or self.view or self.pictures)

    @property
    def without_pictures(self) -> Form:
        """The form without the images that were sent before."""
        return replace(self, pictures="")

    def address(self, offset: int) -> str:
        """The address of the page of results that begins after `offset` patents."""
        values = {name: getattr(self, field) for field, name in FIELDS.items() if field != "offset"}
        values["offset"] = str(offset) if offset else ""
        return address("", **{name: value for name, value in values.items() if value})

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
            k=_number(self.k, default_k, 1, MAX_PAGE_RESULTS, "a number of results"),
            offset=_number(self.offset, 0, 0, MAX_OFFSET, "a number of patents to pass over"),
        )


FIELDS = {
    "q": "q",
    "avoid": "not",
    "patent": "patent",
    "view": "view",
    "pictures": "pictures",
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


def address(path: str, **values: str) -> str:
    """An address on this server; values are quoted, whatever characters they contain."""
    return f"/{path}?{urlencode(values)}"
