"""Commands of single stages: grants, views, dataset."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.options import (
    ConfigFile,
    DaskAddress,
    DataDir,
    Exclude,
    ExcludeFile,
    Json,
    RunnerKind,
    Workers,
    Years,
    exclusions,
    walk_stage,
)
from flows.commands.settings import build, read_toml
from flows.terminal import bars, output, tables

if TYPE_CHECKING:
    from patentdata.audit.findings import Features
    from patentdata.store.folder import DataFolder

app = typer.Typer()
_LOG = logging.getLogger(__name__)


@app.command()
def grants(
    files: Annotated[list[Path] | None, typer.Argument(help="Grant XML, single or concatenated, or archives.")] = None,
    out: Annotated[Path | None, typer.Option(help="Parquet file for the grants of FILES.")] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", "-d", help="Instead: every kept week of this data folder.")
    ] = None,
    exclude: Exclude = None,
    exclude_file: ExcludeFile = None,
    years: Years = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Parse grants: those of files into one Parquet file, or those of every week kept in a data folder.

    Examples: `designclip grants ipg210105.xml --out grants.parquet`, `designclip grants -d data`
    """
    settings = exclusions(exclude, exclude_file, {})
    if data_dir is not None:
        return walk_stage("grants", data_dir, years, workers, as_json, settings={"grants": settings})
    if not files or out is None:
        raise typer.BadParameter("name FILES and --out, or --data-dir")
    from patentdata.errors import GrantParseError
    from patentdata.grants.config import GrantsConfig
    from patentdata.grants.loose_files import write_grants

    report = write_grants(files, out, build(GrantsConfig, settings))
    tables.show_reports([report], as_json)
    tally = report.tally("documents")
    if not tally.num_out:
        first = next((f"; {drop.detail}" for drop in tally.drops if drop.detail), "")
        raise GrantParseError(
            f"no grant in {', '.join(file.name for file in files)}: {tally.dropped or 'empty'}{first}"
        )


