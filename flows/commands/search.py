"""Commands that search a dataset: once, or in a page of the browser."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.option_groups import grouped
from flows.commands.options import DataDir, DatasetName, Json, Lines, Precision, Processes
from flows.terminal import bars, output

if TYPE_CHECKING:
    from model.progress import Progress
    from model.search.found import Found
    from model.search.gallery import Filters
    from model.search.query import Query
    from model.search.read_out import PictureClasses
    from model.search.record import Changes
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

_PHOTOGRAPH_HELP = (
    "Pictures searched both as they are and as line drawings: auto, those that are photographs; always; or never."
)


@dataclass(frozen=True, kw_only=True)
class QueryOptions:
    """What is looked for."""

    text: Annotated[str | None, typer.Argument(help="What to look for, in words.")] = None
    image: Annotated[
        list[Path] | None,
        typer.Option(help="A picture to look for, TIFF, PNG or JPEG; repeatable for up to 8 views of one product."),
    ] = None
    text_option: Annotated[str | None, typer.Option("--text", help="What to look for, like the argument.")] = None
    avoid: Annotated[
        list[str] | None, typer.Option("--not", help="Words that the results should not resemble; repeatable.")
    ] = None
    patent: Annotated[
        str, typer.Option(help="A patent of the dataset, such as D907292: its views are the pictures.")
    ] = ""
    photograph: Annotated[str, typer.Option(help=_PHOTOGRAPH_HELP)] = "auto"
    scoring: Annotated[
        str, typer.Option(help="How views become the score of a patent: max, mean, maxsim or weighted.")
    ] = "maxsim"
    fusion: Annotated[
        str, typer.Option(help="rrf: with words, rank by BM25 on titles and captions as well; none: the model alone.")
    ] = "none"
    weight_pictures: Annotated[float, typer.Option(help="Weight of the pictures, next to words.")] = 1.0
    weight_text: Annotated[float, typer.Option(help="Weight of the words, next to pictures.")] = 1.0
    weight_not: Annotated[float, typer.Option(help="Weight of the words to avoid.")] = 0.5

    @property
    def words(self) -> str | None:
        """The words, which may be given in two ways; None without any."""
        return self.text if self.text is not None else self.text_option

    def require_one_query(self, *, is_replayed: bool) -> None:
        """Raise BadParameter unless there is one query: words, pictures or a patent, or a record and none of these."""
        is_asked = self.words is not None or bool(self.image) or bool(self.patent)
        if self.text is not None and self.text_option is not None:
            raise typer.BadParameter("give the words once: as the argument or as --text")
        if is_replayed and (is_asked or self.avoid):
            raise typer.BadParameter("--replay repeats a record; give no words, pictures or patent with it")
        if not is_replayed and not is_asked:
            raise typer.BadParameter("give a text, --image or --patent; or --replay with a record")


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """Which patents may be found, and which of them are shown."""

    k: Annotated[int, typer.Option("--k", "-k", help="Patents shown, at most 1000.")] = 10
    offset: Annotated[int, typer.Option(help="Patents passed over, for results beyond the first page.")] = 0
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Only this US (D7) or Locarno class (07, 07-01); repeatable.")
    ] = None
    granted_from: Annotated[str, typer.Option("--from", help="Only granted since, such as 2021-03-31 or 2021.")] = ""
    granted_to: Annotated[str, typer.Option("--to", help="Only granted until, that day, month or year included.")] = ""
    viewpoints: Annotated[
        list[str] | None, typer.Option("--viewpoint", help="Only views from there, such as front; repeatable.")
    ] = None
    owners: Annotated[
        list[str] | None,
        typer.Option("--owner", help="Only patents whose assignee (or applicant) has this in its name; repeatable."),
    ] = None
    min_score: Annotated[
        str, typer.Option(help="Only patents with at least this score: a number, or similar or maybe.")
    ] = ""


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Files that are written or read."""

    html: Annotated[Path | None, typer.Option(help="Also write a page with the pictures to this file.")] = None
    record: Annotated[
        Path | None, typer.Option(help="Keep the search with its results in this .json or .html file.")
    ] = None
    replay: Annotated[
        Path | None, typer.Option(help="Repeat the search of a record, and say what has changed since.")
    ] = None


