"""What a flow run leaves to look at in Prefect."""

from __future__ import annotations

import datetime
import json
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext

if TYPE_CHECKING:
    from flows.weeks import WeekOutcome

_ARTIFACT_EVERY_S = 5.0


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


def pace_in_words(num_done: int, num_left: int, seconds: float) -> str:
    """Rate of what was done in so many seconds, and the time that the rest takes at it; empty before it can be told.

    >>> pace_in_words(300, 1_000, 60)
    ', 5.0 a second, 0:03:20 left'
    """
    if seconds < 1 or not num_done:
        return ""
    rate = num_done / seconds
    left = f", {datetime.timedelta(seconds=round(num_left / rate))} left" if num_left else ""
    return f", {rate:,.1f} a second{left}"


class CaptionArtifact:
    """The progress of captions as an artifact of the flow run; does nothing outside of one."""

    def __init__(self) -> None:
        self._id: UUID | None = None
        self._updated_at = 0.0
        self._shown: float | None = None
        self._began: tuple[float, int] | None = None  # when, and how many were done by then
        self._is_in_run = FlowRunContext.get() is not None

    def update(self, num_done: int, num_all: int) -> None:
        """Show so many views of all, how many a second and the time left, now and then, and the end at once."""
        percent = 100 * num_done / num_all if num_all else 0.0
        self._began = self._began or (time.monotonic(), num_done)
        is_early = num_done < num_all and time.monotonic() - self._updated_at < _ARTIFACT_EVERY_S
        if not self._is_in_run or percent == self._shown or (is_early and self._id is not None):
            return
        seconds, num_since = time.monotonic() - self._began[0], num_done - self._began[1]
        pace = pace_in_words(num_since, num_all - num_done, seconds)
        described = f"Captions: {num_done:,} of {num_all:,} views{pace}"
        if self._id is None:
            self._id = create_progress_artifact(percent, key="captions", description=described)  # type: ignore[assignment]
        else:
            update_progress_artifact(self._id, percent, description=described)
        self._updated_at, self._shown = time.monotonic(), percent


def publish_decision(state: str, why: str) -> None:
    """Publish what became of a retraining; does nothing outside of a flow run."""
    if FlowRunContext.get() is not None:
        create_markdown_artifact(key="champion", markdown=f"**{state}**: {why}", description="Champion or not")
