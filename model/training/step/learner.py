"""Everything that a training step changes (towers, head, optimiser, average), and the step itself."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from model.clip.heads import ClipWithHead, CosineHead, Head
from model.clip.loading import Clip
from model.clip.readout import NEVER
from model.dataset.images import Preprocess
from model.training.batches import Batch
from model.training.config import TrainConfig
from model.training.distributed import SINGLE_PROCESS, Processes
from model.training.step.accumulation import Tensors, backward_in_parts
from model.training.step.arcface import build_arcface
from model.training.step.batchnorm import has_batch_norm
from model.training.step.ema import WeightAverage
from model.training.step.lora import add_lora, freeze_towers, merge_lora, set_frozen_to_eval
from model.training.step.losses import log_prior
from model.training.step.objective import Features, Objective
from model.training.step.optimizer import build_optimizer, gather_optimizer_state, set_learning_rate

if TYPE_CHECKING:
    from peft.tuners.lora import LoraModel

_SIGLIP_SCALE, _SIGLIP_BIAS = 10.0, -10.0  # initial values of the SigLIP paper


class Towers(nn.Module):
    """One forward pass over all images and texts of a step: features, and class logits if there is a head.

    Args:
        clip: open_clip model.
        num_classes: Number of classes of the head; None builds no head.
        head_kind: "fusion" or "cosine".
        preprocess: Mean and standard deviation for the model's input, which is computed on the model's device.
        seed: Seed of the head's weights.
        reads_texts: False skips the text tower.
        classifies_all: Whether the head classifies the images without a text as well.
        arcface: ArcFace loss whose weights are trained together with the towers, but not used in the forward pass.
    """

    def __init__(
        self,
        clip: nn.Module,
        *,
        num_classes: int | None,
        head_kind: str,
        preprocess: Preprocess,
        seed: int,
        reads_texts: bool = True,
        classifies_all: bool = False,
        arcface: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.arcface = arcface
        self._reads_texts = reads_texts
        self.net = clip
        if num_classes is not None:
            self.net = ClipWithHead(
                clip, num_classes=num_classes, kind=head_kind, seed=seed, classifies_all=classifies_all
            )
        self._is_convolutional = has_convolutions(clip)
        device: Any = clip.logit_scale.device
        for name, values in (("mean", preprocess.mean), ("std", preprocess.std)):
            self.register_buffer(name, torch.tensor(values, device=device).view(1, -1, 1, 1), persistent=False)

    @property
    def head(self) -> Head | None:
        """The classification head; None without the classification term."""
        return self.net.head if isinstance(self.net, ClipWithHead) else None

    def forward(self, images: torch.Tensor, tokens: torch.Tensor, sees_text: torch.Tensor) -> tuple[Any, ...]:
        """Encode images and texts, and classify the images that have a text, or all of them.

        Args:
            images: (num_images, height_px, width_px) uint8; the first num_pairs belong to the texts.
            tokens: (num_pairs, context_length) int64.
            sees_text: (num_pairs,) bool, False for pairs that are classified from the image alone.

        Returns:
            Image features (num_images, embed_dim) and text features (num_pairs, embed_dim) or None, unit length; class
            logits (num_pairs, num_classes) or None, and those of the images without a text or None.
        """
        pixels = self.normalise(images)
        is_headed = isinstance(self.net, ClipWithHead)
        texts = tokens if self._reads_texts else None
        output = self.net(pixels, texts, sees_text) if is_headed else self.net(pixels, texts)
        names = ("image_features", "text_features", "class_logits", "other_class_logits")
        return tuple(output.get(name) for name in names)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """8-bit grey images as the model's input: (num_images, channels, height_px, width_px) float32."""
        grey = images.unsqueeze(1).float().div_(255)
        pixels = (grey - self.mean) / self.std  # type: ignore[operator]
        return pixels.contiguous(memory_format=torch.channels_last) if self._is_convolutional else pixels


def has_convolutions(model: nn.Module) -> bool:
    """True for convolutional image towers; the single patch embedding of a ViT does not count."""
    return sum(isinstance(module, nn.Conv2d) for module in model.modules()) > 1


