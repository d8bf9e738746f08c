"""The speed of a run, measured while its progress is passed on."""

from __future__ import annotations

import inspect

from flows.preflight.rates import Stopwatch
from tasks.running.progress import Listener, listening


def test_a_stopwatch_passes_everything_that_it_hears_on_to_the_listener_it_replaces():
    heard = []

    class Recorder(Listener):
        def __getattribute__(self, name):
            return (lambda *_: heard.append(name)) if name.startswith("on_") else super().__getattribute__(name)

    with listening(Recorder()):
        watch = Stopwatch([], lambda: 0.0)
    events = [name for name in vars(Listener) if name.startswith("on_")]
    for name in events:
        method = getattr(watch, name)
        method(*(None for _ in inspect.signature(method).parameters))
    assert heard == events and len(events) >= 8
