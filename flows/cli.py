"""The command line: every flow and every stage by its own word.

Exit codes: 0 done, 1 failed, 2 bad arguments. Errors are one sentence on stderr; `--json` gives results to machines on
stdout. Heavy imports wait until a command runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import console

if TYPE_CHECKING:
    from prefect import Flow

    from flows.refresh import RefreshConfig

app = typer.Typer(
    help="US design patents, from the weekly archives of the USPTO to a trained and measured CLIP model.\n\n"
    "The walk: archives → grants → views → captions → dataset → training → evaluation. `refresh` takes it from end "
    "to end; each stage also has its own command. What is done already is left as it is, so every command can be run "
    "again at any time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

DataDir = Annotated[
    str, typer.Option("--data-dir", "-d", help="The data folder: a path, or an fsspec address such as s3://bucket/x.")
]
Source = Annotated[
    str | None,
    typer.Option("--source", "-s", help="Folder of weekly archives such as I20210105.tar; without it, the weeks kept."),
]
Years = Annotated[str, typer.Option(help="Only these years, such as 2021 or 2007-2022,2024.")]
Workers = Annotated[int, typer.Option(help="Weeks at a time; 0 takes as many as there are cores.")]
Kind = Annotated[str, typer.Option("--runner", help="Where weeks run: processes, threads, or dask.")]
DaskAddress = Annotated[str | None, typer.Option(help="Scheduler of a Dask cluster, such as tcp://127.0.0.1:8786.")]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML file of settings; tables [weeks], [dataset], [training], [evaluation]."),
]
Prefect = Annotated[bool, typer.Option("--prefect", help="Run as a Prefect flow: same work, same bytes, on record.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
DatasetName = Annotated[str, typer.Option("--dataset", help="Name of the dataset under datasets/.")]
RunName = Annotated[str, typer.Option("--run", help="Name of the run under runs/; default: the dataset's name.")]


def main() -> None:
    """Run the command line; an error ends it with one sentence and its exit code."""
    from model.errors import ConfigError as ModelConfigError
    from model.errors import ModelError
    from patentdata.errors import ConfigError, PatentDataError

    try:
        app()
    except (PatentDataError, ModelError) as error:
        console.say_error(str(error))
        sys.exit(2 if isinstance(error, ConfigError | ModelConfigError) else 1)
    except KeyboardInterrupt:
        console.say_error("stopped; run the same command again to go on")
        sys.exit(130)
    except Exception as error:
        if os.environ.get("DESIGNCLIP_DEBUG"):
            raise
        console.say_error(f"unexpected {type(error).__name__}: {error}; set DESIGNCLIP_DEBUG=1 to see where")
        sys.exit(1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the drawn archives and everything made from them.")] = Path(
        "demo"
    ),
    patents: Annotated[int, typer.Option(min=8, help="Patents drawn for each of two weeks.")] = 48,
    prefect: Annotated[bool, typer.Option(help="Run as a Prefect flow with a temporary server.")] = True,
    as_json: Json = False,
) -> None:
    """Draw two weeks of patents and walk them to a measured model: everything, small, on this machine."""
    home = (out / "prefect").resolve()
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home))  # before Prefect is imported
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from flows.demo import DEMO_WEEKS, demo_config, draw_archives

    console.say(f"Drawing {len(DEMO_WEEKS)} weeks of {patents} patents under {out}/archives …")
    draw_archives(out / "archives", patents)
    _walk("refresh", demo_config(out), prefect, as_json)


@app.command()
def refresh(
    data_dir: DataDir,
    source: Source = None,
    years: Years = "",
    training: Annotated[bool, typer.Option(help="Train and measure a model on the dataset.")] = True,
    workers: Workers = 0,
    kind: Kind = "processes",
    dask_address: DaskAddress = None,
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Take every week of a source to a dataset, a model and its report.

    Example: `designclip refresh --source archives --data-dir data`
    """
    _walk("refresh", _refresh_config(locals()), prefect, as_json)


