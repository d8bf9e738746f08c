"""Figures with what they need to be read: their terms, their baselines, how sure they are.

A table holds one measurement: rows are figures ("R@5"), columns are who is measured ("model", "untrained", "chance").
Its plain form is what `evaluation.json` holds and the report shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.evaluation.measures.bootstrap import Bootstrap, interval, p_value

MODEL, AGAINST, UNTRAINED = "model", "against", "untrained"
COLUMNS = {
    MODEL: "this model",
    AGAINST: "second model",
    "difference": "difference",
    UNTRAINED: "untrained",
    "bm25_title": "BM25 on titles",
    "majority": "majority class",
    "chance": "chance",
}
"""Columns in the order they are shown, with their headings."""

Values = Mapping[str, np.ndarray]
"""Column → (num_queries,) one value a query, for the columns that have such values."""


@dataclass(frozen=True)
class Row:
    """One figure: the mean of its values.

    Attributes:
        values: Column → one value a query.
        constants: Column → a figure known without measuring queries, such as chance.
        unit: "share" is shown in per cent, "rank" as it is.
        classes: Where given, (num_queries,), the figure is the mean over classes of their means.
    """

    values: Values
    constants: Mapping[str, float]
    unit: str = "share"
    classes: np.ndarray | None = None


def tabulate(
    *,
    title: str,
    terms: Mapping[str, Any],
    rows: Mapping[str, Row],
    bootstrap: Bootstrap,
    plain: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """One table in its plain form.

    Args:
        title: What is measured, in words.
        terms: What the figures hold for: gallery, queries, rules.
        rows: Figure → what it is made of, all over the same queries.
        bootstrap: Resamples of those queries.
        plain: Figure → column → value of figures that are shown without an interval, such as a median rank.
    """
    figures: dict[str, dict[str, Any]] = {}
    for kind in (None, *{id(row.classes): row.classes for row in rows.values() if row.classes is not None}.values()):
        alike = {name: row for name, row in rows.items() if row.classes is kind}
        figures.update(_estimates(alike, kind, bootstrap))
    ordered = {name: {"unit": rows[name].unit, **figures[name]} for name in rows}
    for name, columns in (plain or {}).items():
        ordered[name] = {"unit": "rank", **{column: {"value": float(value)} for column, value in columns.items()}}
    shown = [column for column in COLUMNS if any(column in figure for figure in ordered.values())]
    return {"title": title, "terms": dict(terms), "columns": shown, "figures": ordered}


def _estimates(rows: Mapping[str, Row], classes: np.ndarray | None, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Figure → column → value and interval, and the difference of two models where there are two."""
    keys = [(name, column) for name, row in rows.items() for column in row.values]
    figures: dict[str, dict[str, Any]] = {name: {} for name in rows}
    if keys and len(bootstrap.groups):
        values = np.stack([rows[name].values[column] for name, column in keys], axis=1).astype(np.float64)
        points = values.mean(axis=0) if classes is None else class_mean(values, classes)
        samples = bootstrap.means(values) if classes is None else bootstrap.class_means(values, classes)
        place = {key: number for number, key in enumerate(keys)}
        for (name, column), number in place.items():
            low, high = interval(samples[:, number])
            figures[name][column] = {"value": float(points[number]), "low": low, "high": high}
        for name, row in rows.items():
            if AGAINST in row.values:
                one, other = place[name, MODEL], place[name, AGAINST]
                differences = samples[:, one] - samples[:, other]
                low, high = interval(differences)
                figures[name]["difference"] = {
                    "value": float(points[one] - points[other]),
                    "low": low,
                    "high": high,
                    "p": p_value(differences),
                }
    for name, row in rows.items():
        figures[name].update({column: {"value": float(value)} for column, value in row.constants.items()})
    return figures


def class_mean(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(num_figures,) mean over the classes that occur of their means; `values` is (num_queries, num_figures)."""
    return np.mean([values[classes == number].mean(axis=0) for number in np.unique(classes)], axis=0)


def find_value(results: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A figure of an evaluation by its path, such as "retrieval/text_to_image/R@10".

    Returns:
        Column → {"value", …}; "model" has the ends of its interval, "low" and "high".

    Raises:
        KeyError: There is no such figure; the message lists those there are.
    """
    figures = {
        f"{task}/{table}/{name}": figure
        for task, section in results["tasks"].items()
        for table, content in section.get("tables", {}).items()
        for name, figure in content["figures"].items()
    }
    if path not in figures:
        raise KeyError(f"no figure {path}; this evaluation holds {', '.join(figures) or 'none'}")
    return figures[path]
