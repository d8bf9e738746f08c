"""What the flows tell Prefect, so that other deployments can act on it."""

from __future__ import annotations

import hashlib
import re

from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.variables import Variable

from patentdata.folder import DataFolder
from patentdata.report import Report

DATASET_PUBLISHED = "designclip.dataset.published"


def announce_dataset(folder: DataFolder, name: str, report: Report) -> bool:
    """Emit `designclip.dataset.published` for a frozen dataset that this Prefect server has not heard of yet.

    The event's resource is `designclip.dataset.NAME`; its payload holds `data_dir`, `dataset`, `fingerprint` and
    `counts`, unit → rows. A run killed between the event and the note of it announces once more: at least once, never
    not at all.

    Returns:
        Whether it was emitted; outside of a flow run nothing is.
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
    """Names of variables are small letters, digits and underscores; the hash keeps apart what that makes equal."""
    shown = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"designclip_published_{shown}_{hashlib.sha256(f'{data_dir} {name}'.encode()).hexdigest()[:12]}"
