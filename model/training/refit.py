"""Refitting the last layer of the classification head at the end of a run, on frozen features.

A head that learns together with the towers is always a little behind them, sees crops, and sees a rare class in few of
its batches. Once the towers no longer change, its last layer is a softmax regression, which has one best solution that
takes seconds to find (decoupled training, arXiv 1910.09217). It is fitted with balanced softmax (arXiv 2007.10740): the
logarithm of each class's frequency is added to its logit, so that the logits themselves favour no class, and any prior
can be put into them when they are read out (`model.clip.readout`).

Two things keep this a small part of a run, however large the split is. At most `MOST_VIEWS_OF_A_CLASS` views of each
class are used: a last layer has a few hundred weights a class, so more views of a common class would hardly change
them, and of a rare class all views are used. And each of these views passes once through the image tower. What the last
layer gets from it is stored in the run's folder in files of a thousand views: a run that was stopped continues
after the last complete file, and the fit maps the files into memory instead of reading them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch.nn import functional

from model.clip.heads import ClipWithHead
from model.clip.readout import NEVER
from model.dataset.classes import UNKNOWN
from model.dataset.images import ImageReader
from model.errors import NonFiniteError
from model.files import atomic_write, read_json, remove, write_json
from model.training.batches import BatchStream
from model.training.step.learner import Learner

MOST_VIEWS_OF_A_CLASS = 2048
_VIEWS_A_FILE = 1024
_LARGEST_BATCH = 256  # images a forward pass: without gradients, larger batches are not faster
_MAX_ITERATIONS = 500
_GRADIENT_TOLERANCE, _LOSS_TOLERANCE = 1e-5, 1e-8  # below these, rounding of the sums decides the steps
_SMALLEST_SPREAD = 1e-6  # an input that varies this many times less than another one is constant up to rounding

_LOG = logging.getLogger(__name__)


def refit_head(
    learner: Learner,
    stream: BatchStream,
    folder: Path,
    *,
    weights_id: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any] | None:
    """Replace the last layer of the head by the best one for whole training views, classified from the image alone.

    Args:
        learner: The model with its final weights. Only the last layer of its head is changed.
        stream: The batches of the run, for its views, classes and settings.
        folder: Where the inputs of the last layer are stored. The caller removes it.
        weights_id: What the final weights follow from, such as a hash of the last checkpoint. Inputs that were stored
            under another one are computed again.
        should_stop: Called after each stored file.

    Returns:
        `num_views`, `loss` and `num_iterations`, for the summary of the run; None if `should_stop` returned True.
    """
    started = time.perf_counter()
    config, head = stream.config, learner.towers.head
    assert head is not None  # the settings ask for one
    # What the last layer gets from each view, once.
    rows = choose_views(stream.sampler.classes, most=MOST_VIEWS_OF_A_CLASS, seed=config.seed)
    store = InputStore(folder, rows, weights_id)
    _LOG.info("refits the last layer of the head on %d views", len(rows))
    with contextlib.closing(
        ImageReader(stream.views, learner.clip.preprocess, num_workers=config.num_workers)
    ) as reader:
        if not store.complete(functools.partial(_head_inputs, learner, reader), should_stop):
            return None
    # The best layer for them.
    fitted = fit_last_layer(
        store.blocks(),
        stream.sampler.classes[rows],
        num_classes=len(stream.classes),
        l2=config.refit_l2,
        device=learner.device,
    )
    with torch.no_grad():
        head.out.weight.copy_(torch.from_numpy(fitted.weight))
        head.out.bias.copy_(torch.from_numpy(fitted.bias))
    _LOG.info("the last layer was refitted in %.1f s", time.perf_counter() - started)
    return {"num_views": len(rows), "loss": fitted.loss, "num_iterations": fitted.num_iterations}


@torch.inference_mode()
def _head_inputs(learner: Learner, reader: ImageReader, rows: np.ndarray) -> np.ndarray:
    """What the last layer of the head gets from each view: (num_rows, width) float32."""
    config, towers = learner.config, learner.towers.eval()
    assert isinstance(towers.net, ClipWithHead)
    size = min(config.micro_batch_size or config.batch_size, _LARGEST_BATCH)
    inputs = []
    for first in range(0, len(rows), size):
        grey = reader.read_grey(rows[first : first + size].tolist()).to(learner.device)
        inputs.append(towers.net.head_inputs(towers.normalise(grey)).float().cpu())
    return torch.cat(inputs).numpy()


def choose_views(classes: np.ndarray, *, most: int, seed: int) -> np.ndarray:
    """Rows of views of known class, at most `most` of each class, drawn at random: (num_chosen,) int64, ascending.

    Args:
        classes: (num_views,) index of each view's class; -1 if unknown.
        most: Largest number of views of a class.
        seed: Seed of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    order = order[np.argsort(classes[order], kind="stable")]  # by class, at random within a class
    starts = np.searchsorted(classes[order], classes[order], side="left")
    is_chosen = (classes[order] != UNKNOWN) & (np.arange(len(order)) - starts < most)
    return np.sort(order[is_chosen])


