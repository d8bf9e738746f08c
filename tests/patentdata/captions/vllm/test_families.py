"""Models of other families than LLaVA on the real server: their pictures, and a week captioned by them."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests

from patentdata.captions.config import CaptionsConfig, SamplingConfig
from patentdata.captions.prompts import load_prompt
from patentdata.captions.stage import caption_views, captions_are_done
from patentdata.captions.vllm.identity import identity_of
from patentdata.captions.vllm.images import data_url, fit_aspect
from patentdata.store.folder import DataFolder
from tests.caption_server import CaptionServer, owned_server
from tests.patentdata.captions.weeks import WEEK, captions_of, vlm_config, write_views
from tests.tiny_idefics import LONGEST_PX, TILE_PX, TOKENS_A_TILE, write_tiny_idefics
from tests.tiny_qwen_vl import MAX_PIXELS, write_tiny_qwen_vl

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

_SHAPES = ((300, 300), (900, 150), (120, 700))  # of drawings, (height_px, width_px)


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Path, CaptionServer]]]:
    """Name of a family → folder of a small model of random weights, and a server of it; both start at the same time."""
    pytest.importorskip("vllm", reason="vLLM is not installed")
    folder = tmp_path_factory.mktemp("families")
    write: dict[str, Callable[[Path], Path]] = {"qwen": write_tiny_qwen_vl, "idefics": write_tiny_idefics}
    models = {name: write_model(folder / name) for name, write_model in write.items()}
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor() as threads:
        starts = {
            name: threads.submit(stack.enter_context, owned_server(model, folder / f"{name}.log"))
            for name, model in models.items()
        }
        yield {name: (models[name], start.result()) for name, start in starts.items()}


def config_of(family: tuple[Path, CaptionServer]) -> CaptionsConfig:
    model, server = family
    return vlm_config(
        server.url, model=str(model), sampling=SamplingConfig(max_tokens=60, retry_temperatures=()), prompt="views"
    )


def ink(shape: tuple[int, int]) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def num_prompt_tokens(family: tuple[Path, CaptionServer], shape: tuple[int, int] | None) -> int:
    """Tokens of a short question with a drawing of this shape, or without one."""
    model, server = family
    identity = identity_of(config_of(family))
    assert identity is not None
    content: list[dict[str, object]] = [{"type": "text", "text": "Shape"}]
    if shape is not None:
        url, _ = data_url(cv2.imencode(".png", ink(shape))[1].tobytes(), identity.picture)
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    body = {"model": str(model), "messages": [{"role": "user", "content": content}], "max_tokens": 1}
    answer = requests.post(f"{server.url}/chat/completions", json=body, timeout=300)
    answer.raise_for_status()
    return int(answer.json()["usage"]["prompt_tokens"])


def test_a_qwen_vl_reads_every_picture_at_the_resolution_that_it_is_sent(families):
    family = families["qwen"]
    identity = identity_of(config_of(family))
    assert identity is not None and identity.picture.max_pixels == MAX_PIXELS
    without = num_prompt_tokens(family, None)
    for shape in _SHAPES:
        height, width = fit_aspect(ink(shape), identity.picture).shape
        num_marks = 2  # the start and the end of a picture
        assert num_prompt_tokens(family, shape) - without == height * width // 28**2 + num_marks


def test_an_idefics_cuts_a_picture_of_any_proportions_into_tiles(families):
    family = families["idefics"]
    identity = identity_of(config_of(family))
    assert identity is not None and identity.picture.max_pixels == LONGEST_PX**2
    without = num_prompt_tokens(family, None)
    square, tall, wide = (num_prompt_tokens(family, shape) - without for shape in _SHAPES)
    num_tiles = (LONGEST_PX // TILE_PX) ** 2 + 1
    assert num_tiles * TOKENS_A_TILE < square
    assert TOKENS_A_TILE < tall < square and TOKENS_A_TILE < wide < square


@pytest.mark.parametrize("name", ["qwen", "idefics"])
def test_a_week_is_captioned_by_a_model_of_another_family(families, tmp_path, name):
    folder = DataFolder(tmp_path / "data")
    write_views(folder, 6)
    config = config_of(families[name])
    report = caption_views(folder, WEEK, config)
    rows = captions_of(folder)
    assert report.tally("views").num_in == len(rows) == 6
    assert all(row["answer"].startswith('{"shape":') for row in rows), "the schema was kept to"
    assert {row["prompt"] for row in rows} == {load_prompt("views").name}
    assert captions_are_done(folder, WEEK, config)
