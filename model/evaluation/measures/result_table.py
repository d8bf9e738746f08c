"""Measured values in tables, each with what a reader needs to judge it: its terms, its baselines, its interval.

A table holds one measurement. Its rows are metrics ("R@5"), its columns are what was measured ("model", "untrained",
"chance"). It is a dict of JSON values: `evaluation.json` stores it as it is, and the report shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.evaluation.measures.bootstrap import Bootstrap, interval, p_value

MODEL, AGAINST, UNTRAINED = "model", "against", "untrained"
FUSED, PROJECTED = "rrf", "projected"
COLUMNS = {
    MODEL: "this model",
    AGAINST: "second model",
    "difference": "difference",
    UNTRAINED: "untrained",
    FUSED: "rank fusion",
    PROJECTED: "class-text axes",
    "bm25_title": "BM25 on titles",
    "majority": "majority class",
    "chance": "chance",
}
"""Column → its heading, in the order in which columns are shown."""

Values = Mapping[str, np.ndarray]
"""Column → (num_queries,) one value a query, for the columns that were measured query by query."""


@dataclass(frozen=True)
class Row:
    """One metric: the mean of its values over the queries.

    Attributes:
        values: Column → one value a query.
        constants: Column → a value known without measuring queries, such as chance.
        unit: "share" is shown in per cent, "rank" as it is.
        classes: (num_queries,) class of each query; if given, the metric is the mean over the classes of their means.
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
    ranks: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """One table as JSON values.

    Args:
        title: What is measured, in words.
        terms: What the values hold for: gallery, queries, rules.
        rows: Metric → its row; all rows are over the same queries.
        bootstrap: Resamples of those queries.
        ranks: Metric → column → a rank that is shown without an interval, such as a median rank.
    """
    estimates: dict[str, dict[str, Any]] = {}
    # Rows with the same classes share their resamples: the plain rows, then the rows of each classification.
    for classes in (None, *{id(row.classes): row.classes for row in rows.values() if row.classes is not None}.values()):
        same = {name: row for name, row in rows.items() if row.classes is classes}
        estimates.update(_estimates(same, classes, bootstrap))
    metrics = {name: {"unit": rows[name].unit, **estimates[name]} for name in rows}
    for name, columns in (ranks or {}).items():
        metrics[name] = {"unit": "rank", **{column: {"value": float(value)} for column, value in columns.items()}}
    shown = [column for column in COLUMNS if any(column in values for values in metrics.values())]
    return {"title": title, "terms": dict(terms), "columns": shown, "figures": metrics}


def _estimates(rows: Mapping[str, Row], classes: np.ndarray | None, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Metric → column → value and interval, with the difference of two models if there are two."""
    keys = [(name, column) for name, row in rows.items() for column in row.values]
    estimates: dict[str, dict[str, Any]] = {name: {} for name in rows}
    if keys and len(bootstrap.groups):
        values = np.stack([rows[name].values[column] for name, column in keys], axis=1).astype(np.float64)
        points = values.mean(axis=0) if classes is None else class_mean(values, classes)
        samples = bootstrap.means(values) if classes is None else bootstrap.class_means(values, classes)
        index_of = {key: index for index, key in enumerate(keys)}
        for (name, column), index in index_of.items():
            low, high = interval(samples[:, index])
            estimates[name][column] = {"value": float(points[index]), "low": low, "high": high}
        # The difference is taken within each resample: queries that are hard for both models cancel out.
        for name, row in rows.items():
            if AGAINST in row.values:
                own, other = index_of[name, MODEL], index_of[name, AGAINST]
                differences = samples[:, own] - samples[:, other]
                low, high = interval(differences)
                estimates[name]["difference"] = {
                    "value": float(points[own] - points[other]),
                    "low": low,
                    "high": high,
                    "p": p_value(differences),
                }
    for name, row in rows.items():
        estimates[name].update({column: {"value": float(value)} for column, value in row.constants.items()})
    return estimates


def tabulate_each(*, title: str, terms: Mapping[str, Any], rows: Mapping[str, tuple[Row, Bootstrap]]) -> dict[str, Any]:
    """One table whose rows are over different queries, each with the resamples of its own queries."""
    tables = [
        tabulate(title=title, terms=terms, rows={name: row}, bootstrap=bootstrap)
        for name, (row, bootstrap) in rows.items()
    ]
    figures = {name: values for table in tables for name, values in table["figures"].items()}
    shown = [column for column in COLUMNS if any(column in values for values in figures.values())]
    return {"title": title, "terms": dict(terms), "columns": shown, "figures": figures}


def class_mean(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(num_values,) mean over the classes that occur of their means; `values` is (num_queries, num_values)."""
    return np.mean([values[classes == number].mean(axis=0) for number in np.unique(classes)], axis=0)


def find_value(results: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A value of an evaluation by its path, such as "retrieval/text_to_image/R@10".

    That of a third of the classes ends with its name: "retrieval/text_to_image/R@10, tail".

    Returns:
        Column → {"value", …}; "model" also has the bounds of its interval, "low" and "high".

    Raises:
        KeyError: The evaluation has no value of that path; the message lists the paths that it has.
    """
    values = {
        f"{task}/{table}/{name}": columns
        for task, section in results["tasks"].items()
        for table, content in section.get("tables", {}).items()
        for name, columns in (content["figures"] | content.get("thirds", {}).get("figures", {})).items()
    }
    if path not in values:
        raise KeyError(f"no value {path}; this evaluation has {', '.join(values) or 'none'}")
    return values[path]
