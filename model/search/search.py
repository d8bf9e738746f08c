"""Search in the views of a dataset: by words, by a picture, or by one of the views themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from model.clip.embeddings import embeddings_folder
from model.clip.encoder import Encoder, find_encoder
from model.clip.loading import choose_device
from model.dataset.folder import open_dataset
from model.dataset.images import normalise, resize
from model.dataset.query_image import QueryError, QueryImageConfig
from model.pages import data_uri, page_environment
from model.progress import Progress
from model.search.gallery import Filters, Gallery, Hit
from model.search.nearest import Approximate, ApproximateConfig, Nearest, Probes, approximate
from model.settings import RESULT_UNTOUCHED, Config, require

MAX_RESULTS = 1_000
MAX_QUERY_CHARS = 2_000


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


class Search:
    """A model and a gallery, ready to answer.

    Attributes:
        gallery: What is searched.
        entrant: The model.
        nearest: Exact, or approximate with its measured recall.
        image: How a query's picture is laid out.
    """

    def __init__(self, entrant: Encoder, gallery: Gallery, nearest: Nearest | Approximate) -> None:
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
    model: str | Path,
    dataset_dir: str | Path,
    config: SearchConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Search:
    """A model and a dataset made ready; features are computed at the first call and kept.

    Args:
        model: A run folder, a model folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".
        dataset_dir: A dataset folder; all its splits are searched.
        config: Settings.
        progress: Called after each batch that is embedded.

    Raises:
        ArchitectureError, DatasetError, DeviceError: The model, the dataset or the device cannot be used.
    """
    config = config or SearchConfig()
    gallery = Gallery(open_dataset(dataset_dir))
    entrant = find_encoder(
        model,
        choose_device(config.device),
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        progress=progress,
    )
    exact = Nearest([entrant.image_features(gallery.dataset, views).features for views in gallery.views])
    if len(gallery) > config.approximate_from:
        return Search(entrant, gallery, _approximate(exact, entrant, gallery, config))
    return Search(entrant, gallery, exact)


def _approximate(exact: Nearest, entrant: Encoder, gallery: Gallery, config: SearchConfig) -> Approximate:
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
    environment = page_environment(Path(__file__).parent)
    environment.filters["picture_uri"] = lambda row: data_uri("image/jpeg", search.gallery.jpeg(row))
    return environment.get_template("search.html").render(
        query=query,
        picture=None if picture is None else data_uri("image/png", cv2.imencode(".png", picture)[1].tobytes()),
        asked=asked,
        hits=hits,
        search=search,
    )
