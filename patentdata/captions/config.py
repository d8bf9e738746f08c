"""Settings of the captions stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from patentdata.captions.described import DescribedConfig
from patentdata.captions.prompts import load_prompt
from patentdata.errors import ConfigError


def _require(is_met: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `is_met`."""
    if not is_met:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How the model samples its answer; part of a caption's cache key.

    Attributes:
        temperature: Sampling temperature of the first try. 0 always takes the most likely token, so that equal
            questions have equal answers.
        top_p: Nucleus sampling: tokens are drawn from the most likely ones whose probabilities add up to this value.
        max_tokens: Longest answer, in tokens of the model.
        seed: Seed of the first try; each further try counts up from it.
        retry_temperatures: Sampling temperatures of the further tries, after an answer that is empty, repeats itself or
            cannot be read.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 200
    seed: int = 0
    retry_temperatures: tuple[float, ...] = (0.5, 1.0)

    def __post_init__(self) -> None:
        for temperature in (self.temperature, *self.retry_temperatures):
            _require(0 <= temperature <= 2, f"temperature is {temperature}; choose 0 (deterministic) to 2")
        _require(0 < self.top_p <= 1, f"top_p is {self.top_p}; choose a value above 0 and up to 1 (all tokens)")
        _require(16 <= self.max_tokens <= 4096, f"max_tokens is {self.max_tokens}; choose 16 to 4096")

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperature of every try, in order."""
        return (self.temperature, *self.retry_temperatures)


@dataclass(frozen=True, kw_only=True)
class CaptionImageConfig:
    """The picture that the model is shown; part of a caption's cache key.

    Attributes:
        mode: "square" (padded with white to a square) or "aspect" (the drawing's proportions, within a pixel budget);
            None for what the model's processor reads, or "square" if its folder is not at hand.
        size_px: Side of the square in pixels; None for the model's own input size, or 336 if its folder is not at hand.
        max_pixels: Most pixels of a picture whose proportions are kept; None for the model's own budget, but at most
            1,003,520, which is the area of 1,280 tokens of Qwen2-VL.
        margin_share: White margin at each end of the drawing's longer axis, as a share of the picture's longer side.
        lines: Which lines of the drawing are shown: "all", or "claimed" without surroundings and other lines that the
            grant does not claim; a view without claimed lines is shown whole.
    """

    mode: Literal["square", "aspect"] | None = None
    size_px: int | None = None
    max_pixels: int | None = None
    margin_share: float = 0.04
    lines: Literal["all", "claimed"] = "all"

    def __post_init__(self) -> None:
        _require(self.mode in (None, "square", "aspect"), f'image mode is {self.mode!r}; choose "square" or "aspect"')
        _require(
            self.max_pixels is None or 3_136 <= self.max_pixels <= 100_000_000,
            f"max_pixels is {self.max_pixels}; choose 3,136 (56 × 56) to 100,000,000",
        )
        _require(
            not (self.max_pixels and (self.mode == "square" or self.size_px)),
            'max_pixels belongs to the image mode "aspect"; give size_px for a square',
        )
        _require(not (self.size_px and self.mode == "aspect"), 'size_px belongs to the image mode "square"')
        is_usable = self.size_px is None or 28 <= self.size_px <= 2048
        _require(is_usable, f"image size is {self.size_px} px; choose 28 to 2048")
        _require(0 <= self.margin_share <= 0.4, f"margin_share is {self.margin_share}; choose 0 to 0.4")
        _require(self.lines in ("all", "claimed"), f'lines is {self.lines!r}; choose "all" or "claimed"')


@dataclass(frozen=True, kw_only=True)
class RequestsConfig:
    """How requests are sent to endpoints; changes no caption.

    Attributes:
        num_in_flight: Most concurrent requests to each endpoint.
        timeout_s: Longest wait for an answer in seconds, including the wait in the server's queue.
        connect_timeout_s: Longest wait for a connection in seconds.
        num_tries: How often a view is sent before a server failure becomes its reason.
        first_wait_s: Wait in seconds before the second try; doubled, with jitter, before each later one.
        longest_wait_s: Upper bound in seconds of those waits, and of the pause after an endpoint failed.
        max_outage_s: The week fails if no endpoint has answered for this many seconds; finished captions are kept.
        max_lost_in_a_row: The week fails if this many consecutive views got no answer, or none at all did.
        num_image_workers: Processes that prepare images; 0 takes one for each core, four at most.
    """

    num_in_flight: int = 128
    timeout_s: float = 300.0
    connect_timeout_s: float = 10.0
    num_tries: int = 4
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    max_outage_s: float = 300.0
    max_lost_in_a_row: int = 32
    num_image_workers: int = 0

    def __post_init__(self) -> None:
        for name in ("num_in_flight", "num_tries", "max_lost_in_a_row"):
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; choose 1 or more")
        for name in ("timeout_s", "connect_timeout_s", "first_wait_s", "longest_wait_s", "max_outage_s"):
            _require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}; choose seconds above 0")
        is_usable = 0 <= self.num_image_workers <= 256
        _require(is_usable, f"num_image_workers is {self.num_image_workers}; choose 0 (one for each core) to 256")


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How a managed server is started; changes no caption.

    What is None follows from the model, the question and the GPUs of the machine (see `vllm.plan`).

    Attributes:
        tensor_parallel_size: Number of GPUs that share one copy of the model.
        data_parallel_size: Number of copies of the model, each on its own GPUs.
        api_server_count: Number of processes that prepare requests.
        dtype: Data type of the weights: "auto" (the model's own), "bfloat16", "float16" or "float32".
        max_model_len: Longest prompt and answer together, in tokens.
        limit_mm_per_prompt: Most pictures, and other media, of one request, such as {"image": 1}.
        mm_processor_kwargs: Options of the model's processor, such as {"size": {"longest_edge": 1003520}}.
        gpu_memory_utilization: Share of a GPU's memory that the server may take; None for vLLM's own choice.
        extra_arguments: Further arguments for `vllm.entrypoints.openai.api_server`, such as ("--enforce-eager",).
        environment: Environment variables for the server, in addition to those of this program.
        startup_timeout_s: Longest wait in seconds until the server answers, including the time to load the model.
        stop_timeout_s: Time in seconds that the server has to exit before it is killed.
        max_restarts: How often the server is restarted after it died in use.
    """

    tensor_parallel_size: int | None = None
    data_parallel_size: int | None = None
    api_server_count: int | None = None
    dtype: str = "auto"
    max_model_len: int | None = None
    limit_mm_per_prompt: Mapping[str, int] | None = None
    mm_processor_kwargs: Mapping[str, Any] | None = None
    gpu_memory_utilization: float | None = None
    extra_arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    startup_timeout_s: float = 1800.0
    stop_timeout_s: float = 15.0
    max_restarts: int = 3

    def __post_init__(self) -> None:
        for name in ("tensor_parallel_size", "data_parallel_size", "api_server_count"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; choose 1 or more, or leave it out")
        if self.max_model_len is not None and self.max_model_len < 1:
            raise ConfigError(f"max_model_len is {self.max_model_len}; choose 1 or more tokens, or leave it out")
        if self.gpu_memory_utilization is not None and not 0 < self.gpu_memory_utilization <= 1:
            raise ConfigError(f"gpu_memory_utilization is {self.gpu_memory_utilization}; choose a share such as 0.9")
        if isinstance(self.extra_arguments, str):
            raise ConfigError(f'extra_arguments is one text; give a list such as ["{self.extra_arguments}"]')
        for name in ("startup_timeout_s", "stop_timeout_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; choose seconds above 0")
        if self.max_restarts < 0:
            raise ConfigError(f"max_restarts is {self.max_restarts}; choose 0 or more")


@dataclass(frozen=True, kw_only=True)
class CaptionsConfig:
    """How views are captioned.

    Endpoints, server and requests change no caption, so they are not part of the provenance: a week captioned through
    one server is done for another that serves the same model.

    Attributes:
        captioner: "described" (a template filled from the grant; needs no model) or "vllm" (a vision-language model).
        described: Settings of the template captions.
        prompt: What the model is asked: "views", "impact", "patent" or the path of a TOML file (see `prompts`).
        views_per_question: 1, or "patent" for all views of a patent in one request, with a prompt that has fields for
            each view.
        max_views_per_question: Most views of one request; those of a longer patent are divided.
        max_pixels_per_question: Most pixels of the pictures of one request together; None for no bound.
        model: The model: a hub name such as "llava-hf/llava-1.5-13b-hf", or its folder. None takes what is served.
        revision: Revision of a hub model. Without it, finished weeks stay done whatever revision is served now.
        sampling: How the model samples its answer.
        image: The picture that the model is shown.
        retry_failed: Ask again for the views of finished weeks that have no caption since no server answered or one
            rejected them.
        requests: How requests are sent to endpoints.
        endpoints: Addresses of OpenAI-compatible servers, such as "http://gpu-1:8000/v1".
        server: The managed server, which is started if a model is named but no endpoint.
    """

    captioner: Literal["described", "vllm"] = "described"
    described: DescribedConfig = DescribedConfig()
    prompt: str = "views"
    views_per_question: Literal[1, "patent"] = 1
    max_views_per_question: int = 8
    max_pixels_per_question: int | None = None
    model: str | None = None
    revision: str | None = None
    sampling: SamplingConfig = SamplingConfig()
    image: CaptionImageConfig = CaptionImageConfig()
    retry_failed: bool = False
    requests: RequestsConfig = RequestsConfig()
    endpoints: tuple[str, ...] = field(default=(), repr=False)  # may hold a password
    server: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        _require(
            self.captioner in ("described", "vllm"),
            f'unknown captioner {self.captioner!r}; choose "described" (needs no model) or "vllm"',
        )
        self._check_questions()
        _require(not isinstance(self.endpoints, str), f"endpoints is the text {self.endpoints!r}; give a list")
        for url in self.endpoints:
            check_endpoint(url)
        if self.captioner == "vllm":
            _require(
                self.model is not None or bool(self.endpoints),
                "no model and no endpoint is set; name the model to serve, such as llava-hf/llava-1.5-13b-hf, or the "
                "endpoints to use",
            )

    def _check_questions(self) -> None:
        """Raise ConfigError unless the prompt is about as many views as a question has."""
        prompt = load_prompt(self.prompt)
        is_about_patents = self.views_per_question == "patent"
        _require(
            self.views_per_question in (1, "patent"),
            f'views_per_question is {self.views_per_question!r}; choose 1 or "patent"',
        )
        _require(
            not is_about_patents or bool(prompt.view_fields),
            f'the prompt {prompt.name} is about one view; for views_per_question = "patent" choose the prompt "patent" '
            "or a file with [view_fields]",
        )
        _require(
            is_about_patents or not prompt.view_fields,
            f'the prompt {prompt.name} is about all views of a patent; set views_per_question = "patent"',
        )
        _require(
            1 <= self.max_views_per_question <= 32,
            f"max_views_per_question is {self.max_views_per_question}; choose 1 to 32",
        )
        _require(
            self.max_pixels_per_question is None or self.max_pixels_per_question >= 3_136,
            f"max_pixels_per_question is {self.max_pixels_per_question}; choose 3,136 or more",
        )


def check_endpoint(url: str) -> None:
    """Raise ConfigError unless `url` is the address of a server; the message shows neither user nor password."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    shown = url.rpartition("@")[2]
    _require(is_usable, f"endpoint {shown!r} is not the address of a server; name one such as http://localhost:8000/v1")