class Learner:
    """Everything that a step changes.

    Args:
        clip: The model; changed in place.
        config: How to train.
        num_classes: Length of the class table.
        class_weights: (num_classes,) weights with the mean 1 over the training views.
        class_shares: (num_classes,) share of each class in the draws of known class.
        class_features: (num_classes, embed_dim) text features of the classes, from which a cosine head starts; None for
            random directions.
        num_patents: Number of patents in the training views, which are numbered from 0; only needed by ArcFace.
        processes: The processes that train together. Each has its own learner, and all learners stay equal.
    """

    def __init__(
        self,
        clip: Clip,
        config: TrainConfig,
        *,
        num_classes: int,
        class_weights: torch.Tensor,
        class_shares: torch.Tensor,
        class_features: torch.Tensor | None = None,
        num_patents: int = 0,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self.clip = clip
        self.config = config
        self.processes = processes
        model: Any = clip.model
        self.device: torch.device = model.logit_scale.device
        self._lora = _prepare_model(clip, config)
        if processes.num > 1 and self.device.type == "cuda" and has_batch_norm(model):
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        # What is added to the model: head and ArcFace loss.
        self.towers = Towers(
            model,
            num_classes=num_classes if config.classification_weight > 0 else None,
            head_kind=config.head,
            preprocess=clip.preprocess,
            seed=config.seed,
            reads_texts=config.reads_captions,
            classifies_all=config.classifies_other_views,
            arcface=_arcface(clip, config, num_patents) if config.arcface_weight > 0 else None,
        )
        if class_features is not None and isinstance(self.towers.head, CosineHead):
            self.towers.head.set_directions(class_features)
        if config.compile:
            self.towers.compile()
        # The objective, and the weights that it uses in addition to the features.
        prior = log_prior(class_shares, config.logit_adjustment).to(self.device) if config.logit_adjustment else None
        self._objective = Objective(config, class_weights.to(self.device), prior, self.towers.arcface)
        self._shared = [
            weight for weight in (model.logit_scale, getattr(model, "logit_bias", None)) if weight is not None
        ]
        if self.towers.arcface is not None:
            self._shared += self.towers.arcface.parameters()
        # What updates the weights. Only `_runner` synchronises gradients between processes.
        self.optimizer = build_optimizer(self.towers, config, processes)
        self.average = WeightAverage(self.towers, decay=config.ema_decay) if config.ema_decay else None
        self._runner: Any = self.towers
        if processes.num > 1:
            self._runner = DistributedDataParallel(
                self.towers,
                device_ids=[self.device] if self.device.type == "cuda" else None,
                gradient_as_bucket_view=True,
            )

    def step(self, batch: Batch, *, step: int, learning_rate: float) -> dict[str, torch.Tensor]:
        """Take one step.

        Args:
            batch: This process's part, on any device.
            step: Counted from 0; together with the seed it decides dropout.
            learning_rate: Learning rate of this step.

        Returns:
            Scalars on the model's device: the loss before the step and its unweighted terms, the norm of the gradient
            before clipping, and the logit scale after the step.
        """
        self.towers.train()
        set_frozen_to_eval(self.clip.model, self.config.frozen_towers)
        set_learning_rate(self.optimizer, learning_rate)
        self.optimizer.zero_grad(set_to_none=True)
        terms = self._backward(batch.to(self.device), step)
        weights = [weight for weight in self.towers.parameters() if weight.grad is not None]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.config.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(weights, self.config.max_grad_norm, norm)
        self.optimizer.step()
        scale: Any = self.clip.model.logit_scale
        with torch.no_grad():
            scale.clamp_(0, math.log(self.config.max_logit_scale))
        if self.average is not None:
            self.average.update(num_steps_done=step + 1)
        return {**terms, "grad_norm": norm.detach(), "logit_scale": scale.detach().exp()}

    def _backward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        """Compute the gradients of all weights; returns the loss and its terms, detached."""
        targets = batch.plan.targets.to(self.device)
        terms: dict[str, torch.Tensor] = {}

        def loss(outputs: Tensors) -> torch.Tensor:
            features = self._gather(outputs)
            scale: Any = self.clip.model.logit_scale
            terms.update(self._objective(features, targets, scale.exp(), getattr(self.clip.model, "logit_bias", None)))
            # A weight that no term depends on gets a gradient of zero, with one process as with several.
            used = [*(values for values in features if values is not None), *self._shared]
            return terms["loss"] + 0.0 * torch.stack([values.sum() for values in used]).sum()

        size = self.config.micro_batch_size or batch.num_pairs
        parts = [batch.part(slice(first, first + size)) for first in range(0, batch.num_pairs, size)]
        if len(parts) == 1:
            loss(self._forward(self._runner, batch, step, 0)).backward()
        else:
            backward_in_parts(
                lambda part: self._forward(
                    self._runner if torch.is_grad_enabled() else self.towers, parts[part], step, part
                ),
                len(parts),
                loss,
                self._shared,
                without_sync=self._without_sync,
            )
        return {name: value.detach() for name, value in terms.items()}

    @property
    def _without_sync(self) -> Callable[[], Any]:
        return self._runner.no_sync if self.processes.num > 1 else contextlib.nullcontext

    def _forward(self, module: Any, batch: Batch, step: int, part: int) -> Tensors:
        """(num_pairs, …) features of views and, if there are any, of texts and other views, and their class logits."""
        torch.manual_seed(_seed_of(self.config.seed, step, self.processes.rank, part))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            images, texts, logits, other_logits = module(batch.images, batch.tokens, batch.sees_text)
        views, others = images[: batch.num_pairs], images[batch.num_pairs :]
        outputs = (views, texts, others if len(others) else None, logits, other_logits)
        return tuple(output.float() for output in outputs if output is not None)

    def _gather(self, outputs: Tensors) -> Features:
        """The features of all processes, gathered in a single operation."""
        widths = [output.shape[1] for output in outputs]
        views, *others = self.processes.gather(torch.cat(outputs, dim=1)).split(widths, dim=1)
        return Features(
            views,
            texts=others.pop(0) if self.config.reads_captions else None,
            other_views=others.pop(0) if self.config.reads_other_views else None,
            class_logits=others.pop(0) if self.config.classification_weight > 0 else None,
            other_class_logits=others.pop(0) if self.config.classifies_other_views else None,
        )

    def finish(self) -> None:
        """Prepare the model for export: take the averaged weights, if there is an average, and merge LoRA adapters.

        A class that is never drawn has no part in an adjusted loss, so the head was not trained to reject it; its bias
        is set so low that it is never predicted.
        """
        if self.average is not None:
            self.average.copy_to_model()
        head, prior = self.towers.head, self._objective.log_prior
        if head is not None and prior is not None:
            with torch.no_grad():
                head.out.bias[prior.isinf()] = NEVER
        if self._lora is not None:
            merge_lora(self._lora)

    def gather_state(self) -> None:
        """Collect in the first process what the processes have divided; called by all, before its `state_dict`."""
        gather_optimizer_state(self.optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser and average: plain values and tensors."""
        return {
            "towers": self.towers.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        self.towers.load_state_dict(state["towers"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def _prepare_model(clip: Clip, config: TrainConfig) -> LoraModel | None:
    """Give a model the parameters of its loss, its memory layout, and the weights that are trained.

    Returns:
        The model with its LoRA adapters, for `merge_lora`; None without adapters.
    """
    model: Any = clip.model
    device = model.logit_scale.device
    if config.loss == "siglip":
        _initialise_siglip(clip)
    if has_convolutions(model):
        model.to(memory_format=torch.channels_last)
    if config.gradient_checkpointing:
        model.set_grad_checkpointing(True)
    lora = None
    if config.lora_rank:
        lora = add_lora(
            model,
            rank=config.lora_rank,
            alpha=config.lora_alpha,
            dropout=config.lora_dropout,
            frozen=config.frozen_towers,
        )
        model.to(device)
    freeze_towers(model, config.frozen_towers)
    return lora


def _arcface(clip: Clip, config: TrainConfig, num_patents: int) -> nn.Module:
    """The ArcFace loss on the model's device."""
    model: Any = clip.model
    return build_arcface(
        num_patents=num_patents,
        embed_dim=clip.model_cfg["embed_dim"],
        scale=config.arcface_scale,
        margin=config.arcface_margin,
        seed=config.seed,
    ).to(model.logit_scale.device)


def _seed_of(*numbers: int) -> int:
    """A seed that depends on all of `numbers`."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _initialise_siglip(clip: Clip) -> None:
    """Add the bias of SigLIP's loss, and set the initial logit scale; a model that has a bias stays unchanged."""
    model: Any = clip.model
    if getattr(model, "logit_bias", None) is not None:
        return
    scale = model.logit_scale
    model.logit_bias = nn.Parameter(torch.full_like(scale.detach(), _SIGLIP_BIAS))
    with torch.no_grad():
        scale.fill_(math.log(_SIGLIP_SCALE))
    clip.model_cfg["init_logit_bias"] = _SIGLIP_BIAS  # so that open_clip builds it again
