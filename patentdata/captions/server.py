"""A vLLM server of this program's own, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from patentdata.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How a server of our own is started; changes no caption.

    Attributes:
        tensor_parallel_size: GPUs that share one copy of the model.
        data_parallel_size: Copies of the model, each on GPUs of its own.
        dtype: Number format of the weights: "auto" (the model's own), "bfloat16", "float16" or "float32".
        max_model_len: Longest question and answer together, in tokens; None for the model's own bound.
        gpu_memory_utilization: Share of a GPU's memory that the server may take; None for vLLM's own choice.
        extra_arguments: Anything else for `vllm.entrypoints.openai.api_server`, such as ("--enforce-eager",).
        environment: Environment variables for the server, beside those of this program.
        startup_timeout_s: Longest wait until it answers, the time to load the model included.
        stop_timeout_s: Time it is given to end by itself before it is killed.
        max_restarts: Times it is started again after it died in use.
    """

    tensor_parallel_size: int = 1
    data_parallel_size: int = 1
    dtype: str = "auto"
    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    extra_arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    startup_timeout_s: float = 1800.0
    stop_timeout_s: float = 15.0
    max_restarts: int = 3

    def __post_init__(self) -> None:
        for name in ("tensor_parallel_size", "data_parallel_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; name a number of GPUs or copies, 1 or more")
        if self.max_model_len is not None and self.max_model_len < 1:
            raise ConfigError(f"max_model_len is {self.max_model_len}; name a number of tokens, or none")
        if self.gpu_memory_utilization is not None and not 0 < self.gpu_memory_utilization <= 1:
            raise ConfigError(f"gpu_memory_utilization is {self.gpu_memory_utilization}; choose a share such as 0.9")
        if isinstance(self.extra_arguments, str):
            raise ConfigError(f'extra_arguments is one text; give a list such as ["{self.extra_arguments}"]')
        for name in ("startup_timeout_s", "stop_timeout_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; name a number of seconds above 0")
        if self.max_restarts < 0:
            raise ConfigError(f"max_restarts is {self.max_restarts}; name 0 or more")
