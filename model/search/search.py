"""Search in the views of a dataset, by words, by an image, or by one of the views."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from model.clip.embeddings import embeddings_folder, hide_older_embeddings, require_finite
from model.clip.encoder import Encoder, find_encoder
from model.clip.loading import choose_device
from model.clip.tokenizer import num_words_read
from model.dataset.folder import open_dataset
from model.dataset.images import normalise, resize
from model.dataset.query_image import QueryError, QueryImageConfig
from model.pages import data_uri, page_environment
from model.progress import Progress
from model.search.gallery import Filters, Gallery, Hit
from model.search.nearest import Approximate, ApproximateConfig, Nearest, Probes, approximate
from model.settings import RESULT_UNTOUCHED, Config, require

_LOG = logging.getLogger(__name__)

MAX_RESULTS = 1_000
MAX_QUERY_CHARS = 2_000


@dataclass(frozen=True, kw_only=True)
class SearchConfig(Config):
    """Settings of a search.

    Attributes:
        approximate_from: Galleries with more views use an approximate index; smaller ones are searched exactly.
        min_recall: Share of the exact 20 nearest views that the approximate index must find.
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
    """A model and a gallery, ready to be searched.

    Attributes:
        encoder: The model.
        gallery: The views that are searched.
        nearest: Exact or approximate search over the features of the views.
        image: How the image of a query is prepared, like the images of the dataset.
    """

    def __init__(self, encoder: Encoder, gallery: Gallery, nearest: Nearest | Approximate) -> None:
        self.encoder = encoder
        self.gallery = gallery
        self.nearest = nearest
        self.image = QueryImageConfig.of_dataset(gallery.dataset)

    @property
    def method(self) -> dict[str, Any]:
        """How the views are searched and with what recall, as JSON values."""
        if isinstance(self.nearest, Nearest):
            return {"kind": "exact"}
        return {
            "kind": "approximate",
            "num_lists": self.nearest.num_lists,
            "num_probed": self.nearest.num_probed,
            "recall_at_20": self.nearest.recall,
        }

    @property
    def method_sentence(self) -> str:
        """How the views are searched and with what recall, in one sentence."""
        if isinstance(self.nearest, Nearest):
            return "Every view is compared."
        recall = ", ".join(f"{100 * share:.1f} % by {kind}" for kind, share in self.nearest.recall.items())
        return f"Approximate search: of the 20 nearest views it finds {recall}, measured against exact search."

    def by_text(self, text: str, k: int, filters: Filters | None = None, *, a_patent_once: bool = False) -> list[Hit]:
        """The `k` views nearest to a text; words beyond the model's context are ignored, see `remarks_on`.

        Raises:
            QueryError: The text is empty.
            NonFiniteError: The model's features of the text are not finite.
        """
        return self._find(self.encoder.query_features([check_text(text)])[0], k, filters, a_patent_once)

    def remarks_on(self, text: str) -> tuple[str, ...]:
        """A clause that says how much of a text the model reads; none if it reads all of it."""
        words = text.split()
        num_read = num_words_read(self.encoder.load().tokenizer, check_text(text))
        if num_read >= len(words):
            return ()
        return (
            f'the model reads only the first {num_read:,} of {len(words):,} words, up to "{words[num_read - 1][:40]}"; '
            "shorten the query, or put what matters first",
        )

    @torch.inference_mode()
    def by_image(
        self, image: np.ndarray, k: int, filters: Filters | None = None, *, a_patent_once: bool = False
    ) -> list[Hit]:
        """The `k` views nearest to an image: (size_px, size_px) uint8, the pixels of a `QueryImage`.

        Raises:
            NonFiniteError: The model's features of the image are not finite.
        """
        clip = self.encoder.load()
        model: Any = clip.model.eval()
        pixels = normalise(resize(image, clip.preprocess.size_px)[None], clip.preprocess)
        feature = model.encode_image(pixels.to(self.encoder.device), normalize=True).float().cpu().numpy()
        require_finite(feature, model=clip.name, things=["the query image"])
        return self._find(feature[0], k, filters, a_patent_once)

    def by_view(self, row: int, k: int, filters: Filters | None = None, *, a_patent_once: bool = False) -> list[Hit]:
        """The `k` views nearest to a view of the gallery, without those of its own patent."""
        return self._find(self.nearest.row(row), k, filters, a_patent_once, left_out=int(self.gallery.patent_ids[row]))

    def _find(
        self, feature: np.ndarray, k: int, filters: Filters | None, a_patent_once: bool, left_out: int | None = None
    ) -> list[Hit]:
        """The hits for a feature, without the views of the patent `left_out`."""
        check_k(k)
        allowed = self.gallery.allowed(filters or Filters())
        if left_out is not None:
            others = self.gallery.patent_ids != left_out
            allowed = others if allowed is None else allowed & others
        num_allowed = len(self.gallery) if allowed is None else int(allowed.sum())
        # If each patent counts once, it is not known how many views it takes: ask for more until there are `k` patents.
        num_wanted = k
        while True:
            rows, scores = self.nearest.search(feature, num_wanted, allowed)
            kept = self._first_of_patents(rows)[:k] if a_patent_once else np.arange(len(rows))[:k]
            if len(kept) >= k or num_wanted >= num_allowed or not a_patent_once:
                break
            num_wanted = min(4 * num_wanted, num_allowed)
        return [
            Hit(rank=rank, score=float(scores[index]), view=self.gallery.view(int(rows[index])))
            for rank, index in enumerate(kept, 1)
        ]

    def _first_of_patents(self, rows: np.ndarray) -> np.ndarray:
        """Ascending indices into `rows` of the first row of each patent."""
        return np.sort(np.unique(self.gallery.patent_ids[rows], return_index=True)[1])


