"""Notifications when a run fails, or when no weekly run has succeeded for a week: two automations on the server.

    python -m flows.commands.notifications slack-webhook/alerts

The block is one of Prefect's notification blocks, saved beforehand. Run again, it brings the automations up to date.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from typing import Any

from prefect.automations import Automation
from prefect.client.orchestration import get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.terminal import output
from patentdata.errors import ConfigError

_OF_THE_PROJECT: Any = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.designclip"}
_WEEKLY: Any = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.weekly"}
_ANY_RUN: Any = {"prefect.resource.id": "prefect.flow-run.*"}
_SILENCE = datetime.timedelta(days=8)


def automations(block_id: Any) -> list[Automation]:
    """The automations, which notify through the block with this identifier."""
    failure = SendNotification(
        block_document_id=block_id,
        subject="{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.name }}",
        body="{{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
    )
    silence = SendNotification(
        block_document_id=block_id,
        subject="No weekly refresh for eight days",
        body="No run of refresh/weekly has succeeded for eight days; check that the server and the worker are running.",
    )
    return [
        Automation(
            name="designclip: a run failed",
            description="Notifies of every run of the project that failed or crashed.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
                match=_ANY_RUN,
                match_related=_OF_THE_PROJECT,
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[failure],
        ),
        Automation(
            name="designclip: no refresh for a week",
            description="Notifies if no weekly run has succeeded for eight days.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Completed"},
                match=_ANY_RUN,
                match_related=_WEEKLY,
                posture=Posture.Proactive,
                threshold=1,
                within=_SILENCE,
            ),
            actions=[silence],
        ),
    ]


def notify_through(block: str) -> list[str]:
    """Create the automations on the server, or bring them up to date.

    Args:
        block: Type and name of a saved notification block, "slack-webhook/alerts".

    Returns:
        Names of the automations.

    Raises:
        ConfigError: The server has no such block.
    """
    kind, _, name = block.partition("/")
    with get_client(sync_client=True) as client:
        try:
            block_id = client.read_block_document_by_name(name, kind).id
        except ObjectNotFound:
            raise ConfigError(
                f"the Prefect server has no block {block!r}; save one first, as docs/operations.md shows"
            ) from None
    names = []
    for automation in automations(block_id):
        known = _known(automation.name)
        if known is None:
            automation.create()
        else:
            automation.id = known.id
            automation.update()
        names.append(automation.name)
    return names


def _known(name: str) -> Automation | None:
    try:
        found: Any = Automation.read(name=name)  # declared with the type of its asynchronous form
        return found
    except ValueError:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Run as a program; returns 2, after one sentence, if there is no such block."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.commands.notifications",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("block", help='type and name of a notification block, such as "slack-webhook/alerts"')
    try:
        for name in notify_through(parser.parse_args(arguments).block):
            output.say(f"on the server: {name}")
    except ConfigError as error:
        output.say_error(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
