"""The exponential moving average of a model's weights (EMA)."""

from __future__ import annotations

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """The average of the weights that learn; weights that do not are their own average.

    Args:
        model: Whose weights to follow. The average begins as a copy of them.
        decay: Share of the average that a step keeps, once enough steps are done: of the first it keeps less, so that
            the initial weights do not weigh on a short run.

    >>> layer = torch.nn.Linear(1, 1)
    >>> average = Average(layer, decay=0.999)
    >>> average.update(num_steps_done=1)
    """

    def __init__(self, model: torch.nn.Module, *, decay: float) -> None:
        self._decay = decay
        self._learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._averages = {name: weight.detach().clone() for name, weight in self._learning.items()}

    @torch.no_grad()
    def update(self, *, num_steps_done: int) -> None:
        """Take in the weights after `num_steps_done` steps."""
        decay = min(self._decay, (1 + num_steps_done) / (10 + num_steps_done))
        follow = get_ema_multi_avg_fn(decay)
        follow(list(self._averages.values()), [weight.detach() for weight in self._learning.values()], num_steps_done)

    @torch.no_grad()
    def put_in_place(self) -> None:
        """Give the model the averaged weights in place of its own."""
        for name, weight in self._learning.items():
            weight.copy_(self._averages[name])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Name → averaged weight."""
        return self._averages

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take over the averages that `state_dict` gave."""
        for name, average in self._averages.items():
            average.copy_(state[name])
