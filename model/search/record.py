"""Records of searches, to be kept in a file and repeated later.

A record says when and with what was searched: the fingerprints of dataset and model, the pictures as they were
compared, words, filters and settings, and the results with their scores. It is a JSON file, or a page that carries that
JSON. A search from a record needs none of the original files. Replaying says what is different: the dataset, the model,
or the results.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import markupsafe
import numpy as np
from PIL import Image

from model.dataset.query_image import QueryError
from model.files import write_text
from model.search.found import Found
from model.search.gallery import Filters
from model.search.query import MAX_PICTURES, Picture, Query, Weights

RECORD_KIND = "designclip search"
RECORD_VERSION = 1
_MAX_BYTES = 256 << 20
_MAX_SIDE_PX = 4096
_SCORE_TOLERANCE = 1e-4
_IN_PAGE = re.compile(r'<script type="application/json" id="record">(.*?)</script>', re.DOTALL)


def make_record(found: Found, now: datetime.datetime) -> dict[str, Any]:
    """A search and its results as JSON values."""
    pictures = [
        {
            "name": picture.name,
            "pixels_sha256": picture.sha256,
            "remarks": list(picture.remarks),
            "png": _png_text(picture.pixels),
            **({} if picture.lines is None else {"lines_png": _png_text(picture.lines)}),
        }
        for picture in found.query.pictures
    ]
    values = found.to_dict()
    return {
        "record": RECORD_KIND,
        "version": RECORD_VERSION,
        "time": now.astimezone(datetime.UTC).isoformat(timespec="seconds"),
        "designclip": version("designclip"),
        **values,
        "query": {**values["query"], "pictures": pictures},
    }


def _png_text(pixels: np.ndarray) -> str:
    """A PNG of grey pixels as base64 text."""
    return base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode("ascii")


def write_record(found: Found, path: Path, now: datetime.datetime) -> None:
    """Write a record to a file that ends in .json, or as a page to one that ends in .html."""
    check_record_path(path)
    record = make_record(found, now)
    text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text if path.suffix.lower() == ".json" else render_record(found, record))


def render_record(found: Found, record: Mapping[str, Any]) -> str:
    """A record as a page that carries its JSON."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")  # cannot end the element
    return found.render(record=markupsafe.Markup(text), time=record["time"])  # noqa: S704


def check_record_path(path: Path) -> None:
    """Raise QueryError for a name that is not one of a record."""
    if path.suffix.lower() not in (".json", ".html"):
        raise QueryError(f"{path.name}: a record is a .json or .html file; choose such a name")


