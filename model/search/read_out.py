"""The class of a query's pictures, as the model's own head reads it under two class priors.

The two answer different questions. The natural read-out says what class such a drawing is most often filed under; the
balanced one says what class it looks like, as if all classes were equally frequent. If they differ, the picture looks
like one of a rare class that is easily taken for a frequent one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from model.clip.embeddings import require_finite
from model.clip.encoder import Encoder
from model.clip.readout import BALANCED, NATURAL
from model.clip.saved_head import load_classifier, read_class_priors, read_class_table
from model.dataset.images import normalise, resize
from model.errors import ConfigError
from model.search.query import Picture

_NUM_CLASSES = 3
_LEAST_SHOWN = 0.01  # a class with a smaller share is not in the sentence
_READ_OUTS = {"natural": NATURAL, "balanced": BALANCED}


@dataclass(frozen=True)
class ClassShare:
    """A class and the probability that a read-out gives it."""

    code: str
    title: str
    share: float


@dataclass(frozen=True)
class PictureClasses:
    """What the head says of one picture.

    Attributes:
        picture: Name of the picture.
        read_outs: "natural" and "balanced" → the most probable classes, the first one first.
    """

    picture: str
    read_outs: dict[str, tuple[ClassShare, ...]]

    @property
    def sentence(self) -> str:
        """Both read-outs in a line, without classes that are hardly probable."""
        parts = []
        for name, classes in self.read_outs.items():
            shown = [one for one in classes if one is classes[0] or one.share >= _LEAST_SHOWN]
            parts.append(f"{name}: " + ", ".join(f"{one.code} {one.title} {100 * one.share:.0f} %" for one in shown))
        return f"class of {self.picture}, {'; '.join(parts)}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def require_head(encoder: Encoder) -> None:
    """Raise ConfigError if a model has no classification head, or none whose class priors are known."""
    folder = encoder.source.folder
    if folder is None or read_class_table(folder) is None:
        raise ConfigError(
            f"{encoder.name} has no classification head to read out; train with classification_weight above 0"
        )
    if not read_class_priors(folder).are_known:
        raise ConfigError(f"the class priors of the head of {encoder.name} are not known; train the model again")


@torch.inference_mode()
def classes_of_pictures(encoder: Encoder, pictures: Sequence[Picture]) -> list[PictureClasses]:
    """What the model's own head says of pictures.

    Raises:
        ConfigError: The model has no head, or one whose class priors are not known.
        NonFiniteError: The head returns values that are not finite.
    """
    require_head(encoder)
    folder = encoder.source.folder
    assert folder is not None
    clip = encoder.load()
    model, table = load_classifier(folder, clip=clip)
    resized = np.stack([resize(picture.pixels, clip.preprocess.size_px) for picture in pictures])
    device = next(model.parameters()).device
    model = model.to(device)
    logits = model.classify(normalise(torch.from_numpy(resized).to(device), clip.preprocess)).float().cpu().numpy()
    names = [f"picture {picture.name}" for picture in pictures]
    require_finite(logits, model=f"{encoder.name}, its classification head", things=names)
    priors = read_class_priors(folder)
    found = []
    for row, picture in enumerate(pictures):
        read_outs = {}
        for name, tau in _READ_OUTS.items():
            shares = _softmax(priors.adjusted(logits[row : row + 1], tau)[0].astype(np.float64))
            best = np.argsort(-shares, kind="stable")[:_NUM_CLASSES]
            read_outs[name] = tuple(ClassShare(table.codes[i], table.titles[i], float(shares[i])) for i in best)
        found.append(PictureClasses(picture.name, read_outs))
    return found


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities from (num_classes,) logits."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()
