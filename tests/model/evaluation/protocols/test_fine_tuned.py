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
from model.clip.readout import ClassPriors
from model.clip.saved_head import load_classifier, save_classifier
from model.dataset.classes import USPC, ClassTable
from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader
from model.evaluation.config import EvaluationConfig
from model.evaluation.context import MODEL, UNTRAINED, EvaluationContext
from model.evaluation.protocols import fine_tuned
from model.evaluation.protocols.labelled import class_indices


@pytest.fixture
def folder(micro_clip, tmp_path) -> Path:
    """A model folder with weights and a classification head."""
    folder = Path(shutil.copytree(micro_clip.removeprefix("local-dir:"), tmp_path / "headed"))
    clip = find_encoder(micro_clip, torch.device("cpu")).load()
    safetensors.torch.save_file(clip.model.state_dict(), folder / "open_clip_model.safetensors")
    save_classifier(ClipWithHead(clip.model, num_classes=len(USPC), seed=3).head, USPC, folder)
    return folder


def context_of(shapes: Path, folder: Path | str, **settings: object) -> EvaluationContext:
    config = EvaluationConfig.from_dict({"device": "cpu", "num_resamples": 10, "batch_size": 5, **settings})
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


def test_the_head_is_read_out_under_the_class_prior_of_the_setting_and_both_ends_are_reported(shapes, folder):
    natural = np.full(len(USPC), 1e-6)
    natural[5] = 1 - natural.sum() + 1e-6  # a head that has hardly seen another class
    model, _ = load_classifier(folder)
    save_classifier(model.head, USPC, folder, priors=ClassPriors(fitted=np.full(len(USPC), 1 / 33), natural=natural))

    by_tau = {tau: fine_tuned.measure(context_of(shapes, folder, readout_tau=tau)) for tau in (0.0, 1.0)}

    assert np.array(by_tau[0.0].by_class["uspc"]["confusion"])[:, 5].sum() == 16  # all are taken for the frequent class
    assert np.array(by_tau[1.0].by_class["uspc"]["confusion"])[:, 5].sum() < 16
    assert by_tau[0.0].tables["uspc_readouts"]["figures"] == by_tau[1.0].tables["uspc_readouts"]["figures"]
    assert by_tau[1.0].readouts["uspc_readouts"]["chosen_tau"] == 1.0
    assert any("balanced class prior" in note for note in by_tau[1.0].tables["uspc"]["terms"]["notes"])


def test_a_head_of_an_earlier_version_has_one_read_out(shapes, folder):
    result = fine_tuned.measure(context_of(shapes, folder, readout_tau=1.0))
    assert list(result.tables) == ["uspc"]
    assert not result.readouts
    assert any("one read-out" in note for note in result.tables["uspc"]["terms"]["notes"])


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
