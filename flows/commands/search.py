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
    from model.search.gallery import Hit
    from model.search.search import Search

app = typer.Typer()

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A run under runs/, a folder, local-dir:…, hf-hub:…, or ARCHITECTURE/TAG; default: the run named as the "
        "dataset.",
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
    html: Annotated[Path | None, typer.Option(help="A page with the pictures goes there.")] = None,
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
    from model.dataset.folder import open_dataset
    from model.dataset.query_image import QueryImageConfig, read_query_file
    from model.search.gallery import Filters
    from model.search.search import check_k, check_text, render_results

    filters = Filters.parse(classes or [], granted_from, granted_to)
    check_k(k)
    folder = Path(data_dir) / "datasets" / dataset
    picture = None
    if image is not None:
        picture = read_query_file(image, QueryImageConfig.of_dataset(open_dataset(folder)))
    query = str(image) if text is None else check_text(text)
    ready = _open(model, Path(data_dir), dataset, approximate_from)
    if picture is not None:
        hits = ready.by_image(picture, k, filters, a_patent_once=once)
    else:
        hits = ready.by_text(query, k, filters, a_patent_once=once)
    if html is not None:
        from model.files import write_text

        words = image.name if image else query
        asked = ", ".join(
            [*(f"class {name}" for name in filters.classes)]
            + ([f"granted since {filters.granted_from}"] if filters.granted_from else [])
            + ([f"granted until {filters.granted_to}"] if filters.granted_to else [])
        )
        write_text(html, render_results(ready, hits, query=words, picture=picture, asked=asked))
    if as_json:
        output.show_json(_to_dict(ready, hits, query))
    else:
        _show(ready, hits, query)
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

    Example: `designclip serve --model designs -d data`, then open the address that it names.
    """
    from model.search.serve import ServeConfig, bind
    from model.search.serve import serve as serve_pages

    config = ServeConfig(port=port)
    with bind(port) as holder:  # before the long work, which a port in use would make useless
        ready = _open(model, Path(data_dir), dataset, approximate_from)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C ends the page, and stops no work half way
        serve_pages(ready, config, holder, on_ready=_say_address(ready))


def _open(model: str | None, data_dir: Path, dataset: str, approximate_from: int) -> Search:
    from model.search.search import SearchConfig, open_search

    config = SearchConfig(approximate_from=approximate_from)
    named: str | Path = model or data_dir / "runs" / dataset
    run = data_dir / "runs" / (model or "")
    if model and "/" not in model and ":" not in model and (run / "model").is_dir():
        named = run
    return open_search(named, data_dir / "datasets" / dataset, config, progress=_progress())


def _progress() -> Progress:
    """A line on stderr while features are computed."""
    lines: dict[str, Callable[[int, int], None]] = {}

    def show(num_done: int, num_all: int, values: dict[str, Any]) -> None:
        what = values["doing"]
        lines.setdefault(what, bars.counter(f"{what} embedded"))(num_done, num_all)

    return show


def _say_address(ready: Search) -> Callable[[str], None]:
    def say(address: str) -> None:
        num = f"{len(ready.gallery):,} views of {ready.gallery.num_patents:,} patents"
        output.say(f"{num}, under the model {ready.entrant.name}. {ready.says}")
        output.say(f"open {address} (Ctrl-C ends)")

    return say


def _to_dict(ready: Search, hits: list[Hit], query: str) -> dict[str, object]:
    return {
        "query": query,
        "model": ready.entrant.name,
        "dataset": ready.gallery.dataset.name,
        "num_views": len(ready.gallery),
        "search": ready.how,
        "hits": [hit.to_dict() for hit in hits],
    }


def _show(ready: Search, hits: list[Hit], query: str) -> None:
    table = Table(
        "#", "patent", "figure", "title", "class", "granted", "score", title=escape(query), title_justify="left"
    )
    for hit in hits:
        view = hit.view
        classes = " ".join(name for name in (view.uspc_class, view.locarno_class) if name)
        cells = (str(hit.rank), view.patent_number, view.figure_label or "–", view.title or "–", classes or "–")
        day = str(view.grant_date or "–")
        table.add_row(*(escape(cell) for cell in cells), day, f"{hit.score:.3f}")
    Console().print(table)
    num = f"{len(hits):,} of {len(ready.gallery):,} views"
    output.say(f"{num}, under the model {ready.entrant.name}. {ready.says}")
