"""The command line: every flow and every stage by its own word.

Exit codes: 0 done, 1 failed, 2 bad arguments. Errors are one sentence on stderr; `--json` gives results to machines on
stdout. Heavy imports wait until a command runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

import typer

from flows.commands import captions, evaluate, operations, rebuild, refresh, retrain, search, stages, train, weeks
from flows.terminal import output

app = typer.Typer(
    help="US design patents, from the weekly archives of the USPTO to a trained and measured CLIP model.\n\n"
    "The walk: archives → grants → views → captions → dataset → training → evaluation. `refresh` takes it from end "
    "to end; each stage also has its own command. What is done already is left as it is, so every command can be run "
    "again at any time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for subject in (
    refresh,
    rebuild,
    weeks,
    stages,
    captions,
    train,
    evaluate,
    retrain,
    search,
    operations,
):
    app.add_typer(subject.app)


def main() -> None:
    """Run the command line; an error ends it with one sentence and its exit code."""
    from model.errors import ConfigError as ModelConfigError
    from model.errors import ModelError
    from patentdata.errors import ConfigError, PatentDataError

    try:
        with _stopping_on_signals():
            app()
    except _StoppedError as stopped:
        output.say_error("stopped; run the same command again to go on")
        if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(128 + stopped.number)  # threads in the middle of a sheet are not waited for; files appear whole
        raise
    except (PatentDataError, ModelError) as error:
        output.say_error(str(error))
        sys.exit(2 if isinstance(error, ConfigError | ModelConfigError) else 1)
    except Exception as error:
        if os.environ.get("DESIGNCLIP_DEBUG"):
            raise
        output.say_error(f"unexpected {type(error).__name__}: {error}; set DESIGNCLIP_DEBUG=1 to see where")
        sys.exit(1)


class _StoppedError(SystemExit):
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM end the command with a sentence, for the length of a block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: object) -> None:
        raise _StoppedError(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
