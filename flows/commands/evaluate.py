"""Commands that measure models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.options import (
    ConfigFile,
    DataDir,
    DatasetName,
    Json,
    Lines,
    LocalDataDir,
    Precision,
    Prefect,
    Processes,
    run_flow,
)
from flows.commands.settings import build, read_toml
from flows.terminal import bars, tables

app = typer.Typer()

_TASKS = "retrieval, zero_shot, image_retrieval, prior_art, linear_probe, fine_tuned, deep_patent"

ReadoutTau = Annotated[
    float | None,
    typer.Option(
        help="Class prior under which the model's own head is read out: 0 natural, 1 balanced, or between; default: 0."
    ),
]


@app.command()
def evaluate(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A run under runs/, a folder, local-dir:FOLDER, hf-hub:OWNER/NAME, or ARCHITECTURE/TAG such as "
            "ViT-B-32/openai.",
        ),
    ],
    data_dir: DataDir = "data",
    dataset: DatasetName = "designs",
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What is measured, separated by commas or blanks: {_TASKS}; default: all except linear_probe and "
            "deep_patent."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="A second model, named like --model, compared query by query.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split to measure on; default: test.")] = None,
    lines: Lines = None,
    readout_tau: ReadoutTau = None,
    precision: Precision = None,
    processes: Processes = None,
    run: Annotated[
        str, typer.Option("--run", help="Folder under runs/ for the report; default: the model's name.")
    ] = "",
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Measure any open_clip model on a frozen dataset, next to its baselines.

    Writes `evaluation.json` and `report.html`. Features are kept and reused by later tasks, comparisons and searches.

    Examples: `designclip evaluate --model designs`, or a comparison:
    `designclip evaluate -m designs --against ViT-B-32/openai --tasks retrieval,linear_probe -d data`

    DeepPatent's protocol, on a dataset that `designclip deep-patent` made:
    `designclip evaluate -m ViT-B-32/openai --dataset deep-patent --tasks deep_patent`
    """
    from flows.evaluate import EvaluateConfig
    from flows.evaluate import evaluate as flow
    from patentdata.store.folder import DataFolder
    from tasks.running.local_copies import local_copy

    values = read_toml(config) | {"data_dir": data_dir, "model": model, "dataset": dataset, "run_name": run}
    given: dict[str, Any] = {
        "against": against or None,
        "split": split or None,
        "lines": lines or None,
        "tasks": split_names(tasks or []) or None,
        "readout_tau": readout_tau,
        "precision": precision or None,
        "num_processes": processes,
    }
    given = {name: value for name, value in given.items() if value is not None}
    values["evaluation"] = values.get("evaluation", {}) | given
    settings = build(EvaluateConfig, values)
    measured = run_flow(flow, settings, prefect)
    tables.show_evaluation(measured, local_copy(DataFolder(data_dir), "runs", settings.folder_name), as_json)


@app.command(name="deep-patent")
def deep_patent(
    lists: Annotated[
        Path, typer.Option(help="Folder of DeepPatent's lists, test_query_patent.txt and test_db_patent.txt.")
    ],
    images: Annotated[
        Path, typer.Option(help="Folder that the paths in the lists are relative to; it holds I20180102 and so on.")
    ],
    data_dir: LocalDataDir = "data",
    dataset: Annotated[str, typer.Option("--dataset", help="Name of the dataset under datasets/.")] = "deep-patent",
    splits: Annotated[
        list[str] | None, typer.Option("--splits", help="test, train, validation; separated by commas or blanks.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Threads that read drawings.")] = 2,
    as_json: Json = False,
) -> None:
    """Make a dataset of DeepPatent's published lists and drawings, to measure and train image retrieval on.

    Drawings are padded to a square and reduced to 256 px. What is missing or unreadable is left out and counted by
    reason. If it was stopped, run it again to resume.

    Example: `designclip deep-patent --lists deep-patent/data --images deep-patent/patent_data --splits train,test`,
    then `designclip train --preset arcface --dataset deep-patent --set architecture=ViT-B-32 --set pretrained=openai`,
    and `designclip evaluate --model deep-patent --dataset deep-patent --tasks deep_patent,image_retrieval`
    """
    from model.dataset.deep_patent_images import DeepPatentConfig, import_deep_patent

    given: dict[str, Any] = {"splits": split_names(splits or []), "num_workers": workers}
    config = build(DeepPatentConfig, {name: value for name, value in given.items() if value})
    show = bars.counter("images")
    out_dir = Path(data_dir) / "datasets" / dataset
    made = import_deep_patent(lists, images, out_dir, config, progress=lambda done, num_all, _: show(done, num_all))
    tables.show_deep_patent(made, out_dir, as_json)


def split_names(given: list[str]) -> tuple[str, ...]:
    """Names from repeated options, each separated by commas or blanks; hyphens become underscores.

    >>> split_names(["retrieval, zero-shot", "prior_art"])
    ('retrieval', 'zero_shot', 'prior_art')
    """
    return tuple(name.replace("-", "_") for text in given for name in re.split(r"[,\s]+", text) if name)
