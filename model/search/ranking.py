"""Patents in the order of their scores for a query of pictures, words and words to avoid.

The cosines of a picture with a drawing and of a text with a drawing are on different scales, so they cannot be added.
If a query has more than one part, the scores of each part are standardised over the patents that are searched: 0 is the
average patent, 1 is one standard deviation above it. Words to avoid lower the score of a patent only as far as it
resembles them more than the average patent does. A query of one part keeps its cosines.

A photograph has two features: as it is and as a line drawing. Of a patent the better one counts, in standard deviations
too, since the cosines of photographs with drawings are on a scale of their own.

Rankings by words (BM25) can be fused with the ranking by the model; then scores are those of the fusion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from model.clip.fusion import fuse, ranks_of
from model.clip.patent_scores import PatentPool, pool_query
from model.errors import NonFiniteError
from model.search.gallery import Gallery
from model.search.nearest import Approximate, Nearest, highest

MODEL_CHANNEL = "model"
AS_IT_IS, AS_LINES = "picture as it is", "line drawing"
_LEAST_SPREAD = 1e-6


@dataclass(frozen=True, eq=False)
class QueryVectors:
    """The features of a query, all of unit length.

    Attributes:
        pictures: (num_pictures, embed_dim) float32; empty for a query without pictures.
        view_weights: (num_pictures,) float32, weight of each picture under the scoring "weighted".
        text: (embed_dim,) float32; None without words.
        avoided: (num_avoided, embed_dim) float32; empty without words to avoid.
        weights: Weights of the pictures, the words and the words to avoid.
        as_lines: (num_pictures, embed_dim) float32, the pictures with photographs as line drawings; None if there are
            no photographs.
    """

    pictures: np.ndarray
    view_weights: np.ndarray
    text: np.ndarray | None
    avoided: np.ndarray
    weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    as_lines: np.ndarray | None = None

    @property
    def stacked(self) -> np.ndarray:
        """(num_vectors, embed_dim): pictures, then the text, then what is to be avoided."""
        text = [self.text[None]] if self.text is not None else []
        return np.concatenate([self.pictures, *text, self.avoided]).astype(np.float32)

    @property
    def single(self) -> np.ndarray | None:
        """The feature of a query that has only one, and nothing to avoid; else None."""
        vectors = self.stacked
        return vectors[0] if len(vectors) == 1 and not len(self.avoided) and self.as_lines is None else None

    @property
    def is_standardised(self) -> bool:
        """Whether scores are standard deviations; otherwise they are cosines."""
        return (
            bool(len(self.avoided)) or (self.text is not None and len(self.pictures) > 0) or self.as_lines is not None
        )


@dataclass(frozen=True, eq=False)
class RankedPatent:
    """A patent that was found.

    Attributes:
        patent_id: Its id in the gallery.
        score: The score that it is ranked by.
        picture_score: Its score for the pictures alone, a cosine; None for a query without pictures.
        text_score: Its score for the words alone, a cosine; None for a query without words.
        channels: Its rank in each of the rankings that were fused; empty without fusion.
        rows: Rows of its views that pass the filters, the best first.
        row_scores: Scores of those views: the cosine with the nearest picture, or with the words.
        found_as: Which form of a photograph scored better, `AS_IT_IS` or `AS_LINES`; empty without photographs.
    """

    patent_id: int
    score: float
    picture_score: float | None
    text_score: float | None
    channels: dict[str, int]
    rows: list[int]
    row_scores: list[float]
    found_as: str = ""


@dataclass(frozen=True, eq=False)
class Ranking:
    """One page of results.

    Attributes:
        patents: The patents of the page, the best first.
        num_patents: Number of patents that pass the filters and the least scores; None if an approximate index was
            searched, which does not count them.
    """

    patents: list[RankedPatent]
    num_patents: int | None


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The part of the ranking that is wanted.

    Attributes:
        offset: Number of patents that are passed over.
        k: Number of patents.
        min_score: Patents with a lower score are not found; None for no limit.
        min_picture_score: The same for the score of the pictures alone.
    """

    offset: int
    k: int
    min_score: float | None = None
    min_picture_score: float | None = None


