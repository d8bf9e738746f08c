"""Charts of the reports on training and evaluation, as SVG with equal bytes for equal data."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

INK, ACCENT, MUTED, _GRID = "#1d2733", "#0b6e99", "#9aa5b1", "#e4e8ec"
_LINES: dict[str, dict[str, Any]] = {
    "model": {"color": ACCENT, "linewidth": 2.0, "label": "this model"},
    "against": {"color": "#b3541e", "linewidth": 1.6, "label": "second model"},
    "bm25_title": {"color": "#6a4c93", "linewidth": 1.2, "linestyle": "-.", "label": "BM25 on titles"},
    "untrained": {"color": INK, "linewidth": 1.2, "linestyle": "--", "label": "untrained"},
    "chance": {"color": MUTED, "linewidth": 1.2, "linestyle": ":", "label": "chance"},
}
_READOUT_LINES: dict[str, dict[str, Any]] = {
    "head": {"color": ACCENT, "linewidth": 1.8, "label": "head: the most frequent third"},
    "middle": {"color": "#6a4c93", "linewidth": 1.8, "label": "middle third"},
    "tail": {"color": "#b3541e", "linewidth": 1.8, "label": "tail: the rarest third"},
    "classes": {"color": INK, "linewidth": 1.4, "linestyle": "--", "label": "mean over all classes"},
    "views": {"color": MUTED, "linewidth": 1.4, "linestyle": "-.", "label": "mean over all views"},
}
_TITLE_CHARS = 48  # that fit into half the width of the page
_PLAIN_NUMBERS = StrMethodFormatter("{x:,.0f}")
_SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#a9d3e5", ACCENT, "#073b52"])


def draw_recall_curves(curves: Mapping[str, Mapping[str, Mapping[str, list[float]]]], titles: Sequence[str]) -> bytes:
    """Recall@k over k, one panel for each table, as SVG.

    Args:
        curves: Table → line ("model", "untrained", …) → {"k": [...], "recall": [...]}.
        titles: Titles of the panels, in the order of `curves`.
    """
    num_rows = -(-len(curves) // 2)
    figure = Figure(figsize=(9.0, 3.1 * num_rows), layout="constrained")
    panels = figure.subplots(num_rows, min(2, len(curves)), sharey=True, squeeze=False).flatten()
    for axes, title, lines in zip(panels, titles, curves.values(), strict=False):
        for name, style in _LINES.items():
            if name in lines:
                axes.plot(
                    lines[name]["k"], [100 * value for value in lines[name]["recall"]], marker="o", ms=2.5, **style
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_PLAIN_NUMBERS)
        axes.set_title(textwrap.fill(title, _TITLE_CHARS), fontsize=10, color=INK, loc="left")
        axes.set_xlabel("k, of the whole gallery")
        axes.set_ylim(-2, 102)
        style_axes(axes)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("queries answered in the first k, %")
    panels[0].legend(frameon=False, fontsize=8, loc="upper left")
    return svg_of(figure)


def draw_classes(by_class: Mapping[str, Any]) -> bytes:
    """Accuracy of each class against its number of training views, as SVG.

    The size of a dot is the number of measured views of the class. Classes at the same position share a label.

    Args:
        by_class: Lists over the classes: "codes", "num_training_views", "num_views" and "accuracy".
    """
    rows = [
        (code, training, accuracy, num)
        for code, training, accuracy, num in zip(
            by_class["codes"], by_class["num_training_views"], by_class["accuracy"], by_class["num_views"], strict=True
        )
        if num
    ]
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    axes = figure.subplots()
    # One dot for each class.
    max_views = max(num for *_, num in rows)
    codes_at: dict[tuple[int, float], list[str]] = {}
    for code, training, accuracy, num in rows:
        axes.scatter(training, 100 * accuracy, s=20 + 160 * num / max_views, color=ACCENT, alpha=0.55, linewidths=0)
        codes_at.setdefault((training, 100 * accuracy), []).append(code)
    # One label for each position, alternately above and below, so that the labels of neighbours do not overlap.
    for index, (position, codes) in enumerate(codes_at.items()):
        axes.annotate(
            ", ".join(codes),
            position,
            xytext=(0, 7 if index % 2 == 0 else -13),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            color=INK,
        )
    axes.set_xscale("symlog", linthresh=1)
    axes.xaxis.set_major_formatter(_PLAIN_NUMBERS)
    axes.set_xlim(left=-0.4)
    axes.set_ylim(-8, 110)
    axes.set_xlabel("training views of the class (logarithmic from 1)")
    axes.set_ylabel("accuracy in %")
    style_axes(axes)
    return svg_of(figure)


def draw_readouts(curve: Mapping[str, Any]) -> bytes:
    """Accuracy of the thirds of the classes, and over all of them, over the class prior of the read-out, as SVG.

    Args:
        curve: Lists over "tau": "tail", "middle" and "head" if they were measured, "classes" and "views"; and
            "chosen_tau", which is marked, if one was chosen.
    """
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, style in _READOUT_LINES.items():
        if name in curve:
            axes.plot(curve["tau"], [100 * value for value in curve[name]], **style)
    for tau, name in ((0.0, "natural"), (1.0, "balanced")):
        axes.axvline(tau, color=_GRID, linewidth=1.2, zorder=0)
        axes.annotate(name, (tau, 101), ha="center", va="bottom", fontsize=8, color=INK, annotation_clip=False)
    if "chosen_tau" in curve:
        axes.axvline(curve["chosen_tau"], color=ACCENT, linewidth=1.2, linestyle=":", label="readout_tau", zorder=0)
    axes.set_ylim(0, 100)
    axes.set_xlabel("τ, the share of the natural class prior that is taken out")
    axes.set_ylabel("accuracy in %")
    style_axes(axes)
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside right center")
    return svg_of(figure)


def draw_confusion(by_class: Mapping[str, Any]) -> bytes:
    """The confusion matrix of the classes that occur, as SVG: each row is a true class, in per cent of its views.

    Args:
        by_class: Lists over the classes: "codes", and "confusion" as a square matrix of numbers of views.
    """
    counts = np.array(by_class["confusion"], dtype=np.float64)
    rows = np.flatnonzero(counts.sum(axis=1))
    columns = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    shares = counts[np.ix_(rows, columns)] / counts[rows].sum(axis=1, keepdims=True)
    codes = np.array(by_class["codes"])
    figure = Figure(figsize=(9.0, 1.6 + 0.2 * len(rows)), layout="constrained")
    axes = figure.subplots()
    mesh = axes.pcolormesh(100 * shares, cmap=_SHADES, vmin=0, vmax=100, edgecolors="#eef1f4", linewidth=0.4)
    axes.set_xticks(np.arange(len(columns)) + 0.5, codes[columns], rotation=90, fontsize=7)
    axes.set_yticks(np.arange(len(rows)) + 0.5, codes[rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.8, aspect=25, pad=0.01)
    bar.set_label("% of the class", fontsize=8)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=7)
    return svg_of(figure)


def draw_loss_curve(metrics: Sequence[Mapping[str, Any]]) -> bytes:
    """Loss of each training step with its running mean, as SVG; a row of `metrics` has "step" and "loss"."""
    steps = [row["step"] for row in metrics]
    losses = [row["loss"] for row in metrics]
    window = max(1, len(losses) // 25)
    means = [sum(losses[max(0, end - window) : end]) / min(window, end) for end in range(1, len(losses) + 1)]
    figure = Figure(figsize=(9.0, 2.6), layout="constrained")
    axes = figure.subplots()
    if window > 1:
        axes.plot(steps, losses, color=MUTED, linewidth=0.8, label="each step")
    label = f"mean of {window} steps" if window > 1 else "each step"
    axes.plot(steps, means, color=ACCENT, linewidth=2.0, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    style_axes(axes)
    return svg_of(figure)


def style_axes(axes: Axes) -> None:
    """Give a chart the common style: no box, light horizontal lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def svg_of(figure: Figure) -> bytes:
    """A matplotlib figure as SVG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "designclip", "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
