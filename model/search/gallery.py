"""The views that a search ranks, and the filters that narrow them."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.dataset.classes import LOCARNO, USPC
from model.dataset.folder import Dataset
from model.dataset.query_image import QueryError
from model.dataset.views import Views, read_views
from model.errors import DatasetError

_LOCARNO = re.compile(r"(\d{1,2})(?:[-./ ]?(\d{2}))?")

_DAY = re.compile(r"(\d{4})(?:-(0?[1-9]|1[0-2])(?:-(0?[1-9]|[12]\d|3[01]))?)?", re.ASCII)

_COLUMNS = (
    "view_id",
    "patent_number",
    "title",
    "uspc_class",
    "locarno_class",
    "grant_date",
    "figure_label",
    "viewpoint",
    "text",
    "cited_by_examiner",
)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which views a search may find; an empty filter lets all pass.

    Attributes:
        classes: US classes ("D7") or Locarno classes ("07", "07-01"); a view of any of them passes.
        granted_from: First day of grant.
        granted_to: Last day of grant.
    """

    classes: tuple[str, ...] = ()
    granted_from: datetime.date | None = None
    granted_to: datetime.date | None = None

    def __post_init__(self) -> None:
        for name in self.classes:
            if USPC.index_of(name) < 0 and LOCARNO.index_of(name) < 0:
                raise QueryError(f"{name[:40]!r} is no class; name one such as D7 (US) or 07-01 (Locarno)")
        if self.granted_from and self.granted_to and self.granted_from > self.granted_to:
            raise QueryError(f"granted from {self.granted_from} to {self.granted_to} is no time; turn the two around")

    @classmethod
    def parse(cls, classes: Sequence[str] = (), granted_from: str = "", granted_to: str = "") -> Filters:
        """Filters as somebody types them, days as 2021-03-31, 2021-03 or 2021. Raises QueryError."""
        return cls(
            classes=tuple(name.strip().upper() for name in classes if name.strip()),
            granted_from=_day(granted_from, is_last=False),
            granted_to=_day(granted_to, is_last=True),
        )


def _day(text: str, *, is_last: bool) -> datetime.date | None:
    """The first or last day of what is named: a day, a month, or a year; None for nothing."""
    text = text.strip()
    if not text:
        return None
    try:
        year, month, day = (int(part or 0) for part in _DAY.fullmatch(text).groups())  # type: ignore[union-attr]
        month = month or (12 if is_last else 1)
        return datetime.date(year, month, day or (calendar.monthrange(year, month)[1] if is_last else 1))
    except (AttributeError, ValueError):
        raise QueryError(f"{text[:40]!r} is no day; write 2021-03-31, 2021-03 or 2021") from None


