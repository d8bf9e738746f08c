"""Classification by the model's own head."""

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
from model.evaluation.protocols.classification import class_indices


@pytest.fixture
def folder(micro_clip, tmp_path) -> Path:
    """A model folder with weights and a classification head."""
    folder = Path(shutil.copytree(micro_clip.removeprefix("local-dir:"), tmp_path / "headed"))
    clip = find_encoder(micro_clip, torch.device("cpu")).load()
    safetensors.torch.save_file(clip.model.state_dict(), folder / "open_clip_model.safetensors")
    save_classifier(ClipWithHead(clip.model, num_classes=len(USPC), seed=3).head, USPC, folder)
    return folder


def context_of(shapes: Path, folder: Path | str) -> EvaluationContext:
    config = EvaluationConfig(device="cpu", num_resamples=10, batch_size=5)
    encoder = find_encoder(f"local-dir:{folder}" if isinstance(folder, Path) else folder, torch.device("cpu"))
    encoders = {MODEL: encoder, UNTRAINED: encoder.untrained(0)}
    return EvaluationContext(open_dataset(shapes), encoders, config, torch.device("cpu"))


def test_the_head_classifies_images_alone(shapes, folder):
    context = context_of(shapes, folder)
    model, _ = load_classifier(folder)
    with contextlib.closing(
        ImageReader(context.views, context.encoders[MODEL].load().preprocess, num_workers=1)
    ) as reader:
        logits = model.classify(reader.read(range(16))).detach().numpy()

    table = fine_tuned.measure(context).tables["uspc"]

    expected = (logits.argmax(axis=1) == class_indices(context.views, "uspc")).mean()
    assert logits.shape == (16, 33)
    assert table["figures"]["accuracy"]["model"]["value"] == pytest.approx(expected)
    assert table["columns"] == ["model", "untrained", "majority", "chance"]
    assert any("by the images alone" in note for note in table["terms"]["notes"])


def test_logits_are_stored_for_one_model_and_one_list_of_classes(shapes, folder, monkeypatch):
    copied = Path(shutil.copytree(shapes, folder.parent / "copied"))
    context = context_of(copied, folder)
    once = fine_tuned.class_logits(context, context.encoders[MODEL], USPC)
    monkeypatch.setattr("model.clip.encoder.load_clip", None)  # a model that is loaded fails the test

    again = fine_tuned.class_logits(context_of(copied, folder), context_of(copied, folder).encoders[MODEL], USPC)
    assert np.array_equal(once, again)
    with pytest.raises(TypeError):
        other = ClassTable(USPC.scheme, USPC.codes[::-1], USPC.titles[::-1])
        fine_tuned.class_logits(context_of(copied, folder), context_of(copied, folder).encoders[MODEL], other)


def test_a_model_without_a_head_gives_its_reason(shapes, micro_clip):
    assert "no classification head" in fine_tuned.measure(context_of(shapes, micro_clip)).reason
