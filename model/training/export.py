"""Writing a trained model, with its card, as a folder that stock open_clip loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from open_clip.tokenizer import HFTokenizer

from model.clip.heads import FUSION, Head
from model.clip.loading import Clip
from model.clip.readout import ClassPriors
from model.clip.saved_head import save_classifier
from model.clip.source import CONFIG_NAME, WEIGHTS_NAME
from model.dataset.classes import ClassTable
from model.files import atomic_write, hash_folder, remove, write_json, write_text
from model.training.step.objective import TERMS

_CARD = """\
---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags:
- clip
- design-patents
---
# {architecture}, trained on {dataset}

A CLIP model for drawings of US design patents, {trained_on}.

| | |
|---|---|
| Architecture | {architecture} |
| Started from | {started_from} |
| Parameters | {num_parameters:,} |
| Dataset | {dataset}, fingerprint `{fingerprint}` |
| Training views | {num_views:,} of {num_patents:,} patents |
| Loss | {terms} |
| Drawn | {drawn} |
| Steps | {num_steps:,} of batch {batch_size}, {precision}, AdamW, learning rate {learning_rate:g} |
| Images | 8-bit grey on white, square, {height} × {width} px, the same grey in every channel |

```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:PATH/TO/THIS/FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:PATH/TO/THIS/FOLDER")
```

From a repository of the hub the name is `hf-hub:OWNER/NAME`. Pad a drawing to a white square first: open_clip's
`preprocess` would crop it, and some of its lines with it.
{classifier}
## Licence

The weights are under the terms of those they started from ({started_from}); fresh weights are their trainer's. The
drawings and texts of US design patents are in the public domain, but for parts that a patent marks as copyrighted.

## Limits

{has_seen} It says nothing about whether a design is
new, protected or infringed.
"""
_CLASSIFIER = """
`classifier.safetensors` tells the {scheme} class of a drawing from the image alone ({how}); open_clip passes it over:

```python
from model.clip.saved_head import load_classifier

model, classes = load_classifier("PATH/TO/THIS/FOLDER")
logits = model.classify(images)  # (num_images, {num_classes}), in the order of classes.codes
```
"""
_READOUTS = """
The head can be read out under any class prior. The *natural* read-out is most often right on what is filed, and prefers
common classes as filings do; the *balanced* one treats every class alike. `tau` picks one of them or a point between:

```python
from pathlib import Path
from model.clip.saved_head import read_class_priors

priors = read_class_priors(Path("PATH/TO/THIS/FOLDER"))
natural = priors.adjusted(logits.numpy(), tau=0)
balanced = priors.adjusted(logits.numpy(), tau=1)
```

