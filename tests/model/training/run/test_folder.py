"""The state of a run's folder: what is resumed, skipped or removed, and that the log says so."""

from __future__ import annotations

import json
import logging

import pytest

from model.errors import ConfigError
from model.training.config import UNRECORDED
from model.training.run.checkpoints import list_checkpoints, save_checkpoint
from model.training.run.folder import RunFolder

IDENTITY = {"dataset_fingerprint": "abc", "config": {"seed": 0}}


@pytest.fixture
def run(tmp_path, caplog):
    """The folder of a run that was interrupted after step 4, with checkpoints after steps 2 and 4."""
    caplog.set_level(logging.INFO, logger="model")
    run = RunFolder(tmp_path / "small")
    run.folder.mkdir()
    run.make_ready(IDENTITY)
    for step in (1, 2, 3, 4):
        with run.metrics.open("a") as file:
            file.write(json.dumps({"step": step}) + "\n")
        if step % 2 == 0:
            digest = run.metrics_sha256()
            save_checkpoint(run.checkpoints, {}, num_steps_done=step, num_kept=2, metrics_sha256=digest)
    return run


def test_a_fresh_run_logs_no_decision(run, caplog):
    assert caplog.messages == []


def test_a_run_resumes_after_its_latest_checkpoint(run, caplog):
    assert run.make_ready(IDENTITY) == 4
    assert caplog.messages == ["small: resumes after step 4"]


def test_a_damaged_checkpoint_is_removed_and_the_metrics_are_truncated_to_the_one_before(run, caplog):
    (run.checkpoints / "step-00000004.pt").write_bytes(b"damaged")

    assert run.make_ready(IDENTITY) == 2
    assert list_checkpoints(run.checkpoints) == [2]
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [1, 2]
    assert caplog.messages == [
        "small: skips the checkpoint after step 4, which is damaged",
        "small: resumes after step 2",
    ]


def test_a_run_of_an_earlier_version_has_the_same_settings_if_the_new_ones_say_what_it_did(run):
    off = IDENTITY | {"version": 4, "config": IDENTITY["config"] | UNRECORDED}
    on = off | {"config": off["config"] | {"logit_adjustment": 1.0}}

    run.require_replaceable(off, "same_settings")
    with pytest.raises(ConfigError, match=r"an unfinished run with logit_adjustment 0.0, not 1.0; choose another name"):
        run.require_replaceable(on, "same_settings")


def test_a_run_with_another_identity_starts_again(run, caplog):
    assert run.make_ready({"config": {"seed": 1}}) == 0
    assert not run.checkpoints.exists() and not run.metrics.exists()
    assert caplog.messages == ["small: starts again, the earlier run had another dataset or other settings"]
