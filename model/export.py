"""A trained model as a folder that stock open_clip loads, with its card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
from open_clip.tokenizer import HFTokenizer

from model.clip import Clip
from model.files import hash_folder, remove, write_json, write_text, written_aside
from model.source import CONFIG_NAME, WEIGHTS_NAME

_CARD = """\
---
library_name: open_clip
pipeline_tag: zero-shot-image-classification
license: apache-2.0
tags:
- clip
- design-patents
---
# {architecture}, trained on {dataset}

A CLIP model for drawings of US design patents, trained on views and their captions.

| | |
|---|---|
| Architecture | {architecture} |
| Started from | {started_from} |
| Parameters | {num_parameters:,} |
| Dataset | {dataset}, fingerprint `{fingerprint}` |
| Training views | {num_views:,} of {num_patents:,} patents |
| Steps | {num_steps:,} of batch {batch_size}, {precision}, AdamW, learning rate {learning_rate:g} |
| Images | 8-bit grey on white, square, shrunk by area to {height} × {width} px, grey in every channel |

```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:PATH/TO/THIS/FOLDER")
tokenizer = open_clip.get_tokenizer("local-dir:PATH/TO/THIS/FOLDER")
```

The model has seen line drawings with generated captions alone. It says nothing about whether a design is new,
protected or infringed.
"""


def export_model(
    clip: Clip, folder: Path, *, summary: dict[str, Any], extra: Callable[[Path], None] | None = None
) -> dict[str, str]:
    """Write a model folder; an older one of that name makes way first.

    Args:
        clip: What to export; its weights are written as float32 where they are.
        folder: Becomes the model folder.
        summary: Of the run, for the card.
        extra: Writes what else belongs into the folder.

    Returns:
        File name → SHA-256, in the order of the names.
    """
    remove(folder)
    folder.mkdir(parents=True)
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in clip.model.state_dict().items()}
    with written_aside(folder / WEIGHTS_NAME) as aside:
        aside.write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
    preprocess_cfg = {
        "mean": list(clip.preprocess.mean),
        "std": list(clip.preprocess.std),
        "interpolation": clip.preprocess.interpolation,
        "resize_mode": clip.preprocess.resize_mode,
    }
    write_json(folder / CONFIG_NAME, {"model_cfg": clip.model_cfg, "preprocess_cfg": preprocess_cfg})
    if isinstance(clip.tokenizer, HFTokenizer):  # open_clip looks for its files beside the weights
        clip.tokenizer.save_pretrained(str(folder))
    if extra is not None:
        extra(folder)
    write_text(folder / "README.md", _card(clip, summary))
    return hash_folder(folder)


def _card(clip: Clip, summary: dict[str, Any]) -> str:
    config = summary["config"]
    return _CARD.format(
        architecture=config["architecture"],
        started_from=config["pretrained"] or ("its own weights" if ":" in config["architecture"] else "fresh weights"),
        num_parameters=summary["num_parameters"],
        dataset=summary["dataset"]["name"],
        fingerprint=summary["dataset"]["fingerprint"],
        num_views=summary["dataset"]["num_views"],
        num_patents=summary["dataset"]["num_patents"],
        num_steps=summary["num_steps"],
        batch_size=config["batch_size"],
        precision=config["precision"],
        learning_rate=config["learning_rate"],
        height=clip.preprocess.size_px[0],
        width=clip.preprocess.size_px[1],
    )
