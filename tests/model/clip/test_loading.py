"""Models by name, and what is said when there is none of that name."""

from __future__ import annotations

import re

import pytest
import torch

from model.clip.loading import choose_device, find_model, fingerprint_clip, load_clip
from model.clip.source import ModelSource
from model.errors import ArchitectureError, DeviceError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-23", "no architecture 'ViT-B-23'; did you mean .*ViT-B-32"),
        ("design-clip-tiny", "did you mean designclip-tiny"),
        ("local-dir:/nowhere", "no open_clip_config.json there"),
    ],
)
def test_an_unknown_architecture_is_answered_with_near_matches(name, message):
    with pytest.raises(ArchitectureError, match=message):
        load_clip(ModelSource(name))


def test_unknown_weights_are_answered_with_the_known_ones():
    with pytest.raises(ArchitectureError, match="no weights 'opanai' for ViT-B-32; it knows openai"):
        load_clip(ModelSource("ViT-B-32", "opanai"))


def test_a_model_is_found_by_run_folder_model_folder_or_name(tmp_path, micro_clip):
    folder = micro_clip.removeprefix("local-dir:")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model").symlink_to(folder)

    assert find_model(folder).name == micro_clip
    assert find_model(micro_clip).name == micro_clip
    assert find_model(tmp_path / "run").name == f"local-dir:{tmp_path}/run/model"
    assert find_model("hf-hub:some/model") == ModelSource("hf-hub:some/model")
    assert find_model("ViT-B-32/openai") == ModelSource("ViT-B-32", "openai")


def test_a_name_without_weights_or_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ArchitectureError, match='add a tag, such as "ViT-B-32/openai"'):
        find_model("ViT-B-32")
    with pytest.raises(ArchitectureError, match="name a finished run or model"):
        find_model(tmp_path)
    with pytest.raises(ArchitectureError, match="no architecture 'VIT-B-32'; did you mean"):
        find_model("VIT-B-32/openai")


def test_fresh_weights_follow_the_seed_and_leave_the_callers_random_state_alone(micro_clip):
    before = torch.get_rng_state()
    first, again, other = (fingerprint_clip(load_clip(ModelSource(micro_clip), seed=seed)) for seed in (0, 0, 1))

    assert first == again != other
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert torch.equal(before, torch.get_rng_state())


def test_the_projects_own_small_architecture_is_known_to_open_clip():
    clip = load_clip(ModelSource("designclip-tiny"))
    model = clip.model.eval()
    images = torch.zeros(2, 3, *clip.preprocess.size_px)

    assert model.encode_image(images).shape == (2, 128)
    assert model.encode_text(clip.tokenizer(["a chair", "a lamp"])).shape == (2, 128)


def test_a_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match="'cuda' was asked for, but torch finds no CUDA device here"):
        choose_device("cuda")
    with pytest.raises(DeviceError, match="no device is called 'gpu'"):
        choose_device("gpu")
