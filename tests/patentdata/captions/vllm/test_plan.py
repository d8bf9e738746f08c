"""How a server is started: what follows from the model, the question and the GPUs, and what the settings overrule."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import pytest

from patentdata.captions.config import CaptionImageConfig, CaptionsConfig, SamplingConfig, ServerConfig
from patentdata.captions.vllm import plan
from patentdata.captions.vllm.plan import Machine, plan_server, this_machine
from patentdata.errors import ConfigError

GPU_BYTES = 80 * 10**9
ONE_GPU = Machine(num_gpus=1, gpu_bytes=GPU_BYTES, num_cores=16)
CPU = Machine(num_gpus=0, gpu_bytes=0, num_cores=2)


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    """Folder of the settings of a Qwen2-VL of 15 GB."""
    text = {"max_position_embeddings": 32_768}
    model = {"text_config": text, "vision_config": {"patch_size": 14}, "video_token_id": 9}
    (tmp_path / "config.json").write_text(json.dumps(model))
    processor = {"min_pixels": 3136, "max_pixels": 12_845_056, "patch_size": 14, "merge_size": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 15 * 10**9}}))
    return tmp_path


def config_of(model: Path | str, server: ServerConfig | None = None, **settings: object) -> CaptionsConfig:
    return CaptionsConfig(captioner="vllm", model=str(model), server=server or ServerConfig(), **settings)  # type: ignore[arg-type]


def test_the_context_has_room_for_picture_question_and_answer_and_is_short(qwen):
    lengths = [
        plan_server(config_of(qwen, sampling=SamplingConfig(max_tokens=num), image=image), ONE_GPU).server.max_model_len
        for num, image in (
            (200, CaptionImageConfig(max_pixels=784 * 256)),
            (200, CaptionImageConfig(max_pixels=784 * 1280)),
            (2000, CaptionImageConfig(max_pixels=784 * 1280)),
        )
    ]
    assert all(num is not None and num % 256 == 0 for num in lengths)
    small, large, long = lengths
    assert 256 + 200 < small < 2_560  # type: ignore[operator]
    assert large - small >= 1024 and 1_700 <= long - large <= 2_100  # type: ignore[operator]


def test_memory_is_reserved_for_the_pictures_that_are_sent_and_for_no_video(qwen):
    server = plan_server(config_of(qwen, image=CaptionImageConfig(max_pixels=200_704)), ONE_GPU).server
    assert server.mm_processor_kwargs == {"size": {"shortest_edge": 3136, "longest_edge": 200_704}}
    assert server.limit_mm_per_prompt == {"image": 1, "video": 0}


@pytest.mark.parametrize(
    ("num_gpus", "gpu_gb", "num_cores", "expected"),
    [
        (1, 80, 16, (1, 1, 4)),
        (8, 80, 96, (1, 8, 24)),
        (4, 16, 16, (2, 2, 4)),
        (4, 8, 4, (4, 1, 1)),
        (1, 8, 2, (1, 1, 1)),
    ],
)
def test_a_model_is_copied_to_every_gpu_that_holds_it_and_divided_otherwise(
    qwen, num_gpus, gpu_gb, num_cores, expected
):
    machine = Machine(num_gpus=num_gpus, gpu_bytes=gpu_gb * 10**9, num_cores=num_cores)
    server = plan_server(config_of(qwen), machine).server
    assert (server.tensor_parallel_size, server.data_parallel_size, server.api_server_count) == expected


def test_what_the_settings_name_stays_as_it_is_and_the_rest_follows(qwen):
    given = ServerConfig(tensor_parallel_size=2, max_model_len=999, mm_processor_kwargs={"a": 1}, dtype="float16")
    made = plan_server(config_of(qwen, given), Machine(num_gpus=8, gpu_bytes=GPU_BYTES, num_cores=64))
    server = made.server
    assert (server.tensor_parallel_size, server.max_model_len, server.dtype) == (2, 999, "float16")
    assert server.mm_processor_kwargs == {"a": 1}
    assert server.data_parallel_size == 4
    reasons = {value.name: value.why for value in made.values}
    assert reasons["max_model_len"] == reasons["tensor_parallel_size"] == "named in the settings"
    assert reasons["data_parallel_size"] == "8 GPUs, 2 for each copy"


def test_on_a_cpu_nothing_is_divided_or_copied(qwen):
    server = plan_server(config_of(qwen), CPU).server
    assert server.tensor_parallel_size is server.data_parallel_size is server.api_server_count is None


def test_the_limit_of_a_model_with_a_short_context_is_not_exceeded(qwen):
    (qwen / "config.json").write_text('{"max_position_embeddings": 1024}')
    made = plan_server(config_of(qwen), ONE_GPU)
    assert made.server.max_model_len == 1024
    (why,) = [value.why for value in made.values if value.name == "max_model_len"]
    assert why.startswith("the model's limit; at most needed: ")


def test_more_gpus_than_there_are_is_an_error(qwen):
    with pytest.raises(ConfigError, match="4 × 1 GPUs are asked for and 2 are visible; lower tensor_parallel_size"):
        plan_server(
            config_of(qwen, ServerConfig(tensor_parallel_size=4)), Machine(num_gpus=2, gpu_bytes=1, num_cores=2)
        )


def test_a_server_is_planned_only_for_a_model():
    with pytest.raises(ConfigError, match="no model is named"):
        plan_server(CaptionsConfig(captioner="vllm", endpoints=("http://gpu:8000/v1",)), ONE_GPU)


def test_a_hub_model_whose_settings_cannot_be_fetched_is_left_to_vllm(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    made = plan_server(config_of("nobody/no-model"), ONE_GPU)
    assert made.server.max_model_len is None and made.server.mm_processor_kwargs is None
    assert made.picture.size_px == 336
    assert "the usual one, since the model's folder does not say what it reads" in [value.why for value in made.values]


def test_the_settings_of_a_hub_model_are_fetched_before_its_weights(monkeypatch, qwen):
    fetched: list[str] = []

    def download(model: str, name: str, *, revision: str | None) -> str:
        fetched.append(name)
        if not (qwen / name).exists():
            raise huggingface_hub.errors.EntryNotFoundError("none")
        return str(qwen / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    made = plan_server(config_of("qwen/qwen2-vl"), ONE_GPU)
    assert made.picture.max_pixels == 1_003_520
    assert fetched[0] == "config.json" and not [name for name in fetched if name.endswith(".safetensors")]


@pytest.mark.parametrize(
    ("output", "visible", "expected"),
    [
        ("81559\n81559\n", None, (2, 81559 << 20)),
        ("81559\n40960\n", "0", (1, 81559 << 20)),
        ("81559\n", "-1", (0, 0)),
        ("No devices were found\n", None, (0, 0)),
    ],
)
def test_the_gpus_are_those_that_nvidia_smi_and_the_environment_show(monkeypatch, output, visible, expected):
    monkeypatch.setattr(plan.shutil, "which", lambda _name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(plan.subprocess, "run", lambda *_a, **_k: subprocess.CompletedProcess([], 0, output, ""))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    machine = this_machine()
    assert (machine.num_gpus, machine.gpu_bytes) == expected
