"""The deployments on a real server, with real workers: the schedule's run, and the retraining that follows from it.

The data folder is on a real S3 server, so what one deployment announces is an address that the other can read anywhere.
"""

import contextlib
import http.server
import json
import signal
import subprocess
import threading
from typing import Any

import psutil
import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock

from flows.commands import notifications
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import read_provenance
from tests.flows.prefect_site import Site, deployed
from tests.flows.walks import BRIEF_TRAINING

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_GRACE_S = 30  # a worker that has not ended by then is killed, as Docker and systemd do
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


_DATA_DIR = "s3://deployments/data"


def _shorten(values: dict[str, Any]) -> None:
    """Four steps of training instead of a run's, one task measured, the addresses of the data; no other change."""
    training = BRIEF_TRAINING.to_dict()
    evaluation = {"tasks": ["retrieval"], "untrained": False, "num_resamples": 20, "device": "cpu"}
    split = {"test_share": 0.34, "validation_share": 0.1}
    for deployment in values["deployments"]:
        config = deployment["parameters"]["config"]
        if deployment["name"] == "weekly":
            config["weeks"] |= {"source": "archives", "data_dir": _DATA_DIR}
            config["dataset"] = {"split": split}
        for trigger in deployment.get("triggers", []):
            trigger["parameters"]["config"] |= {"training": training, "evaluation": evaluation}


@pytest.fixture(scope="module")
def data(s3_server) -> DataFolder:
    """The data folder of the deployments."""
    folder = DataFolder(_DATA_DIR)
    folder.fs.mkdir("deployments")
    return folder


@pytest.fixture(scope="module")
def site(prefect_server, data, drawn_weeks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "archives").symlink_to(drawn_weeks)
    with deployed(prefect_server, folder, _shorten) as site:
        yield site


def _finished(site: Site, deployment: str, run_id: str | None = None) -> dict[str, Any] | None:
    """A run that has ended, any or the one with this identifier; None if it has not yet, an error if it failed."""
    for run in site.runs(deployment):
        if run_id in (None, run["id"]) and run["state_type"] in _ENDED:
            assert run["state_type"] == "COMPLETED", f"{deployment}: {run['state']}\n{site.logs()}"
            return run
    return None


@pytest.fixture(scope="module")
def weekly_run(site) -> dict[str, Any]:
    """The schedule's own run, with the parameters of the deployment, now instead of on its day."""
    planned = site.wait_for(
        "a planned run",
        lambda: [run for run in site.runs("refresh/weekly") if run["state_type"] == "SCHEDULED"] or None,
    )
    following = min(planned, key=lambda run: run["expected_start_time"])
    site.post(f"/flow_runs/{following['id']}/set_state", state={"type": "SCHEDULED", "name": "Scheduled"}, force=True)
    return site.wait_for("the weekly run", lambda: _finished(site, "refresh/weekly", following["id"]))


def test_every_deployment_is_on_the_server_with_its_pool(site):
    deployed = {(deployment["name"], deployment["work_pool_name"]) for deployment in site.post("/deployments/filter")}
    assert deployed == {("weekly", "cpu"), ("impact", "cpu"), ("on-new-data", "gpu"), ("any", "gpu")}


def test_the_schedules_run_walks_the_weeks_and_freezes_a_dataset(data, weekly_run):
    assert weekly_run["auto_scheduled"]
    assert data.names("captions") == ["I20240102.parquet", "I20240109.parquet"]
    assert all(read_provenance(data, data.path("captions", name)) for name in data.names("captions"))
    assert data.exists(data.path("datasets", "designs", "dataset.json"))


def test_a_new_dataset_on_s3_is_announced_and_the_retraining_comes_by_itself(site, data, weekly_run):
    run = site.wait_for("the retraining", lambda: _finished(site, "retrain/on-new-data"))
    assert run["created_by"]["type"] == "AUTOMATION"
    assert run["parameters"]["config"] | {"data_dir": _DATA_DIR, "dataset": "designs"} == run["parameters"]["config"]
    (name,) = (name for name in data.names("runs") if data.exists(data.path("runs", name, "evaluation.json")))
    assert data.exists(data.path("runs", name, "training.json"))
    (event,) = _announcements(site)
    assert event["payload"]["counts"]["views"] > 0


