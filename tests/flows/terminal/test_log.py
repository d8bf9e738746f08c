"""The log on the terminal: warnings always, decisions with --verbose, each once, above the progress bars."""

from __future__ import annotations

import concurrent.futures
import io
import logging
import multiprocessing

import pytest
from rich.console import Console

from flows.preflight import status
from flows.terminal import bars, log
from patentdata.worker import prepare_worker
from tests.flows.command_line import run

pytestmark = pytest.mark.slow

_LOG = logging.getLogger("patentdata.archives.kept")


@pytest.fixture
def _logging_status(monkeypatch):
    """The command status logs a decision and a warning."""

    def read_status(_):
        _LOG.info("I20210105: kept, not fetched again")
        _LOG.warning("the portal lists 2 of %d files", 3)
        return []

    monkeypatch.setattr(status, "read_status", read_status)


@pytest.mark.usefixtures("_logging_status")
@pytest.mark.parametrize("arguments", [("-v", "status"), ("status", "-v"), ("--verbose", "status"), ("status",)])
def test_decisions_are_printed_on_stderr_with_verbose_alone_and_warnings_always(
    monkeypatch, capfd, tmp_path, arguments
):
    code, out, err = run(monkeypatch, capfd, *arguments, "-d", tmp_path, "--json")
    assert code == 0 and out == "[]\n"
    assert ("I20210105: kept, not fetched again" in err) == (len(arguments) == 2)
    assert err.count("warning: the portal lists 2 of 3 files") == 1


@pytest.mark.usefixtures("_logging_status")
def test_a_handler_of_the_root_logger_does_not_print_a_record_again(monkeypatch, capfd, tmp_path):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        run(monkeypatch, capfd, "status", "-d", tmp_path)
        assert stream.getvalue() == ""
        _LOG.warning("after the command")
        assert stream.getvalue() == "after the command\n"
    finally:
        logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("verbose", [False, True])
def test_an_exception_is_a_sentence_and_its_traceback_comes_with_verbose(capfd, verbose):
    with log.log_on_terminal(verbose=verbose):
        try:
            raise ValueError("no such class")
        except ValueError:
            _LOG.exception("%s %s failed", "I20210105", "grants")
    err = capfd.readouterr().err
    assert "error: I20210105 grants failed" in err and "ValueError: no such class" in err
    assert ("Traceback" in err) == verbose


def log_in_worker(num: int) -> None:
    """What a worker process logs."""
    _LOG.info("decision %d", num)
    _LOG.warning("%s", "ä long warning " * 1_000)


@pytest.mark.parametrize("verbose", [False, True])
def test_records_of_worker_processes_are_printed_by_the_command(capfd, verbose):
    with log.log_on_terminal(verbose=verbose):
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context, initializer=prepare_worker) as workers:
            list(workers.map(log_in_worker, range(20)))
    lines = capfd.readouterr().err.splitlines()
    assert sum("warning: ä long warning" in line for line in lines) == 20
    decisions = {line.partition(" ")[2] for line in lines if "decision" in line}
    assert decisions == ({f"decision {num}" for num in range(20)} if verbose else set())


def test_a_line_of_the_log_is_printed_whole_above_the_progress_bars(monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=60, color_system=None)
    for module in (bars, log):
        monkeypatch.setattr(module, "STDERR", console)
    sentence = "warning: " + " ".join(["a sentence that is longer than a line of this terminal"] * 2)
    with log.log_on_terminal(verbose=False), bars.Bars() as shown:
        shown.on_weeks(["I20210105"], 4)
        _LOG.warning(sentence.removeprefix("warning: "))
    cleared = "\r\x1b[2K"
    assert f"{cleared}{sentence}\n" in screen.getvalue()
