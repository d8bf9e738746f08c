"""Plots of the summary, and samples of the drawings, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.evidence.arms import EVEN, READOUT_TAU, RECIPE
from model.dataset.classes import USPC
from model.dataset.images import decode_grey, pad_to_square
from model.dataset.thirds import HEAD, TAIL
from model.dataset.views import Views

_INK, _MUTED, _GRID = "#1d2733", "#9aa5b1", "#e4e8ec"
_RECIPE_COLOUR, _EVEN_COLOUR = "#0b6e99", _INK
_LOOKS = {
    RECIPE: ("designclip-balanced", _RECIPE_COLOUR, 2.8),
    EVEN: ("uncorrected", _EVEN_COLOUR, 1.6),
    "item": ("sampled by item", "#b3541e", 0.9),
    "class": ("sampled by class", "#6a4c93", 0.9),
    "loss": ("losses weighted", "#c2a33a", 0.9),
    "both": ("sampled and weighted", "#9c2f55", 0.9),
}
"""Arm, or what the names of several arms begin with → label, colour and width of its curves."""
_VERDICT_COLOURS = {
    "holds": "#2e7d4f",
    "holds on the mean": "#8bb174",
    "missed on the mean": "#d9a05b",
    "does not hold": "#b3541e",
}
_DOTS_PER_INCH = 130
_PATENTS_A_ROW, _VIEWS_A_PATENT = 4, 4


def draw_curves(studies: dict[str, dict[str, Any]], titles: dict[str, str], path: Path) -> None:
    """Tail over head accuracy of all read-outs of every arm, one panel a study; up and to the right is better.

    Args:
        studies: Name of a study → its summary, for the studies that are shown.
        titles: Name of a study → title of its panel.
        path: The PNG.
    """
    figure = Figure(figsize=(4.7 * len(studies) + 0.4, 4.6), layout="constrained")
    panels = figure.subplots(1, len(studies), squeeze=False, sharey=True)[0]
    for axes, (study, content) in zip(panels, studies.items(), strict=True):
        for curve in content["curves"]:
            _draw_curve(axes, curve)
        for arm, readout in ((EVEN, "natural"), (RECIPE, "recipe")):
            for row in _chosen(content, arm, readout):
                _draw_cross(axes, row, _LOOKS[arm][1])
        axes.set_title(titles.get(study, study), fontsize=10, color=_INK, loc="left")
        axes.set_xlabel("accuracy of the most frequent third of the classes, %", fontsize=9)
        axes.set_xlim(left=0)
        _style(axes, "both")
    panels[0].set_ylim(bottom=0)  # for all panels, and after drawing, which sets the upper limit
    panels[0].set_ylabel("accuracy of the rarest third, %", fontsize=9)
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _draw_curve(axes: Axes, curve: dict[str, Any]) -> None:
    """One arm's read-outs as a line; a refitted last layer is dashed."""
    arm, is_refitted = curve["arm"], curve["refit"]
    if arm == RECIPE and is_refitted:
        return  # it is exported with its last layer refitted
    label, colour, width = _LOOKS.get(arm) or _LOOKS[arm.partition("-")[0]]
    axes.plot(
        100 * np.array(curve[HEAD]),
        100 * np.array(curve[TAIL]),
        color=colour,
        linewidth=width,
        linestyle="--" if is_refitted else "-",
        zorder=3 if arm == RECIPE else 2,
        label=f"{label}, last layer refitted" if is_refitted else label,
    )


def _chosen(content: dict[str, Any], arm: str, readout: str) -> list[dict[str, Any]]:
    return [row for row in content["readouts"] if (row["arm"], row["readout"], row["refit"]) == (arm, readout, False)]


