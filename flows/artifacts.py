"""What a flow run leaves to look at in Prefect."""

from __future__ import annotations

import json
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext

from flows.weeks import WeekOutcome


def publish(weeks: list[WeekOutcome], evaluation: dict[str, Any] | None) -> None:
    """Publish a table of the weeks, and the evaluation, as artifacts; does nothing outside of a flow run."""
    if FlowRunContext.get() is None:
        return
    if weeks:
        create_table_artifact(key="weeks", table=[_row(outcome) for outcome in weeks], description="Weeks walked")
    if evaluation is not None:
        shown = json.dumps(evaluation, indent=1, ensure_ascii=False)
        create_markdown_artifact(key="evaluation", markdown=f"```json\n{shown}\n```", description="Evaluation")


def _row(outcome: WeekOutcome) -> dict[str, Any]:
    row: dict[str, Any] = {"week": outcome.week, "state": f"failed: {outcome.error}" if outcome.error else "done"}
    for report in outcome.reports.values():
        for unit, tally in report.tallies.items():
            row[f"{report.stage} {unit}"] = f"{tally.num_out} of {tally.num_in}"
    return row
