"""What a score means: how many pairs of cited designs reach it, and how many pairs of strangers.

Raw cosines separate poorly and differ from model to model, so 0.88 alone says nothing. For each model and gallery, two
kinds of pairs are scored as a search would score them: patents of which the examiner of one cited the other, and
patents drawn at random. A score is "similar" if at most one in a hundred random pairs reaches it, "maybe" if at most
one in ten does, and else "unlike". The share of the cited pairs that reach each limit says how much the verdict is
worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.clip.patent_scores import pool_query
from model.files import read_json, write_json
from model.search.gallery import Gallery

SIMILAR, MAYBE, UNLIKE = "similar", "maybe", "unlike"
ONE_VIEW, ALL_VIEWS = "one_view", "all_views"
VERSION = 1
_RANDOM_SHARE = {SIMILAR: 0.01, MAYBE: 0.1}
_MAX_CITED = 2_000
_MAX_LOOKED_AT = 20_000  # patents whose citations are read
_NUM_RANDOM = 10_000
_NUM_POINTS = 201


@dataclass(frozen=True)
class VerdictScale:
    """The distributions of scores that verdicts refer to.

    Attributes:
        random: (201,) ascending quantiles of the scores of random pairs, from the least to the highest.
        cited: (201,) the same of cited pairs; empty if the gallery has no such pair.
        num_random: Number of random pairs.
        num_cited: Number of cited pairs.
    """

    random: tuple[float, ...]
    cited: tuple[float, ...]
    num_random: int
    num_cited: int

    @classmethod
    def of_scores(cls, random: np.ndarray, cited: np.ndarray) -> VerdictScale:
        """The scale from the scores of random and of cited pairs."""
        return cls(_quantiles(random), _quantiles(cited), len(random), len(cited))

    def limit(self, verdict: str) -> float:
        """The least score of a verdict, "similar" or "maybe"."""
        return float(np.interp(1 - _RANDOM_SHARE[verdict], _SHARES, self.random))

    def verdict(self, score: float) -> str:
        """The verdict on a score."""
        return next((verdict for verdict in (SIMILAR, MAYBE) if score >= self.limit(verdict)), UNLIKE)

    def random_share(self, score: float) -> float:
        """Share of the random pairs that score at least as high."""
        return _share_above(self.random, score)

    def cited_share(self, score: float) -> float | None:
        """Share of the cited pairs that score at least as high; None if there are none."""
        return _share_above(self.cited, score) if self.cited else None

    def sentences(self) -> list[str]:
        """What the verdicts mean, in words."""
        lines = []
        for verdict in (SIMILAR, MAYBE):
            limit = self.limit(verdict)
            cited = self.cited_share(limit)
            known = f"{100 * cited:.0f} % of {self.num_cited:,}" if cited is not None else "an unknown share of"
            lines.append(
                f'"{verdict}" from {limit:.3f}: {100 * _RANDOM_SHARE[verdict]:.0f} % of random pairs of patents and '
                f"{known} examiner-cited pairs reach it"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The limits and what they mean, as JSON values."""
        return {
            "num_random_pairs": self.num_random,
            "num_cited_pairs": self.num_cited,
            **{
                verdict: {
                    "from": round(self.limit(verdict), 6),
                    "random_share": _RANDOM_SHARE[verdict],
                    "cited_share": self.cited_share(self.limit(verdict)),
                }
                for verdict in (SIMILAR, MAYBE)
            },
        }


_SHARES = np.linspace(0, 1, _NUM_POINTS)


def _quantiles(scores: np.ndarray) -> tuple[float, ...]:
    return tuple(np.quantile(scores, _SHARES).tolist()) if len(scores) else ()


def _share_above(quantiles: tuple[float, ...], score: float) -> float:
    """Share of a distribution at or above a score, from its quantiles."""
    if score <= quantiles[0]:
        return 1.0
    if score > quantiles[-1]:
        return 0.0
    return float(1 - np.interp(score, quantiles, _SHARES))


def verdict_scale(
    gallery: Gallery,
    feature_of: Callable[[int], np.ndarray],
    weights_of: Callable[[list[int]], np.ndarray],
    *,
    scoring: str,
    kind: str,
    path: Path,
    identity: dict[str, Any],
) -> VerdictScale | None:
    """The scale of a model and a gallery: the stored one if it fits, else one that is measured and stored.

    Args:
        gallery: The patents that pairs are drawn from.
        feature_of: Row of the gallery → (embed_dim,) feature.
        weights_of: Rows of the gallery → (num_rows,) weights, for the scoring "weighted".
        scoring: One of `model.clip.patent_scores.SCORINGS`.
        kind: `ONE_VIEW` for queries of one picture, `ALL_VIEWS` for queries of several.
        path: JSON file for the scale.
        identity: What the scale depends on besides `scoring` and `kind`: model and dataset.

    Returns:
        None if the gallery has fewer than two patents.
    """
    identity = {**identity, "scoring": scoring, "kind": kind, "version": VERSION}
    stored = read_json(path)
    if stored is not None and stored.get("identity") == identity:
        return VerdictScale(tuple(stored["random"]), tuple(stored["cited"]), stored["num_random"], stored["num_cited"])
    if gallery.num_patents < 2:
        return None
    generator = np.random.default_rng(0)
    cited = _cited_pairs(gallery, generator)
    random = _random_pairs(gallery.num_patents, set(cited), generator)

    def score(one: int, other: int) -> float:
        query = gallery.rows_of_id(one)
        if kind == ONE_VIEW:
            query = [query[int(generator.integers(len(query)))]]
        features = np.stack([feature_of(row) for row in query])
        others = np.stack([feature_of(row) for row in gallery.rows_of_id(other)])
        similarity = torch.from_numpy(features @ others.T)
        by_view = similarity.mean(dim=1) if scoring == "mean" else similarity.amax(dim=1)
        weights = torch.from_numpy(weights_of(query)) if scoring == "weighted" else None
        return float(pool_query(by_view.unsqueeze(1), [len(query)], scoring, weights))

    scale = VerdictScale.of_scores(
        np.array([score(*pair) for pair in random]), np.array([score(*pair) for pair in cited])
    )
    write_json(
        path,
        {
            "identity": identity,
            "random": scale.random,
            "cited": scale.cited,
            "num_random": scale.num_random,
            "num_cited": scale.num_cited,
        },
    )
    return scale


def _cited_pairs(gallery: Gallery, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Pairs (citing, cited) of patents of the gallery, from patents in random order."""
    pairs: list[tuple[int, int]] = []
    for patent in generator.permutation(gallery.num_patents)[:_MAX_LOOKED_AT]:
        pairs.extend((int(patent), other) for other in gallery.cited_ids(int(patent)))
        if len(pairs) >= _MAX_CITED:
            break
    return pairs[:_MAX_CITED]


def _random_pairs(
    num_patents: int, cited: set[tuple[int, int]], generator: np.random.Generator
) -> list[tuple[int, int]]:
    """Pairs of two different patents of which none cites the other: all of a small gallery, else drawn ones."""
    if num_patents * (num_patents - 1) <= _NUM_RANDOM:
        pairs = list(permutations(range(num_patents), 2))
    else:
        ones = generator.integers(num_patents, size=_NUM_RANDOM)
        others = generator.integers(num_patents - 1, size=_NUM_RANDOM)
        others += others >= ones  # any patent but the first
        pairs = list(zip(ones.tolist(), others.tolist(), strict=True))
    return [pair for pair in pairs if pair not in cited and pair[::-1] not in cited] or pairs
