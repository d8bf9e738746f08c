"""Plots of the summary, and samples of the drawings, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.evidence.arms import BOTH, EVEN, LOSS
from bench.evidence.comparison import ALL, HEAD, MIDDLE, TAIL
from bench.evidence.measures import ACCURACIES
from model.dataset.classes import USPC
from model.dataset.images import decode_grey, pad_to_square
from model.dataset.views import Views

_INK, _MUTED, _GRID = "#1d2733", "#9aa5b1", "#e4e8ec"
_COLOURS = {TAIL: "#b3541e", MIDDLE: "#6a4c93", HEAD: "#0b6e99", ALL: _MUTED}
_DOTS_PER_INCH = 130
_MEASURE_TITLES = {"classifier": "classification head, image alone", "zero_shot": "nearest class prompt"}
_ARM_TITLES = {EVEN: "nothing\ncorrected", LOSS: "loss", BOTH: "sampling\nand loss"}
_VERDICT_COLOURS = {"holds": "#2e7d4f", "not decided": _MUTED, "does not hold": "#b3541e"}
_PATENTS_A_ROW, _VIEWS_A_PATENT = 4, 4


def draw_thirds(summary: dict[str, Any], path: Path) -> None:
    """Accuracy of each third of the classes under each correction, with intervals."""
    figure, panels = _panels(height_in=3.4)
    for axes, measure in zip(panels, ACCURACIES, strict=True):
        rows = [row for row in summary["corrections"] if row["measure"] == measure]
        arms = list(dict.fromkeys(row["arm"] for row in rows))
        for shift, part in zip((-0.22, 0.0, 0.22), (TAIL, MIDDLE, HEAD), strict=True):
            of_part = [row for row in rows if row["part"] == part]
            _points(axes, np.arange(len(arms)) + shift, of_part, label=f"{part} third", color=_COLOURS[part])
        axes.set_xticks(range(len(arms)), [_ARM_TITLES.get(arm, "sampling\nby item") for arm in arms])
        _finish(axes, measure)
    _save(figure, panels[0], path)


def draw_curve(summary: dict[str, Any], path: Path) -> None:
    """Accuracy of the rarest and the most frequent third over β, in both readings of the sampler."""
    figure, panels = _panels(height_in=3.8)
    for axes, measure in zip(panels, ACCURACIES, strict=True):
        for part in (TAIL, HEAD):
            for reading, line, shift in (("item", "-", -0.012), ("class", "--", 0.012)):
                rows = [
                    row
                    for row in summary["curve"]
                    if (row["measure"], row["part"], row["reading"]) == (measure, part, reading)
                ]
                betas = np.array([row["beta"] for row in rows]) + shift
                label = f"{part} third, by {reading}"
                _points(axes, betas, rows, label=label, color=_COLOURS[part], line=line)
        axes.set_xticks(sorted({row["beta"] for row in summary["curve"]}))
        axes.set_xlabel("β of the sampling; loss not weighted", fontsize=9)
        _finish(axes, measure)
    _save(figure, panels[0], path)


def draw_claims(summary: dict[str, Any], path: Path) -> None:
    """The difference behind each claim, its interval, and the floor that it has to exceed."""
    groups = [[row for row in summary["claims"] if (row["part"] == ALL) == is_all] for is_all in (False, True)]
    groups = [rows[::-1] for rows in groups if rows]
    sizes = [len(rows) for rows in groups]
    figure = Figure(figsize=(9.0, 1.2 + 0.45 * sum(sizes)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw={"height_ratios": sizes})[:, 0]
    for axes, rows in zip(panels, groups, strict=True):
        for y, row in enumerate(rows):
            colour = _VERDICT_COLOURS[row["verdict"]]
            axes.plot([100 * row["low"], 100 * row["high"]], [y, y], color=colour, linewidth=2.2)
            axes.plot(100 * row["mean"], y, "o", color=colour, markersize=6)
            axes.plot([100 * row["floor"]] * 2, [y - 0.3, y + 0.3], color=_INK, linewidth=1.4)
        names = [f"{row['text']}\n{row['measure']}, {row['part']}" for row in rows]
        axes.set_yticks(range(len(rows)), names, fontsize=7.5)
        _style(axes, "x")
    panels[-1].set_xlabel("difference in points, 95 % interval; each panel has its own scale", fontsize=9)
    for verdict in dict.fromkeys(row["verdict"] for row in summary["claims"]):
        panels[0].plot([], [], "o-", color=_VERDICT_COLOURS[verdict], label=verdict)
    panels[0].plot([], [], color=_INK, linewidth=1.4, label="has to stay above")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=4
    )
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def draw_specimens(training: Views, patents_of_class: np.ndarray, path: Path) -> None:
    """Patents of the three most frequent and the three rarest classes, the views of each side by side."""
    order = np.argsort(-patents_of_class, kind="stable")
    chosen = [*order[:3], *order[-3:]]
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    rows = figure.subplots(len(chosen), 1)
    classes = training.class_ids(USPC)
    for axes, class_id in zip(rows, chosen, strict=True):
        axes.imshow(_strip(training, np.flatnonzero(classes == class_id)), cmap="gray", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        label = f"{USPC.codes[class_id]}\n{patents_of_class[class_id]} patents"
        axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, color=_INK)
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _strip(views: Views, rows: np.ndarray) -> np.ndarray:
    """The first views of the first patents among `rows` side by side, with a gap between patents."""
    patents = list(dict.fromkeys(views.patent_ids[rows].tolist()))[:_PATENTS_A_ROW]
    cells = []
    for patent in patents:
        images = [pad_to_square(decode_grey(views.images[row])) for row in np.flatnonzero(views.patent_ids == patent)]
        side = images[0].shape[0]
        blank = [np.full((side, side), 255, np.uint8)] * (_VIEWS_A_PATENT - len(images))
        cells += [*images[:_VIEWS_A_PATENT], *blank, np.full((side, side // 2), 255, np.uint8)]
    missing = _PATENTS_A_ROW - len(patents)
    return np.hstack([*cells, np.full((side, missing * (_VIEWS_A_PATENT * side + side // 2)), 255, np.uint8)])


def _panels(*, height_in: float) -> tuple[Figure, Sequence[Axes]]:
    """A plot with one panel for each measure of accuracy."""
    figure = Figure(figsize=(9.0, height_in), layout="constrained")
    return figure, figure.subplots(1, len(ACCURACIES), sharey=True)


def _points(
    axes: Axes, positions: np.ndarray, rows: Sequence[dict[str, Any]], *, label: str, color: str, line: str = "none"
) -> None:
    """Draw means with their intervals, in percent, at (num_rows,) positions on the x axis."""
    means = np.array([100 * row["mean"] for row in rows])
    below = means - [100 * row["low"] for row in rows]
    above = [100 * row["high"] for row in rows] - means
    axes.errorbar(
        positions, means, yerr=[below, above], fmt="o", ls=line, ms=4, lw=1.5, capsize=2, color=color, label=label
    )


def _finish(axes: Axes, measure: str) -> None:
    """Add the title and the level of chance to a panel of accuracies."""
    axes.set_title(_MEASURE_TITLES[measure], fontsize=10, color=_INK, loc="left")
    axes.axhline(100 / len(USPC), color=_MUTED, linestyle=":", linewidth=1.2, label="chance")
    _style(axes, "y")


def _style(axes: Axes, grid: Literal["x", "y"]) -> None:
    """Style a panel, with grid lines along one axis."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_MUTED)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _save(figure: Figure, first: Axes, path: Path) -> None:
    """Complete a plot of accuracies, whose first panel is `first`, and write it."""
    first.set_ylim(bottom=0)  # for both panels, and after drawing, which sets the upper limit
    first.set_ylabel("accuracy in %, 95 % interval", fontsize=9)
    figure.legend(*first.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=_DOTS_PER_INCH)
