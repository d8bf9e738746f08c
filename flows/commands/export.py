"""Commands that hand datasets and models to other tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.options import DataDir, DatasetName, Json
from flows.terminal import bars, output, tables

if TYPE_CHECKING:
    from model.progress import Progress

app = typer.Typer()

_VIEWS_A_LINE = 100  # between two lines of progress


@app.command()
def export(
    format_: Annotated[str, typer.Argument(metavar="FORMAT", help="webdataset, fiftyone, lancedb, faiss or csv.")],
    out: Annotated[str, typer.Option(help="Folder for the export: a new or empty one, or that of an earlier call.")],
    data_dir: DataDir = "data",
    dataset: DatasetName = "designs",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Whose features are exported, for faiss and lancedb: a run under runs/, a folder, local-dir:…, "
            "hf-hub:…, or ARCHITECTURE/TAG; default for faiss: the run named like the dataset.",
        ),
    ] = None,
    task: Annotated[
        str, typer.Option(help="What clip-benchmark measures on webdataset: retrieval or classification.")
    ] = "retrieval",
    views_a_shard: Annotated[int, typer.Option(min=1, help="Views in a tar file, for webdataset.")] = 10_000,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the files of another export in that folder, and no others.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a frozen dataset as other tools read it.

    - **webdataset**: tar shards for open_clip and clip-benchmark
    - **fiftyone**: a FiftyOne dataset, its views grouped by patent
    - **lancedb**: a table of LanceDB with pictures, metadata and, with --model, features
    - **faiss**: a FAISS index of features, and a table of its rows
    - **csv**: a table for each split, and JPEG files

    It can be stopped, and the same command resumes it. The folder gets `export.json` (what was exported from which
    dataset) and `SHA256SUMS`; `designclip status` lists the exports of a data folder. A folder with files of others is
    refused.

    Examples: `designclip export webdataset -d data --out shards`, `designclip export faiss --model designs --out index`
    """
    from model.exports.export import ExportConfig, export_dataset
    from patentdata.store.folder import DataFolder
    from tasks.running.local_copies import find_model, local_copy

    if "://" in out:
        raise typer.BadParameter(f"{out} is an address; an export is written to a folder on this machine")
    folder = DataFolder(data_dir)
    if model is None and format_ == "faiss":
        found_model: str | None = str(local_copy(folder, "runs", dataset))
    else:
        found_model = find_model(folder, model) if model is not None else None
    config = ExportConfig(format=format_, model=found_model, task=task, views_a_shard=views_a_shard)
    dataset_dir = local_copy(folder, "datasets", dataset)
    done = export_dataset(config, dataset_dir, Path(out), replace=replace, progress=_show_progress())
    _remember(folder, dataset, Path(out), done)
    if as_json:
        output.show_json(done)
        return
    dropped = "".join(f", {num:,} left out ({reason})" for reason, num in done["dropped"].items())
    output.say(
        f"{done['num_views']:,} views of {done['dataset']}{dropped}, {done['num_files']:,} files, "
        f"{done['num_bytes'] / 1e6:,.1f} MB in {out}"
    )
    output.say(done["advice"])


@app.command()
def push(
    run: Annotated[
        str | None, typer.Argument(help="Name of a run under runs/, or the folder of a run or a model.")
    ] = None,
    repository: Annotated[str | None, typer.Argument(help="Repository of the hub, such as my-team/designclip.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Send this dataset under datasets/ instead of a model.")] = None,
    to: Annotated[str | None, typer.Option(help="Repository of the hub, like the argument.")] = None,
    data_dir: DataDir = "data",
    licence: Annotated[
        str | None,
        typer.Option("--license", help="Licence of the dataset as the hub names it; default: the terms of US patents."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the files of a dataset; default: exports/ in the data folder, or the cache."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing: list the files, and of a dataset write them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send a trained model, or a frozen dataset, to a repository of the Hugging Face hub.

    A model gets a name for open_clip, `hf-hub:OWNER/NAME`. A dataset gets Parquet shards whose pictures the hub's
    viewer shows, a card (sizes, licence, fields, split rule, known limits, how it was made) and Croissant metadata;
    shards of an earlier push that no longer belong to it are removed. The token comes from HF_TOKEN or from
    `hf auth login`, and is never shown.

    Examples: `designclip push designs my-team/designclip --dry-run`,
    `designclip push --dataset designs --to my-team/design-views --dry-run`
    """
    target = repository or to
    if target is None or (repository is not None and to is not None):
        raise typer.BadParameter("give the repository once: as the second argument or as --to")
    if (run is None) == (dataset is None):
        raise typer.BadParameter("give a run, or --dataset and no run")
    if dataset is None:
        if licence is not None or out is not None:
            raise typer.BadParameter("--license and --out belong to --dataset")
        tables.show_push(_push_model(data_dir, str(run), target, private, dry_run), as_json)
        return
    from model.exports.card import LICENCE
    from model.exports.push import push_dataset
    from patentdata.store.folder import DataFolder
    from tasks.running.local_copies import local_copy

    folder = DataFolder(data_dir)
    own = Path(folder.path("exports")) if folder.is_local else folder.local_cache_dir("exports")
    sent = push_dataset(
        local_copy(folder, "datasets", dataset),
        target,
        out or own / f"{dataset}-hub",
        licence=licence or LICENCE,
        is_private=private,
        is_dry_run=dry_run,
        progress=_show_progress(),
    )
    tables.show_push(sent, as_json)


def _push_model(data_dir: str, run: str, repository: str, private: bool, dry_run: bool) -> dict[str, Any]:
    """Send the model of a run, or of a folder."""
    from model.clip.push import push_model
    from patentdata.store.folder import DataFolder
    from tasks.running.local_copies import local_copy

    folder = Path(run) if Path(run).is_dir() else local_copy(DataFolder(data_dir), "runs", run)
    return push_model(folder, repository, is_private=private, is_dry_run=dry_run)


def _remember(folder: Any, dataset: str, out: Path, done: dict[str, Any]) -> None:
    """Add an export to the list next to `dataset.json`, from which `designclip status` reads."""
    from flows.preflight.status import EXPORTS
    from patentdata.errors import OutputError

    path = folder.path("datasets", dataset, EXPORTS)
    known = folder.read_json(path)
    exports = known if isinstance(known, dict) else {}
    names = ("format", "dataset_fingerprint", "fingerprint", "num_views", "model")
    entry = {name: done[name] for name in names}
    if exports.get(str(out.resolve())) == entry:
        return
    try:
        folder.write_json(path, dict(sorted((exports | {str(out.resolve()): entry}).items())))
    except OutputError as error:  # such as a data folder that may only be read; the export itself is whole
        output.say(f"the export is not listed in {folder.url}: {error}")


def _show_progress() -> Progress:
    """Shows a line on stderr while views are exported, or embedded for it."""
    lines: dict[str, Callable[[int, int], None]] = {}

    def show(num_done: int, num_all: int, values: dict[str, Any]) -> None:
        if num_done % _VIEWS_A_LINE == 0 or num_done == num_all:
            what = values["doing"]
            lines.setdefault(what, bars.counter(what))(num_done, num_all)

    return show
