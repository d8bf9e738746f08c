"""Who is told when a run fails, or none has ended well for a week: two automations on the Prefect server.

    python -m flows.commands.notifications slack-webhook/alerts

The block is one of Prefect's notification blocks, saved beforehand; run again, the automations are brought up to date.
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
    """The automations, telling through the notification block with this identifier."""
    tell = SendNotification(
        block_document_id=block_id,
        subject="{{ flow.name }} {{ flow_run.name }}: {{ flow_run.state.name }}",
        body="{{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
    )
    miss = SendNotification(
        block_document_id=block_id,
        subject="No weekly refresh for eight days",
        body="No run of refresh/weekly has ended well for eight days; see whether server and worker are up.",
    )
    return [
        Automation(
            name="designclip: a run failed",
            description="Tells of every run of the project that failed or crashed.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
                match=_ANY_RUN,
                match_related=_OF_THE_PROJECT,
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[tell],
        ),
        Automation(
            name="designclip: no refresh for a week",
            description="Tells when the weekly run has not ended well for eight days.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Completed"},
                match=_ANY_RUN,
                match_related=_WEEKLY,
                posture=Posture.Proactive,
                threshold=1,
                within=_SILENCE,
            ),
            actions=[miss],
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
        found: Any = Automation.read(name=name)  # its type tells of the form that awaits
        return found
    except ValueError:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Run as a program; 2 and one sentence where there is no such block."""
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
