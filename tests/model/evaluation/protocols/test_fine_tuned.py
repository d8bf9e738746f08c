"""The model's own head."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from model.clip.encoder import find_encoder
from model.clip.heads import ClipWithHead
from model.clip.saved_head import load_classifier, save_classifier
from model.dataset.classes import USPC, ClassTable
from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader
from model.evaluation.config import EvaluationConfig
from model.evaluation.context import MODEL, UNTRAINED, EvaluationContext
from model.evaluation.protocols import fine_tuned
from model.evaluation.protocols.classification import classes_of


@pytest.fixture
def folder(micro_clip, tmp_path) -> Path:
    """A model folder with weights and a head."""
    folder = Path(shutil.copytree(micro_clip.removeprefix("local-dir:"), tmp_path / "headed"))
    clip = find_encoder(micro_clip, torch.device("cpu")).load()
    safetensors.torch.save_file(clip.model.state_dict(), folder / "open_clip_model.safetensors")
    save_classifier(ClipWithHead(clip.model, num_classes=len(USPC), seed=3).head, USPC, folder)
    return folder


def trial_of(shapes: Path, folder: Path | str) -> EvaluationContext:
    config = EvaluationConfig(device="cpu", num_resamples=10, batch_size=5)
    entrant = find_encoder(f"local-dir:{folder}" if isinstance(folder, Path) else folder, torch.device("cpu"))
    entrants = {MODEL: entrant, UNTRAINED: entrant.untrained(0)}
    return EvaluationContext(open_dataset(shapes), entrants, config, torch.device("cpu"))


def test_the_head_classifies_images_alone(shapes, folder):
    trial = trial_of(shapes, folder)
    model, _ = load_classifier(folder)
    with contextlib.closing(ImageReader(trial.views, trial.entrants[MODEL].load().preprocess, num_workers=1)) as reader:
        logits = model.classify(reader.read(range(16))).detach().numpy()

    table = fine_tuned.measure(trial).tables["uspc"]

    expected = (logits.argmax(axis=1) == classes_of(trial.views, "uspc")).mean()
    assert logits.shape == (16, 33)
    assert table["figures"]["accuracy"]["model"]["value"] == pytest.approx(expected)
    assert table["columns"] == ["model", "untrained", "majority", "chance"]
    assert any("by the images alone" in note for note in table["terms"]["notes"])


def test_logits_are_kept_and_belong_to_model_head_and_classes(shapes, folder, monkeypatch):
    copied = Path(shutil.copytree(shapes, folder.parent / "copied"))
    trial = trial_of(copied, folder)
    once = fine_tuned.class_logits(trial, trial.entrants[MODEL], USPC)
    monkeypatch.setattr("model.clip.encoder.load_clip", None)  # a model that is loaded fails the test

    again = fine_tuned.class_logits(trial_of(copied, folder), trial_of(copied, folder).entrants[MODEL], USPC)
    assert np.array_equal(once, again)
    with pytest.raises(TypeError):
        other = ClassTable(USPC.scheme, USPC.codes[::-1], USPC.titles[::-1])
        fine_tuned.class_logits(trial_of(copied, folder), trial_of(copied, folder).entrants[MODEL], other)


def test_a_model_without_a_head_says_so(shapes, micro_clip):
    assert "no classification head" in fine_tuned.measure(trial_of(shapes, micro_clip)).reason
