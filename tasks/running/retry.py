"""How every stage becomes a task: its name, no cache, and another try where that can help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from patentdata.errors import PatentDataError, SourceDownError, SourceError

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


def is_worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a failed task may do better a moment later: a network or a disk may, a broken archive will not."""
    try:
        state.result()
    except SourceDownError:  # it was tried with patience already
        return False
    except (SourceError, OSError):
        return True
    except (PatentDataError, ValueError, TypeError):
        return False
    except Exception:
        return True
    return False