@app.command()
def rebuild(
    data_dir: DataDir,
    source: Source = None,
    years: Years = "2007-2022",
    training: Annotated[bool, typer.Option(help="Train and measure a model on the dataset.")] = False,
    workers: Workers = 0,
    kind: Kind = "processes",
    dask_address: DaskAddress = None,
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Take whole years to a dataset, such as IMPACT's 2007–2022."""
    _walk("rebuild", _refresh_config(locals()), prefect, as_json)


@app.command()
def retrain(
    data_dir: DataDir,
    dataset: DatasetName = "designs",
    run: RunName = "",
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Train a model on a frozen dataset and measure it there.

    Example: `designclip retrain -d data --config vit-b-32.toml`, the file holding
    `[training]` and `architecture = "ViT-B-32"`.
    """
    from flows.refresh import TINY_TRAINING
    from flows.retrain import RetrainConfig
    from flows.retrain import retrain as flow

    values = console.read_toml(config)
    values.setdefault("training", TINY_TRAINING.to_dict())
    values |= {"data_dir": data_dir, "dataset": dataset, "run_name": run}
    measured = _run(flow, console.build(RetrainConfig, values), prefect)
    console.show_evaluation(measured, Path(data_dir) / "runs" / (run or dataset), as_json)


@app.command()
def train(
    data_dir: DataDir,
    dataset: DatasetName = "designs",
    run: RunName = "",
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Train a model on a frozen dataset, or go on where an earlier call stopped."""
    from flows.refresh import TINY_TRAINING
    from model.child import train_in_child
    from model.config import TrainConfig

    settings = console.build(TrainConfig, console.read_toml(config).get("training", TINY_TRAINING.to_dict()))
    run_dir = Path(data_dir) / "runs" / (run or dataset)
    with console.Bars() as bars:
        summary = train_in_child(Path(data_dir) / "datasets" / dataset, run_dir, settings, progress=bars.on_training)
    console.show_training(summary, run_dir, as_json)


@app.command()
def evaluate(
    data_dir: DataDir,
    model: Annotated[str, typer.Option(help="A run's folder, local-dir:…, hf-hub:…, or ARCHITECTURE/TAG.")],
    run: Annotated[str, typer.Option("--run", help="Folder under runs/ for the report.")],
    dataset: DatasetName = "designs",
    config: ConfigFile = None,
    prefect: Prefect = False,
    as_json: Json = False,
) -> None:
    """Measure any open_clip model on a frozen dataset."""
    from flows.evaluate import EvaluateConfig
    from flows.evaluate import evaluate as flow

    values = console.read_toml(config) | {"data_dir": data_dir, "model": model, "dataset": dataset, "run_name": run}
    measured = _run(flow, console.build(EvaluateConfig, values), prefect)
    console.show_evaluation(measured, Path(data_dir) / "runs" / run, as_json)


@app.command()
def dataset(
    data_dir: DataDir,
    config: ConfigFile = None,
    name: Annotated[str, typer.Option(help="Name of the dataset under datasets/.")] = "designs",
    as_json: Json = False,
) -> None:
    """Freeze the captioned views of every whole week into a dataset."""
    from flows.refresh import freeze
    from flows.status import whole_weeks
    from patentdata.dataset import DatasetConfig
    from patentdata.folder import DataFolder

    folder = DataFolder(data_dir)
    settings = console.build(DatasetConfig, {"name": name} | console.read_toml(config).get("dataset", {}))
    with folder.locked():
        report = freeze(folder, whole_weeks(folder), settings)
    console.show_reports([report], as_json)


@app.command()
def archives(
    source: Annotated[str, typer.Option("--source", "-s", help="Folder of weekly archives such as I20210105.tar.")],
    data_dir: DataDir,
    years: Years = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Keep the DESIGN members of each weekly archive, byte for byte."""
    _walk_stage("archives", data_dir, source, years, workers, as_json)


@app.command()
def grants(
    files: Annotated[list[Path] | None, typer.Argument(help="Grant XML, single or concatenated, or archives.")] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet file for the grants of FILES.")] = None,
    data_dir: Annotated[str | None, typer.Option("--data-dir", "-d", help="Instead: every kept week of this.")] = None,
    years: Years = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Parse grants: of files into one Parquet file, or of every week kept in a data folder.

    Examples: `designclip grants ipg210105.xml --out grants.parquet`, `designclip grants -d data`
    """
    if data_dir is not None:
        return _walk_stage("grants", data_dir, None, years, workers, as_json)
    if not files or out is None:
        raise typer.BadParameter("name FILES and --out, or --data-dir")
    from patentdata.loose_grants import write_grants

    console.show_reports([write_grants(files, out)], as_json)


@app.command()
def views(
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", "-d", help="Every kept week of this data folder.")
    ] = None,
    sheets: Annotated[Path | None, typer.Option(help="Instead: a folder of loose sheets, TIFF files.")] = None,
    jsonl: Annotated[Path | None, typer.Option(help="Where the figures of --sheets go, one JSON line a sheet.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Instead: an HTML page that shows how the sheets of --data-dir were split.")
    ] = None,
    week: Annotated[
        list[str] | None, typer.Option(help="With --report: a week such as I20210105; repeatable; default: all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="With --report: most sheets shown, doubtful ones first.")] = 600,
    years: Years = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Split sheets into views: of every week kept in a data folder, or of a folder of loose TIFFs.

    Examples: `designclip views -d data`, `designclip views --sheets DIR --jsonl figures.jsonl`,
    `designclip views -d data --week I20210105 --report views.html`
    """
    if report is not None:
        return _write_contact_sheets(data_dir or "data", report, week or [], limit, as_json)
    if data_dir is not None:
        return _walk_stage("views", data_dir, None, years, workers, as_json)
    if sheets is None or jsonl is None:
        raise typer.BadParameter("name --data-dir, or both --sheets and --jsonl, or --report")
    from patentdata.loose_sheets import write_figures

    console.show_reports([write_figures(sheets, jsonl, progress=console.counter("sheets"))], as_json)


@app.command()
def captions(data_dir: DataDir, years: Years = "", workers: Workers = 0, as_json: Json = False) -> None:
    """Caption every view of every week in a data folder."""
    _walk_stage("captions", data_dir, None, years, workers, as_json)


@app.command()
def weeks(source: Source = None, data_dir: DataDir = "data", as_json: Json = False) -> None:
    """List the weeks a source offers and the data folder holds."""
    from flows.status import list_weeks_here

    console.show_weeks(list_weeks_here(source, data_dir), as_json)


@app.command()
def status(data_dir: DataDir, as_json: Json = False) -> None:
    """Show each week and stage of a data folder: state, counts, drops."""
    from flows.status import read_status

    console.show_status(read_status(data_dir), as_json)


@app.command()
def specimens(
    out: Annotated[Path, typer.Option(help="Folder for the archive.")],
    week: Annotated[str, typer.Option(help="Name of the week.")] = "I20240102",
    patents: Annotated[int, typer.Option(min=1, help="Number of patents.")] = 24,
    seed: Annotated[int, typer.Option(help="Another seed draws other patents.")] = 0,
    long_tailed: Annotated[float, typer.Option(min=1, help="Most over least frequent class.")] = 1.0,
    container: Annotated[str, typer.Option(help="tar or zip.")] = "tar",
    hazard: Annotated[list[str] | None, typer.Option(help="A difficulty to draw; repeatable.")] = None,
    damage: Annotated[list[str] | None, typer.Option(help="A damage to do; repeatable.")] = None,
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Draw a week of design patents that never were, packed as the Red Book packs them, with the truth beside it."""
    from patentdata.specimens import SpecimenConfig, write_week

    config = console.build(
        SpecimenConfig,
        {
            "num_patents": patents,
            "seed": seed,
            "long_tailed": long_tailed,
            "hazards": tuple(hazard or ()),
            "damage": tuple(damage or ()),
            "workers": workers or len(os.sched_getaffinity(0)),
        },
    )
    path = write_week(out, week, config, container=container)
    console.show_json({"archive": str(path)}) if as_json else console.say(f"Drew {patents} patents: {path}")


def _walk_stage(stage: str, data_dir: str, source: str | None, years: str, workers: int, as_json: bool) -> None:
    from flows.weeks import WeeksConfig, walk_weeks
    from patentdata.folder import DataFolder

    values = {"data_dir": data_dir, "source": source, "years": console.parse_years(years), "only_stages": (stage,)}
    config = console.build(WeeksConfig, values | {"workers": {"num_workers": workers}})
    from flows.progress import listening

    with DataFolder(data_dir).locked(), console.Bars() as bars, listening(bars):
        outcomes = walk_weeks(config)
    console.show_outcomes(outcomes, as_json)


def _write_contact_sheets(data_dir: str, report: Path, weeks: list[str], limit: int, as_json: bool) -> None:
    from patentdata.contact_sheets import write_contact_sheets
    from patentdata.folder import DataFolder
    from patentdata.sheet_cards import ContactSheetsConfig

    config = console.build(ContactSheetsConfig, {"limit": limit})
    summary = write_contact_sheets(
        DataFolder(data_dir), weeks, report, config=config, progress=console.counter("sheets drawn")
    )
    if as_json:
        console.show_json(summary)
    else:
        console.say(
            f"{summary['num_shown']:,} of {summary['num_sheets']:,} sheets, {summary['num_doubtful']:,} to look at: "
            f"open {report.resolve()}"
        )


def _refresh_config(options: dict[str, Any]) -> RefreshConfig:
    """Settings of a refresh or rebuild: the TOML file's, and over them what the command line says."""
    from flows.refresh import RefreshConfig

    values = console.read_toml(options["config"])
    of_weeks: dict[str, Any] = dict(values.get("weeks", {}))
    of_weeks["data_dir"] = options["data_dir"]
    if options["source"] is not None:
        of_weeks["source"] = options["source"]
    if options["years"]:
        of_weeks["years"] = console.parse_years(options["years"])
    workers = {"kind": options["kind"], "num_workers": options["workers"], "dask_address": options["dask_address"]}
    of_weeks["workers"] = of_weeks.get("workers", {}) | workers
    values["weeks"] = of_weeks
    if not options["training"]:
        values["training"] = None
    return console.build(RefreshConfig, values)


def _walk(name: str, config: RefreshConfig, prefect: bool, as_json: bool) -> None:
    from flows.rebuild import rebuild as rebuild_flow
    from flows.refresh import WeeksFailedError
    from flows.refresh import refresh as refresh_flow

    try:
        result = _run(rebuild_flow if name == "rebuild" else refresh_flow, config, prefect)
    except WeeksFailedError as error:
        console.show_walk(error.result, as_json)
        raise typer.Exit(1) from None
    console.show_walk(result, as_json)


def _run(flow: Flow[..., Any], config: Any, prefect: bool) -> Any:
    """Run a flow with progress bars: under Prefect, or as the plain function it is."""
    from flows.progress import listening

    with console.Bars() as bars, listening(bars):
        return flow(config) if prefect else flow.fn(config)


if __name__ == "__main__":
    main()
