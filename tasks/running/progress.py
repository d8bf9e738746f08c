"""How a flow reports its progress: to the listener of its context.

The command line listens and shows progress bars. Without a listener nothing is reported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from patentdata.store.report import Report


class Listener:
    """Receives reports of progress; this one ignores them."""

    def on_weeks(self, weeks: list[str], num_steps: int) -> None:
        """The weeks to walk are known; at most `num_steps` ends of stages will be reported."""

    def on_stage(self, week: str, stage: str, report: Report | None) -> None:
        """A stage of a week has ended; `report` is None if it failed."""

    def on_server(self, text: str) -> None:
        """A caption server that this program manages is starting or has come up; `text` says which."""

    def on_captions(self, num_done: int, num_all: int) -> None:
        """Views captioned, and views in all, of the weeks that a model has been asked about so far."""

    def on_dataset(self, name: str) -> None:
        """A dataset is being frozen."""

    def on_dataset_weeks(self, num_done: int, num_weeks: int) -> None:
        """Weeks of the dataset that are frozen, and weeks in all; a dataset that is done already reports none."""

    def on_training(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        """A training step has been taken."""

    def on_evaluation(self, model: str) -> None:
        """A model is being measured."""

    def on_evaluation_step(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        """Part of a measurement is done; `values["doing"]` says which, such as the images of a split."""


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=Listener())  # noqa: B039 - it holds no state


def listener() -> Listener:
    """The listener of this context."""
    return _LISTENER.get()


@contextlib.contextmanager
def listening(to: Listener) -> Iterator[None]:
    """Report to a listener for the length of a block."""
    token = _LISTENER.set(to)
    try:
        yield
    finally:
        _LISTENER.reset(token)
