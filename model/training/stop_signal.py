"""Signals that ask a training program to stop."""

from __future__ import annotations

import signal
import sys
from types import TracebackType
from typing import Any

_ENDED_BY_SIGNAL = 128  # plus the signal, as shells have it


class StopOnSignal:
    """Makes SIGTERM and SIGINT a wish that training hears between two steps; before the first they end the program."""

    def __init__(self) -> None:
        self._is_training = False
        self._is_wanted = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopOnSignal:
        self._handlers = {number: signal.signal(number, self._hear) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def is_wanted(self) -> bool:
        """Whether to stop; every process of a run asks after each step, and from then on a signal is a wish."""
        self._is_training = True
        return self._is_wanted

    def _hear(self, number: int, _frame: object) -> None:
        if not self._is_training:  # nothing is lost, and a wait for the folder would not hear a wish
            print("error: stopped before the first step; run again to start", file=sys.stderr, flush=True)
            raise SystemExit(_ENDED_BY_SIGNAL + number)
        self._is_wanted = True
