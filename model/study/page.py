"""The page of a study: the verdicts, charts of the arms, and a table of every estimate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from model.charts import ACCENT, INK, MUTED, style_axes, svg_of
from model.dataset.thirds import HEAD, MIDDLE, TAIL
from model.pages import data_uri, page_environment, toml_table
from model.study.outcomes import PARTS

_PART_COLOURS = {TAIL: "#b3541e", MIDDLE: "#6a4c93", HEAD: ACCENT, "all": INK}
_BY_CLASS = ("classifier", "zero_shot")  # measures whose thirds are the point


def render_study(result: Mapping[str, Any]) -> str:
    """The page as HTML, self-contained; equal results give equal bytes.

    Args:
        result: The content of `study.json`.
    """
    environment = page_environment(Path(__file__).parent)
    environment.filters["percent"] = _percent
    environment.filters["points"] = _points
    arms = result["study"]["arms"]
    charts = {
        measure: data_uri("image/svg+xml", draw_arms(of_measure, arms, parts=_parts_shown(measure)))
        for measure, of_measure in result["estimates"].items()
    }
    settings = {
        name: toml_table(f"arms.{name}", {key: _plain(value) for key, value in arm["differs_in"].items()})
        for name, arm in arms.items()
    }
    return environment.get_template("page.html").render(
        result=result, charts=charts, settings=settings, parts=PARTS, measures=result["measures"]
    )


def draw_arms(
    of_measure: Mapping[str, Mapping[str, Mapping[str, float]]],
    arms: Mapping[str, Mapping[str, Any]],
    *,
    parts: tuple[str, ...],
) -> bytes:
    """Estimates of the arms with their intervals, as SVG: one row an arm, and a curve for each series of arms.

    Args:
        of_measure: Arm → part → "mean", "low", "high", as shares.
        arms: Arm → its description, with "series" and "x".
        parts: The parts that are shown.
    """
    series = _series_of(of_measure, arms)
    figure = Figure(figsize=(9.0, max(2.4, 0.9 + 0.3 * len(of_measure))), layout="constrained")
    columns = figure.subplots(1, 1 + bool(series), squeeze=False)[0]
    _draw_rows(columns[0], of_measure, parts)
    if series:
        _draw_curves(columns[1], of_measure, series, parts)
    handles, labels = columns[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper right", ncols=len(parts))
    return svg_of(figure)


def _draw_rows(axes: Axes, of_measure: Mapping[str, Mapping[str, Mapping[str, float]]], parts: tuple[str, ...]) -> None:
    names = list(of_measure)
    for index, part in enumerate(parts):
        shift = (index - (len(parts) - 1) / 2) * 0.16
        rows = [(row, of_measure[name][part]) for row, name in enumerate(names) if part in of_measure[name]]
        if not rows:
            continue
        means = [100 * values["mean"] for _, values in rows]
        ends = [[100 * (values["mean"] - values["low"]) for _, values in rows]]
        ends += [[100 * (values["high"] - values["mean"]) for _, values in rows]]
        axes.errorbar(
            means,
            [row + shift for row, _ in rows],
            xerr=ends,
            fmt="o",
            ms=4,
            lw=1.4,
            color=_PART_COLOURS[part],
            label=part,
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("%, with 95 % intervals")
    style_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#e4e8ec", linewidth=0.8)


def _draw_curves(
    axes: Axes,
    of_measure: Mapping[str, Mapping[str, Mapping[str, float]]],
    series: Mapping[str, list[tuple[float, str]]],
    parts: tuple[str, ...],
) -> None:
    styles = ("-", "--", ":", "-.")
    for index, (name, points) in enumerate(series.items()):
        for part in parts:
            known = [(x, of_measure[arm][part]["mean"]) for x, arm in points if part in of_measure[arm]]
            axes.plot(
                [x for x, _ in known],
                [100 * mean for _, mean in known],
                linestyle=styles[index % len(styles)],
                marker="o",
                ms=3,
                color=_PART_COLOURS[part],
            )
        axes.plot([], [], linestyle=styles[index % len(styles)], color=MUTED, label=name)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("%")
    axes.legend(frameon=False, fontsize=7, loc="best")
    style_axes(axes)


def _series_of(
    of_measure: Mapping[str, Mapping[str, Any]], arms: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[tuple[float, str]]]:
    """Series → its arms with their positions, ascending; series of a single arm are no curve."""
    series: dict[str, list[tuple[float, str]]] = {}
    for name in of_measure:
        if arms[name]["series"] and arms[name]["x"] is not None:
            series.setdefault(arms[name]["series"], []).append((arms[name]["x"], name))
    return {name: sorted(points) for name, points in series.items() if len(points) > 1}


def _parts_shown(measure: str) -> tuple[str, ...]:
    return (TAIL, MIDDLE, HEAD) if measure in _BY_CLASS else ("all",)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _percent(estimate: Mapping[str, float] | None) -> str:
    """An estimate in per cent with its interval."""
    if estimate is None:
        return "–"
    return f"{100 * estimate['mean']:.1f} ({100 * estimate['low']:.1f} – {100 * estimate['high']:.1f})"


def _points(difference: Mapping[str, float] | None) -> str:
    """A difference in points with its interval."""
    if difference is None:
        return "–"
    mean, low, high = (f"{100 * difference[name]:+.1f}".replace("-", "−") for name in ("mean", "low", "high"))
    return f"{mean} ({low} – {high})"
