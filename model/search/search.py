"""Search in the patents of a dataset, by pictures, words, words to avoid, or one of the patents."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.clip.embeddings import embeddings_folder, hide_older_embeddings, require_finite
from model.clip.encoder import Encoder, find_encoder
from model.clip.loading import choose_device
from model.clip.precision import PRECISIONS
from model.clip.tokenizer import num_words_read
from model.clip.view_weights import EQUAL_WEIGHTS, ViewWeights, learn_view_weights
from model.dataset.bm25 import Bm25
from model.dataset.folder import LINES, open_dataset
from model.dataset.images import normalise, resize
from model.dataset.query_image import QueryError, QueryImageConfig
from model.files import read_json, write_json
from model.progress import Progress
from model.search.found import Found, PatentHit
from model.search.gallery import Gallery
from model.search.nearest import Approximate, ApproximateConfig, Nearest, Probes, approximate
from model.search.query import Query, canonical_number, check_text
from model.search.ranking import Cut, PatentRanker, QueryVectors, RankedPatent
from model.search.verdicts import ALL_VIEWS, MAYBE, ONE_VIEW, SIMILAR, VerdictScale, verdict_scale
from model.settings import RESULT_UNTOUCHED, Config, require

_LOG = logging.getLogger(__name__)
_TRAINING_SPLIT = "train"
_WEIGHTS_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SearchConfig(Config):
    """Settings of a search.

    Attributes:
        lines: Which lines of the drawings are compared: "all", or "claimed" without what the grants do not claim.
        approximate_from: Galleries with more views use an approximate index; smaller ones are searched exactly.
        min_recall: Share of the exact 20 nearest views that the approximate index must find.
        device: "auto", "cpu" or "cuda".
        precision: Number format that features are computed in: "fp32", "bf16", or "tf32" on a GPU.
        batch_size: Views embedded at a time.
        num_workers: Threads that decode images, in each process.
        num_processes: Processes that embed views together, on GPUs one each; 0 starts one a GPU.
    """

    lines: str = "all"
    approximate_from: int = 500_000
    min_recall: float = 0.95
    device: str = "auto"
    precision: str = "fp32"
    batch_size: int = field(default=128, metadata=RESULT_UNTOUCHED)
    num_workers: int = field(default=2, metadata=RESULT_UNTOUCHED)
    num_processes: int = field(default=1, metadata=RESULT_UNTOUCHED)

    def __post_init__(self) -> None:
        ApproximateConfig(from_views=self.approximate_from, min_recall=self.min_recall)
        require(self.lines in LINES, f"lines is {self.lines!r}; use one of {', '.join(LINES)}")
        require(self.precision in PRECISIONS, f"precision is {self.precision!r}; use one of {', '.join(PRECISIONS)}")
        require(self.num_processes >= 0, f"num_processes is {self.num_processes}; it must not be negative")
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
        self._ranker = PatentRanker(nearest, gallery)
        self._view_weights: ViewWeights | None = None
        self._words: dict[str, Bm25] | None = None  # built at the first query that is ranked by words
        self._scales: dict[tuple[str, str], VerdictScale | None] = {}

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
            return f"Every view is compared{self._by_lines}."
        recall = ", ".join(f"{100 * share:.1f} % by {kind}" for kind, share in self.nearest.recall.items())
        return (
            f"Approximate search{self._by_lines}: of the 20 nearest views it finds {recall}, measured against exact "
            "search; queries of several parts are compared with every view."
        )

    @property
    def _by_lines(self) -> str:
        return " by its claimed lines" if self.gallery.lines == "claimed" else ""

    def find(self, query: Query) -> Found:
        """The patents for a query, the best first, each with its best view first.

        Raises:
            QueryError: The gallery does not have the query's patent, view or viewpoint.
            NonFiniteError: The model's features of the query are not finite.
        """
        rows = self._rows_of_query(query)
        vectors = self._vectors(query, rows)
        scale = self.scale(query.scoring, len(vectors.pictures)) if query.has_pictures else None
        ranking = self._ranker.rank(
            vectors,
            query.scoring,
            _cut(query, scale),
            self._allowed(query, rows),
            self._by_words(query.text) if query.fusion == "rrf" else None,
        )
        hits = [self._hit(rank, found, scale) for rank, found in enumerate(ranking.patents, query.offset + 1)]
        remarks = (*query.remarks, *(self.remarks_on(query.text) if query.text else ()), *self._remarks(query, scale))
        return Found(
            query=query,
            search=self,
            hits=hits,
            num_patents=ranking.num_patents,
            score_kind="fused" if query.fusion == "rrf" else "standardised" if vectors.is_standardised else "cosine",
            scale=scale,
            remarks=remarks,
        )

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

    @property
    def view_weights(self) -> ViewWeights:
        """Weights of views, learned from the training split at the first use and stored; equal without that split."""
        if self._view_weights is None:
            self._view_weights = self._read_or_learn_weights()
        return self._view_weights

    def _rows_of_query(self, query: Query) -> list[int]:
        """Rows of the gallery that are the pictures of the query; empty for any other query."""
        if query.patent:
            rows = self.gallery.rows_of(canonical_number(query.patent))
            if not rows:
                raise QueryError(f"there is no patent {query.patent[:40]!r} in this dataset")
            return rows
        if query.view:
            row = self.gallery.row_of(query.view)
            if row is None:
                raise QueryError(f"there is no view {query.view[:200]!r} in this dataset")
            return [row]
        return []

    def _vectors(self, query: Query, rows: Sequence[int]) -> QueryVectors:
        """The features of a query; `rows` are its pictures if they are views of the gallery."""
        texts = (
            self.encoder.query_features([*([query.text] if query.text else []), *query.avoid])
            if (query.text or query.avoid)
            else np.empty((0, self._embed_dim), np.float32)
        )
        if rows:
            pictures = np.stack([self.nearest.row(row) for row in rows])
        elif query.pictures:
            pictures = self.embed([picture.pixels for picture in query.pictures])
        else:
            pictures = np.empty((0, self._embed_dim), np.float32)
        weights = np.ones(len(pictures), np.float32)
        if query.scoring == "weighted" and rows:
            weights = self.view_weights.of([self.gallery.viewpoint_of(row) for row in rows])
        return QueryVectors(
            pictures=pictures,
            view_weights=weights,
            text=texts[0] if query.text else None,
            avoided=texts[1:] if query.text else texts,
            as_lines=self._as_lines(query, pictures),
            weights=(query.weights.pictures, query.weights.text, query.weights.avoid),
        )

    def _as_lines(self, query: Query, pictures: np.ndarray) -> np.ndarray | None:
        """The features of the pictures with photographs as line drawings; None if there are no photographs."""
        photographs = [row for row, picture in enumerate(query.pictures) if picture.lines is not None]
        if not photographs:
            return None
        as_lines = pictures.copy()
        as_lines[photographs] = self.embed([query.pictures[row].lines for row in photographs])  # type: ignore[misc]
        return as_lines

    @torch.inference_mode()
    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The features of pictures: (num_images, embed_dim) float32, from (size_px, size_px) uint8 each."""
        clip = self.encoder.load()
        model: Any = clip.model.eval()
        resized = np.stack([resize(image, clip.preprocess.size_px) for image in images])
        pixels = normalise(resized, clip.preprocess)
        features = model.encode_image(pixels.to(self.encoder.device), normalize=True).float().cpu().numpy()
        names = ["the query image"] if len(images) == 1 else [f"query image {i}" for i in range(1, len(images) + 1)]
        require_finite(features, model=clip.name, things=names)
        return np.asarray(features)

    @property
    def _embed_dim(self) -> int:
        exact = self.nearest if isinstance(self.nearest, Nearest) else self.nearest.exact
        return int(exact.parts[0].shape[1])

    def _allowed(self, query: Query, rows: Sequence[int]) -> np.ndarray | None:
        """The views that may be found: those that pass the filters, without those of the query's own patent."""
        allowed = self.gallery.allowed(query.filters)
        if not rows:
            return allowed
        others = self.gallery.patent_ids != self.gallery.patent_ids[rows[0]]
        return others if allowed is None else allowed & others

    def _by_words(self, text: str) -> dict[str, np.ndarray]:
        """BM25 of a text with the titles and with the captions: name → (num_patents,) scores by patent id."""
        if self._words is None:
            texts = {"titles": self.gallery.titles_of_patents(), "captions": self.gallery.captions_of_patents()}
            self._words = {name: Bm25(channel) for name, channel in texts.items() if any(channel)}
        return {name: index.scores([text])(0, 1)[0].numpy() for name, index in self._words.items()}

    def _hit(self, rank: int, found: RankedPatent, scale: VerdictScale | None) -> PatentHit:
        is_judged = scale is not None and found.picture_score is not None
        return PatentHit(
            rank=rank,
            score=found.score,
            picture_score=found.picture_score,
            text_score=found.text_score,
            verdict=scale.verdict(found.picture_score) if is_judged else None,  # type: ignore[union-attr,arg-type]
            channels=found.channels,
            found_as=found.found_as,
            views=tuple(self.gallery.view(row) for row in found.rows),
            view_scores=tuple(found.row_scores),
        )

    def _remarks(self, query: Query, scale: VerdictScale | None) -> tuple[str, ...]:
        """Clauses on what a setting of the query cannot do with this gallery."""
        remarks = []
        if self.gallery.lines == "claimed" and query.pictures:
            remarks.append(
                "the pictures of the query are compared with all their lines, the views with the claimed ones"
            )
        if query.scoring == "weighted" and query.pictures:
            remarks.append("the viewpoints of the pictures are not known, so each has the same weight")
        elif query.scoring == "weighted" and query.has_pictures and not self.view_weights.num_views:
            remarks.append("there is no training split to learn weights from, so each view has the same weight")
        if scale is None and query.min_score in (SIMILAR, MAYBE):
            remarks.append(f'this gallery is too small to say what "{query.min_score}" means, so all patents are shown')
        return tuple(remarks)

    def scale(self, scoring: str, num_pictures: int) -> VerdictScale | None:
        """What scores mean under a scoring for queries of one picture or of several; measured once and stored."""
        kind = ONE_VIEW if num_pictures == 1 else ALL_VIEWS
        if (scoring, kind) not in self._scales:
            self._scales[scoring, kind] = verdict_scale(
                self.gallery,
                self.nearest.row,
                lambda rows: self.view_weights.of([self.gallery.viewpoint_of(row) for row in rows]),
                scoring=scoring,
                kind=kind,
                path=self._stored(f"verdicts-{scoring}-{kind}.json"),
                identity=_identity(self.encoder, self.gallery),
            )
        return self._scales[scoring, kind]

    def _read_or_learn_weights(self) -> ViewWeights:
        path = self._stored("view-weights.json")
        identity = {**_identity(self.encoder, self.gallery), "version": _WEIGHTS_VERSION}
        stored = read_json(path)
        if stored is not None and stored.get("identity") == identity:
            return ViewWeights(stored["by_viewpoint"], stored["num_views"])
        weights = EQUAL_WEIGHTS
        for views in self.gallery.views:
            if views.split == _TRAINING_SPLIT:
                features = self.encoder.image_features(self.gallery.dataset, views).features
                weights = learn_view_weights(features, views.patent_ids, views.viewpoints)
        write_json(
            path,
            {"identity": identity, "by_viewpoint": dict(weights.by_viewpoint), "num_views": weights.num_views},
        )
        return weights

    def _stored(self, name: str) -> Path:
        """A file next to the features of the views."""
        return _stored_path(self.encoder, self.gallery, name)


