"""The results of a search: patents with their views, as JSON values and as a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from model.files import write_text
from model.pages import data_uri, page_environment
from model.search.gallery import GalleryView
from model.search.query import Query
from model.search.verdicts import VerdictScale

if TYPE_CHECKING:
    from model.search.search import Search


@dataclass(frozen=True, kw_only=True)
class PatentHit:
    """A patent that was found.

    Attributes:
        rank: Its rank, from 1.
        score: What it is ranked by; see `Found.score_kind`.
        picture_score: Score for the pictures alone, a cosine; None for a query without pictures.
        text_score: Score for the words alone, a cosine; None for a query without words.
        verdict: "similar", "maybe" or "unlike", by the score of the pictures; None if it is not known.
        channels: Its rank in each of the rankings that were fused; empty without fusion.
        found_as: Which form of a photograph resembles it more, "picture as it is" or "line drawing"; empty without
            photographs.
        views: Its views that pass the filters, the best first.
        view_scores: The cosine of each view with the nearest picture, or with the words.
    """

    rank: int
    score: float
    picture_score: float | None
    text_score: float | None
    verdict: str | None
    channels: dict[str, int]
    found_as: str
    views: tuple[GalleryView, ...]
    view_scores: tuple[float, ...]

    @property
    def best(self) -> GalleryView:
        """The view that is shown first."""
        return self.views[0]

    def to_dict(self) -> dict[str, Any]:
        """The hit as JSON values: what all views share, then the views."""
        best = self.best
        return {
            "rank": self.rank,
            "score": round(self.score, 6),
            "picture_score": _rounded(self.picture_score),
            "text_score": _rounded(self.text_score),
            "verdict": self.verdict,
            "channels": self.channels,
            "found_as": self.found_as,
            "patent_number": best.patent_number,
            "title": best.title,
            "uspc_class": best.uspc_class,
            "locarno_class": best.locarno_class,
            "grant_date": str(best.grant_date) if best.grant_date else None,
            "owners": list(best.owners),
            "split": best.split,
            "views": [
                {
                    "view_id": view.view_id,
                    "figure_label": view.figure_label,
                    "viewpoint": view.viewpoint,
                    "text": view.text,
                    "score": round(score, 6),
                }
                for view, score in zip(self.views, self.view_scores, strict=True)
            ],
        }


def _png_uri(pixels: np.ndarray) -> str:
    """Grey pixels as the address of a PNG."""
    return data_uri("image/png", cv2.imencode(".png", pixels)[1].tobytes())


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The results of one search.

    Attributes:
        query: What was searched for.
        search: The model and the gallery that answered.
        hits: The patents of the page, the best first.
        num_patents: Number of patents on all pages together; None if an approximate index does not count them.
        score_kind: "cosine"; "standardised", in standard deviations above the average patent; or "fused", of ranks.
        scale: What the scores of pictures mean; None without pictures.
        remarks: What was changed in the query before it was compared, one clause each.
    """

    query: Query
    search: Search
    hits: list[PatentHit]
    num_patents: int | None
    score_kind: str
    scale: VerdictScale | None
    remarks: tuple[str, ...] = ()

    @property
    def score_sentence(self) -> str:
        """What a score is, in one sentence."""
        if self.score_kind == "fused":
            return "Score: reciprocal ranks in the rankings by the model, titles and captions, together."
        if self.score_kind == "standardised":
            return "Score: standard deviations above the average patent, over the parts of the query."
        return "Score: cosine similarity of the features, at most 1."

    @property
    def summary(self) -> str:
        """Which part of the patents is shown, and what was searched, in one sentence."""
        gallery = self.search.gallery
        shown = f"patents {self.hits[0].rank:,} to {self.hits[-1].rank:,}" if self.hits else "no patent"
        of_all = f" of {self.num_patents:,}" if self.num_patents is not None and self.hits else ""
        return f"{shown}{of_all}, from {len(gallery):,} views of {gallery.num_patents:,} patents"

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON values."""
        gallery = self.search.gallery
        return {
            "query": self.query.to_dict(),
            "model": {"name": self.search.encoder.name, "fingerprint": self.search.encoder.fingerprint},
            "dataset": {"name": gallery.dataset.name, "fingerprint": gallery.dataset.fingerprint},
            "lines": gallery.lines,
            "num_views": len(gallery),
            "num_patents": gallery.num_patents,
            "num_found": self.num_patents,
            "search": self.search.method,
            "score": self.score_kind,
            "verdicts": self.scale.to_dict() if self.scale is not None else None,
            "remarks": list(self.remarks),
            "hits": [hit.to_dict() for hit in self.hits],
        }

    def _layer_uris(self, row: int) -> tuple[str, str] | None:
        """The claimed and the unclaimed lines of a view as addresses; None if it does not have both."""
        layers = self.search.gallery.layers(row)
        if layers is None:
            return None
        return data_uri("image/png", layers.claimed_png), data_uri("image/png", layers.unclaimed_png)

    def write_page(self, path: Path) -> None:
        """Write the results as one HTML page with their pictures."""
        write_text(path, self.render())

    def render(self, *, record: str = "", time: str = "") -> str:
        """The results as one self-contained HTML page.

        Args:
            record: JSON text of the record that the page carries; empty for a page that is not a record.
            time: When the record was made; empty for a page that is not a record.
        """
        environment = page_environment(Path(__file__).parent)
        environment.filters["picture_uri"] = lambda row: data_uri("image/jpeg", self.search.gallery.jpeg(row))
        environment.filters["layer_uris"] = self._layer_uris
        pictures = [
            {"uri": _png_uri(pixels), "name": Path(picture.name).name, "form": form}
            for picture in self.query.pictures
            for pixels, form in ((picture.pixels, ""), (picture.lines, "as a line drawing"))
            if pixels is not None
        ]
        return environment.get_template("search.html").render(
            found=self,
            pictures=pictures,
            filters=self.query.filters.describe(),
            record=record,
            time=time,
        )