def _announcements(site: Site) -> list[dict[str, Any]]:
    """Events that a dataset of the site is new; other tests use the same server."""
    events = site.post("/events/filter", filter={"event": {"name": ["designclip.dataset.published"]}})["events"]
    return [event for event in events if event["payload"]["data_dir"] == _DATA_DIR]


def test_the_runs_leave_their_tables_and_reports_as_artifacts(site, weekly_run):
    site.wait_for("the retraining", lambda: _finished(site, "retrain/on-new-data"))
    assert {"weeks", "evaluation"} <= {artifact["key"] for artifact in site.post("/artifacts/filter")}


def test_runs_whose_worker_is_killed_or_stopped_are_made_good_by_the_next_which_announces_nothing(
    site, data, weekly_run
):
    site.wait_for("the retraining", lambda: _finished(site, "retrain/on-new-data"))
    lost = data.path("views", "I20240102.parquet")
    before = data.fs.cat_file(lost)
    data.fs.rm_file(lost)
    for how in (signal.SIGKILL, signal.SIGTERM):
        run = site.run("refresh/weekly")
        site.wait_for("a run in progress", lambda run=run: _is_in_progress(site, run) or None)
        worker = site.programs["worker-cpu"]
        children = psutil.Process(worker.pid).children(recursive=True)
        if how == signal.SIGKILL:
            _process_of_the_run(worker).kill()
        worker.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(_GRACE_S)
        worker.kill()
        worker.wait()
        site.wait_for("the end of all processes of the run", lambda children=children: _are_gone(children) or None)
        # A run whose worker is gone stays "running" until an operator marks it, and holds the deployment's only slot.
        state = {"type": "CRASHED", "name": "Crashed"}
        site.post(f"/flow_runs/{run['id']}/set_state", state=state, force=True)
        site.start_worker("cpu")
    run = site.run("refresh/weekly")
    site.wait_for("a run after them", lambda: _finished(site, "refresh/weekly", run["id"]))
    assert data.fs.cat_file(lost) == before
    assert len(_announcements(site)) == 1 and len(site.runs("retrain/on-new-data")) == 1


def _process_of_the_run(worker: subprocess.Popen[bytes]) -> psutil.Process:
    (process,) = (one for one in psutil.Process(worker.pid).children() if "prefect.engine" in one.cmdline())
    return process


def _is_in_progress(site: Site, run: dict[str, Any]) -> bool:
    """Whether a run has started its own workers, which then are at the lost week."""
    if site.get(f"/flow_runs/{run['id']}")["state_type"] != "RUNNING":
        return False
    process = _process_of_the_run(site.programs["worker-cpu"])
    return any("spawn_main" in " ".join(child.cmdline()) for child in process.children())


def _are_gone(processes: list[psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


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


def test_a_failed_run_is_reported_through_the_notification_block(site, webhook):
    url, messages = webhook
    content = {"subject": "{{subject}}", "body": "{{body}}"}
    CustomWebhookNotificationBlock(name="alerts", url=url, json_data=content).save("alerts")
    known = len(site.post("/automations/filter"))
    for _ in range(2):  # again: they are brought up to date, and stay two
        assert notifications.main(["custom-webhook/alerts"]) == 0
    assert len(site.post("/automations/filter")) == known + 2
    site.run("evaluate/any", config={"data_dir": "data", "model": "no", "run_name": "x"})
    message = site.wait_for("a message", lambda: messages[0] if messages else None)
    assert message["subject"].startswith("evaluate") and "Failed" in message["subject"]


def test_a_notification_block_that_is_not_there_is_an_error_that_says_what_to_do(prefect_server, capsys):
    assert notifications.main(["slack-webhook/none"]) == 2
    assert "has no block 'slack-webhook/none'; save one first" in capsys.readouterr().err
