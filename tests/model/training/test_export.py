"""The card of a model says what it is and how it was trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from model.clip.heads import ClipWithHead
from model.clip.loading import load_clip
from model.clip.readout import ClassPriors
from model.clip.source import ModelSource
from model.dataset.classes import USPC
from model.training.export import export_model
from model.training.train import train

pytestmark = pytest.mark.slow

SUMMARY = {
    "num_parameters": 1_234_567,
    "num_steps": 6000,
    "batch_size": 128,
    "dataset": {"name": "designs", "fingerprint": "abc123", "num_views": 48_000, "num_patents": 7_000},
}


def card_of(folder: Path, config, micro_clip) -> str:
    clip = load_clip(ModelSource(micro_clip))
    export_model(clip, folder / "model", summary=SUMMARY | {"config": config.result_settings})
    return (folder / "model" / "README.md").read_text()


def test_the_card_names_dataset_method_and_length_of_the_run(tmp_path, micro_config, micro_clip):
    config = dataclasses.replace(micro_config, architecture="ViT-B-32", pretrained="openai", precision="bf16")
    card = card_of(tmp_path, config, micro_clip)

    for part in (
        "library_name: open_clip",
        "# ViT-B-32, trained on designs",
        "| Started from | openai |",
        "| Parameters | 1,234,567 |",
        "| Dataset | designs, fingerprint `abc123` |",
        "| Training views | 48,000 of 7,000 patents |",
        "| Loss | contrastive 1, classification 0.1, multi-view 0.2 |",
        "| Drawn | views by the f^-β of their class, f its number of views, β = 1.2 |",
        "| Steps | 6,000 of batch 128, bf16, AdamW, learning rate 0.003 |",
        "32 × 32 px",
        "hf-hub:OWNER/NAME",
        "the terms of those they started from (openai)",
    ):
        assert part in card


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"loss": "siglip"}, "multi-view 0.2, SigLIP's form |"),
        ({"sampler": "uniform"}, "| Drawn | each view as often as any other |"),
        (
            {"sampler": "class", "beta": 0.5},
            "| Drawn | a class by f^-β, f its number of views, then a view of it, β = 0.5 |",
        ),
        ({"architecture": "hf-hub:team/model"}, "| Started from | hf-hub:team/model and its weights |"),
        ({"architecture": "local-dir:/home/me/old"}, "| Started from | old and its weights |"),
        ({"architecture": "ViT-B-32", "pretrained": "/home/me/weights.pt"}, "| Started from | weights.pt |"),
    ],
)
def test_the_card_describes_the_settings_and_contains_no_local_path(tmp_path, micro_config, micro_clip, settings, part):
    card = card_of(tmp_path, dataclasses.replace(micro_config, **settings), micro_clip)

    assert part in card
    assert "/home" not in card and str(tmp_path) not in card


def test_the_card_describes_the_head_if_there_is_one(shapes, tmp_path, micro_config):
    train(shapes, tmp_path / "with", dataclasses.replace(micro_config, class_scheme="locarno"))
    train(shapes, tmp_path / "without", dataclasses.replace(micro_config, classification_weight=0.0))
    cards = [(tmp_path / name / "model" / "README.md").read_text() for name in ("with", "without")]

    assert "(a fusion head)" in cards[0] and "read_class_priors" not in cards[0]  # no view has a Locarno class
    assert "tells the LOCARNO class of a drawing" in cards[0] and "(num_images, 32)" in cards[0]
    assert "classifier" not in cards[1]
    assert not (tmp_path / "without" / "model" / "classifier.safetensors").exists()


DRAWN, BALANCED = (np.array([share, 1 - share, *[0.0] * 31]) for share in (0.7, 0.5))


@pytest.mark.parametrize(
    ("settings", "fitted", "head", "logits"),
    [
        ({}, DRAWN, "a fusion head", "the classes as they were drawn and weighed in training"),
        (
            {"logit_adjustment": 1.0},
            BALANCED,
            "a fusion head, trained on logits adjusted by 1 times the logarithm of each class's share",
            "the balanced read-out",
        ),
        (
            {"head": "cosine", "head_init": "text", "refit_head": True},
            BALANCED,
            "a cosine head, started from the text features of the classes, its last layer refitted on whole views",
            "the balanced read-out",
        ),
    ],
)
def test_the_card_names_both_read_outs_and_how_the_head_was_trained(
    tmp_path, micro_config, micro_clip, settings, fitted, head, logits
):
    config = dataclasses.replace(micro_config, **settings)
    clip = load_clip(ModelSource(micro_clip))
    export_model(
        clip,
        tmp_path / "model",
        summary=SUMMARY | {"config": config.result_settings},
        head=ClipWithHead(clip.model, num_classes=len(USPC), kind=config.head).head,
        classes=USPC,
        priors=ClassPriors(fitted, DRAWN),
    )
    card = (tmp_path / "model" / "README.md").read_text()

    assert f"from the image alone ({head});" in card and f"The logits themselves are those of {logits}." in card
    assert "tau=0" in card and "tau=1" in card and "31 of the 33 classes have no training view" in card
