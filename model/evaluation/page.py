"""The report of an evaluation: one self-contained HTML file, equal bytes for equal results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from model.charts import draw_classes, draw_confusion, draw_loss_curve, draw_readouts, draw_recall_curves
from model.dataset.classes import SCHEMES
from model.evaluation.context import Example
from model.evaluation.failures.counting import Miss
from model.evaluation.measures.result_table import COLUMNS
from model.evaluation.protocols.classification import scheme_heading
from model.pages import data_uri, page_environment, toml_table

HEADINGS = {
    "retrieval": "Text and image retrieval",
    "zero_shot": "Zero-shot classification",
    "linear_probe": "Linear probe",
    "fine_tuned": "Fine-tuned classification",
    "image_retrieval": "Image retrieval",
    "prior_art": "Prior art",
    "deep_patent": "DeepPatent",
}
LEADS = {
    "retrieval": "Find the drawing that a caption describes, and the caption of a drawing.",
    "zero_shot": "A view is assigned to the class whose title it is nearest to; nothing is learned.",
    "linear_probe": "What a linear classifier learns from the frozen image features of the training split.",
    "fine_tuned": "The classes that the model's own head predicts from the images alone.",
    "image_retrieval": "Given one view of a patent, find its other views among those of all patents.",
    "prior_art": "Given the views of a patent, find the designs that its examiner cited.",
    "deep_patent": "Given one drawing of a patent, find its other drawings in DeepPatent's database.",
}


def render_report(
    results: Mapping[str, Any],
    examples: Mapping[str, Sequence[Example]],
    training_metrics: Sequence[Mapping[str, Any]],
    misses: Mapping[str, Mapping[str, Mapping[str, Sequence[Miss]]]],
) -> str:
    """The page as HTML text.

    Args:
        results: The content of `evaluation.json` except `files`.
        examples: Task → queries to show.
        training_metrics: Metrics of the training run, one dict a step; empty if they are not known.
        misses: Task → table → cause → misses to show.
    """
    environment = page_environment(Path(__file__).parent)
    environment.filters["percent"] = lambda share: f"{100 * share:.1f}"
    environment.filters["number"] = lambda value: f"{value:,g}" if isinstance(value, float) else f"{value:,}"
    environment.filters["by_lift"] = _by_lift
    environment.filters["jpeg_uri"] = lambda data: data_uri("image/jpeg", data)
    tasks = results["tasks"]
    return environment.get_template("page.html").render(
        results=results,
        headings={task: HEADINGS.get(task, task) for task in tasks},
        leads={task: LEADS.get(task, "") for task in tasks},
        columns=COLUMNS,
        schemes={scheme: scheme_heading(scheme) for scheme in SCHEMES},
        misses=misses,
        examples={task: _group_by_heading(shown) for task, shown in examples.items()},
        charts={task: _charts(section) for task, section in tasks.items()},
        commands={task: command_of(results, task) for task in tasks},
        config_toml=toml_table("evaluation", results["config"]),
        loss_chart=data_uri("image/svg+xml", draw_loss_curve(training_metrics)) if training_metrics else None,
        num_steps=len(training_metrics),
        found_leaks=[check for check in results["checks"] if check["num_found"]],
    )


def _by_lift(causes: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """The causes that hold for a query, the highest lift first, and then those without one."""
    found = [(name, cause) for name, cause in causes.items() if cause["num_queries"]]
    return sorted(found, key=lambda item: -item[1]["lift"]["value"] if item[1]["lift"] else 1.0)


def command_of(results: Mapping[str, Any], task: str) -> str:
    """The command that repeats a task."""
    against = " --against MODEL2" if results["against"] else ""
    return (
        f"designclip evaluate --data-dir DATA --model MODEL --dataset {results['dataset']['name']} --run NAME "
        f"--tasks {task}{against} --config evaluation.toml"
    )


def _group_by_heading(examples: Sequence[Example]) -> list[tuple[str, list[Example]]]:
    return [(heading, list(group)) for heading, group in groupby(examples, key=lambda example: example.heading)]


def _charts(section: Mapping[str, Any]) -> list[dict[str, str]]:
    """The charts of a task, each with its image as an address, an alternative text and a caption."""
    charts = []
    curves = section.get("curves", {})
    if curves:
        titles = [section["tables"][name]["title"] for name in curves]
        charts.append(_chart(draw_recall_curves(curves, titles), "Recall at k over k, with the baselines", ""))
    for name, curve in section.get("readouts", {}).items():
        title = section["tables"][name]["title"]
        charts.append(
            _chart(
                draw_readouts(curve),
                f"{title}: accuracy of rare, middling and frequent classes over the class prior",
                f"{title}: one model, read out under class priors from the natural one (τ = 0) to a balanced one "
                "(τ = 1) and beyond. Each point can be picked with readout_tau, without retraining.",
            )
        )
    for name, by_class in section.get("by_class", {}).items():
        title = section["tables"][name]["title"]
        charts.append(
            _chart(
                draw_classes(by_class),
                f"{title}: accuracy of each class against its number of training views",
                f"{title}: accuracy of each class against its number of training views; a larger dot means more views "
                "in the measured split.",
            )
        )
        charts.append(
            _chart(
                draw_confusion(by_class),
                f"{title}: confusion matrix of the classes",
                f"{title}: the classes predicted for the views of each class.",
            )
        )
    return charts


def _chart(svg: bytes, alt: str, caption: str) -> dict[str, str]:
    return {"uri": data_uri("image/svg+xml", svg), "alt": alt, "caption": caption}
