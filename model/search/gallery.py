"""The views of a dataset that a search ranks, and the filters that restrict them."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model.dataset.classes import LOCARNO, USPC
from model.dataset.folder import Dataset
from model.dataset.line_layers import LineLayers, line_layers
from model.dataset.query_image import QueryError
from model.dataset.views import Views, has_claimed_images, read_views
from model.errors import DatasetError

_LOCARNO = re.compile(r"(\d{1,2})(?:[-./ ]?(\d{2}))?")
_DAY = re.compile(r"(\d{4})(?:-(0?[1-9]|1[0-2])(?:-(0?[1-9]|[12]\d|3[01]))?)?", re.ASCII)
_EPOCH = datetime.date(1970, 1, 1)
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
    "owners",
    "cited_by_examiner",
)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which views a search may find; without any value, all of them.

    Attributes:
        classes: US classes ("D7") or Locarno classes ("07", "07-01"); a view must have one of them.
        granted_from: Earliest day of grant.
        granted_to: Latest day of grant, included.
        viewpoints: Viewpoints, such as "front" or "perspective"; a view must have one of them.
        owners: Parts of names, such as "apple"; a view's patent must have an owner whose name contains one of them, in
            upper or lower case.
    """

    classes: tuple[str, ...] = ()
    granted_from: datetime.date | None = None
    granted_to: datetime.date | None = None
    viewpoints: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.classes:
            if USPC.index_of(name) < 0 and LOCARNO.index_of(name) < 0:
                raise QueryError(f"{name[:40]!r} is not a class; name one such as D7 (US) or 07-01 (Locarno)")
        if self.granted_from and self.granted_to and self.granted_from > self.granted_to:
            raise QueryError(f"empty date range {self.granted_from} to {self.granted_to}: the start is after the end")

    @classmethod
    def parse(
        cls,
        classes: Sequence[str] = (),
        granted_from: str = "",
        granted_to: str = "",
        viewpoints: Sequence[str] = (),
        owners: Sequence[str] = (),
    ) -> Filters:
        """Filters from user input, with days such as 2021-03-31, 2021-03 or 2021.

        Raises:
            QueryError: A class or a day is not valid, or the range of days is empty.
        """
        return cls(
            classes=tuple(name.strip().upper() for name in classes if name.strip()),
            granted_from=_day(granted_from, is_last=False),
            granted_to=_day(granted_to, is_last=True),
            viewpoints=tuple(name.strip().lower().replace(" ", "_") for name in viewpoints if name.strip()),
            owners=tuple(" ".join(name.split()) for name in owners if name.strip()),
        )

    def to_dict(self) -> dict[str, Any]:
        """The filters as JSON values, which `parse` reads."""
        return {
            "classes": list(self.classes),
            "granted_from": str(self.granted_from or ""),
            "granted_to": str(self.granted_to or ""),
            "viewpoints": list(self.viewpoints),
            "owners": list(self.owners),
        }

    def describe(self) -> str:
        """The filters in words; empty if all views pass.

        >>> Filters.parse(["D7"], "2021", viewpoints=["front"]).describe()
        'class D7, granted since 2021-01-01, front views'
        """
        parts = [f"class {name}" for name in self.classes]
        if self.granted_from:
            parts.append(f"granted since {self.granted_from}")
        if self.granted_to:
            parts.append(f"granted until {self.granted_to}")
        if self.viewpoints:
            parts.append(f"{' or '.join(self.viewpoints).replace('_', ' ')} views")
        if self.owners:
            parts.append(f"owned by {' or '.join(self.owners)}")
        return ", ".join(parts)


def _day(text: str, *, is_last: bool) -> datetime.date | None:
    """The first or last day of a day, a month or a year; None for an empty text."""
    text = text.strip()
    if not text:
        return None
    try:
        year, month, day = (int(part or 0) for part in _DAY.fullmatch(text).groups())  # type: ignore[union-attr]
        month = month or (12 if is_last else 1)
        return datetime.date(year, month, day or (calendar.monthrange(year, month)[1] if is_last else 1))
    except (AttributeError, ValueError):
        raise QueryError(f"{text[:40]!r} is not a day; write 2021-03-31, 2021-03 or 2021") from None