@dataclass(frozen=True)
class InputStore:
    """The inputs of a last layer for some views, in files of a thousand views each.

    Attributes:
        folder: Folder of the files.
        rows: (num_views,) rows of the views.
        weights_id: What the weights that compute the inputs follow from.
    """

    folder: Path
    rows: np.ndarray
    weights_id: str

    def complete(self, compute: Callable[[np.ndarray], np.ndarray], should_stop: Callable[[], bool]) -> bool:
        """Compute the files that are missing; returns False if `should_stop` returned True before the last one.

        Args:
            compute: Rows → (num_rows, width) float32.
            should_stop: Called after each file.
        """
        identity = {"weights": self.weights_id, "num_views": len(self.rows)}
        if read_json(self.folder / "identity.json") != identity:
            remove(self.folder)
            write_json(self.folder / "identity.json", identity)
        missing = [(path, part) for path, part in self._files() if not path.is_file()]
        for index, (path, part) in enumerate(missing):
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.save(file, compute(part))
            if index < len(missing) - 1 and should_stop():
                return False
        return True

    def blocks(self) -> list[np.ndarray]:
        """The inputs in the order of `rows`, mapped into memory: (num_rows of a file, width) float32 each."""
        return [np.load(path, mmap_mode="c") for path, _ in self._files()]

    def _files(self) -> list[tuple[Path, np.ndarray]]:
        """Path and rows of each file."""
        parts = np.split(self.rows, range(_VIEWS_A_FILE, len(self.rows), _VIEWS_A_FILE))
        return [(self.folder / f"inputs-{index:05d}.npy", part) for index, part in enumerate(parts)]


@dataclass(frozen=True)
class LastLayer:
    """A fitted last layer.

    Attributes:
        weight: (num_classes, width) float32.
        bias: (num_classes,) float32.
        loss: Mean balanced cross-entropy of the views it was fitted on, without the penalty.
        num_iterations: Iterations of L-BFGS.
    """

    weight: np.ndarray
    bias: np.ndarray
    loss: float
    num_iterations: int


def fit_last_layer(
    blocks: Sequence[np.ndarray], classes: np.ndarray, *, num_classes: int, l2: float, device: torch.device
) -> LastLayer:
    """The linear layer whose logits, with the logarithm of the class frequencies added, predict the classes best.

        Σ_i −log softmax(W x_i + b + log π)[c(i)]  +  l2 / 2 · ‖W‖²      minimised over W and b by L-BFGS

    π is the frequency of the classes among the views. The penalty is that of weights for inputs of mean 0 and standard
    deviation 1, so that it means the same for every head. A class without views gets the logit -10,000.

    Args:
        blocks: The inputs of the views, (num_rows, width) float32 each.
        classes: (num_views,) index of each view's class; all known.
        num_classes: Length of the class table.
        l2: Strength of the penalty; at least 0.
        device: Where the sums over the views are computed.

    Raises:
        NonFiniteError: An input is NaN or infinite.
    """
    present, targets = np.unique(classes, return_inverse=True)
    objective = _BalancedSoftmax(blocks, targets, l2, device)
    start = np.zeros(len(present) * (objective.width + 1))
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MAX_ITERATIONS, "gtol": _GRADIENT_TOLERANCE, "ftol": _LOSS_TOLERANCE},
    )
    weight = np.zeros((num_classes, objective.width), np.float32)
    bias = np.full(num_classes, NEVER, np.float32)
    weight[present], bias[present] = objective.layer(found.x)
    return LastLayer(weight, bias, objective.loss(found.x), int(found.nit))