@dataclass(frozen=True, kw_only=True)
class GalleryView:
    """One view of the gallery, with what is known of it."""

    row: int
    split: str
    view_id: str
    patent_number: str
    title: str | None
    uspc_class: str | None
    locarno_class: str | None
    grant_date: datetime.date | None
    figure_label: str | None
    viewpoint: str | None
    text: str | None
    cited_by_examiner: tuple[str, ...]

    @property
    def figure(self) -> str:
        return f"FIG. {self.figure_label}" if self.figure_label else ""

    @property
    def class_title(self) -> str | None:
        """Title of the US class, or else of the Locarno class."""
        for table, code in ((USPC, self.uspc_class), (LOCARNO, self.locarno_class)):
            place = table.index_of(code)
            if place >= 0:
                return table.titles[place]
        return None


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A view that was found; `score` is the cosine similarity, -1 to 1."""

    rank: int
    score: float
    view: GalleryView

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self.view)
        del values["row"], values["cited_by_examiner"]
        values["grant_date"] = str(self.view.grant_date) if self.view.grant_date else None
        return {"rank": self.rank, "score": round(self.score, 6), **values}


class Gallery:
    """Every captioned view of a dataset, of all its splits, by row."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.views = [read_views(dataset, split) for split, num in sorted(dataset.num_views.items()) if num]
        if not self.views:
            raise DatasetError(f"dataset {dataset.name} has no view; add grants to the dataset")
        self._starts = np.cumsum([0, *(len(views) for views in self.views)])
        numbers = pa.chunked_array([chunk for views in self.views for chunk in views.table["patent_number"].chunks])
        encoded = pc.dictionary_encode(numbers.combine_chunks())
        self._patents = {number: place for place, number in enumerate(encoded.dictionary.to_pylist())}
        codes = encoded.indices.to_numpy()
        self._order = np.argsort(codes, kind="stable")
        self._ends = np.cumsum(np.bincount(codes, minlength=len(self._patents)))
        self.patent_ids = codes
        self._uspc = np.concatenate([views.class_ids(USPC) for views in self.views])
        self._locarno = [_texts(views, "locarno_class") for views in self.views]
        self._days = np.concatenate([_days(views) for views in self.views])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def num_patents(self) -> int:
        return len(self._patents)

    @property
    def classes(self) -> list[tuple[str, str, int]]:
        """Code, title and number of views of each US class that occurs, in the order of the table."""
        nums = np.bincount(self._uspc[self._uspc >= 0], minlength=len(USPC))
        return [(USPC.codes[place], USPC.titles[place], int(num)) for place, num in enumerate(nums) if num]

    @property
    def days(self) -> tuple[datetime.date, datetime.date] | None:
        """First and last day of grant; None where none is known."""
        known = self._days[self._days >= 0]
        if not len(known):
            return None
        return tuple(
            datetime.date(1970, 1, 1) + datetime.timedelta(days=int(day)) for day in (known.min(), known.max())
        )  # type: ignore[return-value]

    def view(self, row: int) -> GalleryView:
        """What is known of the view in a row."""
        views, place = self._place(row)
        values: dict[str, Any] = {
            name: views.table.column(name)[place].as_py() if name in views.table.column_names else None
            for name in _COLUMNS
        }
        values["cited_by_examiner"] = tuple(values["cited_by_examiner"] or ())
        return GalleryView(row=row, split=views.split, **values)

    def jpeg(self, row: int) -> bytes:
        """The picture of a view as the dataset holds it."""
        views, place = self._place(row)
        return views.images[place]

    def rows_of(self, patent_number: str) -> list[int]:
        """Rows of a patent's views in order; none where the gallery does not hold it."""
        place = self._patents.get(patent_number)
        if place is None:
            return []
        first = self._ends[place - 1] if place else 0
        return self._order[first : self._ends[place]].tolist()

    def row_of(self, view_id: str) -> int | None:
        """Row of a view; None where the gallery does not hold it."""
        rows = self.rows_of(view_id.partition("-")[0])
        return next((row for row in rows if self.view(row).view_id == view_id), None)

    def allowed(self, filters: Filters) -> np.ndarray | None:
        """(num_views,) bool, True where a view passes; None where all do."""
        if filters == Filters():
            return None
        passes = np.ones(len(self), bool)
        if filters.classes:
            passes &= np.any([self._is_of(name) for name in filters.classes], axis=0)
        if filters.granted_from:
            passes &= self._days >= _number_of(filters.granted_from)
        if filters.granted_to:
            passes &= (self._days >= 0) & (self._days <= _number_of(filters.granted_to))
        return passes

    def _is_of(self, name: str) -> np.ndarray:
        place = USPC.index_of(name)
        if place >= 0:
            return self._uspc == place
        main, sub = _LOCARNO.fullmatch(name).groups()  # type: ignore[union-attr]  # checked by the filter
        code = f"{int(main):02d}-{sub or ''}"
        return np.concatenate([pc.fill_null(pc.starts_with(part, code), False).to_numpy() for part in self._locarno])

    def _place(self, row: int) -> tuple[Views, int]:
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.views[part], row - int(self._starts[part])


def _texts(views: Views, name: str) -> pa.ChunkedArray:
    if name in views.table.column_names:
        return views.table.column(name)
    return pa.chunked_array([pa.nulls(len(views), pa.string())])


def _days(views: Views) -> np.ndarray:
    """Days of grant counted from 1970; -1 where unknown."""
    if "grant_date" not in views.table.column_names:
        return np.full(len(views), -1, np.int64)
    days = views.table.column("grant_date").cast(pa.date32()).cast(pa.int32())
    return days.fill_null(-1).to_numpy().astype(np.int64)


def _number_of(day: datetime.date) -> int:
    return (day - datetime.date(1970, 1, 1)).days