def read_record(path: Path) -> dict[str, Any]:
    """The content of a record. Raises QueryError if the file is not one."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise QueryError(f"{path}: more than {_MAX_BYTES >> 20} MiB; this is not the record of a search")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise QueryError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise QueryError(f"{path}: not the record of a search") from None
    in_page = _IN_PAGE.search(text)
    try:
        record = json.loads(in_page[1] if in_page else text)
    except (json.JSONDecodeError, RecursionError):
        record = None
    if not isinstance(record, dict) or record.get("record") != RECORD_KIND:
        raise QueryError(f"{path}: not the record of a search; name a file that --record wrote")
    if record.get("version") != RECORD_VERSION:
        raise QueryError(f"{path}: a record of version {record.get('version')}; this designclip reads {RECORD_VERSION}")
    return record


def query_of(record: Mapping[str, Any]) -> Query:
    """The query of a record. Raises QueryError if the record is damaged."""
    try:
        values = record["query"]
        filters = values["filters"]
        return Query(
            text=values["text"],
            pictures=tuple(_picture(picture) for picture in values["pictures"][: MAX_PICTURES + 1]),
            patent=values["patent"],
            view=values["view"],
            avoid=tuple(values["avoid"]),
            weights=Weights(**{name: float(value) for name, value in values["weights"].items()}),
            scoring=values["scoring"],
            fusion=values["fusion"],
            filters=Filters.parse(
                filters["classes"],
                filters["granted_from"],
                filters["granted_to"],
                filters["viewpoints"],
                filters.get("owners", ()),  # records of earlier versions have none
            ),
            min_score=values["min_score"],
            k=int(values["k"]),
            offset=int(values["offset"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, QueryError):
            raise
        raise QueryError(f"the record is damaged: no usable {error}") from error


def lines_of(record: Mapping[str, Any]) -> str:
    """Which lines were compared in the search of a record; those of earlier versions do not say, and compared all."""
    return str(record.get("lines", "all"))


def _picture(values: Mapping[str, Any]) -> Picture:
    """A picture of a record; its pixels must have the hash that the record states."""
    name = str(values["name"])
    lines = values.get("lines_png")  # photographs only
    picture = Picture(
        name=name,
        pixels=_pixels_of(values["png"], name),
        remarks=tuple(map(str, values["remarks"])),
        lines=None if lines is None else _pixels_of(lines, name),
    )
    if picture.sha256 != values["pixels_sha256"]:
        raise QueryError(f"the record is damaged: the picture {name[:80]} is not the one that was searched with")
    return picture


def _pixels_of(png_text: str, name: str) -> np.ndarray:
    """The grey pixels of a PNG as base64 text; `name` is that of its picture. Raises QueryError if it is damaged."""
    try:
        data = base64.b64decode(png_text, validate=True)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if max(image.size) > _MAX_SIDE_PX:
                raise QueryError(f"the record is damaged: the picture {name[:80]} is too large")
            return np.asarray(image.convert("L"))
    except (binascii.Error, OSError, SyntaxError) as error:
        raise QueryError(f"the record is damaged: the picture {name[:80]} cannot be read") from error


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What is different when a search is repeated.

    Attributes:
        dataset: Whether the dataset is another one.
        model: Whether the model is another one.
        new: Patents that were not found before.
        gone: Patents that are not found any more.
        moved: Patent → its rank before and now.
        rescored: Patent → its score before and now, if they differ by more than rounding.
    """

    dataset: bool
    model: bool
    new: tuple[str, ...]
    gone: tuple[str, ...]
    moved: Mapping[str, tuple[int, int]]
    rescored: Mapping[str, tuple[float, float]]

    @property
    def sentences(self) -> list[str]:
        """The changes in words; one sentence if there are none."""
        lines = []
        lines += ["the dataset has changed"] if self.dataset else []
        lines += ["the model has changed"] if self.model else []
        lines += [f"new: {', '.join(self.new)}"] if self.new else []
        lines += [f"gone: {', '.join(self.gone)}"] if self.gone else []
        lines += [f"{patent}: rank {before}, now {now}" for patent, (before, now) in self.moved.items()]
        lines += [f"{patent}: score {before:.4f}, now {now:.4f}" for patent, (before, now) in self.rescored.items()]
        return lines or ["nothing has changed"]

    def to_dict(self) -> dict[str, Any]:
        """The changes as JSON values."""
        return {
            "dataset_changed": self.dataset,
            "model_changed": self.model,
            "new": list(self.new),
            "gone": list(self.gone),
            "moved": {patent: list(ranks) for patent, ranks in self.moved.items()},
            "rescored": {patent: list(scores) for patent, scores in self.rescored.items()},
        }


def compare(record: Mapping[str, Any], found: Found) -> Changes:
    """What is different between a record and the results of the same query now."""
    values = found.to_dict()
    try:
        before = {hit["patent_number"]: hit for hit in record["hits"]}
        dataset, model = record["dataset"]["fingerprint"], record["model"]["fingerprint"]
        now = {hit["patent_number"]: hit for hit in values["hits"]}
        both = [patent for patent in now if patent in before]
        return Changes(
            dataset=dataset != values["dataset"]["fingerprint"],
            model=model != values["model"]["fingerprint"],
            new=tuple(patent for patent in now if patent not in before),
            gone=tuple(patent for patent in before if patent not in now),
            moved={
                patent: (int(before[patent]["rank"]), now[patent]["rank"])
                for patent in both
                if before[patent]["rank"] != now[patent]["rank"]
            },
            rescored={
                patent: (float(before[patent]["score"]), now[patent]["score"])
                for patent in both
                if abs(before[patent]["score"] - now[patent]["score"]) > _SCORE_TOLERANCE
            },
        )
    except (KeyError, TypeError, ValueError) as error:
        raise QueryError(f"the record is damaged: no usable {error}") from error
