"""Number formats that a model computes its features in.

This module does not import torch, since settings are checked in processes that do without it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from model.settings import require

if TYPE_CHECKING:
    import torch

PRECISIONS = ("fp32", "bf16", "tf32")
"""bf16 is autocast, whose features have a cosine above 0.999 with those of fp32; tf32 shortens the factors of matrix
products on a GPU, and keeps fp32 otherwise."""


def check_precision(precision: str, device: torch.device) -> None:
    """Raise ConfigError unless a device computes in a precision."""
    require(precision in PRECISIONS, f"precision is {precision!r}; use one of {', '.join(PRECISIONS)}")
    require(precision != "tf32" or device.type == "cuda", "precision tf32 needs a GPU; use fp32 or bf16")


@contextlib.contextmanager
def computing_in(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in a precision until the block ends; see `PRECISIONS`."""
    import torch

    before = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