@dataclass(frozen=True, kw_only=True)
class GalleryView:
    """One view of the gallery with its data; None for what the dataset does not say."""

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
    owners: tuple[str, ...]
    cited_by_examiner: tuple[str, ...]

    @property
    def figure(self) -> str:
        """The figure as a patent names it, "FIG. 3"; empty if it is not known."""
        return f"FIG. {self.figure_label}" if self.figure_label else ""

    @property
    def class_title(self) -> str | None:
        """Title of the US class, or else of the Locarno class; None without a class."""
        for table, code in ((USPC, self.uspc_class), (LOCARNO, self.locarno_class)):
            index = table.index_of(code)
            if index >= 0:
                return table.titles[index]
        return None


class Gallery:
    """Every captioned view of a dataset, of all its splits, by row.

    Attributes:
        dataset: The dataset.
        lines: Which lines of the views are compared, "all" or "claimed".
        knows_claimed: Whether the dataset has images of the claimed lines, so that a page can show which they are.
        views: The views of each split that has any; the rows of the gallery count through them in this order.
        patent_ids: (num_views,) int, equal for views of the same patent.

    Raises:
        DatasetError: The dataset has no views, or no images of the lines that are compared.
    """

    def __init__(self, dataset: Dataset, lines: str = "all") -> None:
        self.dataset = dataset
        self.lines = lines
        splits = [split for split, num in sorted(dataset.num_views.items()) if num]
        if not splits:
            raise DatasetError(f"dataset {dataset.name} has no views; add grants to the dataset")
        self.knows_claimed = has_claimed_images(dataset)
        read = "both" if self.knows_claimed else lines
        self.views = [replace(read_views(dataset, split, lines=read), lines=lines) for split in splits]
        self._starts = np.cumsum([0, *(len(views) for views in self.views)])
        numbers = pa.chunked_array([chunk for views in self.views for chunk in views.table["patent_number"].chunks])
        encoded = pc.dictionary_encode(numbers.combine_chunks())
        self._numbers: list[str] = encoded.dictionary.to_pylist()
        self._id_of_patent = {number: index for index, number in enumerate(self._numbers)}
        self.patent_ids = encoded.indices.to_numpy()
        self._rows_by_patent = np.argsort(self.patent_ids, kind="stable")
        self._ends = np.cumsum(np.bincount(self.patent_ids, minlength=len(self._id_of_patent)))
        self._uspc = np.concatenate([views.class_ids(USPC) for views in self.views])
        self._locarno = [_column_or_nulls(views, "locarno_class") for views in self.views]
        self._viewpoint = [_column_or_nulls(views, "viewpoint") for views in self.views]
        self._days = np.concatenate([_days_of_grant(views) for views in self.views])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def num_patents(self) -> int:
        """Number of patents that have a view."""
        return len(self._id_of_patent)

    @property
    def classes(self) -> list[tuple[str, str, int]]:
        """Code, title and number of views of each US class that occurs, in the order of the table."""
        nums = np.bincount(self._uspc[self._uspc >= 0], minlength=len(USPC))
        return [(USPC.codes[index], USPC.titles[index], int(num)) for index, num in enumerate(nums) if num]

    @property
    def days(self) -> tuple[datetime.date, datetime.date] | None:
        """First and last day of grant; None if no day is known."""
        known = self._days[self._days >= 0]
        if not len(known):
            return None
        first, last = (_EPOCH + datetime.timedelta(days=int(day)) for day in (known.min(), known.max()))
        return first, last

    @cached_property
    def viewpoints(self) -> list[str]:
        """The viewpoints that occur, in alphabetical order."""
        return sorted({name for part in self._viewpoint for name in pc.unique(part).to_pylist() if name})

    def viewpoint_of(self, row: int) -> str | None:
        """The viewpoint of a view; None if it is not known."""
        views, index = self._locate(row)
        return views.table.column("viewpoint")[index].as_py() if "viewpoint" in views.table.column_names else None

    def patent_number(self, patent_id: int) -> str:
        """The number of a patent by its id, as in `patent_ids`."""
        return self._numbers[patent_id]

    def titles_of_patents(self) -> list[str]:
        """One title for each patent id; empty if it has none."""
        titles = [""] * self.num_patents
        for patent, title in zip(self.patent_ids, self._texts("title"), strict=True):
            titles[patent] = titles[patent] or title
        return titles

    def captions_of_patents(self) -> list[str]:
        """The different captions of each patent's views in one text, by patent id; empty if it has none."""
        captions: list[dict[str, None]] = [{} for _ in range(self.num_patents)]
        for patent, caption in zip(self.patent_ids, self._texts("text"), strict=True):
            captions[patent][caption] = None
        return [" ".join(different) for different in captions]

    def _texts(self, name: str) -> list[str]:
        """A column of texts, one for each view; empty texts for missing values."""
        return [text or "" for views in self.views for text in _column_or_nulls(views, name).to_pylist()]

    def cited_ids(self, patent_id: int) -> list[int]:
        """Ids of the patents of this gallery that the examiner of a patent cited, itself excluded."""
        cited = self.view(self.rows_of_id(patent_id)[0]).cited_by_examiner
        ids = (self._id_of_patent.get(number) for number in dict.fromkeys(cited))
        return [other for other in ids if other is not None and other != patent_id]

    def citing_ids(self, number: str) -> list[int]:
        """Ids of the patents of this gallery whose examiner cited a patent, in ascending order."""
        found: set[int] = set()
        for start, views in zip(self._starts, self.views, strict=False):
            if "cited_by_examiner" in views.table.column_names:
                cited = views.table.column("cited_by_examiner").combine_chunks()
                is_cited = pc.fill_null(pc.equal(pc.list_flatten(cited), number), False)
                rows = pc.list_parent_indices(cited).filter(is_cited).to_numpy()
                found |= set(self.patent_ids[rows + start].tolist())
        return sorted(found)

    def view(self, row: int) -> GalleryView:
        """The view of a row with its data."""
        views, index = self._locate(row)
        values: dict[str, Any] = {
            name: views.table.column(name)[index].as_py() if name in views.table.column_names else None
            for name in _COLUMNS
        }
        for name in ("owners", "cited_by_examiner"):
            values[name] = tuple(values[name] or ())
        return GalleryView(row=row, split=views.split, **values)

    def jpeg(self, row: int) -> bytes:
        """The picture of a view, of all its lines, as the dataset stores it."""
        views, index = self._locate(row)
        return views.whole_images[index]

    def is_layered(self, row: int) -> bool:
        """Whether a view has both claimed and unclaimed lines, and it is known which they are."""
        views, index = self._locate(row)
        return views.claimed_box(index) is not None

    def layers(self, row: int) -> LineLayers | None:
        """The claimed and the unclaimed lines of a view; None if it does not have both, or they are not known."""
        views, index = self._locate(row)
        box = views.claimed_box(index)
        return line_layers(views.whole_images[index], views.claimed_images[index], box) if box is not None else None

    def rows_of(self, patent_number: str) -> list[int]:
        """Ascending rows of a patent's views; empty if the gallery does not have the patent."""
        patent_id = self._id_of_patent.get(patent_number)
        return [] if patent_id is None else self.rows_of_id(patent_id)

    def rows_of_id(self, patent_id: int) -> list[int]:
        """Ascending rows of the views of a patent, by its id."""
        first = self._ends[patent_id - 1] if patent_id else 0
        return self._rows_by_patent[first : self._ends[patent_id]].tolist()

    def row_of(self, view_id: str) -> int | None:
        """Row of a view; None if the gallery does not have it."""
        rows = self.rows_of(view_id.partition("-")[0])
        return next((row for row in rows if self.view(row).view_id == view_id), None)

    def allowed(self, filters: Filters) -> np.ndarray | None:
        """(num_views,) bool, True for the views that pass the filters; None if there are no filters.

        Raises:
            QueryError: No view of the gallery has one of the viewpoints.
        """
        if filters == Filters():
            return None
        passes = np.ones(len(self), bool)
        if filters.classes:
            passes &= np.any([self._has_class(name) for name in filters.classes], axis=0)
        if filters.granted_from:
            passes &= self._days >= _days_since_epoch(filters.granted_from)
        if filters.granted_to:
            passes &= (self._days >= 0) & (self._days <= _days_since_epoch(filters.granted_to))
        if filters.viewpoints:
            passes &= np.any([self._has_viewpoint(name) for name in filters.viewpoints], axis=0)
        if filters.owners:
            passes &= np.any([self._has_owner(name) for name in filters.owners], axis=0)
        return passes

    def _has_viewpoint(self, name: str) -> np.ndarray:
        """(num_views,) bool. Raises QueryError for a viewpoint that no view of the gallery has."""
        if name not in self.viewpoints:
            raise QueryError(
                f"{name[:40]!r} is not a viewpoint of this dataset; use one of {', '.join(self.viewpoints) or 'none'}"
            )
        return np.concatenate([pc.fill_null(pc.equal(part, name), False).to_numpy() for part in self._viewpoint])

    def _has_owner(self, name: str) -> np.ndarray:
        """(num_views,) bool, True for the views of patents with an owner of whose name this is a part.

        Raises QueryError if the dataset does not say who owns its patents.
        """
        if not self.knows_owners:
            raise QueryError("this dataset does not say who owns its patents; build the dataset again")
        parts = []
        for views in self.views:
            owners = views.table.column("owners").combine_chunks()
            matches = pc.match_substring(pc.list_flatten(owners), name, ignore_case=True)
            passes = np.zeros(len(views), bool)
            passes[pc.list_parent_indices(owners).filter(pc.fill_null(matches, False)).to_numpy()] = True
            parts.append(passes)
        return np.concatenate(parts)

    @property
    def knows_owners(self) -> bool:
        """Whether the dataset says who owns its patents; those of earlier versions and of DeepPatent do not."""
        return all("owners" in views.table.column_names for views in self.views)

    def _has_class(self, name: str) -> np.ndarray:
        """(num_views,) bool, True for the views of a US class, a Locarno class or a Locarno subclass."""
        index = USPC.index_of(name)
        if index >= 0:
            return self._uspc == index
        main, sub = _LOCARNO.fullmatch(name).groups()  # type: ignore[union-attr]  # `Filters` has checked the name
        code = f"{int(main):02d}-{sub or ''}"
        return np.concatenate([pc.fill_null(pc.starts_with(part, code), False).to_numpy() for part in self._locarno])

    def _locate(self, row: int) -> tuple[Views, int]:
        """The split that a row of the gallery is in, and its row there."""
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.views[part], row - int(self._starts[part])


def _column_or_nulls(views: Views, name: str) -> pa.ChunkedArray:
    """A column of texts; all null if the dataset does not have it."""
    if name in views.table.column_names:
        return views.table.column(name)
    return pa.chunked_array([pa.nulls(len(views), pa.string())])


def _days_of_grant(views: Views) -> np.ndarray:
    """(num_views,) int64, days of grant counted from 1970-01-01; -1 if unknown."""
    if "grant_date" not in views.table.column_names:
        return np.full(len(views), -1, np.int64)
    days = views.table.column("grant_date").cast(pa.date32()).cast(pa.int32())
    return days.fill_null(-1).to_numpy().astype(np.int64)


def _days_since_epoch(day: datetime.date) -> int:
    return (day - _EPOCH).days
