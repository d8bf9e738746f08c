"""The decisions of a walk in Prefect's run log."""

import dataclasses
import logging

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from flows.refresh import refresh
from tasks.running.run_log import PACKAGES, RunLogHandler, log_to_runs
from tests.flows.walks import draw_archives, small_walk


def _messages(run_id) -> list[str]:
    RunLogHandler().flush()
    with get_client(sync_client=True) as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id])), limit=200)
    return [log.message for log in logs]


def test_a_run_can_be_followed_week_by_week_in_its_log(prefect_server, tmp_path):
    walk = small_walk(draw_archives(tmp_path / "source", num_patents=2), tmp_path / "data")
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}):
        state = refresh(dataclasses.replace(walk, training=None), return_state=True)
        logged = _messages(state.state_details.flow_run_id)
    assert any(message.startswith("2 weeks to walk: 2 offered by") for message in logged)
    assert "I20240102 grants: 2 of 2 grants" in logged


def test_what_is_logged_outside_of_a_run_is_sent_nowhere(monkeypatch):
    sent = []
    monkeypatch.setattr(RunLogHandler, "emit", lambda _self, record: sent.append(record))
    log_to_runs()
    logging.getLogger("patentdata.archives").info("fetched")
    assert sent == []


def test_each_package_has_one_handler_however_often_the_log_is_bridged():
    log_to_runs()
    log_to_runs()
    for package in PACKAGES:
        assert sum(isinstance(handler, RunLogHandler) for handler in logging.getLogger(package).handlers) == 1
