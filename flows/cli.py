"""The command line: a command for each flow and each stage, under its name.

Exit codes: 0 done, 1 failed, 2 bad arguments. An error is one sentence on stderr; results are on stdout, with `--json`
for machines. Heavy imports wait until a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from flows.commands import (
    captions,
    evaluate,
    export,
    operations,
    rebuild,
    refresh,
    retrain,
    search,
    stages,
    study,
    train,
    weeks,
)
from flows.commands.option_groups import with_options
from flows.terminal import output
from flows.terminal.log import log_on_terminal

Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Print decisions on stderr: what is skipped, retried, promoted, and why."),
]

app = typer.Typer(
    help="US design patents, from the weekly archives of the USPTO to a trained and measured CLIP model.\n\n"
    "The stages: archives → grants → views → captions → dataset → training → evaluation. `refresh` runs all of them; "
    "each stage also has its own command. What is done already is left as it is, so every command can be run again at "
    "any time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@app.callback()
def _print_log(context: typer.Context, verbose: Verbose = False) -> None:
    context.obj = context.with_resource(log_on_terminal(verbose=verbose))


def _accepting_verbose(command: Callable[..., None]) -> Callable[..., None]:
    """The command with one more option, so that --verbose may also follow the name of the command."""

    @functools.wraps(command)
    def verbose_command(*, context: typer.Context, verbose: bool, **options: Any) -> None:
        if verbose:
            context.obj.make_verbose()
        command(**options)

    own = inspect.Signature.from_callable(command, eval_str=True).parameters.values()
    more = inspect.signature(_print_log, eval_str=True).parameters.values()
    return with_options(verbose_command, [*own, *more])


for subject in (refresh, rebuild, weeks, stages, captions, train, evaluate, study, retrain, search, export, operations):
    for command in subject.app.registered_commands:
        assert command.callback is not None
        command.callback = _accepting_verbose(command.callback)
    app.add_typer(subject.app)


def main() -> None:
    """Run the command line; an error ends it with one sentence and an exit code."""
    from model.errors import ConfigError as ModelConfigError
    from model.errors import ModelError
    from patentdata.errors import ConfigError, PatentDataError

    try:
        with _stopping_on_signals():
            app()
    except _StoppedError as stopped:
        output.say_error("stopped; run the same command again to resume")
        if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(128 + stopped.number)  # no waiting for threads: files appear whole or not at all
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
    """A signal asked this process to end; its exit code is 128 + the number of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


@contextlib.contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise `_StoppedError` for the length of a block; does nothing outside the main thread."""
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
