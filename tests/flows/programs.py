"""The command line as a process of its own, to be killed or read from outside.

Python needs four seconds to import what a command needs, so commands are forked from one process that has done it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["flows.cli", "flows.rebuild", "patentdata.views.stage", "patentdata.captions.stage", "tests.flows.walks"]
)


@contextlib.contextmanager
def started(function: Callable[..., None], *arguments: object, log: Path) -> Iterator[BaseProcess]:
    """A function in a new process and session, for the length of a block; what it prints goes to a file.

    Args:
        function: Runs in the new process; a function at the top of a module.
        arguments: For the function.
        log: Gets stdout and stderr.
    """
    process = _CONTEXT.Process(target=_run, args=(function, arguments, log, dict(os.environ), Path.cwd()))
    process.start()
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                one.kill()
        process.join()


def _run(
    function: Callable[..., None], arguments: tuple[object, ...], log: Path, environment: dict[str, str], folder: Path
) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run in a shell that ignores Ctrl-C
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with log.open("wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    function(*arguments)


def designclip(*arguments: object) -> None:
    """The command line; to be given to `started`."""
    from flows import cli

    sys.argv = ["designclip", *map(str, arguments)]
    cli.main()
