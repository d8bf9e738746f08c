"""How every stage becomes a task: its name, no cache, and further tries if they can help.

A further try helps against what passes by itself: a network, a disk, a worker process that ran out of memory. It does
not help against an error whose message says what to do, such as a missing dataset or a diverging loss: that one is
shown at once, since a person has to act on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from model.errors import ModelError, ProcessKilledError
from patentdata.errors import PatentDataError, SourceDownError, SourceError
from patentdata.worker import log_to_command
from tasks.running.run_log import log_to_runs

# Here, since this module is imported in every process that runs tasks.
log_to_runs()
log_to_command()

_LOG = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")


def stage_task(function: Callable[..., ResultT], *, stage: str, of: str) -> Task[..., ResultT]:
    """A stage's function as a task; the files themselves say what is done, so Prefect caches nothing.

    Args:
        function: The one call that the task is.
        stage: Word of the stage.
        of: What the task run is named for: a template over the function's parameters.
    """
    return task(
        name=stage,
        task_run_name=f"{stage} {of}",
        cache_policy=NO_CACHE,
        retries=2,
        retry_delay_seconds=30,
        retry_condition_fn=is_worth_retrying,
    )(function)


def is_worth_retrying(task: Any, _run: Any, state: Any) -> bool:
    """Whether a failed task may succeed a moment later; Prefect asks this before each further try."""
    try:
        state.result()
    except Exception as error:
        is_worth = is_transient(error)
        _LOG.info("%s %s: %s", task.name, "is tried again" if is_worth else "is not tried again", error)
        return is_worth
    return False


def is_transient(error: Exception) -> bool:
    """Whether an error may pass by itself.

    >>> is_transient(OSError("connection reset")), is_transient(SourceDownError("the portal does not answer"))
    (True, False)
    """
    if isinstance(error, SourceDownError):  # the download has waited and tried already
        return False
    if isinstance(error, SourceError | ProcessKilledError):
        return True
    # An OSError, or something nobody foresaw, may pass as well.
    return not isinstance(error, PatentDataError | ModelError | ValueError | TypeError)
