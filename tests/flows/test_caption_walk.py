"""Captions by a model within a walk: beside other stages, through endpoints that fail, with a server of its own."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import psutil
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from flows.refresh import refresh
from flows.terminal import bars as bars_module
from flows.terminal.caption_quality import quality_table
from flows.weeks import WeeksConfig, walk_weeks
from patentdata.captions.config import CaptionsConfig, RequestsConfig, SamplingConfig, ServerConfig
from patentdata.captions.vllm import server
from patentdata.captions.vllm.journal import journal_path
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import state_of
from tasks.running.caption_progress import pace_in_words
from tasks.running.progress import Listener, listening
from tasks.running.runners import WorkersConfig
from tests.caption_server import CaptionServer
from tests.flows.programs import designclip, started
from tests.flows.walks import WEEKS, draw_archives, small_walk
from tests.patentdata.captions.vllm.endpoint import MODEL, Endpoint, says

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the model server may have to be started, or started again

THREADS = WorkersConfig(kind="threads", num_workers=1)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return draw_archives(tmp_path_factory.mktemp("source"), num_patents=3)


@pytest.fixture(scope="module")
def split(source, tmp_path_factory) -> Path:
    """A data folder of two weeks up to their views; not to be written to."""
    data_dir = tmp_path_factory.mktemp("split")
    wanted = ("archives", "grants", "views")
    walk_weeks(WeeksConfig(data_dir=str(data_dir), source=str(source), only_stages=wanted, workers=THREADS))
    return data_dir


@pytest.fixture
def data_dir(split, tmp_path) -> Path:
    """A copy of those two weeks."""
    subprocess.run(["cp", "-a", f"{split}/.", str(tmp_path / "data")], check=True)
    return tmp_path / "data"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as served:
        yield served


def by_model(*urls: str, **settings: object) -> CaptionsConfig:
    return CaptionsConfig(**({"captioner": "vllm", "endpoints": urls} | settings))  # type: ignore[arg-type]


def caption(data_dir: Path, config: CaptionsConfig, workers: WorkersConfig = THREADS) -> list[str | None]:
    """Caption the weeks of a data folder. Returns the error of each."""
    outcomes = walk_weeks(
        WeeksConfig(data_dir=str(data_dir), only_stages=("captions",), captions=config, workers=workers)
    )
    for outcome in outcomes:
        if outcome.error is None:
            outcome.reports["captions"].check()
    return [outcome.error for outcome in outcomes]


def rows_of(data_dir: Path, stage: str) -> list[dict]:
    columns = None if stage == "captions" else ["view_id", "image_sha256"]
    tables = (pq.read_table(data_dir / stage / f"{week}.parquet", columns=columns) for week in WEEKS)
    return [row for table in tables for row in table.to_pylist()]


def bytes_of(data_dir: Path) -> list[bytes]:
    return [(data_dir / "captions" / f"{week}.parquet").read_bytes() for week in WEEKS]


def until(is_so: Callable[[], bool], timeout_s: float = 120) -> bool:
    end = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Heard(Listener):
    """Remembers what it was told of captions."""

    def __init__(self) -> None:
        self.captions: list[tuple[int, int]] = []
        self.server: list[str] = []

    def on_captions(self, num_done: int, num_all: int) -> None:
        self.captions.append((num_done, num_all))

    def on_server(self, text: str) -> None:
        self.server.append(text)


# --- With an endpoint that stands in for a model ---


def test_threads_and_processes_write_the_same_captions(data_dir, split, tmp_path, endpoint):
    assert caption(data_dir, by_model(endpoint.url)) == [None, None]
    num_asked = endpoint.num_asked
    assert num_asked == len(rows_of(data_dir, "views"))
    subprocess.run(["cp", "-a", f"{split}/.", str(tmp_path / "other")], check=True)
    processes = WorkersConfig(kind="processes", num_workers=1)
    assert caption(tmp_path / "other", by_model(endpoint.url), processes) == [None, None]
    assert bytes_of(tmp_path / "other") == bytes_of(data_dir)
    assert endpoint.num_asked == 2 * num_asked
    assert all(row["text"] for row in rows_of(data_dir, "captions"))


def test_weeks_are_captioned_while_later_ones_are_still_being_split(source, tmp_path):
    """Answers are held back until the last week is split: with one worker, captions must not take its place."""
    views = tmp_path / "data" / "views" / f"{WEEKS[1]}.parquet"

    def held_back(_asked: object) -> None:
        assert until(views.exists)

    with Endpoint(held_back) as endpoint:
        config = dataclasses.replace(
            small_walk(source, tmp_path / "data", captions=by_model(endpoint.url), workers=THREADS), training=None
        )
        result = refresh.fn(config)
    assert result.failures == [] and result.dataset is not None
    assert {row["captioner"] for row in rows_of(tmp_path / "data", "captions")} == {"vllm"}


def test_progress_rises_to_all_views(data_dir, endpoint):
    endpoint.delay_s = 0.2
    heard = Heard()
    with listening(heard):
        caption(data_dir, by_model(endpoint.url, requests=RequestsConfig(num_in_flight=4)))
    num_views = len(rows_of(data_dir, "views"))
    assert heard.captions[-1] == (num_views, num_views)
    assert [num for num, _ in heard.captions] == sorted(num for num, _ in heard.captions)
    assert any(0 < num < num_views for num, _ in heard.captions)


def test_the_summary_of_a_run_shows_the_quality_of_its_captions(data_dir, endpoint, capsys):
    endpoint.on_question = lambda asked: says('{"shape": "The lid is square.", "function": "It covers."}')
    caption(data_dir, by_model(endpoint.url))
    folder, num_views = DataFolder(data_dir), len(rows_of(data_dir, "views"))
    reports = [state_of(folder, "captions", week)[1] for week in WEEKS]
    Console(width=100).print(quality_table(report for report in reports if report))
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"say square or rectangular │ 100.0 % │ {num_views} │ {num_views}", shown), shown
    assert re.search(r"mean length in tokens │ 10.0", shown), shown


def test_rate_and_time_left_are_told_in_words():
    assert pace_in_words(300, 1_000, 60) == ", 5.0 a second, 0:03:20 left"
    assert pace_in_words(1_500, 0, 0.5) == pace_in_words(0, 9, 60) == ""
    assert pace_in_words(5_000, 0, 2) == ", 2,500.0 a second"


def test_the_bar_shows_rate_and_time_left(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(bars_module, "STDERR", Console(file=shown, force_terminal=True, width=100))
    with bars_module.Bars() as bars:
        bars.on_captions(0, 400)
        time.sleep(1.1)
        bars.on_captions(50, 400)
        bars.on_captions(100, 400)
    line = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown.getvalue()).strip().splitlines()[-1]
    assert re.search(r"captions, \d+\.\d a second .* 100/400 0:00:0\d 0:0\d:\d\d", line), line


def test_one_week_that_cannot_be_captioned_stops_no_other(data_dir, endpoint):
    (data_dir / "views" / f"{WEEKS[0]}.parquet").write_bytes(b"garbage")
    first, second = caption(data_dir, by_model(endpoint.url))
    assert first is not None and f"views/{WEEKS[0]}.parquet" in first
    assert second is None


_SERVED = """
import sys, threading, time
from tests.patentdata.captions.vllm.endpoint import Endpoint

