"""What is searched for: pictures, words, words to avoid, or a patent of the gallery.

Opening a gallery can take minutes, since the features of its views are computed at the first search under a model. So
everything about a query that can be wrong without the gallery is checked when the query is made.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model.clip.patent_scores import DEFAULT_SCORING, SCORINGS
from model.dataset.query_image import QueryError, QueryImage, QueryImageConfig, read_query_file
from model.search.gallery import Filters
from model.search.verdicts import MAYBE, SIMILAR

FUSIONS = ("none", "rrf")
MAX_RESULTS = 1_000
MAX_OFFSET = 100_000
MAX_QUERY_CHARS = 2_000
MAX_PICTURES = 8
_MAX_WEIGHT = 100.0
_NUMBER = re.compile(r"(?:US)?D?0*(\d{1,9})(?:S1?)?", re.ASCII)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture that is searched with.

    Attributes:
        name: How it is named in results and records, such as the path of its file.
        pixels: (size_px, size_px) uint8, prepared like the images of the dataset.
        remarks: What was changed in it, one clause each.
        lines: The same of its line drawing, if it is a photograph that is searched as both; else None.
    """

    name: str
    pixels: np.ndarray
    remarks: tuple[str, ...] = ()
    lines: np.ndarray | None = None

    @classmethod
    def of(cls, name: str, image: QueryImage) -> Picture:
        """A picture from what was read of a file."""
        return cls(name=name, pixels=image.pixels, remarks=image.remarks, lines=image.lines)

    @property
    def sha256(self) -> str:
        """Hash of the pixels that are compared, with those of the line drawing if there is one."""
        parts = [self.pixels] if self.lines is None else [self.pixels, self.lines]
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much the parts of a query count, each at least 0; words to avoid count against a patent."""

    pictures: float = 1.0
    text: float = 1.0
    avoid: float = 0.5

    def __post_init__(self) -> None:
        for name, value in (("pictures", self.pictures), ("text", self.text), ("avoid", self.avoid)):
            if not 0 <= value <= _MAX_WEIGHT:
                raise QueryError(f"the weight of {name} is {value:g}; use 0 to {_MAX_WEIGHT:g}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What is searched for, and which part of the results is wanted.

    Attributes:
        text: Words to find.
        pictures: Up to `MAX_PICTURES` pictures of one product.
        patent: Number of a patent of the gallery, whose views are the pictures; it is not found itself.
        view: Name of a view of the gallery that is the only picture; its patent is not found.
        avoid: Words that the results should not resemble, such as ("wheels", "a handle").
        weights: Weights of pictures, words and words to avoid.
        scoring: How scores of views become the score of a patent; see `model.clip.patent_scores`.
        fusion: "rrf" ranks by the model and, with words, by BM25 on titles and on captions together; see
            `model.clip.fusion`. "none" ranks by the model alone.
        filters: Which views may be found.
        min_score: Patents with a lower score are not found: a number, or "similar" or "maybe"; empty for no limit.
        k: Number of patents to find.
        offset: Number of patents that are passed over, for results beyond the first page.

    Raises:
        QueryError: Nothing is searched for, or a value is out of its range.
    """

    text: str = ""
    pictures: tuple[Picture, ...] = ()
    patent: str = ""
    view: str = ""
    avoid: tuple[str, ...] = ()
    weights: Weights = field(default_factory=Weights)
    scoring: str = DEFAULT_SCORING
    fusion: str = "none"
    filters: Filters = Filters()
    min_score: str = ""
    k: int = 10
    offset: int = 0

    def __post_init__(self) -> None:
        if not (self.text or self.pictures or self.patent or self.view):
            raise QueryError("give words, pictures or a patent to search for")
        if self.text:
            check_text(self.text)
        if sum((bool(self.pictures), bool(self.patent), bool(self.view))) > 1:
            raise QueryError("give pictures or a patent number, one of the two; words can be added to either")
        if len(self.pictures) > MAX_PICTURES:
            raise QueryError(f"{len(self.pictures)} pictures are too many; give at most {MAX_PICTURES}")
        if len(self.avoid) > MAX_PICTURES:
            raise QueryError(f"{len(self.avoid)} texts to avoid are too many; give at most {MAX_PICTURES}")
        for text in self.avoid:
            check_text(text)
        if self.weights.pictures == 0 and self.weights.text == 0:
            raise QueryError("the weights of pictures and words are both 0; nothing would be searched for")
        if self.scoring not in SCORINGS:
            raise QueryError(f"scoring is {self.scoring[:40]!r}; use one of {', '.join(SCORINGS)}")
        if self.fusion not in FUSIONS:
            raise QueryError(f"fusion is {self.fusion[:40]!r}; use one of {', '.join(FUSIONS)}")
        if self.fusion != "none" and not self.text:
            raise QueryError("rank fusion compares words; give words to search for, or leave it out")
        check_k(self.k)
        if not 0 <= self.offset <= MAX_OFFSET:
            raise QueryError(f"the offset is {self.offset}; choose 0 to {MAX_OFFSET}")
        self._check_min_score()

    def _check_min_score(self) -> None:
        if self.min_score in ("", SIMILAR, MAYBE):
            if self.min_score and not self.has_pictures:
                raise QueryError(f'"{self.min_score}" is a verdict on pictures; give a number for a search by words')
            return
        try:
            usable = np.isfinite(float(self.min_score))
        except ValueError:
            usable = False
        if not usable:
            raise QueryError(f"{self.min_score[:40]!r} is not a least score; use a number, {SIMILAR} or {MAYBE}")

    @property
    def has_pictures(self) -> bool:
        """Whether pictures are searched for, be they given or those of a patent or view."""
        return bool(self.pictures or self.patent or self.view)

    @property
    def name(self) -> str:
        """The query in one line."""
        parts = [picture.name for picture in self.pictures]
        parts += [f"views of {self.patent}"] if self.patent else []
        parts += [f"view {self.view}"] if self.view else []
        parts += [check_text(self.text)] if self.text else []
        parts += [f"not {check_text(text)}" for text in self.avoid]
        return ", ".join(parts)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was changed in the pictures, one clause each; if there are several, with their names."""
        if len(self.pictures) == 1:
            return self.pictures[0].remarks
        return tuple(f"{picture.name}: {remark}" for picture in self.pictures for remark in picture.remarks)

    def to_dict(self) -> dict[str, Any]:
        """The query as JSON values; of the pictures, their names and hashes."""
        return {
            "text": check_text(self.text) if self.text else "",
            "pictures": [{"name": picture.name, "pixels_sha256": picture.sha256} for picture in self.pictures],
            "patent": self.patent,
            "view": self.view,
            "avoid": [check_text(text) for text in self.avoid],
            "weights": {"pictures": self.weights.pictures, "text": self.weights.text, "avoid": self.weights.avoid},
            "scoring": self.scoring,
            "fusion": self.fusion,
            "filters": self.filters.to_dict(),
            "min_score": self.min_score,
            "k": self.k,
            "offset": self.offset,
        }


def check_text(text: str) -> str:
    """The text of a query with blanks merged, cut to `MAX_QUERY_CHARS`. Raises QueryError if it is empty."""
    text = " ".join(text.encode("utf-8", "ignore").decode().split())[:MAX_QUERY_CHARS]
    if not text:
        raise QueryError("the query is empty; describe what to search for, such as: wine glass with a twisted stem")
    return text


def canonical_number(text: str) -> str:
    """A patent number as the dataset writes it, from any usual way to write it.

    >>> canonical_number("usd0907292"), canonical_number("US D907,292 S1"), canonical_number("907292")
    ('D907292', 'D907292', 'D907292')
    """
    match = _NUMBER.fullmatch(re.sub(r"[\s,.-]", "", text.upper()))
    return f"D{match[1]}" if match else text.strip()


def check_k(k: int) -> None:
    """Raise QueryError unless `k` patents can be asked for."""
    if not 1 <= k <= MAX_RESULTS:
        raise QueryError(f"k is {k}; choose 1 to {MAX_RESULTS}")


def read_pictures(paths: Sequence[Path], config: QueryImageConfig, photograph: str = "auto") -> tuple[Picture, ...]:
    """The pictures of a query from their files. Raises QueryError if there are too many, or one cannot be read.

    `photograph` says which of them are brought to line drawing as well; see `read_query_image`.
    """
    if len(paths) > MAX_PICTURES:
        raise QueryError(f"{len(paths)} pictures are too many; give at most {MAX_PICTURES}")
    return tuple(Picture.of(str(path), read_query_file(path, config, photograph)) for path in paths)
