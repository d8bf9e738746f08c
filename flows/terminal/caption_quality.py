"""Quality of the captions of a run, and the verdicts of a judge, as tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from patentdata.captions.faithfulness.judge import Judgement
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


def judge_table(judgement: Judgement) -> Table:
    """What a judge says of captions in which the detectors find something wrong, and of the others."""
    agreement = "–" if judgement.agreement is None else f"{100 * judgement.agreement:.1f} %"
    title = f"Judged by {judgement.model}; it agrees with the detectors on {agreement} of all captions"
    table = Table("detectors", "captions", "judged false", "of", "cannot tell", "no verdict", title=title)
    table.title_justify = "left"
    for name, stratum in (("find something", judgement.found), ("find nothing", judgement.not_found)):
        table.add_row(
            name,
            f"{stratum.num_captions:,}",
            in_percent(stratum.false),
            f"{stratum.false.of:,}",
            f"{stratum.verdicts['cannot tell']:,}",
            f"{sum(stratum.reasons.values()):,}",
        )
    return table
