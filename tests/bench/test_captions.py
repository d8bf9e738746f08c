"""The benchmark of captions: models of full size without weights."""

from __future__ import annotations

import argparse

import pytest

from bench.captions import FULL_SIZES, _model_of
from tests.tiny_llava import write_llava


def arguments(**given: object) -> argparse.Namespace:
    values = {"model": None, "endpoint": None, "full_size": None, "dummy_weights": False, "server_argument": []}
    return argparse.Namespace(**(values | given))


def test_a_model_of_full_size_is_only_served_with_made_up_weights(tmp_path):
    with pytest.raises(SystemExit, match="a model of --full-size has no weights; add --dummy-weights"):
        _model_of(arguments(full_size="7b"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "num_billions"), [("7b", 7.06), ("13b", 13.35)])
def test_a_model_of_full_size_has_the_parameters_of_the_published_one_and_no_weights(tmp_path, size, num_billions):
    import torch
    from transformers import AutoConfig, LlavaForConditionalGeneration

    folder = write_llava(tmp_path / size, FULL_SIZES[size])
    assert not list(folder.glob("*.safetensors"))
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(AutoConfig.from_pretrained(folder))
    assert sum(part.numel() for part in model.parameters()) / 1e9 == pytest.approx(num_billions, abs=0.01)
    served, server = _model_of(
        arguments(full_size=size, dummy_weights=True, server_argument=["--enforce-eager"]), tmp_path
    )
    assert served == str(tmp_path / f"llava-{size}")
    assert server.extra_arguments == ("--load-format", "dummy", "--enforce-eager")
