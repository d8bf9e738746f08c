"""The exponential moving average of a model's weights (EMA)."""

from __future__ import annotations

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The exponential moving average of the trainable weights of a model.

    Args:
        model: Model to follow. The average starts as a copy of its weights.
        decay: Share of the average that a step keeps. The first steps keep less, so that the initial weights do not
            dominate a short run.

    >>> layer = torch.nn.Linear(1, 1)
    >>> average = WeightAverage(layer, decay=0.999)
    >>> average.update(num_steps_done=1)
    """

    def __init__(self, model: torch.nn.Module, *, decay: float) -> None:
        self._decay = decay
        self._learning = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._averages = {name: weight.detach().clone() for name, weight in self._learning.items()}

    @torch.no_grad()
    def update(self, *, num_steps_done: int) -> None:
        """Add the weights after `num_steps_done` steps to the average."""
        decay = min(self._decay, (1 + num_steps_done) / (10 + num_steps_done))
        update_averages = get_ema_multi_avg_fn(decay)
        update_averages(
            list(self._averages.values()), [weight.detach() for weight in self._learning.values()], num_steps_done
        )

    @torch.no_grad()
    def copy_to_model(self) -> None:
        """Replace the weights of the model by their averages."""
        for name, weight in self._learning.items():
            weight.copy_(self._averages[name])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Name → averaged weight."""
        return self._averages

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Set the averages from the result of `state_dict`."""
        for name, average in self._averages.items():
            average.copy_(state[name])
