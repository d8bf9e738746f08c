"""A model of a few thousand weights, and small drawn datasets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.training.config import TrainConfig
from tests.model.dataset.drawings import draw_dataset, draw_rows, with_surroundings, write_dataset

MICRO_CLIP = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
}


@pytest.fixture(scope="session")
def micro_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of an architecture small enough to train in a second."""
    folder = tmp_path_factory.mktemp("micro-clip")
    (folder / "open_clip_config.json").write_text(json.dumps(MICRO_CLIP))
    return f"local-dir:{folder}"


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 24 + 4 + 8 drawn patents, two views each."""
    return draw_dataset(tmp_path_factory.mktemp("datasets") / "shapes")


@pytest.fixture(scope="session")
def surrounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 24 + 8 drawn patents, one of the two views of each with surroundings that are not claimed."""
    rows = {split: draw_rows(num, split=split, seed=num) for split, num in (("train", 24), ("test", 8))}
    folder = tmp_path_factory.mktemp("datasets") / "surrounded"
    return write_dataset(folder, {split: with_surroundings(of) for split, of in rows.items()}, name="surrounded")


@pytest.fixture(scope="session")
def micro_config(micro_clip: str) -> TrainConfig:
    """Six steps of batch 8 of the whole method, unrefitted, with a checkpoint after every second one."""
    return TrainConfig(
        preset="designclip",
        architecture=micro_clip,
        batch_size=8,
        num_steps=6,
        warmup_steps=2,
        learning_rate=3e-3,
        checkpoint_every_steps=2,
        device="cpu",
    )