The logits themselves are those of {fitted}. {num_without} of the {num_classes} classes have no training view and are
never predicted.
"""
_ROUNDING = 1e-6
_DRAWN = {
    "uniform": "each view as often as any other",
    "item": "views by the f^-β of their class, f its number of views, β = {beta:g}",
    "class": "a class by f^-β, f its number of views, then a view of it, β = {beta:g}",
}
_WITH_CAPTIONS = (
    "trained on views and their captions",
    "The model has seen line drawings with captions made by rule or by a model.",
)
_CLASSES_ALONE = (
    "its image tower trained to tell the classes of views",
    "The image tower has seen line drawings; the text tower was left as it was, and the two no longer agree.",
)
_PATENTS_ALONE = (
    "its image tower trained to tell patents by their views",
    "The image tower has seen line drawings; the text tower was left as it was, and the two no longer agree.",
)


def export_model(
    clip: Clip,
    folder: Path,
    *,
    summary: dict[str, Any],
    head: Head | None = None,
    classes: ClassTable | None = None,
    priors: ClassPriors | None = None,
) -> dict[str, str]:
    """Write a model folder; an older folder of the same name is removed first.

    Args:
        clip: The model; its weights are written with the dtypes they have.
        folder: Becomes the model folder.
        summary: Summary of the run, for the card.
        head: Classification head, saved with the model; None if there is none.
        classes: The classes of the head.
        priors: The class priors of the head, if they are known.

    Returns:
        File name → SHA-256, sorted by name.
    """
    remove(folder)
    folder.mkdir(parents=True)
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in clip.model.state_dict().items()}
    with atomic_write(folder / WEIGHTS_NAME) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
    preprocess_cfg = {
        "mean": list(clip.preprocess.mean),
        "std": list(clip.preprocess.std),
        "interpolation": clip.preprocess.interpolation,
        "resize_mode": clip.preprocess.resize_mode,
    }
    write_json(folder / CONFIG_NAME, {"model_cfg": clip.model_cfg, "preprocess_cfg": preprocess_cfg})
    if isinstance(clip.tokenizer, HFTokenizer):  # open_clip looks for its files next to the weights
        clip.tokenizer.save_pretrained(str(folder))
    classifier = ""
    if head is not None and classes is not None:
        save_classifier(head, classes, folder, priors=priors)
        classifier = _describe_classifier(summary["config"], classes, priors or ClassPriors())
    write_text(folder / "README.md", _card(clip, summary, classifier))
    return hash_folder(folder)


def _describe_classifier(config: dict[str, Any], classes: ClassTable, priors: ClassPriors) -> str:
    """The section of the card on the head and its read-outs, as Markdown."""
    adjustment = config["logit_adjustment"]
    parts = [f"a {config['head']} head"]
    if config["head_init"] == "text":
        parts.append("started from the text features of the classes")
    if adjustment:
        parts.append(f"trained on logits adjusted by {adjustment:g} times the logarithm of each class's share")
    if config["refit_head"]:
        parts.append("its last layer refitted on whole views")
    text = _CLASSIFIER.format(scheme=classes.scheme.upper(), how=", ".join(parts), num_classes=len(classes))
    if priors.natural is None or priors.fitted is None:
        return text
    is_balanced = np.ptp(priors.fitted[priors.natural > 0]) < _ROUNDING
    return text + _READOUTS.format(
        fitted="the balanced read-out" if is_balanced else "the classes as they were drawn and weighed in training",
        num_without=int((priors.natural == 0).sum()),
        num_classes=len(classes),
    )


def _card(clip: Clip, summary: dict[str, Any], classifier: str) -> str:
    """The model card as Markdown, with the section on the classifier, which is empty without a head."""
    config = summary["config"]
    weights = {term: config[f"{term}_weight"] for term in TERMS}
    terms = [f"{term.replace('_', '-')} {weight:g}" for term, weight in weights.items() if weight]
    if weights["contrastive"] or (weights["classification"] and config["head"] == FUSION):
        trained_on, has_seen = _WITH_CAPTIONS
    else:
        trained_on, has_seen = _CLASSES_ALONE if weights["classification"] else _PATENTS_ALONE
    return _CARD.format(
        architecture=_public_name(config["architecture"]),
        started_from=_started_from(config),
        num_parameters=summary["num_parameters"],
        dataset=summary["dataset"]["name"],
        fingerprint=summary["dataset"]["fingerprint"],
        num_views=summary["dataset"]["num_views"],
        num_patents=summary["dataset"]["num_patents"],
        terms=", ".join(terms) + (", SigLIP's form" if config["loss"] == "siglip" else ""),
        drawn=_DRAWN[config["sampler"]].format(beta=config["beta"]),
        num_steps=summary["num_steps"],
        batch_size=summary["batch_size"],
        precision=config["precision"],
        learning_rate=config["learning_rate"],
        height=clip.preprocess.size_px[0],
        width=clip.preprocess.size_px[1],
        trained_on=trained_on,
        has_seen=has_seen,
        classifier=classifier,
    )


def _public_name(architecture: str) -> str:
    """The name of an architecture, without the path of a local folder."""
    return Path(architecture).name if architecture.startswith("local-dir:") else architecture


def _started_from(config: dict[str, Any]) -> str:
    if ":" in config["architecture"]:
        return f"{_public_name(config['architecture'])} and its weights"
    return Path(config["pretrained"]).name if config["pretrained"] else "fresh weights"