class PatentRanker:
    """Ranks the patents of a gallery.

    Args:
        nearest: Exact or approximate search over the features of the views.
        gallery: The views, with their patents.
    """

    def __init__(self, nearest: Nearest | Approximate, gallery: Gallery) -> None:
        self._nearest = nearest
        self._exact = nearest if isinstance(nearest, Nearest) else nearest.exact
        self._gallery = gallery
        self._patent_ids = gallery.patent_ids.astype(np.int64)
        self._whole: PatentPool | None = None

    def uses_index(self, query: QueryVectors, scoring: str) -> bool:
        """Whether a query is answered by the approximate index: one picture or text, scored by its nearest view."""
        return not isinstance(self._nearest, Nearest) and query.single is not None and scoring != "mean"

    def rank(
        self,
        query: QueryVectors,
        scoring: str,
        cut: Cut,
        allowed: np.ndarray | None,
        by_words: Mapping[str, np.ndarray] | None = None,
    ) -> Ranking:
        """The patents of a page.

        Args:
            query: What is searched for.
            scoring: One of `model.clip.patent_scores.SCORINGS`.
            cut: The page.
            allowed: (num_views,) bool, the views that may be found; None for all.
            by_words: Name of a ranking → (num_patents,) scores by patent id, to be fused with the ranking by the model.

        Raises:
            NonFiniteError: A score is not a number.
        """
        if self.uses_index(query, scoring) and not by_words:
            return self._by_index(query, cut, allowed)
        return self._exactly(query, scoring, cut, allowed, by_words or {})

    def _exactly(
        self,
        query: QueryVectors,
        scoring: str,
        cut: Cut,
        allowed: np.ndarray | None,
        by_words: Mapping[str, np.ndarray],
    ) -> Ranking:
        vectors = query.stacked
        similarity = np.concatenate([part @ vectors.T for part in self._exact.parts])  # (num_views, num_vectors)
        if not np.isfinite(similarity).all():
            raise NonFiniteError("the scores of a search are not numbers (NaN); check the weights of the model")
        rows, ids, pool = self._searched(allowed)
        if not len(rows):
            return Ranking([], 0)
        # From views to patents: the pictures by the scoring, and each text by its nearest view or by the mean.
        similarity = similarity if allowed is None else similarity[rows]
        by_patent = pool.pool(torch.from_numpy(similarity.T), mean=scoring == "mean")  # (num_vectors, num_patents)
        num_pictures = len(query.pictures)
        pictures = None
        if num_pictures:
            view_weights = torch.from_numpy(query.view_weights.astype(np.float32))
            pictures = pool_query(by_patent[:num_pictures], [num_pictures], scoring, view_weights)[0].numpy()
        text = by_patent[num_pictures].numpy() if query.text is not None else None
        avoided = by_patent[len(vectors) - len(query.avoided) :].numpy()
        is_as_lines = np.zeros(len(ids), bool)
        standing = None
        if pictures is not None and query.as_lines is not None:
            by_lines = self._by_lines(query.as_lines, rows, pool, scoring, query.view_weights)
            standing = np.maximum(_standardise(pictures), _standardise(by_lines))
            is_as_lines = _standardise(by_lines) > _standardise(pictures)
            pictures = np.where(is_as_lines, by_lines, pictures)
        scores = _combine(query, pictures, text, avoided, standing)
        channels: dict[str, np.ndarray] = {}
        if by_words:
            channels, scores = _fuse({MODEL_CHANNEL: scores, **{name: by_words[name][ids] for name in by_words}})
        # The page: patents that reach the limits, the best first.
        kept = np.ones(len(ids), bool)
        if cut.min_score is not None:
            kept &= scores >= cut.min_score
        if cut.min_picture_score is not None and pictures is not None:
            kept &= pictures >= cut.min_picture_score
        candidates = np.flatnonzero(kept)
        order = candidates[highest(scores[candidates], cut.offset + cut.k)[cut.offset :]]
        found = []
        for index in order:
            found.append(
                self._ranked(
                    query,
                    int(ids[index]),
                    allowed,
                    score=float(scores[index]),
                    picture_score=None if pictures is None else float(pictures[index]),
                    text_score=None if text is None else float(text[index]),
                    channels={name: int(ranks[index]) for name, ranks in channels.items()},
                    is_as_lines=bool(is_as_lines[index]),
                )
            )
        return Ranking(found, len(candidates))

    def _by_lines(
        self, as_lines: np.ndarray, rows: np.ndarray, pool: PatentPool, scoring: str, view_weights: np.ndarray
    ) -> np.ndarray:
        """(num_patents,) scores of the pictures with photographs as line drawings, for the patents of a pool.

        Raises:
            NonFiniteError: A score is not a number.
        """
        similarity = np.concatenate([part @ as_lines.T.astype(np.float32) for part in self._exact.parts])[rows]
        if not np.isfinite(similarity).all():
            raise NonFiniteError("the scores of a search are not numbers (NaN); check the weights of the model")
        by_patent = pool.pool(torch.from_numpy(similarity.T), mean=scoring == "mean")
        weights = torch.from_numpy(view_weights.astype(np.float32))
        return np.asarray(pool_query(by_patent, [len(as_lines)], scoring, weights)[0].numpy())

    def _searched(self, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, PatentPool]:
        """The rows that are searched, the ids of their patents, and the pool of those rows."""
        if allowed is None:
            if self._whole is None:
                self._whole = PatentPool(self._patent_ids)
            return np.arange(len(self._patent_ids)), np.arange(len(self._whole)), self._whole
        rows = np.flatnonzero(allowed)
        ids, numbers = np.unique(self._patent_ids[rows], return_inverse=True)
        return rows, ids, PatentPool(numbers)

    def _by_index(self, query: QueryVectors, cut: Cut, allowed: np.ndarray | None) -> Ranking:
        """The patents of the nearest views; it is not known how many views they take, so more are asked for."""
        feature = query.single
        assert feature is not None
        num_allowed = len(self._patent_ids) if allowed is None else int(allowed.sum())
        num_needed = cut.offset + cut.k
        num_wanted = min(4 * num_needed, num_allowed)
        while True:
            rows, scores = self._nearest.search(feature, num_wanted, allowed)
            firsts = np.sort(np.unique(self._patent_ids[rows], return_index=True)[1])
            if len(firsts) >= num_needed or num_wanted >= num_allowed:
                break
            num_wanted = min(4 * num_wanted, num_allowed)
        found = []
        for index in firsts[cut.offset : num_needed]:
            score = float(scores[index])
            least = max(limit for limit in (cut.min_score, cut.min_picture_score, -np.inf) if limit is not None)
            if score < least:
                break
            found.append(
                self._ranked(
                    query,
                    int(self._patent_ids[rows[index]]),
                    allowed,
                    score=score,
                    picture_score=score if len(query.pictures) else None,
                    text_score=score if query.text is not None else None,
                    channels={},
                )
            )
        return Ranking(found, None)

    def _ranked(
        self,
        query: QueryVectors,
        patent: int,
        allowed: np.ndarray | None,
        *,
        score: float,
        picture_score: float | None,
        text_score: float | None,
        channels: dict[str, int],
        is_as_lines: bool = False,
    ) -> RankedPatent:
        """A patent with its views that may be found, in the order of their scores."""
        rows = np.array(self._gallery.rows_of_id(patent))
        rows = rows if allowed is None else rows[allowed[rows]]
        features = np.stack([self._exact.row(int(row)) for row in rows])
        sought = query.pictures if len(query.pictures) else query.stacked[:1]
        if is_as_lines and query.as_lines is not None:
            sought = query.as_lines
        found_as = "" if query.as_lines is None else AS_LINES if is_as_lines else AS_IT_IS
        row_scores = (features @ sought.T).max(axis=1)
        order = np.lexsort((rows, -row_scores))
        return RankedPatent(
            patent_id=patent,
            score=score,
            picture_score=picture_score,
            text_score=text_score,
            channels=channels,
            rows=rows[order].tolist(),
            row_scores=row_scores[order].tolist(),
            found_as=found_as,
        )