port, model, starts_s, answers_s, lives_s = int(sys.argv[1]), sys.argv[2], *map(float, sys.argv[3:])

class OnPort(Endpoint):
    def start(self):
        self._port = port
        super().start()

time.sleep(starts_s)
OnPort(model=model, delay_s=answers_s)
time.sleep(lives_s)
"""


def stand_in(model: str, port: int, *, starts_s: float = 0, answers_s: float = 0, lives_s: float = 600) -> list[str]:
    """Command of a server that starts, answers and dies within these times."""
    return [sys.executable, "-c", _SERVED, *map(str, (port, model, starts_s, answers_s, lives_s))]


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch) -> None:
    """The models that are named here are not on the hub, and it is not asked for their settings."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def own(monkeypatch) -> list[str]:
    """Has a stand-in take the place of vLLM where a walk starts a server of its own. Filled with the models started."""
    started: list[str] = []

    def command(model: str, _revision: str | None, port: int, _config: ServerConfig) -> list[str]:
        started.append(model)
        return stand_in(model, port)

    monkeypatch.setattr(server, "server_command", command)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return started


@pytest.fixture
def supervisors() -> Callable[[], list[psutil.Process]]:
    """Tells the servers of this process that the test itself has started; the engine of the session is none of them."""
    before = set(psutil.Process().children())

    def since() -> list[psutil.Process]:
        children = set(psutil.Process().children()) - before
        return [child for child in children if any("supervisor.py" in part for part in child.cmdline())]

    return since


