"""The page of a training run: one self-contained HTML file, made from the files in the run's folder.

Unlike the report of an evaluation it shows speed and memory, so no two runs give the same bytes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.charts import ACCENT, INK, MUTED, draw_readouts, style_axes, svg_of
from model.clip.readout import BALANCED, NATURAL
from model.dataset.thirds import THIRDS
from model.files import read_json, write_text
from model.pages import data_uri, page_environment, toml_table
from model.training.run.folder import RunFolder
from model.training.run.metrics import read_metrics, read_timings

_TERMS = {
    "contrastive": "Views and captions",
    "classification": "Classes",
    "multi_view": "Views of one patent",
    "arcface": "Patents (ArcFace)",
}
_MAX_POINTS = 2000  # points of a line; more could not be distinguished
_GIGABYTE = 1e9
_WEIGHTED = "#b3541e"  # colour of what classes count as


def write_training_page(run: RunFolder, summary: dict[str, Any]) -> None:
    """Write `training.html` of a finished run.

    Args:
        run: Folder of the run, with metrics, timings and read-outs.
        summary: Content of `training.json`.
    """
    read_outs = read_json(run.read_outs)
    write_text(run.page, render_training_page(summary, read_metrics(run.metrics), read_timings(run), read_outs))


def render_training_page(
    summary: dict[str, Any],
    metrics: Sequence[dict[str, Any]],
    timings: Sequence[dict[str, Any]],
    read_outs: dict[str, Any] | None = None,
) -> str:
    """The page as HTML text.

    Args:
        summary: Content of `training.json`.
        metrics: One dict a step.
        timings: One dict for each timed step; may be empty.
        read_outs: Accuracy of the head on validation views; None if it was not measured.
    """
    environment = page_environment(Path(__file__).parent)
    environment.filters["percent"] = lambda share: f"{100 * share:.2f}"
    return environment.get_template("page.html").render(
        summary=summary,
        config=summary["config"],
        settings=toml_table("training", summary["config"]),
        terms=[
            {"title": title, "weight": summary["config"][f"{name}_weight"], "last": _last(metrics, name)}
            for name, title in _TERMS.items()
            if name in metrics[0]
        ],
        loss_chart=data_uri("image/svg+xml", draw_losses(metrics)),
        shares_chart=data_uri("image/svg+xml", draw_class_shares(summary["class_shares"])),
        is_weighted=bool(_weighted_terms(summary["config"])),
        weighted_terms=" and ".join(_weighted_terms(summary["config"])),
        corrected_twice=corrected_twice(summary["config"], summary["class_shares"]),
        read_outs=read_outs,
        read_outs_chart=data_uri("image/svg+xml", draw_readouts(read_outs)) if read_outs else None,
        read_outs_rows=_read_outs_rows(read_outs) if read_outs else [],
        optimizer_chart=data_uri("image/svg+xml", draw_optimizer(metrics)),
        speed_chart=data_uri("image/svg+xml", draw_speed(timings)) if timings else None,
        speed=_speed(timings),
    )


def _weighted_terms(config: dict[str, Any]) -> list[str]:
    """Names of the terms whose items are weighted by class."""
    names = {"contrastive terms": config["weigh_contrastive"]}
    names["classification term"] = config["weigh_classification"] and config["classification_weight"] > 0
    return [name for name, is_weighted in names.items() if is_weighted and config["beta"] > 0]


def corrected_twice(config: dict[str, Any], shares: Sequence[dict[str, Any]]) -> str:
    """A sentence on settings that both sample and weight by class, with the classes that it moves most; else "".

    Args:
        config: The settings of the run.
        shares: `class_shares` of its summary.
    """
    known = [row for row in shares if row["class"] != "unknown"]
    if not known or config["sampler"] == "uniform" or not _weighted_terms(config):
        return ""
    num_views = sum(row["num_views"] for row in shares)
    rarest, commonest = min(known, key=_num_views), max(known, key=_num_views)
    parts = [
        f"{row['class']} has {100 * row['num_views'] / num_views:.2g} % of the views, "
        f"{100 * row['drawn']:.2g} % of the draws and {100 * row['counted']:.2g} % of the weight"
        for row in (commonest, rarest)
    ]
    return (
        f"rare classes are drawn more often, and what is drawn of them has a larger weight as well. {'; '.join(parts)}."
    )


def _read_outs_rows(read_outs: dict[str, Any]) -> list[dict[str, Any]]:
    """The read-outs that have a name, and the last one, as rows of a table: τ, and accuracy by line of the chart."""
    chosen = [read_outs["tau"].index(tau) for tau in (NATURAL, BALANCED)] + [len(read_outs["tau"]) - 1]
    names = ("natural", "balanced", "beyond")
    lines = [name for name in (*THIRDS, "classes", "views") if name in read_outs]
    return [
        {"name": name, "tau": read_outs["tau"][index], **{line: read_outs[line][index] for line in lines}}
        for name, index in zip(names, chosen, strict=True)
    ]


def _num_views(row: dict[str, Any]) -> int:
    return int(row["num_views"])


def _last(metrics: Sequence[dict[str, Any]], name: str) -> float:
    """Mean of a metric over the last tenth of the steps."""
    return statistics.mean(row[name] for row in metrics[-max(1, len(metrics) // 10) :])


def _speed(timings: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """Median speed, share of the time spent waiting for batches, minutes, peak memory; None without timings."""
    if not timings:
        return None
    seconds = sum(row["seconds"] for row in timings)
    return {
        "pairs_per_s": statistics.median(row["pairs_per_s"] for row in timings),
        "wait_share": sum(row["wait_s"] for row in timings) / seconds,
        "minutes": seconds / 60,
        "memory_gb": max(row["memory_bytes"] for row in timings) / _GIGABYTE,
    }


def draw_losses(metrics: Sequence[dict[str, Any]]) -> bytes:
    """The loss and each of its terms over the steps, as SVG."""
    names = {"loss": "Loss, weighted sum", **{name: title for name, title in _TERMS.items() if name in metrics[0]}}
    figure = Figure(figsize=(9.0, 2.5 * -(-len(names) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(names) // 2), 2, squeeze=False).flatten()
    for axes, (name, title) in zip(panels, names.items(), strict=False):
        _line(axes, metrics, name, is_smoothed=True)
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        _from_zero(axes)
    for axes in panels[len(names) :]:
        axes.remove()
    return svg_of(figure)


def draw_optimizer(metrics: Sequence[dict[str, Any]]) -> bytes:
    """Learning rate, logit scale and gradient norm over the steps, as SVG."""
    names = {"learning_rate": "Learning rate", "logit_scale": "Logit scale", "grad_norm": "Norm of the gradient"}
    figure = Figure(figsize=(9.0, 2.3), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 3), names.items(), strict=True):
        _line(axes, metrics, name, is_smoothed=False)
        axes.set_title(title, fontsize=10, color=INK, loc="left")
        _from_zero(axes)
    return svg_of(figure)


def draw_speed(timings: Sequence[dict[str, Any]]) -> bytes:
    """Pairs a second and memory over the steps, as SVG."""
    figure = Figure(figsize=(9.0, 2.3), layout="constrained")
    speed, memory = figure.subplots(1, 2)
    _line(speed, timings, "pairs_per_s", is_smoothed=True)
    speed.set_title("Pairs a second", fontsize=10, color=INK, loc="left")
    in_gigabytes = [{"step": row["step"], "memory": row["memory_bytes"] / _GIGABYTE} for row in timings]
    _line(memory, in_gigabytes, "memory", is_smoothed=False)
    memory.set_title("Memory in GB", fontsize=10, color=INK, loc="left")
    for axes in (speed, memory):
        _from_zero(axes)
    return svg_of(figure)


def draw_class_shares(shares: Sequence[dict[str, Any]]) -> bytes:
    """For each class its share of the views, of the draws and, if it differs, of the weighted draws, as SVG."""
    positions = np.arange(len(shares))
    num_views = sum(row["num_views"] for row in shares)
    figure = Figure(figsize=(9.0, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.bar(
        positions - 0.2,
        [100 * row["num_views"] / num_views for row in shares],
        0.4,
        color="#d5dbe1",
        label="in the data",
    )
    axes.bar(positions + 0.2, [100 * row["drawn"] for row in shares], 0.4, color=ACCENT, label="drawn")
    axes.plot(positions + 0.2, [100 * row["asked"] for row in shares], "_", color=INK, ms=9, mew=1.6, label="requested")
    if any(row["counted"] != row["asked"] for row in shares):
        counted = [100 * row["counted"] for row in shares]
        axes.plot(positions + 0.2, counted, "D", color=_WEIGHTED, ms=4, label="counted, by weight")
    axes.set_xticks(positions, [row["class"] for row in shares], rotation=90 if len(shares) > 12 else 0)
    axes.set_xlim(-0.7, len(shares) - 0.3)
    axes.set_ylabel("share in %")
    axes.legend(frameon=False, fontsize=9, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
    style_axes(axes)
    return svg_of(figure)


def _line(axes: Axes, rows: Sequence[dict[str, Any]], name: str, *, is_smoothed: bool) -> None:
    """Plot one metric over the steps; `is_smoothed` adds its running mean."""
    stride = -(-len(rows) // _MAX_POINTS)
    steps = np.array([row["step"] for row in rows])
    values = np.array([row[name] for row in rows], dtype=float)
    window = max(1, len(values) // 25) if is_smoothed else 1
    if window > 1:
        axes.plot(steps[::stride], values[::stride], color=MUTED, linewidth=0.7, label="each step")
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    means = (sums[ends] - sums[starts]) / (ends - starts)
    label = f"mean of {window} steps" if window > 1 else "each step"
    axes.plot(steps[::stride], means[::stride], color=ACCENT, linewidth=1.8, label=label)
    if window > 1:
        axes.legend(frameon=False, fontsize=8, loc="lower right", ncols=2, bbox_to_anchor=(1, 0.97))
    axes.set_xlabel("step", fontsize=9)
    style_axes(axes)


def _from_zero(axes: Axes) -> None:
    """Start the vertical axis at zero."""
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
