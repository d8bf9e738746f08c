"""Quality of the captions of a run, as a table on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from patentdata.captions.quality import MEASURES, counts_in, shares_of
from patentdata.store.report import Report


def quality_table(reports: Iterable[Report]) -> Table | None:
    """Each measure over the weeks of a run; None if no captions were measured."""
    counts = counts_in(reports)
    if not counts.get("views"):
        return None
    table = Table("captions", "share", "views", "of", title="Quality of captions", title_justify="left")
    shares = shares_of(counts)
    for measure in MEASURES:
        share = shares[measure.name]
        if share.value is not None:
            table.add_row(measure.title, f"{100 * share.value:.1f} %", f"{share.num:,}", f"{share.of:,}")
    if counts.get("captions"):
        table.add_row("mean length in tokens", f"{counts['tokens'] / counts['captions']:.1f}", "", "")
    return table
