"""The deployments on a real server, with real workers: the schedule's run, and the retraining that follows from it."""

import http.server
import json
import signal
import subprocess
import sys
import threading
from typing import Any

import psutil
import pytest

from patentdata.store.folder import DataFolder
from patentdata.store.parquet import read_provenance
from tests.flows.prefect_site import Site, prefect_site
from tests.flows.walks import BRIEF_TRAINING, draw_archives

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def _shorten(values: dict[str, Any]) -> None:
    """Four steps of training instead of a run's, and no other change."""
    training = BRIEF_TRAINING.to_dict()
    split = {"test_share": 0.34, "validation_share": 0.1}
    for deployment in values["deployments"]:
        config = deployment["parameters"]["config"]
        if deployment["name"] == "weekly":
            config["weeks"]["source"] = "archives"
            config["dataset"] = {"split": split}
        for trigger in deployment.get("triggers", []):
            trigger["parameters"]["config"]["training"] = training


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    draw_archives(folder / "archives", num_patents=4)
    with prefect_site(folder, _shorten) as site:
        yield site


def _finished(site: Site, deployment: str, *, but: frozenset[str] = frozenset()) -> dict[str, Any] | None:
    for run in site.runs(deployment):
        if run["id"] not in but and run["state_type"] in _ENDED:
            assert run["state_type"] == "COMPLETED", f"{deployment}: {run['state']}\n{site.logs()}"
            return run
    return None


def _bring_forward(site: Site) -> None:
    """Have the next run that the schedule planned start now instead of on its day."""
    planned = site.wait_for(
        "a planned run",
        lambda: [run for run in site.runs("refresh/weekly") if run["state_type"] == "SCHEDULED"] or None,
    )
    following = min(planned, key=lambda run: run["expected_start_time"])
    site.post(f"/flow_runs/{following['id']}/set_state", state={"type": "SCHEDULED", "name": "Scheduled"}, force=True)


@pytest.fixture(scope="module")
def weekly_run(site) -> dict[str, Any]:
    """The schedule's own run, with the parameters of the deployment."""
    _bring_forward(site)
    return site.wait_for("the weekly run", lambda: _finished(site, "refresh/weekly"))


def test_every_deployment_is_on_the_server_with_its_pool(site):
    deployed = {(deployment["name"], deployment["work_pool_name"]) for deployment in site.post("/deployments/filter")}
    assert deployed == {("weekly", "cpu"), ("impact", "cpu"), ("on-new-data", "gpu"), ("any", "gpu")}


def test_the_schedules_run_walks_the_weeks_and_freezes_a_dataset(site, weekly_run):
    assert weekly_run["auto_scheduled"]
    folder = DataFolder(site.folder / "data")
    assert folder.names("captions") == ["I20240102.parquet", "I20240109.parquet"]
    assert all(read_provenance(folder, folder.path("captions", name)) for name in folder.names("captions"))
    assert (site.folder / "data" / "datasets" / "designs" / "dataset.json").is_file()


def test_a_new_dataset_is_announced_and_the_retraining_comes_by_itself(site, weekly_run):
    run = site.wait_for("the retraining", lambda: _finished(site, "retrain/on-new-data"))
    assert run["created_by"]["type"] == "AUTOMATION"
    assert run["parameters"]["config"]["dataset"] == "designs"
    assert list((site.folder / "data" / "runs").glob("*/evaluation.json"))
    events = site.post("/events/filter", filter={"event": {"name": ["designclip.dataset.published"]}})["events"]
    assert len(events) == 1 and events[0]["payload"]["counts"]["views"] > 0


def test_a_run_that_finds_nothing_new_announces_nothing(site, weekly_run):
    site.wait_for("the retraining", lambda: _finished(site, "retrain/on-new-data"))
    _bring_forward(site)
    site.wait_for("a second run", lambda: _finished(site, "refresh/weekly", but=frozenset([weekly_run["id"]])))
    events = site.post("/events/filter", filter={"event": {"name": ["designclip.dataset.published"]}})["events"]
    assert len(events) == 1
    assert len(site.runs("retrain/on-new-data")) == 1


def test_the_runs_leave_their_tables_and_reports_as_artifacts(site, weekly_run):
    site.wait_for("the retraining", lambda: _finished(site, "retrain/on-new-data"))
    assert {"weeks", "evaluation"} <= {artifact["key"] for artifact in site.post("/artifacts/filter")}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to stop"])
def test_a_worker_ended_in_the_middle_is_made_good_by_the_next_run(site, weekly_run, how):
    damaged = site.folder / "data" / "views" / "I20240102.parquet"
    before = damaged.read_bytes()
    damaged.unlink()
    but = frozenset(run["id"] for run in site.runs("refresh/weekly") if run["state_type"] in _ENDED)
    _bring_forward(site)
    site.wait_for("a run under way", lambda: _running(site))
    crashed = _running(site)
    worker = site.programs["worker-cpu"]
    children = psutil.Process(worker.pid).children(recursive=True)
    for process in children if how == signal.SIGKILL else []:
        process.kill()
    worker.send_signal(how)
    worker.wait(120)
    psutil.wait_procs(children, timeout=120)
    if _running(site):
        # A run whose worker is gone stays "running" until somebody says otherwise, and holds the only place there is.
        state = {"type": "CRASHED", "name": "Crashed"}
        site.post(f"/flow_runs/{crashed['id']}/set_state", state=state, force=True)
    site.start("worker-cpu", "worker", "start", "--pool", "cpu")
    _bring_forward(site)
    site.wait_for("a run after it", lambda: _finished(site, "refresh/weekly", but=but | {crashed["id"]}))
    assert damaged.read_bytes() == before


def _running(site: Site) -> dict[str, Any] | None:
    return next((run for run in site.runs("refresh/weekly") if run["state_type"] == "RUNNING"), None)


@pytest.fixture
def webhook():
    """Address of a loopback server, and the messages it has been sent."""
    messages: list[dict[str, Any]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", messages
        server.shutdown()


_NO_SUCH_MODEL = 'config={"data_dir": "data", "model": "no", "run_name": "x"}'
_SAVE_BLOCK = """
import sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock
told = {"subject": "{{subject}}", "body": "{{body}}"}
CustomWebhookNotificationBlock(name="alerts", url=sys.argv[1], json_data=told).save("alerts")
"""


def test_a_failed_run_is_told_through_the_notification_block(site, webhook):
    url, messages = webhook
    for command in (["-c", _SAVE_BLOCK, url], *([["-m", "flows.commands.notifications", "custom-webhook/alerts"]] * 2)):
        subprocess.run([sys.executable, *command], cwd=site.folder, env=site.environment, check=True)
    assert len(site.post("/automations/filter")) == 3  # these two, and the trigger of the retraining
    site.prefect("deployment", "run", "evaluate/any", "--param", _NO_SUCH_MODEL)
    message = site.wait_for("a message", lambda: messages[0] if messages else None)
    assert message["subject"].startswith("evaluate") and "Failed" in message["subject"]


def test_notification_through_a_block_that_is_not_there_says_what_to_do(site):
    told = subprocess.run(
        [sys.executable, "-m", "flows.commands.notifications", "slack-webhook/none"],
        cwd=site.folder,
        env=site.environment,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 2 and "has no block 'slack-webhook/none'; save one first" in told.stderr
