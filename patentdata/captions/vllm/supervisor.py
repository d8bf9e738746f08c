"""A leash for a server: a small program between this one and the server, so that nothing of the server outlives us.

    python -I leash.py PARENT_PID GRACE_S COMMAND…

It ends when the command ends, when it is told to (SIGTERM), and when the process PARENT_PID is no longer its parent,
however that one died. Before it ends it ends the command and every process that came of it, and waits until all are
gone. Whatever loses its parent on the way becomes a child of the leash, so none is missed. It imports nothing of the
project, and needs Linux for that last promise.
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
_LOOK_EVERY_S = 0.1


def main(arguments: list[str]) -> int:
    """Run the command to its end or ours. Returns its exit code, 128 + N where signal N ended it."""
    parent_pid, grace_s, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    is_told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: is_told.append(received))
    control = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
    if control is not None:
        control(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def end_with_leash() -> None:
        if control is not None:
            control(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=end_with_leash)
    while server.poll() is None and not is_told and os.getppid() == parent_pid:
        time.sleep(_LOOK_EVERY_S)
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
    """Kill children until none is left; the children of each become ours when it dies."""
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
