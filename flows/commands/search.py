"""Commands that search a dataset: once, or in a page of the browser."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.options import DataDir, DatasetName, Json
from flows.terminal import bars, output

if TYPE_CHECKING:
    from model.progress import Progress
    from model.search.query import Found
    from model.search.search import Search

app = typer.Typer()

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A run under runs/, a folder, local-dir:…, hf-hub:…, or ARCHITECTURE/TAG; default: the run named like "
        "the dataset.",
    ),
]
ApproximateFrom = Annotated[
    int, typer.Option(min=0, help="Galleries of more views are searched by an approximate index, its recall measured.")
]


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None,
    data_dir: DataDir = "data",
    image: Annotated[Path | None, typer.Option(help="Instead: a picture to look for, TIFF, PNG or JPEG.")] = None,
    dataset: DatasetName = "designs",
    model: Model = None,
    k: Annotated[int, typer.Option("--k", "-k", help="Views shown, at most 1000.")] = 10,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Only this US (D7) or Locarno class (07, 07-01); repeatable.")
    ] = None,
    granted_from: Annotated[str, typer.Option("--from", help="Only granted since, such as 2021-03-31 or 2021.")] = "",
    granted_to: Annotated[str, typer.Option("--to", help="Only granted until, that day, month or year included.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Each patent once, with its nearest view.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the pictures to this file.")] = None,
    approximate_from: ApproximateFrom = 500_000,
    as_json: Json = False,
) -> None:
    """Find the views of a dataset that are nearest to some words or a picture.

    The features of the views are computed at the first search under a model, and kept.

    Examples: `designclip search "wine glass with a twisted stem" --model designs --class D7`,
    `designclip search --image sheet.tif --k 50 --html found.html`
    """
    if (text is None) == (image is None):
        raise typer.BadParameter("give a text or --image, one of the two")
    from model.search.gallery import Filters
    from model.search.query import Query, find_views
    from model.search.search import SearchConfig

    filters = Filters.parse(classes or [], granted_from, granted_to)
    query = Query(text=text, image=image, k=k, filters=filters, a_patent_once=once)
    config = SearchConfig(approximate_from=approximate_from)
    found = find_views(query, *_model_and_dataset(data_dir, model, dataset), config, progress=_show_progress())
    if html is not None:
        found.write_page(html)
    if as_json:
        return output.show_json(found.to_dict())
    _show(found)
    for remark in found.remarks:
        output.say(remark)
    if html is not None:
        output.say(f"open {html.resolve()}")


@app.command()
def serve(
    data_dir: DataDir = "data",
    dataset: DatasetName = "designs",
    model: Model = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes any that is free.")] = 8321,
    approximate_from: ApproximateFrom = 500_000,
) -> None:
    """Open a page on 127.0.0.1 that searches a dataset by words or by a picture; Ctrl-C ends it.

    Example: `designclip serve --model designs -d data`, then open the address that it prints.
    """
    from model.search.search import SearchConfig, open_search
    from model.search.serve import ServeConfig, bind
    from model.search.serve import serve as serve_pages

    config = ServeConfig(port=port)
    with bind(port) as holder:  # before the long work, which would be in vain if the port is in use
        search_config = SearchConfig(approximate_from=approximate_from)
        ready = open_search(*_model_and_dataset(data_dir, model, dataset), search_config, progress=_show_progress())
        signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on, Ctrl-C ends the page and is no error
        serve_pages(ready, config, holder, on_ready=lambda address: _say_address(ready, address))


def _model_and_dataset(data_dir: str, model: str | None, dataset: str) -> tuple[str, Path]:
    """The model to search with and the folder of the dataset, on this machine; without a model, the dataset's run."""
    from patentdata.store.folder import DataFolder
    from tasks.running.local_copies import find_model, local_copy

    folder = DataFolder(data_dir)
    dataset_dir = local_copy(folder, "datasets", dataset)
    return str(local_copy(folder, "runs", dataset)) if model is None else find_model(folder, model), dataset_dir


def _show_progress() -> Progress:
    """Shows a line on stderr while features are computed."""
    lines: dict[str, Callable[[int, int], None]] = {}

    def show(num_done: int, num_all: int, values: dict[str, Any]) -> None:
        what = values["doing"]
        lines.setdefault(what, bars.counter(f"{what} embedded"))(num_done, num_all)

    return show


def _say_address(ready: Search, address: str) -> None:
    num = f"{len(ready.gallery):,} views of {ready.gallery.num_patents:,} patents"
    output.say(f"{num}, under the model {ready.encoder.name}. {ready.method_sentence}")
    output.say(f"open {address} (Ctrl-C ends)")


def _show(found: Found) -> None:
    title = escape(found.query.name)
    table = Table("#", "patent", "figure", "title", "class", "granted", "score", title=title, title_justify="left")
    for hit in found.hits:
        view = hit.view
        classes = " ".join(name for name in (view.uspc_class, view.locarno_class) if name)
        cells = (str(hit.rank), view.patent_number, view.figure_label or "–", view.title or "–", classes or "–")
        day = str(view.grant_date or "–")
        table.add_row(*(escape(cell) for cell in cells), day, f"{hit.score:.3f}")
    Console().print(table)
    num = f"{len(found.hits):,} of {len(found.search.gallery):,} views"
    output.say(f"{num}, under the model {found.search.encoder.name}. {found.search.method_sentence}")
