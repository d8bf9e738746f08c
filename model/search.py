"""Search in the views of a dataset: by words, by a picture, or by one of the views themselves."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from model.classes import LOCARNO, USPC
from model.clip import choose_device
from model.data import Views, normalise, read_views, resize
from model.dataset import Dataset, open_dataset
from model.embed import Advance, embeddings_folder
from model.entrant import Entrant, find_entrant
from model.errors import DatasetError
from model.nearest import Approximate, ApproximateConfig, Nearest, Probes, approximate
from model.pages import data_uri, page_environment
from model.query_image import QueryError, QueryImageConfig
from model.settings import RESULT_UNTOUCHED, Config, require

MAX_RESULTS = 1_000
MAX_QUERY_CHARS = 2_000
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
class SearchConfig(Config):
    """Settings of a search.

    Attributes:
        approximate_from: Galleries of more views are searched by an approximate index, smaller ones exactly.
        min_recall: Share of the exact 20 nearest that the approximate index is to find.
        device: "auto", "cpu" or "cuda".
        batch_size: Views embedded at a time.
        num_workers: Threads that decode images.
    """

    approximate_from: int = 500_000
    min_recall: float = 0.95
    device: str = "auto"
    batch_size: int = field(default=128, metadata=RESULT_UNTOUCHED)
    num_workers: int = field(default=2, metadata=RESULT_UNTOUCHED)

    def __post_init__(self) -> None:
        ApproximateConfig(from_views=self.approximate_from, min_recall=self.min_recall)
        for name in ("batch_size", "num_workers"):
            require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; it must be at least 1")


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


class Search:
    """A model and a gallery, ready to answer.

    Attributes:
        gallery: What is searched.
        entrant: The model.
        nearest: Exact, or approximate with its measured recall.
        image: How a query's picture is laid out.
    """

    def __init__(self, entrant: Entrant, gallery: Gallery, nearest: Nearest | Approximate) -> None:
        self.entrant = entrant
        self.gallery = gallery
        self.nearest = nearest
        self.image = QueryImageConfig.of_dataset(gallery.dataset)

    @property
    def how(self) -> dict[str, Any]:
        """How exact the answers are, as plain values."""
        if isinstance(self.nearest, Nearest):
            return {"kind": "exact"}
        return {
            "kind": "approximate",
            "num_lists": self.nearest.num_lists,
            "num_probed": self.nearest.num_probed,
            "recall_at_20": self.nearest.recall,
        }

    @property
    def says(self) -> str:
        """How exact the answers are, in one sentence."""
        if isinstance(self.nearest, Nearest):
            return "Every view is compared."
        recall = ", ".join(f"{100 * share:.1f} % by {kind}" for kind, share in self.nearest.recall.items())
        return f"Approximate search: of the 20 nearest views it finds {recall}, measured against exact search."

    def by_text(self, text: str, k: int, filters: Filters | None = None, *, a_patent_once: bool = False) -> list[Hit]:
        """The `k` views nearest to some words. Raises QueryError where there are none."""
        return self._by(self.entrant.query_features([check_text(text)])[0], k, filters, a_patent_once)

    @torch.inference_mode()
    def by_image(
        self, image: np.ndarray, k: int, filters: Filters | None = None, *, a_patent_once: bool = False
    ) -> list[Hit]:
        """The `k` views nearest to a picture of `query_image.read_query_image`."""
        clip = self.entrant.load()
        model: Any = clip.model.eval()
        pixels = normalise(resize(image, clip.preprocess.size_px)[None], clip.preprocess)
        feature = model.encode_image(pixels.to(self.entrant.device), normalize=True).float().cpu().numpy()[0]
        return self._by(feature, k, filters, a_patent_once)

    def by_view(self, row: int, k: int, filters: Filters | None = None, *, a_patent_once: bool = False) -> list[Hit]:
        """The `k` views nearest to one of the gallery; those of its own patent are left out."""
        return self._by(self.nearest.row(row), k, filters, a_patent_once, apart=int(self.gallery.patent_ids[row]))

    def _by(
        self, feature: np.ndarray, k: int, filters: Filters | None, a_patent_once: bool, apart: int | None = None
    ) -> list[Hit]:
        check_k(k)
        allowed = self.gallery.allowed(filters or Filters())
        if apart is not None:
            others = self.gallery.patent_ids != apart
            allowed = others if allowed is None else allowed & others
        num_allowed = len(self.gallery) if allowed is None else int(allowed.sum())
        wanted = k
        while True:
            rows, scores = self.nearest.search(feature, wanted, allowed)
            kept = self._first_of_patents(rows)[:k] if a_patent_once else np.arange(len(rows))[:k]
            if len(kept) >= k or wanted >= num_allowed or not a_patent_once:
                break
            wanted = min(4 * wanted, num_allowed)
        return [
            Hit(rank=rank, score=float(scores[place]), view=self.gallery.view(int(rows[place])))
            for rank, place in enumerate(kept, 1)
        ]

    def _first_of_patents(self, rows: np.ndarray) -> np.ndarray:
        return np.sort(np.unique(self.gallery.patent_ids[rows], return_index=True)[1])


def check_text(text: str) -> str:
    """Words to search with, blanks merged and bounded. Raises QueryError where there are none."""
    text = " ".join(text.encode("utf-8", "ignore").decode().split())[:MAX_QUERY_CHARS]
    if not text:
        raise QueryError("the query is empty; say what to look for, such as: wine glass with a twisted stem")
    return text


def check_k(k: int) -> None:
    """Raise QueryError unless so many views can be asked for."""
    if not 1 <= k <= MAX_RESULTS:
        raise QueryError(f"k is {k}; choose 1 to {MAX_RESULTS}")


def open_search(
    model: str | Path, dataset_dir: str | Path, config: SearchConfig | None = None, *, advance: Advance | None = None
) -> Search:
    """A model and a dataset made ready; features are computed at the first call and kept.

    Args:
        model: A run folder, a model folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".
        dataset_dir: A dataset folder; all its splits are searched.
        config: Settings.
        advance: Hears of each batch that is embedded.

    Raises:
        ArchitectureError, DatasetError, DeviceError: The model, the dataset or the device cannot be used.
    """
    config = config or SearchConfig()
    gallery = Gallery(open_dataset(dataset_dir))
    entrant = find_entrant(
        model,
        choose_device(config.device),
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        advance=advance,
    )
    exact = Nearest([entrant.image_features(gallery.dataset, views).features for views in gallery.views])
    if len(gallery) > config.approximate_from:
        return Search(entrant, gallery, _approximate(exact, entrant, gallery, config))
    return Search(entrant, gallery, exact)


def _approximate(exact: Nearest, entrant: Entrant, gallery: Gallery, config: SearchConfig) -> Approximate:
    settings = ApproximateConfig(from_views=config.approximate_from, min_recall=config.min_recall)
    rows = np.random.default_rng(settings.seed).choice(
        len(gallery), min(settings.num_probes, len(gallery)), replace=False
    )

    def probes() -> dict[str, Probes]:
        texts = [gallery.view(int(row)).text or "" for row in rows]
        images = np.stack([exact.row(int(row)) for row in rows])
        return {
            "text": Probes(entrant.query_features(texts), np.full(len(rows), -1)),
            "image": Probes(images, rows),
        }

    folder = embeddings_folder(
        gallery.dataset, run_dir=entrant.run_dir, name=entrant.name, fingerprint=entrant.fingerprint
    )
    identity = {
        "model": entrant.fingerprint,
        "dataset": gallery.dataset.fingerprint,
        "num_views": len(gallery),
        "splits": [views.split for views in gallery.views],
    }
    path = folder / f"{gallery.dataset.name}-index.faiss"
    return approximate(exact, probes, settings, path=path, identity=identity)


def render_results(search: Search, hits: Sequence[Hit], *, query: str, picture: np.ndarray | None, asked: str) -> str:
    """One self-contained HTML page of results.

    Args:
        query: What was looked for, in words.
        picture: (height_px, width_px) uint8 that was looked for; None for words.
        asked: Filters, in words; empty without.
    """
    environment = page_environment()
    environment.filters["picture_uri"] = lambda row: data_uri("image/jpeg", search.gallery.jpeg(row))
    return environment.get_template("search_page.html").render(
        query=query,
        picture=None if picture is None else data_uri("image/png", cv2.imencode(".png", picture)[1].tobytes()),
        asked=asked,
        hits=hits,
        search=search,
    )
