"""Signals that ask a training program to stop."""

from __future__ import annotations

import signal
import sys
from types import TracebackType
from typing import Any

_ENDED_BY_SIGNAL = 128  # plus the number of the signal: the exit code that shells use


class StopOnSignal:
    """Turns SIGTERM and SIGINT into a request to stop after the current step.

    Before the first step there is nothing to save, so a signal ends the program at once.
    """

    def __init__(self) -> None:
        self._is_training = False
        self._is_requested = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopOnSignal:
        self._handlers = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def is_requested(self) -> bool:
        """Whether a signal has arrived.

        Training calls this after each step; from the first call on, a signal no longer ends the program at once.
        """
        self._is_training = True
        return self._is_requested

    def _handle(self, number: int, _frame: object) -> None:
        if not self._is_training:  # nothing is lost, and a process that waits for the lock would never look
            print("error: stopped before the first step; run again to start", file=sys.stderr, flush=True)
            raise SystemExit(_ENDED_BY_SIGNAL + number)
        self._is_requested = True
