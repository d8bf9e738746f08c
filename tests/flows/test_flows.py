"""The four flows under Prefect, and what prefect.yaml says of them."""

import dataclasses
import importlib
import inspect
import re
import shutil
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from flows.commands.settings import build
from flows.evaluate import EvaluateConfig, evaluate
from flows.outcomes import WeeksFailedError
from flows.rebuild import RebuildConfig, rebuild
from flows.refresh import refresh
from flows.retrain import RetrainConfig, retrain
from patentdata.captions.config import CaptionsConfig, RequestsConfig
from patentdata.errors import ConfigError
from tests.flows.walks import BRIEF_TRAINING, WEEKS, hashes, small_walk
from tests.patentdata.captions.vllm.endpoint import Endpoint


@pytest.fixture(scope="module")
def source(drawn_weeks) -> Path:
    return drawn_weeks


@pytest.fixture(scope="module")
def flow_run(source, tmp_path_factory, prefect_server) -> tuple[Path, UUID]:
    """Data folder of a refresh that ran as a Prefect flow, and the flow run's identifier."""
    data_dir = tmp_path_factory.mktemp("flow")
    state = refresh(small_walk(source, data_dir), return_state=True)
    assert state.is_completed(), state.message
    return data_dir, state.state_details.flow_run_id


@pytest.fixture(scope="module")
def as_flow(flow_run) -> Path:
    return flow_run[0]


def test_a_flow_and_a_plain_call_give_the_same_bytes(as_flow, walked):
    assert hashes(as_flow) == hashes(walked[0])


def test_a_flow_run_leaves_one_task_run_a_week_and_stage_and_its_tables(flow_run):
    data_dir, flow_run_id = flow_run
    of_the_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))  # the server is the session's
    with get_client(sync_client=True) as client:
        names = sorted(run.name for run in client.read_task_runs(flow_run_filter=of_the_run))
        artifacts = {artifact.key for artifact in client.read_artifacts(flow_run_filter=of_the_run)}
    weeks = [path.stem for path in (data_dir / "archives").glob("*.tar")]
    stages = ("archives", "captions", "grants", "views", "dataset")
    weekly = [f"{stage} {week}" for stage in stages for week in weeks]
    once = ["dataset designs planned", "dataset designs", "training designs", "evaluation designs"]
    assert names == sorted([*weekly, *once])
    assert {"weeks", "evaluation"} <= artifacts


def test_a_flow_run_shows_how_far_captions_are_and_how_fast(walked, tmp_path, prefect_server):
    data_dir = tmp_path / "data"
    shutil.copytree(walked[0], data_dir, ignore=shutil.ignore_patterns("captions", "datasets", "runs"))
    with Endpoint(delay_s=0.05) as endpoint:  # one question at a time takes long enough for a rate
        captions = CaptionsConfig(captioner="vllm", endpoints=(endpoint.url,), requests=RequestsConfig(num_in_flight=1))
        config = small_walk(None, data_dir, captions=captions)
        state = refresh(dataclasses.replace(config, training=None), return_state=True)
    of_the_run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        (shown,) = (one for one in client.read_artifacts(flow_run_filter=of_the_run) if one.key == "captions")
        names = {run.name for run in client.read_task_runs(flow_run_filter=of_the_run)}
    num_views = sum(outcome.reports["captions"].tally("views").num_in for outcome in walked[1].weeks)
    assert (shown.type, shown.data) == ("progress", 100.0)
    assert re.fullmatch(rf"Captions: {num_views} of {num_views} views, [\d.]+ a second", shown.description)
    assert {f"captions {week}" for week in WEEKS} <= names


def test_rebuild_walks_the_years_it_is_told(source, tmp_path, prefect_server):
    result = rebuild(RebuildConfig(weeks=small_walk(source, tmp_path, years=(2024,)).weeks))
    assert len(result.weeks) == 2 and result.training is None
    assert result.account.total.num_patents == 8


def test_rebuild_without_years_says_what_to_name(source, tmp_path):
    with pytest.raises(ConfigError, match=r"no years to rebuild; name them, such as \[2021, 2022\]"):
        RebuildConfig(weeks=small_walk(source, tmp_path).weeks)


def test_a_flow_with_a_broken_week_fails_after_the_others_are_done(source, tmp_path, prefect_server):
    here = tmp_path / "source"
    here.mkdir()
    (here / "I20240102.tar").write_text("<html>")
    whole = next(path for path in source.iterdir() if path.suffix.lower() == ".zip")
    (here / whole.name).symlink_to(whole)
    config = dataclasses.replace(small_walk(here, tmp_path / "data"), training=None)
    with pytest.raises(WeeksFailedError, match="1 of 2 weeks failed"):
        refresh(config)
    assert (tmp_path / "data" / "captions" / "I20240109.parquet").is_file()


def test_retrain_and_evaluate_measure_a_model_on_the_frozen_dataset(as_flow, prefect_server):
    config = small_walk(None, as_flow)
    retrained = retrain(
        RetrainConfig(
            data_dir=str(as_flow),
            run_name="other",
            training=dataclasses.replace(BRIEF_TRAINING, seed=1),
            evaluation=config.evaluation,
        )
    )
    again = evaluate(
        EvaluateConfig(
            data_dir=str(as_flow),
            model=str(as_flow / "runs" / "other"),
            run_name="again",
            evaluation=config.evaluation,
        )
    )
    assert retrained.state == "promoted" and again["tasks"] == retrained.evaluation["tasks"]
    assert (as_flow / "runs" / "again" / "report.html").is_file()


_DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", _DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_names_a_flow_and_parameters_it_takes(deployment):
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    hints = inspect.get_annotations(flow.fn, eval_str=True)
    config = build(hints["config"], deployment["parameters"]["config"])
    assert isinstance(config, hints["config"])


def test_all_four_flows_are_deployed():
    assert {deployment["entrypoint"] for deployment in _DEPLOYMENTS} == {
        "flows.refresh.refresh",
        "flows.rebuild.rebuild",
        "flows.retrain.retrain",
        "flows.evaluate.evaluate",
    }
