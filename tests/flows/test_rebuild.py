"""Rebuild: a plan before anything, weeks side by side, stopped and continued at will, and an account at the end."""

import datetime
import json
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from flows.outcomes import WeeksFailedError
from flows.preflight.rates import Stopwatch, read_speed, write_speed
from flows.preflight.rebuild_plan import plan_rebuild
from flows.rebuild import RebuildConfig, rebuild
from flows.weeks import WeeksConfig
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.portal_limits import LimitsConfig
from patentdata.errors import ConfigError, ReconciliationError, SourceError
from patentdata.rebuild import account
from patentdata.rebuild.account import reconcile
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import read_report
from patentdata.store.report import Report
from patentdata.store.weeks import missing_weeks
from tasks.running.progress import Listener, listening
from tasks.running.runners import WorkersConfig
from tests.flows import programs
from tests.flows.test_cli import run
from tests.flows.walks import WEEKS, hashes, times
from tests.patentdata.archives.portal_server import KEY, PortalServer, portal_of

TODAY = datetime.date(2026, 11, 21)
THREADS = WorkersConfig(kind="threads", num_workers=2)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(drawn_weeks) -> Path:
    return drawn_weeks


def config(source: Path, data_dir: Path, **settings: object) -> RebuildConfig:
    weeks = WeeksConfig(data_dir=str(data_dir), source=str(source), years=(2024,), workers=THREADS)
    return RebuildConfig(weeks=weeks, **({"layout": "impact"} | settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def rebuilt(source, tmp_path_factory):
    """Data folder and result of an undisturbed rebuild with IMPACT's layout; not to be written to."""
    data_dir = tmp_path_factory.mktemp("rebuilt") / "data"
    return data_dir, rebuild.fn(config(source, data_dir))


@pytest.fixture
def designclip(monkeypatch, capfd):
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


def arguments(source: Path, data_dir: Path, *more: object, runner: str = "threads") -> tuple[object, ...]:
    return "rebuild", "--years", "2024", "-s", source, "-d", data_dir, "--runner", runner, *more


# --- The plan ---------------------------------------------------------------------------------------------------------


def plan(source: Path | str | None, data_dir: Path, **options: object):
    """A plan of 2024; options are those of `plan_rebuild` or else settings of the weeks."""
    ours = {name: options.pop(name) for name in ("layout", "bytes_per_s") if name in options}
    weeks = {"source": source and str(source), "years": (2024,), "workers": THREADS} | options
    return plan_rebuild(WeeksConfig(data_dir=str(data_dir), **weeks), today=TODAY, **ours)  # type: ignore[arg-type]


def test_a_plan_counts_weeks_bytes_hours_and_disk_and_writes_nothing(source, tmp_path):
    planned = plan(source, tmp_path / "data")
    assert (planned.num_weeks, planned.num_done, planned.num_to_do) == (2, 0, 2)
    assert planned.archive_bytes == sum(path.stat().st_size for path in source.iterdir() if path.suffix != ".jsonl")
    assert 0 < planned.move_bytes < planned.archive_bytes
    assert planned.hours > 0 and planned.disk_bytes >= planned.move_bytes and planned.free_bytes > 0
    assert len(planned.missing) == 51 and "I20240116" in planned.missing
    assert all(rate.provenance for rate in planned.rates)
    assert not (tmp_path / "data").exists()


def test_a_plan_names_what_the_source_cannot_give(designclip, tmp_path):
    (tmp_path / "I20240102.tar").write_bytes(b"x")
    (tmp_path / "I20240116.tar.gz").write_bytes(b"x")
    code, out, _ = designclip(*arguments(tmp_path, tmp_path / "data", "--plan", "--json"))
    assert code == 0
    assert json.loads(out)["problems"] == [
        "I20240116 is there only as I20240116.tar.gz, which is not read; unpack it to I20240116.tar"
    ]
    _, _, err = designclip(*arguments(tmp_path, tmp_path / "data", "--plan"))
    assert "Not offered: I20240116 is there only as" in " ".join(err.split())


def test_a_plan_counts_what_is_done_and_asks_for_no_more_of_it(source, rebuilt):
    planned = plan(source, rebuilt[0])
    assert (planned.num_done, planned.num_to_do, planned.archive_bytes, planned.hours) == (2, 0, 0, 0)


def test_a_plan_says_that_a_layout_takes_room(source, tmp_path):
    plain, with_layout = plan(source, tmp_path), plan(source, tmp_path, layout=True)
    assert with_layout.disk_bytes == plain.disk_bytes + plain.move_bytes


def test_a_given_speed_of_arrival_is_reckoned_with(source, tmp_path):
    slow, fast = (plan(source, tmp_path, bytes_per_s=speed) for speed in (1e3, 1e6))
    assert slow.move_hours == pytest.approx(1000 * fast.move_hours)
    assert "given" in {rate.provenance for rate in slow.rates}


def test_a_folder_is_read_whole_and_the_portal_gives_so_many_files_in_its_time(source, tmp_path, monkeypatch):
    of_folder = plan(source, tmp_path, bytes_per_s=1e6)
    assert of_folder.move_hours == pytest.approx(of_folder.archive_bytes / 1e6 / 3600)
    monkeypatch.setenv("ODP_API_KEY", KEY)
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    with PortalServer(
        {path.name: path.read_bytes() for path in source.iterdir() if "truth" not in path.name}
    ) as server:
        portal = portal_of(server, LimitsConfig(files_at_once=2, files_window_s=7200.0, call_interval_s=0.0))
        slow, fast = (plan("portal", tmp_path, bytes_per_s=speed, portal=portal) for speed in (1.0, 1e9))
        whole = plan("portal", tmp_path, bytes_per_s=1.0, portal=portal, archives=ArchivesConfig(whole=True))
    assert fast.move_hours == 2.0
    assert slow.move_hours == pytest.approx(slow.move_bytes / 3600)
    assert whole.move_hours == pytest.approx(whole.archive_bytes / 3600)


def test_more_workers_take_fewer_hours(source, tmp_path):
    one, four = (plan(source, tmp_path, workers=WorkersConfig(num_workers=num)) for num in (1, 4))
    assert one.work_hours == pytest.approx(4 * four.work_hours)


def test_a_plan_of_years_without_weeks_is_refused(source, tmp_path):
    with pytest.raises(SourceError, match="no week of 2019–2019"):
        plan(source, tmp_path, years=(2019,))


def test_the_speed_of_a_run_that_walked_enough_is_reckoned_with_later(source, tmp_path):
    folder, moments = DataFolder(tmp_path), iter([0.0, 50.0, 100.0])
    watch = Stopwatch([WEEKS[1]], lambda: next(moments))
    report = Report("views", WEEKS[0])
    report.tally("sheets").num_out = 5000
    watch.on_weeks(list(WEEKS), 2)
    watch.on_stage(WEEKS[0], "views", report)
    watch.on_stage(WEEKS[1], "views", report)  # done before the run: says nothing of its speed
    write_speed(folder, watch, 2, TODAY)
    speed = read_speed(folder)
    assert speed is not None and speed.value == 5000 / 100 / 2
    assert "measured here on 2026-11-21: 5,000 sheets" in speed.provenance
    assert speed in plan(source, tmp_path).rates


def test_the_speed_of_a_few_sheets_is_not_noted(tmp_path):
    watch = Stopwatch([], time.monotonic)
    write_speed(DataFolder(tmp_path), watch, 2, TODAY)
    assert read_speed(DataFolder(tmp_path)) is None


def test_a_stopwatch_passes_on_what_it_hears():
    heard = []

    class Ear(Listener):
        def on_weeks(self, weeks, num_steps):
            heard.append(weeks)

        def on_dataset(self, name):
            heard.append(name)

    with listening(Ear()):
        watch = Stopwatch([], time.monotonic)
    watch.on_weeks(["I20240102"], 4)
    watch.on_dataset("designs")
    assert heard == [["I20240102"], "designs"]


# --- The command ------------------------------------------------------------------------------------------------------


def test_without_a_terminal_and_without_yes_nothing_is_begun(designclip, source, tmp_path):
    code, out, err = designclip(*arguments(source, tmp_path / "data"))
    assert (code, out) == (2, "") and "Nothing was begun: add --yes" in err and "Rebuild of 2024" in err
    assert not (tmp_path / "data").exists()


def test_a_plan_alone_ends_well(designclip, source, tmp_path):
    code, out, _ = designclip(*arguments(source, tmp_path / "data", "--plan", "--json"))
    assert code == 0 and json.loads(out)["num_to_do"] == 2
    assert not (tmp_path / "data").exists()


def test_with_yes_it_is_done_and_the_account_is_told(designclip, source, tmp_path, rebuilt):
    code, out, _ = designclip(*arguments(source, tmp_path / "data", "--yes", "--layout", "impact", "--json"))
    told = json.loads(out)
    assert code == 0 and told["account"]["total"]["num_patents"] == 8
    assert told["layout_dir"] == f"{tmp_path}/data-impact"
    assert hashes(tmp_path / "data") == hashes(rebuilt[0])
    assert hashes(tmp_path / "data-impact") == hashes(Path(rebuilt[1].layout_dir))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--layout", "imapct"), "'imapct' is not a layout; write --layout impact"),
        (("--years", ""), "no years to rebuild; name them"),
        (("--years", "20x4"), "'20x4' names no years"),
        (("--years", "2019", "--yes"), "no week of 2019"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(designclip, source, tmp_path, more, sentence):
    code, out, err = designclip(*arguments(source, tmp_path / "data"), *more)
    assert code in (1, 2) and out == "" and sentence in err and not (tmp_path / "data").exists()


def test_a_layout_of_a_data_folder_elsewhere_must_be_told_its_place():
    with pytest.raises(ConfigError, match="is not on this machine; name a --layout-dir"):
        RebuildConfig(weeks=WeeksConfig(data_dir="memory://data", years=(2024,)), layout="impact")


# --- The account ------------------------------------------------------------------------------------------------------


def test_the_account_adds_up_every_week_and_names_the_missing_ones(rebuilt):
    data_dir, result = rebuilt
    total = result.account.total
    rows = {
        stage: sum(pq.read_metadata(data_dir / stage / f"{week}.parquet").num_rows for week in WEEKS)
        for stage in ("grants", "views", "captions")
    }
    assert (total.num_weeks, total.num_patents) == (2, rows["grants"])
    assert (total.num_views, total.num_captions) == (rows["views"], rows["captions"])
    assert total.num_declared == total.num_figures > 0 and not total.drops
    assert len(result.account.missing) == 51
    told = json.loads((data_dir / "rebuild.json").read_text())
    assert told["total"]["num_views"] == rows["views"] and told["years"][0]["year"] == 2024
    assert "51 Tuesdays without an archive" in (data_dir / "rebuild.html").read_text()


def test_a_second_rebuild_changes_nothing(source, rebuilt):
    data_dir, _ = rebuilt
    before, moments = hashes(data_dir), times(data_dir)
    rebuild.fn(config(source, data_dir))
    assert hashes(data_dir) == before
    changed = {path for path, moment in times(data_dir).items() if moments[path] != moment}
    assert changed == {"rebuild.json", "rebuild.html"}


def test_an_output_that_is_no_input_of_the_next_stage_is_a_bug(rebuilt, monkeypatch):
    def lose_one(folder, path):
        report = read_report(folder, path)
        if report.stage == "captions":
            report.tally("views").num_in -= 1
        return report

    monkeypatch.setattr(account, "read_report", lose_one)
    with pytest.raises(ReconciliationError, match=r"I20240102: \d+ views went out, but \d+ came into captions"):
        reconcile(DataFolder(rebuilt[0]), WEEKS, years=[2024], today=TODAY)


def test_every_tuesday_up_to_today_should_have_an_archive():
    assert len(missing_weeks([2021], [], TODAY)) == 52
    assert len(missing_weeks([2024], [], TODAY)) == 53
    assert missing_weeks([2026], [], datetime.date(2026, 1, 13)) == ["I20260106", "I20260113"]
    assert missing_weeks([2027], [], TODAY) == []


def test_a_week_that_fails_stops_no_other_and_stands_in_the_account(source, tmp_path):
    here, data_dir = tmp_path / "source", tmp_path / "data"
    here.mkdir()
    for path in source.iterdir():
        (here / path.name).symlink_to(path)
    (here / "I20240116.tar").write_text("<html>Sign in</html>")
    with pytest.raises(WeeksFailedError, match="1 of 3 weeks failed"):
        rebuild.fn(config(here, data_dir))
    told = json.loads((data_dir / "rebuild.json").read_text())
    assert "web page" in told["failed"]["I20240116"] and "I20240116" not in told["missing"]
    assert told["total"]["num_weeks"] == 2
    assert (tmp_path / "data-impact" / "2024.csv").is_file()


def test_compare_tells_differences_from_a_table_and_writes_a_page(designclip, rebuilt, tmp_path):
    data_dir, result = rebuilt
    theirs = tmp_path / "2024.csv"
    text = (Path(result.layout_dir) / "2024.csv").read_text()
    theirs.write_text(text.replace("D0900002,", "D0999999,", 1))
    code, out, _ = designclip("compare", theirs, "-d", data_dir, "--out", tmp_path / "page.html", "--json")
    told = json.loads(out)
    assert code == 0 and {column["equal"] for column in told["columns"].values()} == {7}
    assert "D0999999" in (tmp_path / "page.html").read_text()
    code, out, _ = designclip("compare", theirs, "-d", data_dir)
    assert code == 0 and "8 rows of IMPACT, 8 patents here, 7 in both" in " ".join(out.split())
    theirs.write_text("no table")
    code, _, err = designclip("compare", theirs, "-d", data_dir)
    assert code == 2 and "is not a table of IMPACT" in err


# --- Stopped and continued --------------------------------------------------------------------------------------------

# Files whose appearance says how far it has come.
_POINTS = {
    "in the archives": "data/archives/I20240102.json",
    "in the views": "data/grants/I20240102.parquet",
    "in IMPACT's layout": "data-impact/2024",
}


# Every signal and every kind of worker; test_refresh.py kills the walk in threads.
_STOPS = [
    ("in the archives", signal.SIGTERM, "processes"),
    ("in the archives", signal.SIGINT, "threads"),
    ("in the views", signal.SIGINT, "processes"),
    ("in the views", signal.SIGTERM, "threads"),
    ("in IMPACT's layout", signal.SIGTERM, "threads"),
    ("in IMPACT's layout", signal.SIGKILL, "processes"),
]


@pytest.mark.parametrize(("point", "how", "runner"), _STOPS)
def test_stopped_anywhere_and_run_again_the_bytes_are_the_same(source, rebuilt, tmp_path, point, how, runner):
    data_dir, log = tmp_path / "data", tmp_path / "log"
    command = arguments(source, data_dir, "--workers", 2, "--layout", "impact", "--yes", runner=runner)
    while (exit_code := _stopped_at(tmp_path / _POINTS[point], how, command, log)) == 0:
        for folder in (data_dir, tmp_path / "data-impact"):
            shutil.rmtree(folder)
    if how == signal.SIGKILL:
        assert exit_code == -signal.SIGKILL
    else:
        shown = log.read_text()
        assert exit_code == 128 + how and shown.endswith("stopped; run the same command again to resume\n")
        assert "Traceback" not in shown
    rebuild.fn(config(source, data_dir))
    assert hashes(data_dir) == hashes(rebuilt[0])
    assert hashes(tmp_path / "data-impact") == hashes(Path(rebuilt[1].layout_dir))


def _stopped_at(point: Path, how: signal.Signals, command: tuple[object, ...], log: Path) -> int | None:
    """Run a command and signal it as soon as a file appears; its exit code, 0 if it was over before anyone looked."""
    with programs.started(programs.designclip, *command, log=log) as process:
        while process.is_alive() and not point.exists():
            time.sleep(0.002)
        workers = psutil.Process(process.pid).children() if process.is_alive() else []
        if process.is_alive():
            os.kill(process.pid, how)
        process.join()
        while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
            time.sleep(0.01)  # the suite's time limit ends a worker that never ends
        return process.exitcode
