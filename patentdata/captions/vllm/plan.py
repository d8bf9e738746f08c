"""How a managed server is started: what follows from the model, the question and the GPUs of this machine.

vLLM's own defaults suit a chat: a context of 128,000 tokens, pictures of up to 16,000 tokens, one copy of the model. A
caption needs a few hundred tokens and a picture of about a thousand, so the context can be short, which leaves memory
for more concurrent requests, and a model that fits on one GPU is copied to each of them instead of being divided, which
costs no communication. Every value that the settings name is taken as it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from patentdata.captions.config import CaptionsConfig, ServerConfig
from patentdata.captions.prompts import load_prompt
from patentdata.captions.vllm.identity import folder_of
from patentdata.captions.vllm.images import PictureForm
from patentdata.captions.vllm.processors import (
    ModelFolder,
    Processor,
    picture_form,
    read_model_folder,
    views_a_question,
)
from patentdata.errors import ConfigError

_TOKENS_A_STEP = 256  # the context is a multiple of this
_CHARS_A_TOKEN = 2  # of a question; English has about four, so names and numbers fit too
_CHAT_TOKENS = 128  # of a chat template
_WEIGHTS_SHARE = 0.7  # of the memory of the GPUs that share a copy; the rest is for pictures and answers
_CORES_AN_API_PROCESS = 4
_MOST_API_PROCESSES = 4  # of one copy of the model
_OTHER_FILES = ("preprocessor_config.json", "processor_config.json", "model.safetensors.index.json")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What this machine has for a server.

    Attributes:
        num_gpus: Number of GPUs; 0 on a CPU.
        gpu_bytes: Memory of the smallest of them in bytes; 0 without one.
        num_cores: Number of CPU cores.
    """

    num_gpus: int
    gpu_bytes: int
    num_cores: int


@dataclass(frozen=True, kw_only=True)
class PlannedValue:
    """One value of a plan: what it is for, its value in words, and why."""

    name: str
    value: str
    why: str


@dataclass(frozen=True, kw_only=True)
class ServerPlan:
    """How a server of one model is started.

    Attributes:
        server: The settings, with every value that follows from the plan.
        picture: The picture that the model is shown.
        values: Everything that was planned, with its reason.
    """

    server: ServerConfig
    picture: PictureForm
    values: tuple[PlannedValue, ...]


def plan_server(config: CaptionsConfig, machine: Machine) -> ServerPlan:
    """How to start the server of `config.model` on `machine`; what the settings name stays as it is.

    Raises:
        ConfigError: The settings name no model, or ask for more GPUs than there are.
    """
    if config.model is None:
        raise ConfigError("no model is named, so no server is started; name one, such as llava-hf/llava-1.5-13b-hf")
    folder = folder_of(config.model, config.revision, is_served_here=True) or _fetch_settings(config)
    model = ModelFolder() if folder is None else read_model_folder(folder)
    picture = picture_form(config.image, model.processor)
    num_views = views_a_question(config, picture)
    planned = _context(config, model, picture, num_views) | _pictures(model, picture, num_views)
    planned |= _copies(config.server, model, machine)
    given = {name: value for name in planned if (value := getattr(config.server, name)) is not None}
    values = [PlannedValue(name="picture", value=_in_words(picture), why=_reason_of_picture(config, model))]
    for name, (value, why) in planned.items():
        if name in given:
            value, why = given[name], "named in the settings"
        values.append(PlannedValue(name=name, value="vLLM's own" if value is None else str(value), why=why))
    server = replace(config.server, **{name: value for name, (value, _) in planned.items() if name not in given})
    return ServerPlan(server=server, picture=picture, values=tuple(values))


def this_machine() -> Machine:
    """The GPUs, as nvidia-smi and CUDA_VISIBLE_DEVICES say, and the cores of this process."""
    num_cores = len(os.sched_getaffinity(0))
    sizes = list(_gpu_bytes())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        num_visible = len([name for name in visible.split(",") if name.strip() and name.strip() != "-1"])
        sizes = sizes[:num_visible]
    return Machine(num_gpus=len(sizes), gpu_bytes=min(sizes, default=0), num_cores=num_cores)


def _gpu_bytes() -> Iterator[int]:
    """Memory of each GPU in bytes; nothing if nvidia-smi is missing or fails."""
    if shutil.which("nvidia-smi") is None:
        return
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        for line in output.splitlines():
            if line.strip().isdecimal():
                yield int(line) << 20


def _fetch_settings(config: CaptionsConfig) -> Path | None:
    """A folder with the settings of a hub model, which are fetched now, before its weights; None if they cannot be."""
    import huggingface_hub

    assert config.model is not None
    errors = huggingface_hub.errors
    failures = (OSError, ValueError, errors.HfHubHTTPError, errors.EntryNotFoundError)
    try:
        found = huggingface_hub.hf_hub_download(config.model, "config.json", revision=config.revision)
    except failures:
        return None
    for name in _OTHER_FILES:  # few models have all of them
        with contextlib.suppress(*failures):
            huggingface_hub.hf_hub_download(config.model, name, revision=config.revision)
    return Path(found).parent


