"""The page of an evaluation: one self-contained HTML file, equal bytes for equal results."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_INK, _ACCENT, _MUTED = "#1d2733", "#0b6e99", "#9aa5b1"
_TITLES = {"text_to_image": "Text → image", "image_to_text": "Image → text"}
_LINES = {
    "model": {"color": _ACCENT, "linewidth": 2.0, "label": "this model"},
    "untrained": {"color": _INK, "linewidth": 1.2, "linestyle": "--", "label": "untrained"},
    "chance": {"color": _MUTED, "linewidth": 1.2, "linestyle": ":", "label": "chance"},
}


@dataclass(frozen=True)
class Found:
    """One candidate found for a query."""

    view_id: str
    text: str
    jpeg: bytes
    score: float
    is_right: bool


@dataclass(frozen=True)
class Example:
    """One query shown on the page; `end` is "best" or "worst"."""

    end: str
    view_id: str
    text: str
    jpeg: bytes
    rank: int
    found: tuple[Found, ...]


def render_report(
    results: dict[str, Any], examples: dict[str, list[Example]], training_metrics: list[dict[str, Any]]
) -> str:
    """The page as HTML text.

    Args:
        results: What `evaluation.json` holds, but for `files`.
        examples: Direction → queries to show.
        training_metrics: Metrics of the training run, one dict a step; empty where they are not known.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    environment.filters["jpeg_uri"] = lambda data: _data_uri("image/jpeg", data)
    retrieval = results["retrieval"]
    return environment.get_template("report.html").render(
        results=results,
        retrieval=retrieval,
        titles=_TITLES,
        cutoffs=[str(k) for k in results["config"]["cutoffs"]],
        examples=examples,
        config_toml=_toml_table("evaluation", results["config"]),
        recall_chart=_data_uri(
            "image/svg+xml", draw_recall_curves({name: retrieval[name]["curves"] for name in _TITLES})
        ),
        loss_chart=_data_uri("image/svg+xml", draw_loss_curve(training_metrics)) if training_metrics else None,
        num_steps=len(training_metrics),
    )


def _toml_table(name: str, settings: dict[str, Any]) -> str:
    """Settings as the table of a TOML file; one that is not set is left out, since TOML has no word for it."""
    # Plain strings, numbers, booleans and lists of them are written in TOML as they are in JSON.
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items() if value is not None]
    return "\n".join([f"[{name}]", *lines])


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def draw_recall_curves(curves: dict[str, dict[str, dict[str, list[float]]]]) -> bytes:
    """Recall@k over k for each direction, as SVG.

    Args:
        curves: Direction → line ("model", "untrained", "chance") → {"k": [...], "recall": [...]}.
    """
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (direction, lines) in zip(panels, curves.items(), strict=True):
        for name, style in _LINES.items():
            axes.plot(lines[name]["k"], [100 * value for value in lines[name]["recall"]], marker="o", ms=3, **style)
        axes.set_xscale("log")
        axes.set_title(_TITLES[direction], fontsize=11, color=_INK, loc="left")
        axes.set_xlabel("k, of the whole gallery")
        axes.set_ylim(-2, 102)
        _plain(axes)
    panels[0].set_ylabel("recall@k in %")
    panels[0].legend(frameon=False, fontsize=9, loc="upper left")
    return _svg(figure)


def draw_loss_curve(metrics: list[dict[str, Any]]) -> bytes:
    """Loss of each step with its running mean, as SVG."""
    steps = [row["step"] for row in metrics]
    losses = [row["loss"] for row in metrics]
    window = max(1, len(losses) // 25)
    means = [sum(losses[max(0, end - window) : end]) / min(window, end) for end in range(1, len(losses) + 1)]
    figure = Figure(figsize=(9.0, 2.6), layout="constrained")
    axes = figure.subplots()
    if window > 1:
        axes.plot(steps, losses, color=_MUTED, linewidth=0.8, label="each step")
    label = f"mean of {window} steps" if window > 1 else "each step"
    axes.plot(steps, means, color=_ACCENT, linewidth=2.0, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    _plain(axes)
    return _svg(figure)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_MUTED)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.grid(axis="y", color="#e4e8ec", linewidth=0.8)
    axes.set_axisbelow(True)


def _svg(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "designclip", "svg.fonttype": "path"}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
