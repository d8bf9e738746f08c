"""A failing run names the batch, and timings record its speed."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.errors import TrainingError
from model.training.batches import BatchStream
from model.training.run.divergence import LossWatch
from model.training.run.folder import RunFolder
from model.training.run.metrics import Timings, check_step, read_timings
from model.training.step.learner import Learner
from model.training.train import train


@pytest.fixture
def stream(shapes, micro_config):
    return BatchStream(read_views(open_dataset(shapes), "train"), micro_config)


def check(stream, folder, values, watch=None):
    watch = watch or LossWatch(factor=None, num_steps=1)
    check_step(values, step=3, plan=stream.plan(2), views=stream.views, watch=watch, run=RunFolder(folder))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"loss": float("nan"), "grad_norm": 1.0}, "loss nan, gradient norm 1"),
        ({"loss": 1.0, "grad_norm": float("inf")}, "loss 1, gradient norm inf"),
    ],
)
def test_the_error_for_a_non_finite_loss_or_gradient_names_the_step_and_the_batch(stream, tmp_path, values, reason):
    with pytest.raises(TrainingError, match=rf"^step 3: {reason} on the views D\d+-\d, .*failed_batch.json lists all"):
        check(stream, tmp_path, values)

    written = json.loads((tmp_path / "failed_batch.json").read_text())
    rows = stream.plan(2).rows
    assert written["step"] == 3
    assert written["view_ids"] == [stream.views.view_ids[row] for row in rows]
    assert len(written["other_view_ids"]) == len(written["texts"]) == 8


def test_the_error_for_a_diverging_loss_names_its_median(stream, tmp_path):
    watch = LossWatch(factor=4, num_steps=1, losses=[0.5] * 20)

    check(stream, tmp_path, {"loss": 1.9, "grad_norm": 1.0}, watch)
    with pytest.raises(TrainingError, match=r"step 3: the loss diverges, 2.1 where its median was 0.5, on the views"):
        check(stream, tmp_path, {"loss": 2.1, "grad_norm": 1.0}, watch)


def test_a_run_with_a_rising_loss_is_stopped_and_so_is_its_resumption(shapes, tmp_path, micro_config, monkeypatch):
    take = Learner.step

    def rising(self, batch, *, step, learning_rate):
        return take(self, batch, step=step, learning_rate=learning_rate) | {"loss": torch.tensor(4.0**step)}

    monkeypatch.setattr(Learner, "step", rising)
    config = dataclasses.replace(micro_config, num_steps=40, divergence_factor=5.0, divergence_steps=4)
    for _ in range(2):
        with pytest.raises(TrainingError, match="step 14: the loss diverges"):
            train(shapes, tmp_path / "run", config)
    assert not (tmp_path / "run" / "training.json").exists()


def test_timings_are_kept_up_to_the_step_that_a_run_resumes_after(tmp_path):
    run = RunFolder(tmp_path)
    for num_steps_done in (0, 3):
        timings = Timings(run, num_steps_done=num_steps_done, device=torch.device("cpu"))
        for step in range(num_steps_done + 1, num_steps_done + 6):
            timings.add_wait(0.25)
            timings.append(step, num_pairs=8)
        timings.close()
        run.timings.open("a").write('{"step": 9, "seco')

    rows = read_timings(run)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(row["wait_s"] == 0.25 and row["memory_bytes"] > 10**6 for row in rows)