def _draw_cross(axes: Axes, row: dict[str, Any], colour: str) -> None:
    """One read-out with the intervals of head and tail."""
    x, y = ({end: 100 * row[part][end] for end in ("mean", "low", "high")} for part in (HEAD, TAIL))
    axes.errorbar(
        [x["mean"]],
        [y["mean"]],
        xerr=[[x["mean"] - x["low"]], [x["high"] - x["mean"]]],
        yerr=[[y["mean"] - y["low"]], [y["high"] - y["mean"]]],
        fmt="o",
        ms=6,
        color=colour,
        capsize=2,
        zorder=4,
        label="uncorrected, as it is" if row["arm"] == EVEN else f"designclip-balanced at τ = {READOUT_TAU:g}",
    )


def draw_bar(studies: dict[str, dict[str, Any]], titles: dict[str, str], path: Path) -> None:
    """The difference behind each requirement, its interval, and the floor; one panel a study."""
    shown = {study: content["bar"][::-1] for study, content in studies.items() if content["bar"]}
    if not shown:
        return
    num_rows = max(map(len, shown.values()))
    figure = Figure(figsize=(3.2 + 3.6 * len(shown), 1.3 + 0.36 * num_rows), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True, sharex=True)[0]
    for axes, (study, rows) in zip(panels, shown.items(), strict=True):
        for y, row in enumerate(rows):
            colour = _VERDICT_COLOURS[row["verdict"]]
            axes.plot([100 * row["low"], 100 * row["high"]], [y, y], color=colour, linewidth=2.2)
            axes.plot(100 * row["mean"], y, "o", color=colour, markersize=6)
            axes.plot([100 * row["floor"]] * 2, [y - 0.3, y + 0.3], color=_INK, linewidth=1.4)
        axes.set_yticks(range(len(rows)), [row["text"] for row in rows], fontsize=8)
        axes.axvline(0, color=_MUTED, linewidth=1.0)
        axes.set_title(titles.get(study, study), fontsize=10, color=_INK, loc="left")
        axes.set_xlabel("difference to uncorrected, points", fontsize=9)
        _style(axes, "x")
    for verdict, colour in _VERDICT_COLOURS.items():
        panels[0].plot([], [], "o-", color=colour, label=verdict)
    panels[0].plot([], [], color=_INK, linewidth=1.4, label="has to reach")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=5
    )
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def draw_rivals(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The tail that the recipe finds in addition to each rival over the head accuracy of both, in small panels."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    if not arms:
        return
    num_columns = 4
    num_rows = -(-len(arms) // num_columns)
    figure = Figure(figsize=(9.0, 0.7 + 1.75 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes, arm in zip(panels, arms, strict=False):
        for row in (row for row in rows if row["arm"] == arm):
            colour, line = (_MUTED, "--") if row["refit"] else (_RECIPE_COLOUR, "-")
            head = 100 * np.array(row["head"])
            axes.plot(head, 100 * np.array(row["mean"]), line, color=colour, linewidth=1.6,
                      label="rival's last layer refitted" if row["refit"] else "rival as trained")  # fmt: skip
            axes.fill_between(
                head, 100 * np.array(row["low"]), 100 * np.array(row["high"]), color=colour, alpha=0.2, linewidth=0
            )
        axes.axhline(0, color=_INK, linewidth=0.9)
        axes.set_title(f"against {arm}", fontsize=8.5, color=_INK, loc="left")
        _style(axes, "y")
    for axes in panels[len(arms) :]:
        axes.set_visible(False)
    figure.supxlabel("head accuracy of both, %", fontsize=9)
    figure.supylabel("tail accuracy in addition, points", fontsize=9)
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper center", ncols=2
    )
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def draw_specimens(training: Views, patents_of_class: np.ndarray, path: Path) -> None:
    """Patents of the three most frequent and the three rarest classes, the views of each side by side."""
    order = np.argsort(-patents_of_class, kind="stable")
    order = order[patents_of_class[order] > 0]
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


def _style(axes: Axes, grid: Literal["x", "y", "both"]) -> None:
    """Style a panel, with grid lines along one axis or both."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_MUTED)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.grid(axis=grid, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
