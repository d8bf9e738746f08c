"""Runners: where tasks run, and what becomes of them when a worker is killed."""

import threading
from types import SimpleNamespace

import pytest

from patentdata.errors import SourceError
from tasks.running.runners import WorkerKilledError, WorkersConfig, open_runner
from tests.tasks.running.work import appear, be_killed, double, refuse


def task(function):
    return SimpleNamespace(fn=function)


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_every_task_gives_its_value_or_its_error(kind):
    with open_runner(WorkersConfig(kind=kind, num_workers=2)) as runner:
        futures = [runner.submit(task(double), value=value) for value in range(20)]
        refused = runner.submit(task(refuse), value=3)
        assert [future.result() for future in futures] == [2 * value for value in range(20)]
        with pytest.raises(SourceError, match="no 3"):
            refused.result()


def test_a_worker_that_is_killed_takes_along_what_was_beside_it_and_the_rest_comes_through():
    with open_runner(WorkersConfig(kind="processes", num_workers=2)) as runner:
        before = [runner.submit(task(double), value=value) for value in range(4)]
        killed = runner.submit(task(be_killed), value=1)
        after = [runner.submit(task(double), value=value) for value in range(4, 12)]
        with pytest.raises(WorkerKilledError, match=r"a worker process was killed.*run again, and with fewer workers"):
            killed.result()
        lost = [future for future in [*before, *after] if future.exception() is not None]
        assert len(lost) <= 1 and all(isinstance(future.exception(), WorkerKilledError) for future in lost)
        values = [future.result() for future in [*before, *after] if future not in lost]
        assert set(values) <= {2 * value for value in range(12)} and len(values) >= 11


def test_a_walk_broken_off_hands_nothing_more_out(tmp_path):
    gate = tmp_path / "gate"
    with pytest.raises(KeyboardInterrupt), open_runner(WorkersConfig(kind="processes", num_workers=1)) as runner:
        first = runner.submit(task(double), value=1)
        held = runner.submit(task(appear), path=gate)
        later = [runner.submit(task(double), value=value) for value in range(50)]
        first.result()
        threading.Timer(0.5, gate.touch).start()  # what is handed out already is waited for
        raise KeyboardInterrupt
    assert held.done() or held.cancelled()
    assert not later[-1].done()
