"""What a flow run publishes in Prefect: tables and reports as artifacts, and the event that a dataset is frozen.

Other deployments act on the event: the retraining is triggered by it. Outside of a flow run nothing is published.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.variables import Variable

from patentdata.store.folder import DataFolder
from patentdata.store.report import Report

if TYPE_CHECKING:
    from flows.outcomes import WeekOutcome

DATASET_PUBLISHED = "designclip.dataset.published"


def publish(weeks: list[WeekOutcome], evaluation: dict[str, Any] | None) -> None:
    """Publish a table of the weeks, and the evaluation, as artifacts."""
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


def publish_decision(state: str, why: str) -> None:
    """Publish what became of a retraining."""
    if FlowRunContext.get() is not None:
        create_markdown_artifact(key="champion", markdown=f"**{state}**: {why}", description="Champion or not")


def announce_dataset(folder: DataFolder, name: str, report: Report) -> bool:
    """Emit `designclip.dataset.published` for a frozen dataset, unless this Prefect server knows of it already.

    The event's resource is `designclip.dataset.NAME`; its payload holds `data_dir`, `dataset`, `fingerprint` and
    `counts`, unit → rows. If a run is killed between the event and the note of it, the next run
    emits it again: at least once, never not at all.

    Returns:
        Whether it was emitted.
    """
    if FlowRunContext.get() is None:
        return False
    fingerprint = folder.read_json(folder.path("datasets", name, "dataset.json"))["fingerprint"]
    note = _variable_name(folder.url, name)
    if Variable.get(note) == fingerprint:
        return False
    emit_event(
        event=DATASET_PUBLISHED,
        resource={"prefect.resource.id": f"designclip.dataset.{name}", "prefect.resource.name": name},
        payload={
            "data_dir": folder.url,
            "dataset": name,
            "fingerprint": fingerprint,
            "counts": {unit: tally.num_out for unit, tally in report.tallies.items()} | dict(report.counts),
        },
    )
    Variable.set(note, fingerprint, overwrite=True)
    return True


def _variable_name(data_dir: str, name: str) -> str:
    """A variable's name is lower-case letters, digits and underscores; the hash tells apart what that makes equal."""
    shown = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"designclip_published_{shown}_{hashlib.sha256(f'{data_dir} {name}'.encode()).hexdigest()[:12]}"