@app.command()
def views(
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", "-d", help="Every kept week of this data folder.")
    ] = None,
    sheets: Annotated[Path | None, typer.Option(help="Instead: a folder of loose sheets, TIFF files.")] = None,
    jsonl: Annotated[
        Path | None, typer.Option(help="File for the figures of --sheets, one JSON line per sheet.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Instead: an HTML page that shows how the sheets of --data-dir were split.")
    ] = None,
    week: Annotated[
        list[str] | None, typer.Option(help="With --report: a week such as I20210105; repeatable; default: all.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, help="With --report: number of sheets shown at most, doubtful ones first.")
    ] = 600,
    years: Years = "",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Split sheets into views: those of every week kept in a data folder, or a folder of loose TIFFs.

    Examples: `designclip views -d data`, `designclip views --sheets DIR --jsonl figures.jsonl`,
    `designclip views -d data --week I20210105 --report views.html`
    """
    if report is not None:
        return _write_contact_sheets(data_dir or "data", report, week or [], limit, as_json)
    if data_dir is not None:
        return walk_stage("views", data_dir, years, workers, as_json)
    if sheets is None or jsonl is None:
        raise typer.BadParameter("name --data-dir, or both --sheets and --jsonl, or --report")
    from patentdata.views.loose_sheets import write_figures

    tables.show_reports([write_figures(sheets, jsonl, progress=bars.counter("sheets"))], as_json)


@app.command()
def dataset(
    data_dir: DataDir,
    config: ConfigFile = None,
    name: Annotated[str, typer.Option(help="Name of the dataset under datasets/.")] = "designs",
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Instead: an HTML page about a frozen dataset: its near-duplicates, doubtful classes and captions "
            "that contradict the grant, and a JSON file next to it.",
        ),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="With --audit: a model, named as for evaluate, whose features say what is near; default: the drawings."
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="With --audit: the page; default: NAME-audit.html.")] = None,
    workers: Workers = 0,
    runner: RunnerKind = "processes",
    dask_address: DaskAddress = None,
    as_json: Json = False,
) -> None:
    """Freeze the captioned views of every complete week into a dataset; incomplete weeks are named and left out.

    The dataset lists the near-duplicates among its views. With `leave_out = true` under `[dataset.near_duplicates]` in
    the settings file, training views that are like a validation or test view are left out, and counted.

    Weeks are frozen in parallel, with the same bytes wherever they run.

    Examples: `designclip dataset -d data`, `designclip dataset -d data --audit --model designs --report audit.html`
    """
    if audit:
        return _write_audit(data_dir, name, model, report or Path(f"{name}-audit.html"), config, as_json)
    if model or report:
        raise typer.BadParameter("--model and --report belong to --audit")
    from flows.preflight.status import unfinished_stages
    from flows.steps import freeze
    from patentdata.dataset.config import DatasetConfig
    from patentdata.errors import ConfigError
    from patentdata.store.folder import DataFolder
    from tasks.running.progress import listening
    from tasks.running.runners import WorkersConfig

    folder = DataFolder(data_dir)
    where = build(WorkersConfig, {"kind": runner, "num_workers": workers, "dask_address": dask_address})
    settings = build(DatasetConfig, {"name": name} | read_toml(config).get("dataset", {}))
    with folder.locked():
        unfinished = unfinished_stages(folder)
        whole = [week for week, stages in unfinished.items() if not stages]
        if not whole:
            raise ConfigError(
                f"no week in {data_dir} is complete; designclip status -d {data_dir} shows what is missing"
            )
        for week in unfinished.keys() - set(whole):
            _LOG.warning("%s left out: %s not done", week, ", ".join(unfinished[week]))
        with bars.Bars() as shown, listening(shown):
            frozen = freeze(folder, whole, settings, where)
    tables.show_reports([frozen], as_json)


def _write_contact_sheets(data_dir: str, report: Path, weeks: list[str], limit: int, as_json: bool) -> None:
    from patentdata.store.folder import DataFolder
    from patentdata.views.contact_sheets.cards import ContactSheetsConfig
    from patentdata.views.contact_sheets.page import write_contact_sheets

    config = build(ContactSheetsConfig, {"limit": limit})
    summary = write_contact_sheets(
        DataFolder(data_dir), weeks, report, config=config, progress=bars.counter("sheets drawn")
    )
    if as_json:
        output.show_json(summary)
    else:
        output.say(
            f"{summary['num_shown']:,} of {summary['num_sheets']:,} sheets, {summary['num_doubtful']:,} to check: "
            f"open {report.resolve()}"
        )


def _write_audit(data_dir: str, name: str, model: str | None, report: Path, config: Path | None, as_json: bool) -> None:
    from patentdata.audit.findings import AuditConfig
    from patentdata.audit.page import write_audit
    from patentdata.store.folder import DataFolder

    folder = DataFolder(data_dir)
    settings = build(AuditConfig, read_toml(config).get("audit", {}))
    features = None if model is None else _features(folder, name, model)
    summary = write_audit(
        folder, name, report, config=settings, features=features, progress=bars.counter("views judged")
    )
    if as_json:
        return output.show_json(summary)
    contradictions = sum(num for kind, num in summary.items() if kind.startswith("contradictions_"))
    output.say(
        f"{summary['num_views']:,} views: {summary['near_duplicates_across_splits']:,} near-duplicates across splits, "
        f"{summary['near_duplicates_within_a_split']:,} within a split, {summary['doubtful_classes']:,} doubtful "
        f"classes, {contradictions:,} captions that contradict the grant: open {report.resolve()}"
    )


def _features(folder: DataFolder, name: str, model: str) -> Features:
    """Image features of all views of a dataset under a model, computed once and stored like those of an evaluation."""
    import numpy as np

    from model.clip.encoder import find_encoder
    from model.clip.loading import choose_device
    from model.dataset.folder import open_dataset
    from model.dataset.views import read_views
    from patentdata.audit.findings import Features
    from tasks.running.local_copies import find_model, local_copy

    show = bars.counter("views embedded")
    dataset = open_dataset(local_copy(folder, "datasets", name))
    encoder = find_encoder(
        find_model(folder, model), choose_device("auto"), progress=lambda done, num_all, _: show(done, num_all)
    )
    views = [read_views(dataset, split) for split in dataset.num_views]
    values = np.concatenate([encoder.image_features(dataset, of_split).features for of_split in views])
    return Features(encoder.name, [view_id for of_split in views for view_id in of_split.view_ids], values)
