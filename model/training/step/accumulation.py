"""A batch that is too large to go through a model at once, and yet is one batch (cached gradients, GradCache).

Contrastive terms compare all pairs of a batch, so the losses of its parts do not add up to its own. Here all parts go
through the model without gradient first; the loss is taken over all their features, and its gradient with respect to
them is kept; then each part goes through the model again, and the kept gradient flows on into the weights. Arithmetic
apart, the result is that of the whole batch at once.

Both passes draw the same dropout, since each part has a seed of its own. Batch normalisation alone differs: it sees the
statistics of a part, not of the batch.
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
        forward: Number of a part → its outputs, each (num_rows, …); called twice for each, equal both times.
        num_parts: How many there are.
        loss: Outputs of all parts, one behind the other → scalar.
        shared: Weights that `loss` uses beside the outputs.
        without_sync: Holds around all parts but the last, whose backward pass brings the processes' gradients together.
    """
    with torch.no_grad():
        outputs = [forward(part) for part in range(num_parts)]
    joined = tuple(torch.cat(pieces).requires_grad_() for pieces in zip(*outputs, strict=True))
    gradients = torch.autograd.grad(loss(joined), [*joined, *shared], materialize_grads=True)
    ends = torch.tensor([0, *(len(pieces[0]) for pieces in outputs)]).cumsum(0).tolist()
    for part in range(num_parts):
        is_last = part == num_parts - 1
        rows = slice(ends[part], ends[part + 1])
        with contextlib.nullcontext() if is_last else without_sync():
            flows = list(zip(forward(part), [gradient[rows] for gradient in gradients[: len(joined)]], strict=True))
            if is_last:
                flows += list(zip(shared, gradients[len(joined) :], strict=True))
            # The gradient of this sum with respect to an output is the kept gradient.
            torch.stack([(output * kept).sum() for output, kept in flows if output.requires_grad]).sum().backward()
