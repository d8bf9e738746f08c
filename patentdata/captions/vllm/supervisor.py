"""Supervisor of a server: a small program between designclip and the server, so that no server process outlives it.

    python -I supervisor.py PARENT_PID GRACE_S COMMAND…

It exits when the command exits, when it gets SIGTERM, SIGINT or SIGHUP, and when the process PARENT_PID is no longer
its parent, however that one died. Before it exits, it stops the command and all its descendants, and waits until they
are gone. It is a subreaper: a descendant whose parent dies becomes its child, so that none is missed; that needs Linux.
It imports nothing of the project, and so starts at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CHECK_EVERY_S = 0.1


def main(arguments: list[str]) -> int:
    """Run the command until it exits or must be stopped. Returns its exit code, 128 + N if signal N ended it."""
    parent_pid, grace_s, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: signals.append(received))
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    if prctl is not None:
        prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def end_with_supervisor() -> None:
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=end_with_supervisor)
    while server.poll() is None and not signals and os.getppid() == parent_pid:
        time.sleep(_CHECK_EVERY_S)
    # Give the server its time to exit by itself, then kill whatever is left.
    if server.poll() is None:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(grace_s)
    code = server.poll()
    _end_all_children()
    if code is None:
        return 128 + signal.SIGKILL
    return code if code >= 0 else 128 - code


def _end_all_children() -> None:
    """Kill children until none is left; the children of each become this process's own when it dies."""
    while True:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