class _BalancedSoftmax:
    """The objective of `fit_last_layer`, divided by the number of views, and its gradient.

    Its parameters are those of a layer for standardised inputs, for which L-BFGS takes a fraction of the iterations.
    Inputs are standardised block by block at each evaluation, so that they can stay where they are. All that depends on
    the classes of the views is the sum of the inputs of each class, which is computed once.
    """

    def __init__(self, blocks: Sequence[np.ndarray], targets: np.ndarray, l2: float, device: torch.device) -> None:
        self._l2 = l2
        self._num_views = len(targets)
        self._device = device
        self._blocks = [torch.from_numpy(block).to(device) for block in blocks]
        self.width: int = blocks[0].shape[1]
        self._mean, self._spread = self._moments()
        self._counts = np.bincount(targets)
        self._log_prior = np.log(self._counts / self._num_views)
        self._class_sums = self._sums_of_classes(torch.from_numpy(targets).to(device))

    def _moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of each input: (width,) float32 each."""
        mean, variance = (torch.zeros(self.width, dtype=torch.float64, device=self._device) for _ in range(2))
        for inputs in self._blocks:
            mean += inputs.double().sum(dim=0) / self._num_views
        for inputs in self._blocks:
            variance += ((inputs.double() - mean) ** 2).sum(dim=0) / self._num_views
        if not torch.isfinite(variance).all():
            raise NonFiniteError("the head gets inputs that are not finite; train again with a lower learning_rate")
        largest = variance.max().sqrt().item() or 1.0
        return mean.float(), variance.sqrt().clamp(min=_SMALLEST_SPREAD * largest).float()

    def _standardised(self) -> Iterator[torch.Tensor]:
        """Yield the blocks with mean 0 and standard deviation 1: (num_rows, width) float32 each."""
        for inputs in self._blocks:
            yield (inputs - self._mean) / self._spread

    def _sums_of_classes(self, targets: torch.Tensor) -> np.ndarray:
        """(num_present, width) float64 sums of the standardised inputs of each class."""
        sums = torch.zeros(len(self._counts), self.width, dtype=torch.float64, device=self._device)
        parts = targets.split([len(block) for block in self._blocks])
        for standardised, part in zip(self._standardised(), parts, strict=True):
            sums += functional.one_hot(part, len(self._counts)).T.double() @ standardised.double()
        return sums.cpu().numpy()

    def layer(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias of the layer for inputs as they are: (num_present, width), (num_present,) float64."""
        standardised, bias = self._split(parameters)
        weight = standardised / self._spread.cpu().numpy()
        return weight, bias - weight @ self._mean.cpu().numpy()

    def loss(self, parameters: np.ndarray) -> float:
        """Mean cross-entropy without the penalty."""
        return self._cross_entropy(*self._split(parameters))[0] / self._num_views

    def __call__(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient, (num_parameters,) float64."""
        weight, bias = self._split(parameters)
        loss, by_weight, by_bias = self._cross_entropy(weight, bias)
        value = loss + self._l2 / 2 * (weight**2).sum()
        gradient = np.column_stack([by_weight + self._l2 * weight, by_bias]).ravel()
        return value / self._num_views, gradient / self._num_views

    def _split(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias for standardised inputs: (num_present, width), (num_present,)."""
        rows = parameters.reshape(-1, self.width + 1)
        return rows[:, : self.width], rows[:, self.width]

    def _cross_entropy(self, weight: np.ndarray, bias: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Sum over all views, and its gradients with respect to weight and bias, which are rounded to float32."""
        weight, offsets = weight.astype(np.float32), (bias + self._log_prior).astype(np.float32)
        columns = torch.from_numpy(weight).to(self._device).T  # (width, num_present)
        added = torch.from_numpy(offsets).to(self._device)
        normalisers = torch.zeros((), dtype=torch.float64, device=self._device)
        by_weight = torch.zeros(weight.shape, dtype=torch.float64, device=self._device)
        by_bias = torch.zeros(len(bias), dtype=torch.float64, device=self._device)
        for standardised in self._standardised():
            logits = torch.addmm(added, standardised, columns)  # (num_rows, num_present)
            normalisers += logits.logsumexp(dim=1).sum(dtype=torch.float64)
            shares = logits.softmax(dim=1)
            by_weight += shares.T @ standardised
            by_bias += shares.sum(dim=0, dtype=torch.float64)
        of_right_classes = (weight * self._class_sums).sum() + offsets.astype(np.float64) @ self._counts
        return (
            normalisers.item() - float(of_right_classes),
            by_weight.cpu().numpy() - self._class_sums,
            by_bias.cpu().numpy() - self._counts,
        )
