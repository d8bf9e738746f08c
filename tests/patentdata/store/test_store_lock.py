"""The lock of a folder on an object store."""

import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest

from patentdata.errors import OutputError
from patentdata.store import store_lock
from patentdata.store.folder import DataFolder
from patentdata.store.store_lock import StoreLock

LOCK = "/locks/data/.lock"


@pytest.fixture
def fs(monkeypatch):
    monkeypatch.setattr(store_lock, "_SETTLE_S", 0.05)
    memory = fsspec.filesystem("memory")
    yield memory
    memory.rm("/locks", recursive=True) if memory.exists("/locks") else None


def left_by_another_machine(fs, *, for_s):
    """The lock of a run on another machine, which ends in some seconds."""
    with StoreLock(fs, LOCK, lease_s=for_s).held():
        values = json.loads(fs.cat_file(LOCK))
    fs.pipe_file(LOCK, json.dumps(values | {"host": "gpu-7", "owner": "ann on gpu-7, process 12"}).encode())


def test_a_folder_is_locked_for_the_length_of_a_block(fs):
    folder = DataFolder("memory://locks/data")
    with folder.locked():
        with pytest.raises(OutputError, match=r"another run is writing to /locks/data: .* process \d+; wait for it"):
            folder.locked().__enter__()
        assert folder.names() == []
    with folder.locked():
        assert fs.exists(LOCK)
    assert not fs.exists(LOCK)


def test_the_lock_of_another_machine_is_respected_and_says_whose_it_is_and_until_when(fs):
    left_by_another_machine(fs, for_s=60)
    before = fs.cat_file(LOCK)
    sentence = r"ann on gpu-7, process 12; .*its lock ends at \d\d:\d\d:\d\d UTC"
    with pytest.raises(OutputError, match=sentence), StoreLock(fs, LOCK).held():
        pass
    assert fs.cat_file(LOCK) == before


def test_the_lock_of_a_machine_that_is_gone_ends_with_its_lease(fs, monkeypatch):
    left_by_another_machine(fs, for_s=-1)
    with pytest.raises(OutputError), StoreLock(fs, LOCK).held():
        pass
    monkeypatch.setattr(store_lock, "_CLOCK_SKEW_S", 0.0)
    with StoreLock(fs, LOCK).held():
        assert json.loads(fs.cat_file(LOCK))["pid"] == os.getpid()


def test_the_lock_of_a_process_of_this_machine_that_was_killed_is_taken_over_at_once(fs):
    with StoreLock(fs, LOCK, lease_s=600).held():
        values = json.loads(fs.cat_file(LOCK))
    assert values["host"] == socket.gethostname()
    fs.pipe_file(LOCK, json.dumps(values | {"started": values["started"] - 1}).encode())
    with StoreLock(fs, LOCK).held():
        pass


def test_a_lock_is_renewed_as_long_as_it_is_held_even_if_the_store_fails_in_between(fs, monkeypatch):
    lock = StoreLock(fs, LOCK, lease_s=0.2)
    writes, failed = [], threading.Event()
    pipe_file = type(fs).pipe_file

    def flaky(self, path, value, **options):
        if not options and not failed.is_set():
            failed.set()
            raise OSError("the store does not answer")
        writes.append(json.loads(value)["until"])
        return pipe_file(self, path, value, **options)

    monkeypatch.setattr(type(fs), "pipe_file", flaky)
    with lock.held():
        ends_at = time.monotonic() + 10
        while len(writes) < 3 and time.monotonic() < ends_at:
            time.sleep(0.02)
    assert failed.is_set() and len(writes) >= 3


def test_of_many_runs_that_start_together_one_gets_the_lock(fs):
    left_by_another_machine(fs, for_s=-3600)
    start, done = threading.Barrier(4), threading.Event()

    def run(_number):
        start.wait()
        try:
            with StoreLock(fs, LOCK).held():
                done.wait(5)
                return True
        except OutputError:
            return False

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run, number) for number in range(4)]
        while sum(one.done() for one in runs) < 3:
            time.sleep(0.01)
        done.set()
        assert sum(one.result() for one in runs) == 1


def test_a_store_without_conditional_writes_has_a_lock_as_well(fs, monkeypatch):
    pipe_file = type(fs).pipe_file

    def unconditional(self, path, value):
        return pipe_file(self, path, value)

    monkeypatch.setattr(type(fs), "pipe_file", unconditional)
    with StoreLock(fs, LOCK).held(), pytest.raises(OutputError, match="another run is writing"):
        StoreLock(fs, LOCK).held().__enter__()
    assert not fs.exists(LOCK)


def test_a_lock_that_cannot_be_read_is_taken_over(fs):
    fs.pipe_file(LOCK, b"not JSON")
    with StoreLock(fs, LOCK).held():
        assert json.loads(fs.cat_file(LOCK))["token"]