def check_text(text: str) -> str:
    """The text of a query with blanks merged, cut to `MAX_QUERY_CHARS`. Raises QueryError if it is empty."""
    text = " ".join(text.encode("utf-8", "ignore").decode().split())[:MAX_QUERY_CHARS]
    if not text:
        raise QueryError("the query is empty; describe what to search for, such as: wine glass with a twisted stem")
    return text


def check_k(k: int) -> None:
    """Raise QueryError unless `k` views can be asked for."""
    if not 1 <= k <= MAX_RESULTS:
        raise QueryError(f"k is {k}; choose 1 to {MAX_RESULTS}")


def open_search(
    model: str | Path,
    dataset_dir: str | Path,
    config: SearchConfig | None = None,
    *,
    progress: Progress | None = None,
) -> Search:
    """Prepare a search; features are computed at the first call and stored.

    Args:
        model: A run folder, a model folder, "local-dir:FOLDER", "hf-hub:NAME", or "ARCHITECTURE/TAG".
        dataset_dir: A dataset folder; all its splits are searched.
        config: Settings; None for the defaults.
        progress: Called after each batch that is embedded, with what is counted under "doing".

    Raises:
        ArchitectureError, DatasetError, DeviceError: The model, the dataset or the device cannot be used.
    """
    config = config or SearchConfig()
    gallery = Gallery(open_dataset(dataset_dir))
    hide_older_embeddings(gallery.dataset)
    encoder = find_encoder(
        model,
        choose_device(config.device),
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        progress=progress,
    )
    exact = Nearest([encoder.image_features(gallery.dataset, views).features for views in gallery.views])
    if len(gallery) <= config.approximate_from:
        return Search(encoder, gallery, exact)
    _LOG.info("%s views are more than %s: approximate search", len(gallery), config.approximate_from)
    return Search(encoder, gallery, _approximate(exact, encoder, gallery, config))


def _approximate(exact: Nearest, encoder: Encoder, gallery: Gallery, config: SearchConfig) -> Approximate:
    """The approximate index of a gallery, stored with the features of its views.

    Its recall is measured with texts and images of views that are drawn from the gallery.
    """
    settings = ApproximateConfig(from_views=config.approximate_from, min_recall=config.min_recall)
    rows = np.random.default_rng(settings.seed).choice(
        len(gallery), min(settings.num_probes, len(gallery)), replace=False
    )

    def probes() -> dict[str, Probes]:
        texts = [gallery.view(int(row)).text or "" for row in rows]
        images = np.stack([exact.row(int(row)) for row in rows])
        return {
            "text": Probes(encoder.query_features(texts), np.full(len(rows), -1)),
            "image": Probes(images, rows),
        }

    folder = embeddings_folder(
        gallery.dataset, run_dir=encoder.run_dir, name=encoder.name, fingerprint=encoder.fingerprint
    )
    identity = {
        "model": encoder.fingerprint,
        "dataset": gallery.dataset.fingerprint,
        "num_views": len(gallery),
        "splits": [views.split for views in gallery.views],
    }
    path = folder / f"{gallery.dataset.name}-index.faiss"
    return approximate(exact, probes, settings, path=path, identity=identity)


def render_results(
    search: Search,
    hits: Sequence[Hit],
    *,
    query: str,
    picture: np.ndarray | None,
    filters: str,
    remarks: Sequence[str] = (),
) -> str:
    """One self-contained HTML page of results.

    Args:
        search: The search that found the hits.
        hits: What was found.
        query: The query in words, for the heading.
        picture: (height_px, width_px) uint8 that was searched with; None for a search with words.
        filters: The filters in words; empty without filters.
        remarks: What was changed in the query, one clause each.
    """
    environment = page_environment(Path(__file__).parent)
    environment.filters["picture_uri"] = lambda row: data_uri("image/jpeg", search.gallery.jpeg(row))
    return environment.get_template("search.html").render(
        query=query,
        picture=None if picture is None else data_uri("image/png", cv2.imencode(".png", picture)[1].tobytes()),
        filters=filters,
        remarks=remarks,
        hits=hits,
        search=search,
    )