@app.command()
@grouped
def search(
    *,
    asked: QueryOptions,
    data_dir: DataDir = "data",
    dataset: DatasetName = "designs",
    model: Model = None,
    shown: ResultOptions,
    files: FileOptions,
    read_out: Annotated[
        bool,
        typer.Option("--read-out", help="Also say the class of each --image: natural (as filed) and balanced (looks)."),
    ] = False,
    lines: Lines = None,
    approximate_from: ApproximateFrom = 500_000,
    precision: Precision = None,
    processes: Processes = None,
    as_json: Json = False,
) -> None:
    """Find the patents of a dataset that are nearest to pictures, to words, or to one of its patents.

    The features of the views are computed at the first search under a model, and kept. Scores of pictures come with a
    verdict: "similar" if at most 1 % of random pairs of patents score as high, "maybe" if at most 10 % do.

    Examples: `designclip search "wine glass with a twisted stem" --model designs --class D7`,
    `designclip search --image front.tif --image side.tif --text chair --not wheels --scoring maxsim --html found.html`,
    `designclip search --patent D907292 --record search.html`, `designclip search --replay search.html`
    """
    from model.search.gallery import Filters
    from model.search.query import check_k
    from model.search.read_out import classes_of_pictures
    from model.search.record import check_record_path, compare, lines_of, query_of, read_record, write_record
    from model.search.search import SearchConfig, open_search

    asked.require_one_query(is_replayed=files.replay is not None)
    if read_out and not asked.image:
        raise typer.BadParameter("--read-out says the class of pictures; give some with --image")
    # Everything about the query that can be wrong is checked before the gallery is opened, which may take minutes.
    before = read_record(files.replay) if files.replay is not None else None
    if files.record is not None:
        check_record_path(files.record)
    filters = Filters.parse(
        shown.classes or [], shown.granted_from, shown.granted_to, shown.viewpoints or [], shown.owners or []
    )
    check_k(shown.k)
    model_name, dataset_dir = _model_and_dataset(data_dir, model, dataset)
    query = query_of(before) if before is not None else _query(asked, shown, filters, dataset_dir)
    config = SearchConfig(
        lines=lines or (lines_of(before) if before is not None else "all"),
        approximate_from=approximate_from,
        **_embedding_settings(precision, processes),
    )
    ready = open_search(model_name, dataset_dir, config, progress=_show_progress())
    classes = classes_of_pictures(ready.encoder, query.pictures) if read_out else []
    found = ready.find(query)
    if files.html is not None:
        found.write_page(files.html)
    if files.record is not None:
        write_record(found, files.record, datetime.now(UTC))
    _report(found, compare(before, found) if before is not None else None, classes, as_json=as_json)
    for path in (files.html, files.record):
        if path is not None and not as_json:
            output.say(f"open {path.resolve()}")


def _embedding_settings(precision: str | None, processes: int | None) -> dict[str, Any]:
    """Settings of how views are embedded, as far as they are given."""
    given = {"precision": precision or None, "num_processes": processes}
    return {name: value for name, value in given.items() if value is not None}


def _query(asked: QueryOptions, shown: ResultOptions, filters: Filters, dataset_dir: Path) -> Query:
    """The query of the command line, with its pictures read."""
    from model.dataset.folder import open_dataset
    from model.dataset.query_image import QueryImageConfig
    from model.search.query import Query, Weights, check_text, read_pictures

    return Query(
        text=check_text(asked.words) if asked.words is not None else "",
        pictures=read_pictures(
            asked.image or (), QueryImageConfig.of_dataset(open_dataset(dataset_dir)), asked.photograph
        ),
        patent=asked.patent,
        avoid=tuple(asked.avoid or ()),
        weights=Weights(pictures=asked.weight_pictures, text=asked.weight_text, avoid=asked.weight_not),
        scoring=asked.scoring,
        fusion=asked.fusion,
        filters=filters,
        min_score=shown.min_score,
        k=shown.k,
        offset=shown.offset,
    )


