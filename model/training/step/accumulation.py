"""Training on a batch that is too large for one forward pass, without changing its loss (GradCache).

Contrastive terms compare all pairs of a batch, so the losses of its parts do not add up to that of the batch. Here all
parts first pass through the model without gradient. The loss is computed over all features, and its gradient with
respect to them is cached. Then each part passes through the model again, and the cached gradient is propagated into the
weights. Up to rounding, the result is that of the whole batch at once.

Both passes have the same dropout, since each part has its own seed. Only batch normalisation differs: it sees the
statistics of a part, not those of the batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch

Tensors = tuple[torch.Tensor, ...]


def backward_in_parts(
    forward: Callable[[int], Tensors],
    num_parts: int,
    loss: Callable[[Tensors], torch.Tensor],
    shared: Sequence[torch.Tensor],
    *,
    without_sync: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> None:
    """Add the gradient of a loss over all parts to the weights that `forward` and `loss` use.

    Args:
        forward: Number of a part → its outputs, each (num_rows, …). It is called twice for each part and must return
            equal outputs both times.
        num_parts: Number of parts.
        loss: Concatenated outputs of all parts → scalar.
        shared: Weights that `loss` uses in addition to the outputs.
        without_sync: Context of all parts but the last, whose backward pass synchronises the gradients of all
            processes.
    """
    # First pass: features of all parts, and the gradient of the loss with respect to them.
    with torch.no_grad():
        outputs = [forward(part) for part in range(num_parts)]
    joined = tuple(torch.cat(pieces).requires_grad_() for pieces in zip(*outputs, strict=True))
    gradients = torch.autograd.grad(loss(joined), [*joined, *shared], materialize_grads=True)
    # Second pass, part by part: the cached gradients are propagated into the weights.
    ends = torch.tensor([0, *(len(pieces[0]) for pieces in outputs)]).cumsum(0).tolist()
    for part in range(num_parts):
        is_last = part == num_parts - 1
        rows = slice(ends[part], ends[part + 1])
        with contextlib.nullcontext() if is_last else without_sync():
            pairs = list(zip(forward(part), [gradient[rows] for gradient in gradients[: len(joined)]], strict=True))
            if is_last:
                pairs += list(zip(shared, gradients[len(joined) :], strict=True))
            # The gradient of this sum with respect to an output is its cached gradient.
            torch.stack([(output * cached).sum() for output, cached in pairs if output.requires_grad]).sum().backward()
