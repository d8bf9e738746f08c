"""Finding models by name, and the messages for names that do not exist."""

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
def test_the_message_for_an_unknown_architecture_suggests_similar_names(name, message):
    with pytest.raises(ArchitectureError, match=message):
        load_clip(ModelSource(name))


def test_the_message_for_unknown_weights_lists_the_known_ones():
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


def test_a_name_without_weights_and_a_folder_without_a_model_are_refused(tmp_path):
    with pytest.raises(ArchitectureError, match='has no weights tag; add one, such as "ViT-B-32/openai"'):
        find_model("ViT-B-32")
    with pytest.raises(ArchitectureError, match="name a finished run or model"):
        find_model(tmp_path)
    with pytest.raises(ArchitectureError, match="no architecture 'VIT-B-32'; did you mean"):
        find_model("VIT-B-32/openai")


def test_fresh_weights_depend_on_the_seed_and_do_not_change_the_callers_random_state(micro_clip):
    before = torch.get_rng_state()
    first, again, other = (fingerprint_clip(load_clip(ModelSource(micro_clip), seed=seed)) for seed in (0, 0, 1))

    assert first == again != other
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert torch.equal(before, torch.get_rng_state())


def test_open_clip_knows_the_projects_own_small_architecture():
    clip = load_clip(ModelSource("designclip-tiny"))
    model = clip.model.eval()
    images = torch.zeros(2, 3, *clip.preprocess.size_px)

    assert model.encode_image(images).shape == (2, 128)
    assert model.encode_text(clip.tokenizer(["a chair", "a lamp"])).shape == (2, 128)


def test_the_message_names_a_device_that_is_not_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match="device 'cuda' is not available: torch finds no CUDA device"):
        choose_device("cuda")
    with pytest.raises(DeviceError, match="unknown device 'gpu'"):
        choose_device("gpu")
