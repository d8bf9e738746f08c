"""Task fine-tuned classification: the classes as the model's own head tells them, from the images alone.

The head was trained with the towers and saw captions there; here it sees none, since a caption holds its title. It lies
beside the weights of the model: `head.safetensors`, and `head.json` with the table of its classes.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from model.classes import ClassTable
from model.classification import COLUMNS, by_class, heading_of, label_views, table_of
from model.data import ImageReader
from model.entrant import Entrant
from model.errors import ArchitectureError
from model.figures import MODEL, UNTRAINED
from model.files import read_json
from model.heads import ClipWithHead
from model.trial import TaskResult, Trial

WEIGHTS_NAME, TABLE_NAME = "head.safetensors", "head.json"


@dataclass(frozen=True)
class Head:
    """A classification head in a model's folder.

    Attributes:
        folder: The model's folder.
        table: Its classes.
    """

    folder: Path
    table: ClassTable

    def put_on(self, entrant: Entrant) -> ClipWithHead:
        """The entrant's model with this head.

        Raises:
            ArchitectureError: The weights are missing or of another shape.
        """
        model = ClipWithHead(entrant.load().model, num_classes=len(self.table))
        path = self.folder / WEIGHTS_NAME
        try:
            model.head.load_state_dict(safetensors.torch.load_file(path))
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            raise ArchitectureError(f"{path}: not the head of this model; train the run again ({error})") from error
        return model.eval()


def find_head(entrant: Entrant) -> Head | None:
    """The head of a model that was trained with one; None for any other."""
    folder = entrant.source.folder
    described = read_json(folder / TABLE_NAME) if folder is not None else None
    return Head(folder, ClassTable.from_dict(described["classes"])) if folder is not None and described else None


def measure(trial: Trial) -> TaskResult:
    """Accuracy of the head that the training run left beside its model, and of the second model's."""
    heads = {name: find_head(entrant) for name, entrant in trial.entrants.items() if name != UNTRAINED}
    own = heads[MODEL]
    if own is None:
        return TaskResult(reason="the model has no classification head; train with classification_weight above 0")
    scheme = own.table.scheme
    labelled = label_views(trial, scheme)
    if labelled is None:
        return TaskResult(reason=f"no view of the split {trial.views.split} has a {COLUMNS[scheme]}")
    scores = {
        name: classify(trial, head.put_on(trial.entrants[name]), trial.entrants[name], labelled.rows)
        for name, head in heads.items()
        if head is not None and head.table.codes == labelled.table.codes
    }
    if MODEL not in scores:
        return TaskResult(reason="the classes of the model's head are not those of this version's table")
    title = f"The model's own head, {heading_of(scheme)}"
    notes = ["trained with the towers; by the images alone, without captions"]
    table = table_of(trial, labelled, scores, title=title, notes=notes)
    return TaskResult(tables={scheme: table}, by_class={scheme: by_class(labelled, scores[MODEL])})


@torch.inference_mode()
def classify(trial: Trial, model: ClipWithHead, entrant: Entrant, rows: np.ndarray) -> np.ndarray:
    """(num_rows, num_classes) logits of some views of the measured split."""
    parts = []
    config = trial.config
    with contextlib.closing(
        ImageReader(trial.views, entrant.load().preprocess, num_workers=config.num_workers)
    ) as reader:
        for first in range(0, len(rows), config.batch_size):
            images = reader.read(rows[first : first + config.batch_size].tolist())
            parts.append(model.classify(images.to(trial.device)).float().cpu().numpy())
            if trial.advance is not None:
                trial.advance(min(first + config.batch_size, len(rows)), len(rows), "classes of images")
    return np.concatenate(parts)
