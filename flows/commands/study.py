"""Command study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.options import ConfigFile, Json, LocalDataDir
from flows.commands.settings import read_toml
from flows.terminal import output
from flows.terminal.bars import Bars
from flows.terminal.tables import show_study, show_study_plan

app = typer.Typer()

_SMOKE = {"num_steps": 6, "batch_size": 16, "warmup_steps": 1, "checkpoint_every_steps": 100}
_SMOKE_SEEDS, _SMOKE_RESAMPLES = (0, 1), 200


@app.command()
def study(
    what: Annotated[str, typer.Argument(metavar="beta|captions|views|FILE.toml", help="A study, or a file of one.")],
    data_dir: LocalDataDir = "data",
    dataset: Annotated[str, typer.Option("--dataset", help="Name of the dataset under datasets/.")] = "designs",
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of each arm; default: those of the study.")] = None,
    config: ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting of training for all arms, such as num_steps=2000; repeatable."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each with a GPU of its own if there are some.")] = 1,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only say what would be trained, and how long it would take.")
    ] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="The whole study in a minute or two: six steps a run, two seeds.")
    ] = False,
    name: Annotated[str, typer.Option(help="Name of its folder under studies/; default: the name of the study.")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace runs of this study that have other settings or data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare arms that differ in named settings, on the same views, with intervals and a verdict for each claim.

    Runs that exist already with the same settings are taken over. Stop it with Ctrl-C: the same command resumes.
    The page is studies/NAME/study.html in the data folder.

    Examples: `designclip study beta -d data --plan`, `designclip study captions -d data --seeds 5 --jobs 2`,
    `designclip study my.toml -d data --set architecture=ViT-B-32 --set pretrained=openai`
    """
    from flows.commands.train import tiny_settings, training_setting, training_table
    from model.study.config import read_study
    from model.study.study import plan_study, run_study

    training: dict[str, Any] = {} if config is None else training_table(read_toml(config))
    training |= (_SMOKE if smoke else {}) | dict(map(training_setting, settings or []))
    chosen = read_study(
        what,
        training,
        small_training=tiny_settings() if config is None else None,
        seeds=list(_SMOKE_SEEDS) if smoke and seeds is None else seeds,
        num_resamples=_SMOKE_RESAMPLES if smoke else None,
    )
    dataset_dir = Path(data_dir) / "datasets" / dataset
    out = Path(data_dir) / "studies" / (name or (f"{chosen.name}-smoke" if smoke else chosen.name))
    planned = plan_study(dataset_dir, out, chosen)
    if plan:
        show_study_plan(planned, as_json)
        return
    output.say(
        f"{planned['runs']} runs, {planned['done']} done, {planned['taken_over']} taken over; "
        f"{planned['to_train']} to train, {planned['steps']:,} steps"
        + (f", about {planned['hours']:.2g} h" if planned["hours"] is not None else "")
    )
    with Bars() as bars:
        result = run_study(dataset_dir, out, chosen, num_jobs=jobs, replace=replace, progress=bars.on_training)
    show_study(result, out, as_json)
