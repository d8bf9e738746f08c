"""Misses counted by cause: how common each cause is among the misses, compared with all queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from model.dataset.images import decode_grey
from model.evaluation.failures.causes import Cause, find_causes
from model.evaluation.failures.drawings import DrawingMeasures
from model.evaluation.failures.queries import NOTHING, AnsweredQueries
from model.evaluation.measures.bootstrap import Bootstrap, interval

NUM_EXAMPLES = 6
_LEAST_QUERIES = 10  # a cause with fewer has no lift: its interval would say nothing
_THUMBNAIL_PX = 80
_THUMBNAIL_QUALITY = 55


@dataclass(frozen=True)
class Miss:
    """A missed query shown on the page.

    Attributes:
        view_id: The view of the query.
        jpeg: A small picture of it.
        note: What became of it.
        found_view_id: The highest-scoring wrong candidate; "" if the candidates are classes.
        found_jpeg: A small picture of that; None if there is none.
    """

    view_id: str
    jpeg: bytes
    note: str
    found_view_id: str = ""
    found_jpeg: bytes | None = None


@dataclass(frozen=True)
class Failures:
    """The misses of one table by cause.

    Attributes:
        counts: The content of `evaluation.json`.
        examples: Name of a cause → some misses that it holds for.
    """

    counts: dict[str, Any]
    examples: dict[str, list[Miss]]


def count_failures(
    queries: AnsweredQueries,
    drawings: DrawingMeasures,
    near_duplicates: Mapping[str, set[str]] | None,
    bootstrap: Bootstrap,
    *,
    seed: int,
) -> Failures:
    """Count the misses of a table by cause.

    Args:
        queries: The queries, and which of them were missed.
        drawings: Measures of the queries' own drawings.
        near_duplicates: View → views that are nearly the same drawing; None if the dataset has no list of them.
        bootstrap: Resamples of the queries.
        seed: Seed of the choice of examples.
    """
    causes, missing = find_causes(queries, drawings, near_duplicates)
    lifts = lift_of_causes(causes, queries.is_missed, bootstrap)
    shown = {cause.name: _choose(cause.holds & queries.is_missed, bootstrap.groups, seed) for cause in causes}
    names = queries.pool.column("view_id")
    num_missed = int(queries.is_missed.sum())
    is_explained = np.zeros(len(queries), bool)
    for cause in causes:
        is_explained |= cause.holds & (not cause.is_partition)
    counts = {
        "title": queries.title,
        "miss": queries.miss,
        "num_queries": len(queries),
        "num_misses": num_missed,
        "num_misses_without_cause": int((queries.is_missed & ~is_explained).sum()),
        "causes": {
            cause.name: {
                "title": cause.title,
                "definition": cause.definition,
                "num_queries": int(cause.holds.sum()),
                "num_misses": int((cause.holds & queries.is_missed).sum()),
                "share_of_queries": float(cause.holds.mean()) if len(queries) else 0.0,
                "share_of_misses": float(cause.holds[queries.is_missed].mean()) if num_missed else 0.0,
                "lift": lifts[cause.name],
                "examples": [names[queries.views[row]] for row in shown[cause.name]],
            }
            for cause in causes
        },
        "not_looked_for": missing,
    }
    pictures: dict[int, bytes] = {}
    examples = {name: [_miss(queries, names, row, pictures) for row in rows] for name, rows in shown.items()}
    return Failures(counts, examples)


def lift_of_causes(
    causes: list[Cause], is_missed: np.ndarray, bootstrap: Bootstrap
) -> dict[str, dict[str, float] | None]:
    """How many times as common each cause is among the misses as among all queries, with a 95 % interval.

    This is also how many times as often queries with the cause are missed, compared with all of them. It is None for a
    cause of fewer than `_LEAST_QUERIES` queries, and if nothing was missed.

    Args:
        causes: The causes.
        is_missed: (num_queries,) bool.
        bootstrap: Resamples of the queries.
    """
    counted = [cause for cause in causes if cause.holds.sum() >= _LEAST_QUERIES and is_missed.any()]
    lifts: dict[str, dict[str, float] | None] = {cause.name: None for cause in causes}
    if not counted:
        return lifts
    columns = [is_missed, *(cause.holds for cause in counted), *(cause.holds & is_missed for cause in counted)]
    values = np.stack(columns, axis=1).astype(np.float64)
    points, samples = _ratios(values.mean(axis=0)[None])[0], _ratios(bootstrap.means(values))
    for number, cause in enumerate(counted):
        defined = samples[:, number][np.isfinite(samples[:, number])]  # a resample may have no such query, or no miss
        low, high = interval(defined)
        lifts[cause.name] = {"value": float(points[number]), "low": low, "high": high}
    return lifts


def _ratios(means: np.ndarray) -> np.ndarray:
    """Lifts from (num_samples, 1 + 2 · num_causes) means of: missed, causes, causes and missed; NaN if undefined."""
    num = (means.shape[1] - 1) // 2
    expected = means[:, :1] * means[:, 1 : 1 + num]
    return np.divide(means[:, 1 + num :], expected, out=np.full(expected.shape, np.nan), where=expected > 0)


def _choose(is_chosen: np.ndarray, groups: np.ndarray, seed: int) -> list[int]:
    """At most `NUM_EXAMPLES` of the chosen queries, drawn at random, one of each group first."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(is_chosen))
    firsts = np.sort(np.unique(groups[rows], return_index=True)[1])
    others = np.setdiff1d(np.arange(len(rows)), firsts)
    return rows[np.concatenate([firsts, others])[:NUM_EXAMPLES].astype(np.int64)].tolist()


def _miss(queries: AnsweredQueries, names: list[str], row: int, pictures: dict[int, bytes]) -> Miss:
    def picture(number: int) -> bytes:
        if number not in pictures:
            pictures[number] = thumbnail(queries.pool.jpeg(number))
        return pictures[number]

    own = int(queries.views[row])
    wrong = NOTHING if queries.wrong is None else int(queries.wrong[row])
    found = ("", None) if wrong == NOTHING else (names[wrong], picture(wrong))
    return Miss(names[own], picture(own), queries.notes(row), *found)


def thumbnail(jpeg: bytes) -> bytes:
    """A small copy of a square image, as JPEG."""
    small = cv2.resize(decode_grey(jpeg), (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _THUMBNAIL_QUALITY])[1])