def _cut(query: Query, scale: VerdictScale | None) -> Cut:
    """The page of a query, with its least scores as numbers."""
    if query.min_score in (SIMILAR, MAYBE):
        limit = scale.limit(query.min_score) if scale is not None else None
        return Cut(offset=query.offset, k=query.k, min_picture_score=limit)
    return Cut(offset=query.offset, k=query.k, min_score=float(query.min_score) if query.min_score else None)


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
    gallery = Gallery(open_dataset(dataset_dir), config.lines)
    hide_older_embeddings(gallery.dataset)
    encoder = find_encoder(
        model,
        choose_device(config.device),
        batch_size=config.batch_size,
        num_workers=config.num_workers,
        precision=config.precision,
        num_processes=config.num_processes,
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

    path = _stored_path(encoder, gallery, "index.faiss")
    return approximate(exact, probes, settings, path=path, identity=_identity(encoder, gallery))


def _stored_path(encoder: Encoder, gallery: Gallery, name: str) -> Path:
    """A file next to the features of the views, which depends on the lines that are compared."""
    folder = embeddings_folder(
        gallery.dataset, run_dir=encoder.run_dir, name=encoder.name, fingerprint=encoder.fingerprint
    )
    lines = "" if gallery.lines == "all" else f"-{gallery.lines}"
    return folder / f"{gallery.dataset.name}{lines}-{name}"


def _identity(encoder: Encoder, gallery: Gallery) -> dict[str, Any]:
    """What the features of a gallery depend on."""
    return {
        "model": encoder.fingerprint,
        "dataset": gallery.dataset.fingerprint,
        "num_views": len(gallery),
        "splits": [views.split for views in gallery.views],
        **({} if gallery.lines == "all" else {"lines": gallery.lines}),
        **({} if encoder.precision == "fp32" else {"precision": encoder.precision}),
    }
