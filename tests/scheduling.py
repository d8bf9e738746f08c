"""Which tests run in one worker: those of a file, and those of all files that share a server.

The groups are those of files, since pytest-xdist 3.8 cannot mark a test's group with pytest 9.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

# Server → files with tests that use it. Servers are started in this order, before all other tests.
_FILES = {
    "prefect": (
        "tests/flows/test_deployments.py",
        "tests/flows/test_flows.py",
        "tests/flows/test_dask.py",
        "tests/flows/test_run_log.py",
        "tests/flows/test_retries.py",
    ),
    "vllm": (
        "tests/flows/test_caption_walk.py",
        "tests/patentdata/captions/vllm/test_server.py",
        "tests/patentdata/captions/vllm/test_families.py",
    ),
    "s3": (
        "tests/flows/test_object_store.py",
        "tests/flows/test_acquisition.py",
        "tests/flows/test_cluster_example.py",
    ),
}
_GROUPS = {file: group for group, files in _FILES.items() for file in files}
# Fixture → groups whose tests may use it. An S3 server is a thread of the worker, so that two of them cost nothing.
_SERVERS = {"prefect_server": ("prefect",), "caption_server": ("vllm",), "s3_server": ("s3", "prefect")}


class GroupScheduling(LoadScopeScheduling):
    """Gives whole groups to the workers, in the order of the tests."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Group of a test: a server, or its own file.

    >>> group_of("tests/flows/test_dask.py::test_a"), group_of("tests/test_docs.py::test_b[c]")
    ('prefect', 'tests/test_docs.py')
    """
    file = nodeid.partition("::")[0]
    return _GROUPS.get(file, file)


def put_in_order(items: list[pytest.Item]) -> None:
    """Mark the tests that need a server as slow, and put groups with a server first, then other slow tests.

    Raises:
        pytest.UsageError: A test uses a server, and its file is not in the group of that server.
    """
    for item in items:
        for fixture in _SERVERS.keys() & set(getattr(item, "fixturenames", ())):
            if group_of(item.nodeid) not in _SERVERS[fixture]:
                raise pytest.UsageError(f"{item.nodeid} uses {fixture}; add its file to that group in {__file__}")
            item.add_marker(pytest.mark.slow)
    servers = list(_FILES)
    slow_files = {group_of(item.nodeid) for item in items if item.get_closest_marker("slow") is not None}

    def turn(item: pytest.Item) -> tuple[int, bool]:
        group = group_of(item.nodeid)
        index = servers.index(group) if group in servers else len(servers) + (group not in slow_files)
        return index, item.get_closest_marker("last") is not None

    items.sort(key=turn)