def _context(
    config: CaptionsConfig, model: ModelFolder, picture: PictureForm, num_views: int
) -> dict[str, tuple[Any, str]]:
    """The length of the context: pictures, question and answer."""
    if model.processor is None:
        return {"max_model_len": (None, "the model's folder does not say how many tokens a picture has")}
    prompt = load_prompt(config.prompt)
    pictures = num_views * model.processor.num_tokens(picture)
    question = prompt.max_chars(num_views) // _CHARS_A_TOKEN + _CHAT_TOKENS
    answer = num_views * config.sampling.max_tokens
    needed = -(-(pictures + question + answer) // _TOKENS_A_STEP) * _TOKENS_A_STEP
    of_pictures = "a picture" if num_views == 1 else f"{num_views} pictures"
    why = f"{pictures:,} tokens of {of_pictures}, {question:,} of a question, {answer:,} of an answer"
    if model.max_model_len is not None and needed > model.max_model_len:
        return {"max_model_len": (model.max_model_len, f"the model's limit; at most needed: {why}")}
    return {"max_model_len": (needed, why)}


def _pictures(model: ModelFolder, picture: PictureForm, num_views: int) -> dict[str, tuple[Any, str]]:
    """How many pictures a question has, and how large the largest is."""
    limits = {"image": num_views} | ({"video": 0} if model.has_video else {})
    views = "one view" if num_views == 1 else f"at most {num_views} views"
    kwargs: tuple[Mapping[str, Any] | None, str] = (None, "the processor needs no bound")
    if _has_bound(model.processor, picture):
        size = {"shortest_edge": 56 * 56, "longest_edge": picture.max_pixels}
        kwargs = {"size": size}, "pixels of the least and the largest picture, for which memory is reserved"
    return {
        "limit_mm_per_prompt": (limits, f"{views} a question" + (", no video" if model.has_video else "")),
        "mm_processor_kwargs": kwargs,
    }


def _has_bound(processor: Processor | None, picture: PictureForm) -> bool:
    return processor is not None and processor.has_size_option and picture.max_pixels is not None


def _copies(server: ServerConfig, model: ModelFolder, machine: Machine) -> dict[str, tuple[Any, str]]:
    """How many GPUs share a copy of the model, how many copies there are, and how many processes prepare requests."""
    if machine.num_gpus == 0:
        why = "no GPU is visible"
        return dict.fromkeys(("tensor_parallel_size", "data_parallel_size", "api_server_count"), (None, why))
    # The fewest GPUs, a power of two, whose memory holds the weights with room to spare.
    shared = 1
    while model.num_bytes and shared < machine.num_gpus:
        if model.num_bytes <= _WEIGHTS_SHARE * shared * machine.gpu_bytes:
            break
        shared *= 2
    weights = "of unknown size" if model.num_bytes is None else f"of {model.num_bytes / 1e9:.1f} GB"
    why_shared = f"weights {weights} on GPUs of {machine.gpu_bytes / 1e9:.0f} GB"
    shared = server.tensor_parallel_size or shared
    copies = max(1, machine.num_gpus // shared)
    if shared * (server.data_parallel_size or copies) > machine.num_gpus:
        raise ConfigError(
            f"{shared} × {server.data_parallel_size or copies} GPUs are asked for and {machine.num_gpus} are visible; "
            "lower tensor_parallel_size or data_parallel_size"
        )
    copies = server.data_parallel_size or copies
    processes = copies * min(_MOST_API_PROCESSES, max(1, machine.num_cores // (_CORES_AN_API_PROCESS * copies)))
    return {
        "tensor_parallel_size": (shared, why_shared),
        "data_parallel_size": (copies, f"{machine.num_gpus} GPUs, {shared} for each copy"),
        "api_server_count": (
            processes,
            f"{machine.num_cores} cores; one process that prepares pictures can leave a GPU waiting",
        ),
    }


def _in_words(picture: PictureForm) -> str:
    if picture.size_px is not None:
        return f"a square of {picture.size_px} px"
    return f"the drawing's proportions, at most {picture.max_pixels:,} px in all, sides × {picture.multiple_px} px"


def _reason_of_picture(config: CaptionsConfig, model: ModelFolder) -> str:
    image = config.image
    if image.mode or image.size_px or image.max_pixels:
        return "named in the settings"
    if model.processor is None:
        return "the usual one, since the model's folder does not say what it reads"
    reads = {"square": "one square", "area": "any proportions, up to an area", "tiles": "square tiles of a picture"}
    return f"its processor reads {reads[model.processor.kind]}"
