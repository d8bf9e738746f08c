"""An evaluation as tables for a terminal: the model next to its baselines, and what to keep in mind."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

_HEADINGS = {
    "model": "model",
    "against": "second model",
    "difference": "better by, p",
    "untrained": "untrained",
    "bm25_title": "BM25 on titles",
    "majority": "majority",
    "chance": "chance",
}
_INTERVAL = "95 %"


def evaluation_tables(measured: dict[str, Any]) -> list[Table | str]:
    """The evaluation for a terminal, in the order to be printed.

    First what the leak checks found; then, for each measurement, its terms as markup and a table of one line per value.
    """
    shown: list[Table | str] = [
        f"[yellow]note:[/] {escape(check['message'])}" for check in measured["checks"] if check["num_found"]
    ]
    for task, section in measured["tasks"].items():
        if section["status"] == "not_available":
            shown.append(f"{task.replace('_', ' ')}: not available, {escape(section['reason'])}")
        for content in section["tables"].values():
            shown += [_terms(content), _table(content)]
    return shown


def _terms(content: dict[str, Any]) -> str:
    terms = content["terms"]
    text = (
        f"{terms['num_queries']:,} queries, {terms['num_queries_without_positive']:,} of them without a right answer, "
        f"{terms['gallery_size']:,} candidates. Right: {terms['positives_rule']}. Ties: {terms['tie_rule']}."
    )
    return f"[bold]{escape(content['title'])}[/]\n[dim]{escape(text)}[/]"


def _table(content: dict[str, Any]) -> Table:
    columns = [name for name in _HEADINGS if name in content["columns"]]
    headings = [_HEADINGS[name] for name in columns]
    headings.insert(columns.index("model") + 1, _INTERVAL)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(["in %", *headings]):
        table.add_column(
            heading,
            justify="right" if number else "left",
            overflow="fold",
            no_wrap=heading == _INTERVAL,
            min_width=_longest_word(heading if number else " ".join(content["figures"])),
        )
    for name, value in content["figures"].items():
        table.add_row(name, *(cell for column in columns for cell in _cells(value.get(column), column, value["unit"])))
    return table


def _cells(estimate: dict[str, float] | None, column: str, unit: str) -> list[str]:
    if estimate is None:
        return ["–", ""] if column == "model" else ["–"]
    value = f"{100 * estimate['value']:.1f}" if unit == "share" else f"{estimate['value']:g}"
    if column == "difference":
        value = f"{100 * estimate['value']:+.1f}, {estimate['p']:.3f}"
    if column != "model":
        return [value]
    return [value, f"{100 * estimate['low']:.1f}–{100 * estimate['high']:.1f}" if "low" in estimate else ""]


def _longest_word(text: str) -> int:
    """Length of the longest word; a column of at least this width breaks none."""
    return max(map(len, text.split()))
