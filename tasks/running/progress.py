"""Who is told how far a flow has come. The command line shows it as bars; without a listener nothing is said."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from patentdata.store.report import Report


class Listener:
    """Hears of progress; this one lets it pass."""

    def on_weeks(self, weeks: list[str], num_steps: int) -> None:
        """The weeks to walk are known; `num_steps` stages of weeks will be reported."""

    def on_stage(self, week: str, stage: str, report: Report | None) -> None:
        """A stage of a week has ended; without a report it failed, and so will not be followed by others."""

    def on_server(self, text: str) -> None:
        """A caption server of our own is starting, or has come up; `text` says how far it is."""

    def on_captions(self, num_done: int, num_all: int) -> None:
        """So many views have their captions, of all in the weeks asked about so far."""

    def on_dataset(self, name: str) -> None:
        """A dataset is being frozen."""

    def on_training(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        """A training step has been taken."""

    def on_evaluation(self, model: str) -> None:
        """A model is being measured."""

    def on_evaluation_step(self, step: int, num_steps: int, values: dict[str, Any]) -> None:
        """Part of a measurement is done, such as some images of a split; `values["doing"]` says of what."""


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