def _combine(
    query: QueryVectors,
    pictures: np.ndarray | None,
    text: np.ndarray | None,
    avoided: np.ndarray,
    standing: np.ndarray | None = None,
) -> np.ndarray:
    """(num_patents,) scores from those of the parts of a query; `avoided` is (num_avoided, num_patents).

    `standing` are the scores of photographs in standard deviations, the better of their two forms.
    """
    of_pictures, of_text, of_avoided = query.weights
    wanted = [(of_pictures, pictures), (of_text, text)]
    present = [(weight, scores) for weight, scores in wanted if scores is not None]
    if not query.is_standardised:
        return present[0][1]
    total = sum(weight for weight, _ in present)
    score = sum(
        weight / total * (standing if standing is not None and scores is pictures else _standardise(scores))
        for weight, scores in present
    )
    if len(avoided):
        resembles = np.max([_standardise(scores) for scores in avoided], axis=0)
        score = score - of_avoided * np.maximum(resembles, 0)
    return np.asarray(score, dtype=np.float32)


def _fuse(channels: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Name → (num_patents,) scores of several rankings; returns name → ranks, and the scores of the fused ranking."""
    stacked = torch.from_numpy(np.stack([scores.astype(np.float32) for scores in channels.values()]))
    ranks = dict(zip(channels, ranks_of(stacked).numpy(), strict=True))
    return ranks, fuse([partial(_row, stacked[[row]]) for row in range(len(stacked))])(0, 1)[0].numpy()


def _row(scores: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """A ranking of one query, as `fuse` expects it."""
    return scores[first:last]


def _standardise(scores: np.ndarray) -> np.ndarray:
    """Distances from the mean in standard deviations; all 0 if the scores are equal."""
    return (scores - scores.mean()) / max(float(scores.std()), _LEAST_SPREAD)