def test_a_run_has_one_server_of_its_own_and_leaves_none(data_dir, own, supervisors):
    heard = Heard()
    with listening(heard):
        assert caption(data_dir, by_model(model=MODEL)) == [None, None]
    assert own == [MODEL]
    assert supervisors() == []
    assert any("is served at http://127.0.0.1:" in text for text in heard.server)
    assert (data_dir / "logs" / "vllm.log").is_file()


def test_a_run_with_nothing_to_caption_starts_no_server(data_dir, own):
    config = by_model(model=MODEL)
    caption(data_dir, config)
    before = bytes_of(data_dir)
    assert caption(data_dir, config) == [None, None]
    assert own == [MODEL]
    assert bytes_of(data_dir) == before


def test_a_server_that_does_not_start_is_the_error_of_every_week_that_needs_it(data_dir, monkeypatch):
    broken = [sys.executable, "-c", "import sys; sys.exit('OSError: no such model')"]
    monkeypatch.setattr(server, "server_command", lambda *_: broken)
    for error in caption(data_dir, by_model(model=MODEL)):
        assert error is not None
        assert f"the vLLM server for {MODEL} exited while it started (exit code 1): OSError: no such model" in error
        assert f"see {data_dir}/logs/vllm.log" in error


def test_a_week_given_up_while_its_own_server_starts_again_goes_on_when_that_is_up(data_dir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    starts: list[dict[str, float]] = []

    def command(model: str, _revision: str | None, port: int, _config: ServerConfig) -> list[str]:
        # The first dies after a few answers; the second takes longer to come up than a client waits.
        starts.append({"answers_s": 0.4, "lives_s": 4} if not starts else {"starts_s": 5})
        return stand_in(model, port, **starts[-1])

    monkeypatch.setattr(server, "server_command", command)
    impatient = RequestsConfig(num_in_flight=1, num_tries=2, max_outage_s=1, first_wait_s=0.1, longest_wait_s=0.2)
    assert caption(data_dir, by_model(model=MODEL, requests=impatient)) == [None, None]
    assert len(starts) == 2
    reasons = {row["finish_reason"] for row in rows_of(data_dir, "captions")}
    assert reasons <= {"stop", "length"}, "a view was left without its caption"


def _caption_by_stand_in(*arguments: object) -> None:
    """The command line, with a slow stand-in in the place of vLLM."""
    huggingface_hub.constants.HF_HUB_OFFLINE = True
    server.server_command = lambda model, _revision, port, _config: stand_in(model, port, answers_s=0.3)
    designclip(*arguments)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_a_command_ended_half_way_leaves_no_process_and_goes_on_where_it_was(data_dir, own, number, code):
    settings = data_dir.parent / "settings.toml"
    settings.write_text("[weeks.captions.requests]\nnum_in_flight = 1\n")
    command = ("captions", "-d", data_dir, "-c", settings, "--model", MODEL)
    log = data_dir.parent / "log"
    with started(_caption_by_stand_in, *command, log=log) as client:
        assert until(lambda: num_journaled(data_dir) >= 2), log.read_text()
        family = psutil.Process(client.pid).children(recursive=True)
        os.kill(client.pid, number)
        client.join(60)
    assert client.exitcode == code
    assert number == signal.SIGKILL or "error: stopped; run the same command again to resume" in log.read_text()
    assert len(family) >= 4, "supervisor, server, workers of weeks and of pictures"
    assert psutil.wait_procs(family, timeout=60)[1] == []
    num_kept = num_journaled(data_dir)
    assert 2 <= num_kept < len(rows_of(data_dir, "views"))
    assert not list((data_dir / "captions").glob("*.parquet"))
    heard = Heard()
    with listening(heard):
        assert caption(data_dir, by_model(model=MODEL)) == [None, None]
    assert all(num >= num_kept for num, _ in heard.captions), "it began anew"


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, even where the tests run in the background of a shell that has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_walk_broken_off_while_its_server_starts_ends_at_once(data_dir, monkeypatch, ctrl_c, supervisors):
    deaf = [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr(server, "server_command", lambda *_: deaf)

    class Impatient(Listener):
        has_lost_patience = False

        def on_server(self, text: str) -> None:
            if not self.has_lost_patience:
                self.has_lost_patience = True
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with listening(Impatient()), pytest.raises(KeyboardInterrupt):
        caption(data_dir, by_model(model=MODEL))
    assert supervisors() == []


# --- With a real model ---

BRIEF = SamplingConfig(max_tokens=32, retry_temperatures=())


@pytest.fixture
def real(caption_server, tiny_llava) -> CaptionsConfig:
    """Settings that ask the engine of the session; few requests at a time, so that there is a half way."""
    return by_model(caption_server.url, model=str(tiny_llava), sampling=BRIEF, requests=RequestsConfig(num_in_flight=4))


@pytest.fixture(scope="module")
def undisturbed(split, caption_server, tiny_llava, tmp_path_factory) -> Path:
    """Data folder captioned by the engine in one go."""
    data_dir = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(["cp", "-a", f"{split}/.", str(data_dir)], check=True)
    config = by_model(caption_server.url, model=str(tiny_llava), sampling=BRIEF)
    assert caption(data_dir, config) == [None, None]
    return data_dir


def num_answered(server: CaptionServer) -> int:
    """Requests that the engine has brought to an end, by its own count."""
    with urllib.request.urlopen(server.url.removesuffix("/v1") + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("vllm:request_success_total{"))


def num_journaled(data_dir: Path) -> int:
    paths = (journal_path(DataFolder(data_dir), week) for week in WEEKS)
    return sum(path.read_bytes().count(b"\n") for path in paths if path.exists())


def test_a_real_model_gives_every_view_a_caption_or_a_reason(undisturbed):
    captions, views = rows_of(undisturbed, "captions"), rows_of(undisturbed, "views")
    assert [(row["view_id"], row["image_sha256"]) for row in captions] == [
        (view["view_id"], view["image_sha256"]) for view in views
    ]
    for row in captions:
        assert row["text"] or row["finish_reason"] not in ("stop", None)
        assert row["finish_reason"] not in ("timeout", "server_error")
    folder = DataFolder(undisturbed)
    for week in WEEKS:
        state, report = state_of(folder, "captions", week)
        assert state == "done" and report is not None
        report.check()


def test_a_client_killed_half_way_goes_on_where_it_was(data_dir, real, undisturbed, caption_server, tiny_llava):
    settings = data_dir.parent / "settings.toml"
    settings.write_text(
        "[weeks.captions.sampling]\nmax_tokens = 32\nretry_temperatures = []\n"
        "[weeks.captions.requests]\nnum_in_flight = 2\n"
    )
    command = ("captions", "-d", data_dir, "-c", settings, "--endpoint", caption_server.url, "--model", tiny_llava)
    num_views = len(rows_of(data_dir, "views"))
    with started(designclip, *command, log=data_dir.parent / "log") as client:
        assert until(lambda: num_journaled(data_dir) >= num_views // 4)
        workers = psutil.Process(client.pid).children(recursive=True)
        client.kill()
        client.join()
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    assert not all((data_dir / "captions" / f"{week}.parquet").exists() for week in WEEKS), "it was done already"
    assert until(lambda: is_idle(caption_server))
    before = num_answered(caption_server)
    assert caption(data_dir, real) == [None, None]
    assert 0 < num_answered(caption_server) - before <= num_views - num_views // 4
    assert bytes_of(data_dir) == bytes_of(undisturbed)


def is_idle(server: CaptionServer) -> bool:
    with urllib.request.urlopen(server.url.removesuffix("/v1") + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return not sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_running{"))


def test_with_two_endpoints_of_which_one_fails_every_view_is_answered(data_dir, real, undisturbed):
    with Endpoint(model=real.model) as failing:
        failing.stop()  # its port refuses from now on
        config = dataclasses.replace(real, endpoints=(failing.url, *real.endpoints))
        assert caption(data_dir, config) == [None, None]
    assert bytes_of(data_dir) == bytes_of(undisturbed)


def engines_of(server: CaptionServer) -> set[str]:
    """Numbers of the engine processes of all starts so far, as the log names them."""
    return set(re.findall(r"EngineCore pid=(\d+)", server.log_path.read_text(errors="replace")))


def test_a_server_killed_half_way_comes_back_and_nothing_is_lost(data_dir, real, undisturbed, caption_server):
    num_views, before = len(rows_of(data_dir, "views")), engines_of(caption_server)
    killed = threading.Event()

    def kill_half_way() -> None:
        if until(lambda: num_journaled(data_dir) >= num_views // 4):
            caption_server.answering_process().kill()
            killed.set()

    killer = threading.Thread(target=kill_half_way)
    killer.start()
    assert caption(data_dir, real) == [None, None]
    killer.join()
    assert killed.is_set() and len(engines_of(caption_server) - before) == 1
    assert bytes_of(data_dir) == bytes_of(undisturbed)
