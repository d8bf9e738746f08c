"""The classification head in an exported model folder: stock open_clip ignores it, this project loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from model.clip.heads import FUSION, HEADS, ClipWithHead, Head
from model.clip.loading import Clip, load_clip
from model.clip.readout import ClassPriors
from model.clip.source import ModelSource
from model.dataset.classes import ClassTable
from model.errors import ArchitectureError
from model.files import atomic_write, read_json, write_json

CLASSIFIER_WEIGHTS, CLASSIFIER_CONFIG = "classifier.safetensors", "classifier.json"


_FITTED, _NATURAL = "fitted_prior", "natural_prior"
_SUM_TOLERANCE = 1e-3


def save_classifier(head: Head, table: ClassTable, folder: Path, *, priors: ClassPriors | None = None) -> None:
    """Write a head, the table of its classes and, if they are known, its class priors into a model folder."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in head.state_dict().items()}
    with atomic_write(folder / CLASSIFIER_WEIGHTS) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
    config: dict[str, Any] = {"head": head.kind, "classes": table.to_dict()}
    if priors is not None and priors.fitted is not None and priors.natural is not None:
        config |= {_FITTED: priors.fitted.tolist(), _NATURAL: priors.natural.tolist()}
    write_json(folder / CLASSIFIER_CONFIG, config)


def read_class_table(folder: Path) -> ClassTable | None:
    """The classes of the head in a model folder; None if it has no head."""
    values = read_json(folder / CLASSIFIER_CONFIG)
    has_weights = (folder / CLASSIFIER_WEIGHTS).is_file()
    return ClassTable.from_dict(values["classes"]) if values is not None and has_weights else None


def read_head_kind(folder: Path) -> str:
    """The kind of the head in a model folder, "fusion" or "cosine"; models of earlier versions have fusion heads.

    Raises:
        ArchitectureError: This version does not know the kind.
    """
    kind = (read_json(folder / CLASSIFIER_CONFIG) or {}).get("head", FUSION)
    if kind not in HEADS:
        raise ArchitectureError(f"{folder / CLASSIFIER_CONFIG}: unknown head {kind!r}; known are {', '.join(HEADS)}")
    return str(kind)


def read_class_priors(folder: Path) -> ClassPriors:
    """The class priors of the head in a model folder.

    They are unknown, so that all read-outs are equal, if there is no head or an earlier version wrote it.

    Raises:
        ArchitectureError: The priors are not shares of the head's classes.
    """
    table, values = read_class_table(folder), read_json(folder / CLASSIFIER_CONFIG) or {}
    if table is None or _FITTED not in values or _NATURAL not in values:
        return ClassPriors()
    shares = [np.array(values[name], dtype=np.float64) for name in (_FITTED, _NATURAL)]
    for one in shares:
        if one.shape != (len(table),) or not (one >= 0).all() or abs(one.sum() - 1) > _SUM_TOLERANCE:
            raise ArchitectureError(
                f"{folder / CLASSIFIER_CONFIG}: a prior is not one share for each of the {len(table)} classes; export "
                "the model again"
            )
    return ClassPriors(*shares)


def load_classifier(folder: str | Path, *, clip: Clip | None = None) -> tuple[ClipWithHead, ClassTable]:
    """A model with its head, which classifies images without text, and the table of its classes.

    Args:
        folder: Model folder of a run that was trained with a classification term.
        clip: The same model if it is loaded already; None loads it onto the CPU.

    Raises:
        ArchitectureError: There is no head in the folder.
    """
    folder = Path(folder)
    table = read_class_table(folder)
    if table is None:
        raise ArchitectureError(
            f"{folder}: no {CLASSIFIER_CONFIG} and {CLASSIFIER_WEIGHTS} there; train with classification_weight above 0"
        )
    clip = clip or load_clip(ModelSource(f"local-dir:{folder}"))
    model = ClipWithHead(clip.model, num_classes=len(table), kind=read_head_kind(folder))
    model.head.load_state_dict(safetensors.torch.load_file(str(folder / CLASSIFIER_WEIGHTS)))
    return model.eval(), table
