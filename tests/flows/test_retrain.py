"""The retraining: only when enough is new, measured beside the champion, decided and recorded."""

import json
import shutil

import pytest

from flows.retrain import RetrainConfig, retrain
from flows.steps import freeze
from model.evaluation.champion import ModelRegistry
from patentdata.errors import ConfigError
from patentdata.store.folder import DataFolder
from tests.flows.test_cli import run
from tests.flows.walks import BRIEF_TRAINING, WEEKS, hashes, small_walk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def grown_later(walked, tmp_path_factory):
    """A data folder with two weeks walked and a dataset of the first alone, and the settings of the walk."""
    data_dir = tmp_path_factory.mktemp("retrain") / "data"
    shutil.copytree(walked[0], data_dir, ignore=shutil.ignore_patterns("datasets", "runs"))
    config = small_walk(None, data_dir)
    freeze(DataFolder(data_dir), [WEEKS[0]], config.dataset, config.weeks.workers)
    return data_dir, config


def settings(data_dir, walk, **other) -> RetrainConfig:
    return RetrainConfig(data_dir=str(data_dir), training=BRIEF_TRAINING, evaluation=walk.evaluation, **other)


@pytest.fixture(scope="module")
def first(grown_later):
    return retrain.fn(settings(*grown_later))


@pytest.fixture(scope="module")
def grown(grown_later, first):
    """The same dataset after another week came, retrained."""
    data_dir, walk = grown_later
    freeze(DataFolder(data_dir), list(WEEKS), walk.dataset, walk.weeks.workers)
    return retrain.fn(settings(data_dir, walk))


def test_the_first_retraining_makes_the_champion(grown_later, first):
    assert first.state == "promoted" and "there was no champion before it" in first.why
    assert first.evaluation["tasks"]["retrieval"]["status"] == "measured"


def test_the_same_dataset_again_trains_nothing(grown_later, first):
    again = retrain.fn(settings(*grown_later))
    assert again.state == "nothing_new" and "fewer than 1; nothing was trained" in again.why


def test_a_grown_dataset_is_trained_on_measured_beside_the_champion_and_decided(grown_later, first, grown):
    data_dir, _ = grown_later
    assert grown.state in {"promoted", "refused"}
    assert grown.run_dir != first.run_dir and grown.decision.champion == first.decision.run
    assert grown.decision.test_set == first.decision.test_set
    gate = json.loads((data_dir / "runs" / grown.decision.run / "gate" / "evaluation.json").read_text())
    figure = gate["tasks"]["retrieval"]["tables"]["text_to_image"]["figures"]["R@10"]
    assert figure["difference"] == grown.decision.difference
    assert grown.decision.is_promoted == (figure["difference"]["low"] > 0)


def test_a_retraining_that_is_done_changes_nothing_and_says_the_same(grown_later, grown):
    data_dir, walk = grown_later
    before = hashes(data_dir)
    again = retrain.fn(settings(data_dir, walk, min_new_patents=0))
    assert (again.state, again.why) == (grown.state, grown.why)
    assert hashes(data_dir) == before


def test_a_run_killed_before_its_decision_is_decided_by_the_next(grown_later, grown):
    data_dir, walk = grown_later
    record = data_dir / "models" / "champion.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps({**values, "history": values["history"][:1]}))
    again = retrain.fn(settings(data_dir, walk))
    assert (again.state, again.why) == (grown.state, grown.why)
    assert len(ModelRegistry(data_dir / "models").decisions) == 2


def test_the_command_shows_champion_and_history(grown_later, first, grown, monkeypatch, capfd):
    data_dir, _ = grown_later
    code, out, _ = run(monkeypatch, capfd, "champion", "-d", data_dir, "--json")
    runs = [decision["run"] for decision in json.loads(out)["history"]]
    assert code == 0 and runs == [first.decision.run, grown.decision.run]
    code, out, _ = run(monkeypatch, capfd, "champion", "-d", data_dir)
    assert code == 0 and "Champion:" in out and "Decisions" in out


def test_a_folder_without_champion_says_how_to_get_one(tmp_path, monkeypatch, capfd):
    code, out, _ = run(monkeypatch, capfd, "champion", "-d", tmp_path)
    assert code == 0 and "No champion yet; `designclip retrain` trains a first one." in out


@pytest.mark.parametrize(
    ("other", "message"),
    [({"min_new_patents": -1}, "min_new_patents is -1"), ({"metric": "R@10"}, "name task/table/value")],
)
def test_settings_that_cannot_be_are_refused(other, message):
    with pytest.raises(ConfigError, match=message):
        RetrainConfig(data_dir="data", **other)
