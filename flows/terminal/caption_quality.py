"""Quality of the captions of a run, as a table on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from patentdata.captions.quality import MEASURES, counts_in, examples_in, in_percent, shares_of
from patentdata.store.report import Report


def quality_table(reports: Iterable[Report]) -> Table | None:
    """Each measure over the weeks of a run, with an example if there is one; None if no captions were measured."""
    reports = list(reports)
    counts = counts_in(reports)
    if not counts.get("views"):
        return None
    table = Table("captions", "share", "views", "of", "example", title="Quality of captions", title_justify="left")
    shares, examples = shares_of(counts), examples_in(reports)
    for measure in MEASURES:
        share = shares[measure.name]
        if share.value is not None:
            example = escape(examples.get(measure.name, ""))
            table.add_row(measure.title, in_percent(share), f"{share.num:,}", f"{share.of:,}", example)
    if counts.get("captions"):
        table.add_row("mean length in tokens", f"{counts['tokens'] / counts['captions']:.1f}", "", "", "")
    return table
