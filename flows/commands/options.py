"""Options that more than one command takes, and what every command needs to run a flow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.settings import build, parse_years, read_toml
from flows.terminal import tables
from flows.terminal.bars import Bars

if TYPE_CHECKING:
    from prefect import Flow

DataDir = Annotated[
    str, typer.Option("--data-dir", "-d", help="The data folder: a path, or an fsspec address such as s3://bucket/x.")
]
LocalDataDir = Annotated[str, typer.Option("--data-dir", "-d", help="The data folder, on this machine.")]
Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        "-s",
        help='Where weekly archives come from: "portal", a mirror\'s address, or a folder of files such as '
        "I20210105.tar; default: the weeks that the data folder keeps.",
    ),
]
Years = Annotated[str, typer.Option(help="Only these years, such as 2021 or 2007-2022,2024.")]
Workers = Annotated[int, typer.Option(help="Weeks at a time; 0 takes as many as there are cores.")]
RunnerKind = Annotated[str, typer.Option("--runner", help="Where weeks run: processes, threads, or dask.")]
DaskAddress = Annotated[str | None, typer.Option(help="Scheduler of a Dask cluster, such as tcp://127.0.0.1:8786.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML file of settings; tables [weeks], [dataset], [training], [evaluation]."),
]
Prefect = Annotated[
    bool, typer.Option("--prefect", help="Run as a Prefect flow: same work, same bytes, and a record of the run.")
]
Lines = Annotated[
    str | None,
    typer.Option(
        help="Lines of the drawings that are compared: all, or claimed, without surroundings and other lines that the "
        "grants do not claim; default: all."
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(help="Number format that features are computed in: fp32, bf16, or tf32 on a GPU; default: fp32."),
]
Processes = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that embed views together, on GPUs one each; 0: one a GPU; default: 1."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(help="Patent to leave out, such as a withdrawn one: D907292 or USD0907292S1; repeatable."),
]
ExcludeFile = Annotated[
    str | None, typer.Option(help="Text file of patent numbers to leave out; what follows a # is a comment.")
]
DatasetName = Annotated[str, typer.Option("--dataset", help="Name of the dataset under datasets/.")]
RunName = Annotated[str, typer.Option("--run", help="Name of the run under runs/; default: the dataset's name.")]


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """How views are captioned; what is not given is left to the settings file."""

    captioner: Annotated[
        str | None,
        typer.Option(
            help='"described", from the grant\'s own words (default), or "vllm", by a model that sees the views.'
        ),
    ] = None
    endpoint: Annotated[
        list[str] | None,
        typer.Option(help="Running OpenAI-compatible server, such as http://gpu-1:8000/v1; repeatable. Implies vllm."),
    ] = None
    model: Annotated[
        str | None,
        typer.Option(help="Model, a hub name or folder; without --endpoint a server is started for it. Implies vllm."),
    ] = None
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", help='What a model is asked: "views", "impact", "patent", or a TOML file of your own.'
        ),
    ] = None
    views_per_question: Annotated[
        str | None,
        typer.Option(help='Views in one request: 1, or "patent" for all of a patent (the prompt is then "patent").'),
    ] = None

    def settings(self, from_file: dict[str, Any]) -> dict[str, Any]:
        """Settings of captions: those of a settings file, overridden by what the command line says."""
        given: dict[str, Any] = {"captioner": self.captioner, "model": self.model, "prompt": self.prompt}
        given["endpoints"] = self.endpoint
        if self.views_per_question is not None:
            given["views_per_question"] = 1 if self.views_per_question == "1" else self.views_per_question
            if self.views_per_question == "patent" and "prompt" not in from_file:
                given["prompt"] = self.prompt or "patent"
        if self.captioner is None and (self.model or self.endpoint):
            given["captioner"] = "vllm"
        return from_file | {name: value for name, value in given.items() if value}


@dataclass(frozen=True, kw_only=True)
class WalkOptions:
    """Which weeks are taken the whole way, and where the work runs."""

    data_dir: DataDir
    source: Source = None
    exclude: Exclude = None
    exclude_file: ExcludeFile = None
    workers: Workers = 0
    kind: RunnerKind = "processes"
    dask_address: DaskAddress = None

    config: ConfigFile = None

    def settings(self, captions: CaptionOptions, *, years: str, training: bool) -> dict[str, Any]:
        """Settings of a refresh or rebuild: the settings file's, overridden by what the command line says.

        Args:
            captions: How views are captioned.
            years: Only these years, as the command line has them; empty for those of the settings file.
            training: Whether a model is trained.

        Raises:
            ConfigError: The settings file cannot be read, or `years` names no years.
        """
        values = read_toml(self.config)
        weeks: dict[str, Any] = dict(values.get("weeks", {}))
        weeks["data_dir"] = self.data_dir
        if self.source is not None:
            weeks["source"] = self.source
        if years:
            weeks["years"] = parse_years(years)
        if excluded := exclusions(self.exclude, self.exclude_file, weeks.get("grants", {})):
            weeks["grants"] = excluded
        weeks["captions"] = captions.settings(weeks.get("captions", {}))
        workers = {"kind": self.kind, "num_workers": self.workers, "dask_address": self.dask_address}
        weeks["workers"] = weeks.get("workers", {}) | workers
        values["weeks"] = weeks
        if not training:
            values["training"] = None
        return values


def exclusions(exclude: list[str] | None, exclude_file: str | None, from_file: dict[str, Any]) -> dict[str, Any]:
    """Settings of grants: numbers of the command line join those of a settings file, a file replaces that file."""
    settings = dict(from_file)
    if exclude:
        settings["exclude"] = [*settings.get("exclude", ()), *exclude]
    if exclude_file is not None:
        settings["exclude_file"] = exclude_file
    return settings


def run_flow(flow: Flow[..., Any], config: Any, prefect: bool) -> Any:
    """Run a flow with progress bars: under Prefect, or as the plain function it is.

    Raises ConfigError if it is to run under Prefect and no server could be reached.
    """
    from flows.preflight.prefect_server import require_prefect_server
    from tasks.running.progress import listening

    if prefect:
        require_prefect_server()
    with Bars() as bars, listening(bars):
        return flow(config) if prefect else flow.fn(config)


def walk_stage(
    stage: str, data_dir: str, years: str, workers: int, as_json: bool, *, settings: dict[str, Any] | None = None
) -> None:
    """Run one stage of every kept week and show what it did.

    Args:
        stage: The stage, such as "grants".
        data_dir: The data folder.
        years: Only these years, as the command line has them; empty for all.
        workers: Weeks at a time; 0 takes as many as there are cores.
        as_json: Print the reports as JSON.
        settings: Further settings of `WeeksConfig`.

    Raises:
        WeeksFailedError: Some weeks failed, after the others were done and shown.
    """
    from flows.weeks import WeeksConfig, walk_weeks
    from patentdata.store.folder import DataFolder
    from tasks.running.progress import listening

    values = {"data_dir": data_dir, "years": parse_years(years), "only_stages": (stage,)}
    config = build(WeeksConfig, (settings or {}) | values | {"workers": {"num_workers": workers}})
    folder = DataFolder(data_dir)
    with folder.locked(), Bars() as bars, listening(bars):
        outcomes = walk_weeks(config, folder)
    tables.show_outcomes(outcomes, as_json)
