"""What a model's folder says about its pictures, family by family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from patentdata.captions.config import CaptionImageConfig
from patentdata.captions.vllm.images import PictureForm
from patentdata.captions.vllm.processors import MOST_PIXELS, picture_form, read_model_folder, read_processor

_VISION_14 = {"vision_config": {"patch_size": 14}}

# Family → settings of the model and of its image processor; kind, side, budget and the pixels of a token.
_FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, int | None, int | None, float]]] = {
    "LLaVA-1.5": (
        _VISION_14,
        {"crop_size": {"height": 336, "width": 336}, "size": {"shortest_edge": 224}},
        ("square", 336, 336**2, 14),
    ),
    "SigLIP tower": (_VISION_14, {"size": {"height": 384, "width": 384}}, ("square", 384, 384**2, 14)),
    "Gemma 3": ({}, {"size": {"height": 896, "width": 896}, "do_pan_and_scan": None}, ("square", 896, 896**2, 14)),
    "Qwen2-VL": (
        {"vision_config": {"patch_size": 14, "spatial_merge_size": 2}},
        {"min_pixels": 3136, "max_pixels": 12_845_056, "patch_size": 14, "merge_size": 2},
        ("area", None, 12_845_056, 28),
    ),
    "Qwen3-VL": (
        {},
        {"size": {"longest_edge": 16_777_216, "shortest_edge": 65_536}, "patch_size": 16, "merge_size": 2},
        ("area", None, 16_777_216, 32),
    ),
    "Kimi-VL": (
        {},
        {"in_token_limit": 4096, "patch_size": 14, "merge_kernel_size": [2, 2]},
        ("area", None, 4096 * 196, 28),
    ),
    "Pixtral": (
        {"spatial_merge_size": 2},
        {"size": {"longest_edge": 1540}, "patch_size": {"height": 14, "width": 14}},
        ("area", None, 1540**2, 28),
    ),
    "LLaVA-OneVision": (
        _VISION_14,
        {"size": {"height": 384, "width": 384}, "image_grid_pinpoints": [[384, 384], [384, 768], [2304, 2304]]},
        ("tiles", 384, 2304**2, 14),
    ),
    "LLaVA-NeXT": (
        _VISION_14,
        {"size": {"shortest_edge": 336}, "image_grid_pinpoints": [[336, 672], [672, 672]]},
        ("tiles", 336, 672**2, 14),
    ),
    "InternVL, its own code": (
        {"max_dynamic_patch": 12, "force_image_size": 448, "downsample_ratio": 0.5, **_VISION_14},
        {"crop_size": 448, "size": 448},
        ("tiles", 448, 12 * 448**2, 28),
    ),
    "InternVL, transformers": (
        {"downsample_ratio": 0.5, **_VISION_14},
        {"crop_to_patches": False, "max_patches": 12, "size": {"height": 448, "width": 448}},
        ("tiles", 448, 12 * 448**2, 28),
    ),
    "Molmo": (
        _VISION_14,
        {"max_crops": 12, "base_image_input_size": [336, 336]},
        ("tiles", 336, 12 * 336**2, 28),
    ),
    "SmolVLM": (
        {"scale_factor": 4, "vision_config": {"patch_size": 16}},
        {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}},
        ("tiles", 512, 16 * 512**2, 64),
    ),
    "Llama Vision": (
        _VISION_14,
        {"max_image_tiles": 4, "size": {"height": 560, "width": 560}},
        ("tiles", 560, 4 * 560**2, 14),
    ),
}


def model_folder(folder: Path, model: dict[str, Any], processor: object) -> Path:
    (folder / "config.json").write_text(json.dumps(model))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.mark.parametrize("family", _FAMILIES)
def test_every_family_says_in_its_own_words_how_it_reads_pictures(tmp_path, family):
    model, settings, expected = _FAMILIES[family]
    read = read_processor(model_folder(tmp_path, model, settings))
    assert read is not None
    assert (read.kind, read.size_px, read.max_pixels, read.token_px) == expected
    form = picture_form(CaptionImageConfig(), read)
    assert (form.size_px is None) == (read.kind != "square")
    # As transformers 5 writes it
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert read_processor(tmp_path) == read


@pytest.mark.parametrize(
    "settings",
    [
        [],
        None,
        "CLIPImageProcessor",
        {},
        {"size": {"height": 5}},
        {"size": "large"},
        {"crop_size": True},
        {"image_grid_pinpoints": "1x1"},
        {"image_grid_pinpoints": []},
        {"max_crops": -1},
    ],
)
def test_a_folder_that_does_not_say_gives_the_usual_square(tmp_path, settings):
    assert read_processor(model_folder(tmp_path, {}, settings)) is None
    assert read_processor(tmp_path / "missing") is None
    assert picture_form(CaptionImageConfig(), None) == PictureForm(size_px=336, margin_share=0.04)


def test_a_damaged_file_says_nothing(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text("{")
    (tmp_path / "config.json").write_bytes(b"\xff" * 100)
    assert read_processor(tmp_path) is None
    assert read_model_folder(tmp_path).max_model_len is None


def test_the_picture_has_the_form_that_the_settings_name(tmp_path):
    qwen = read_processor(model_folder(tmp_path, *_FAMILIES["Qwen2-VL"][:2]))
    square = PictureForm(size_px=448, margin_share=0.04)
    assert picture_form(CaptionImageConfig(size_px=448), qwen) == square
    assert picture_form(CaptionImageConfig(max_pixels=200_704, margin_share=0.0), qwen) == PictureForm(
        max_pixels=200_704, multiple_px=28, margin_share=0.0
    )
    assert picture_form(CaptionImageConfig(mode="square"), qwen) == PictureForm(size_px=336, margin_share=0.04)
    assert picture_form(CaptionImageConfig(mode="aspect"), None) == PictureForm(
        max_pixels=MOST_PIXELS, margin_share=0.04
    )


def test_the_budget_of_a_model_that_reads_huge_pictures_is_bounded(tmp_path):
    for family, pixels in (("Qwen2-VL", MOST_PIXELS), ("Kimi-VL", 4096 * 196), ("LLaVA-NeXT", 672**2)):
        processor = read_processor(model_folder(tmp_path, *_FAMILIES[family][:2]))
        assert picture_form(CaptionImageConfig(), processor).max_pixels == pixels


@pytest.mark.parametrize(
    ("family", "config", "least", "most"),
    [
        ("LLaVA-1.5", CaptionImageConfig(), 576, 580),
        ("Qwen2-VL", CaptionImageConfig(max_pixels=784 * 500), 500, 700),
        ("InternVL, transformers", CaptionImageConfig(), 13 * 256, 4_000),
        ("SmolVLM", CaptionImageConfig(), 17 * 64, 1_400),
    ],
)
def test_the_tokens_of_a_picture_are_enough_and_not_many_more(tmp_path, family, config, least, most):
    processor = read_processor(model_folder(tmp_path, *_FAMILIES[family][:2]))
    assert processor is not None
    assert least <= processor.num_tokens(picture_form(config, processor)) <= most


def test_the_settings_of_a_model_name_its_context_its_weights_and_whether_it_reads_videos(tmp_path):
    model_folder(tmp_path, {"text_config": {"max_position_embeddings": 4096}, "video_token_id": 7}, {})
    (tmp_path / "model-1.safetensors").write_bytes(bytes(700))
    (tmp_path / "model-2.safetensors").write_bytes(bytes(300))
    folder = read_model_folder(tmp_path)
    assert (folder.max_model_len, folder.num_bytes, folder.has_video) == (4096, 1000, True)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 14_000_000_000}}))
    assert read_model_folder(tmp_path).num_bytes == 14_000_000_000