@app.command()
def serve(
    data_dir: DataDir = "data",
    dataset: DatasetName = "designs",
    model: Model = None,
    port: Annotated[int, typer.Option(help="Port; 0 takes any that is free.")] = 8321,
    host: Annotated[
        str, typer.Option(help="Address to serve on, such as 0.0.0.0 for all of this machine; others need a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            envvar="DESIGNCLIP_TOKEN",
            show_envvar=True,
            help="Secret of at least 16 characters that browsers enter once and programs send with each request. In "
            "the environment it is not seen in the list of processes.",
        ),
    ] = None,
    photograph: Annotated[str, typer.Option(help=_PHOTOGRAPH_HELP)] = "auto",
    lines: Lines = None,
    approximate_from: ApproximateFrom = 500_000,
    precision: Precision = None,
    processes: Processes = None,
) -> None:
    """Open a page that searches a dataset by pictures, words or a patent; Ctrl-C ends it.

    Its addresses hold the whole query. Patents have pages, two of them can be compared side by side, and /api describes
    the same as JSON. On 127.0.0.1 only this machine can open it; for colleagues, set a token and name the host.

    Examples: `designclip serve --model designs -d data`, then open the address that it prints;
    `DESIGNCLIP_TOKEN=… designclip serve -d data --host 0.0.0.0`
    """
    from model.search.search import SearchConfig, open_search
    from model.search.serve import ServeConfig, bind
    from model.search.serve import serve as serve_pages

    config = ServeConfig(host=host, port=port, token=token, photograph=photograph)
    with bind(port, host) as holder:  # before the long work, which would be in vain if the port is in use
        search_config = SearchConfig(
            lines=lines or "all", approximate_from=approximate_from, **_embedding_settings(precision, processes)
        )
        ready = open_search(*_model_and_dataset(data_dir, model, dataset), search_config, progress=_show_progress())
        signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on, Ctrl-C ends the page and is no error
        serve_pages(ready, config, holder, on_ready=lambda address: _say_address(ready, address, host))


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


def _say_address(ready: Search, address: str, host: str) -> None:
    from model.search.access import is_loopback

    num = f"{len(ready.gallery):,} views of {ready.gallery.num_patents:,} patents"
    output.say(f"{num}, under the model {ready.encoder.name}. {ready.method_sentence}")
    if not is_loopback(host):
        output.say(
            f"Others can reach this server on {host}, and search with the token. The connection is not encrypted: put "
            "it behind a proxy with TLS on a network that you do not trust."
        )
    output.say(f"open {address} (Ctrl-C ends)")


def _report(found: Found, changes: Changes | None, classes: Sequence[PictureClasses], *, as_json: bool) -> None:
    """The results, what has changed since a record, and the classes of the pictures, as JSON or for people."""
    if as_json:
        of_changes = {"changes": changes.to_dict()} if changes is not None else {}
        of_pictures = {"picture_classes": [one.to_dict() for one in classes]} if classes else {}
        output.show_json(found.to_dict() | of_changes | of_pictures)
        return
    _show(found)
    said = [one.sentence for one in classes]
    for line in (*said, *found.remarks, *(changes.sentences if changes is not None else ())):
        output.say(line)


def _show(found: Found) -> None:
    """The patents as a table on stdout, and below it what the scores mean."""
    title = escape(found.query.name)
    table = Table(title=title, title_justify="left")
    for name in ("#", "patent", "best view", "title", "class", "granted", "score"):
        table.add_column(name, no_wrap=name in ("#", "patent", "score"))
    for hit in found.hits:
        view = hit.best
        classes = " ".join(name for name in (view.uspc_class, view.locarno_class) if name)
        shown = view.figure or view.viewpoint or "–"
        cells = (str(hit.rank), view.patent_number, shown, view.title or "–", classes or "–")
        ranks = [f"{name} {rank:,}" for name, rank in hit.channels.items()]
        ranks += [f"by the {hit.found_as}"] if hit.found_as else []
        score = "\n".join([f"{hit.score:.3f} {hit.verdict or ''}".rstrip(), *ranks])
        table.add_row(*(escape(cell) for cell in cells), str(view.grant_date or "–"), score)
    Console().print(table)
    sentence = f"{found.summary}, under the model {found.search.encoder.name}."
    output.say(f"{sentence} {found.search.method_sentence} {found.score_sentence}")
    for line in found.scale.sentences() if found.scale is not None else ():
        output.say(line)
