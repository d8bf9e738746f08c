"""Commands of training."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.options import ConfigFile, Json, LocalDataDir, RunName
from flows.commands.settings import build, read_toml
from flows.terminal.bars import Bars
from flows.terminal.tables import show_training

app = typer.Typer()


@app.command()
def train(
    data_dir: LocalDataDir = "data",
    dataset: Annotated[
        str, typer.Option("--dataset", help="Name of the dataset under datasets/, or its folder.")
    ] = "designs",
    run: RunName = "",
    config: ConfigFile = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Method, for what the settings leave open: designclip-balanced (the default), designclip, "
            "-as-published, -as-released, clip, patentclip, lift or arcface."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting, such as num_steps=500; repeatable, overrides all others."),
    ] = None,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace",
            help="Replace another run of this name, with its evaluation, as soon as the new one is finished.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model on a frozen dataset, or resume a run that was stopped.

    Settings come from the settings file (its table [training], or the top level), then --preset, then --set; without a
    file they are those of a small model for two cores. Stop it with Ctrl-C or SIGTERM: it leaves a checkpoint, and the
    same command resumes.

    Examples: `designclip train --dataset designs --config train.toml`, or
    `designclip train --preset clip --set architecture=ViT-B-32 --set pretrained=openai --set num_processes=0`

    For image retrieval alone, an image tower is trained with each patent as a class, without captions:
    `designclip train --preset arcface --run arcface --set architecture=ViT-B-32 --set pretrained=openai`

    On several machines: `torchrun … -m model.training.train --dataset FOLDER --run-dir FOLDER --config train.toml`
    """
    from model.child_process import train_in_child
    from model.training.config import TrainConfig

    given = tiny_settings() if config is None else training_table(read_toml(config))
    if preset is not None:
        given["preset"] = preset
    train_config = build(TrainConfig, given | dict(map(training_setting, settings or [])))
    dataset_dir = Path(dataset) if _is_folder(dataset) else Path(data_dir) / "datasets" / dataset
    run_dir = Path(data_dir) / "runs" / (run or dataset_dir.resolve().name)
    with Bars() as bars:
        summary = train_in_child(
            dataset_dir, run_dir, train_config, replace="any" if replace else "nothing", progress=bars.on_training
        )
    show_training(summary, run_dir, as_json)


def tiny_settings() -> dict[str, Any]:
    """Settings of the small model, without those that a preset decides."""
    from flows.steps import TINY_TRAINING
    from model.training.presets import PRESETS

    values = TINY_TRAINING.to_dict()
    return {name: value for name, value in values.items() if name not in PRESETS[TINY_TRAINING.preset]}


def training_table(tables: dict[str, Any]) -> dict[str, Any]:
    """The table [training]; if there is none, the settings at the top level.

    >>> training_table({"training": {"beta": 1.0}, "dataset": {}}), training_table({"beta": 1.0, "dataset": {}})
    ({'beta': 1.0}, {'beta': 1.0})
    """
    plain = {name: value for name, value in tables.items() if not isinstance(value, dict)}
    return dict(tables.get("training", plain))


def _is_folder(dataset: str) -> bool:
    return (Path(dataset) / "dataset.json").is_file()


def training_setting(text: str) -> tuple[str, Any]:
    """Name and value of "name=value": a TOML value, "none" for None, or else a string that needs no quotes.

    >>> [training_setting(text) for text in ("num_steps=500", "architecture=ViT-B-32", "max_grad_norm=none")]
    [('num_steps', 500), ('architecture', 'ViT-B-32'), ('max_grad_norm', None)]
    """
    from patentdata.errors import ConfigError

    name, sign, value = (part.strip() for part in text.partition("="))
    if not name or not sign:
        raise ConfigError(f"--set {text!r} is not a setting; write name=value, such as --set num_steps=500")
    if value.lower() == "none":
        return name, None
    try:
        return name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name, value
