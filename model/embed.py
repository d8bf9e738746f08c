"""Features of a split under a model: computed once, stored as Parquet, reused while model and dataset are the same."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from model.clip import Clip
from model.data import ImageReader, Views
from model.files import written_aside

VERSION = 1  # counts up when equal inputs would give other features
_IDENTITY = b"designclip"


@dataclass(frozen=True)
class Features:
    """Features of the views of a split, row by row.

    Attributes:
        images: (num_views, embed_dim) float32, unit length.
        texts: (num_views, embed_dim) float32, unit length; equal captions have equal rows.
    """

    images: np.ndarray
    texts: np.ndarray


@torch.inference_mode()
def embed_images(clip: Clip, views: Views, *, batch_size: int, num_workers: int = 1) -> np.ndarray:
    """Image features of all views: (num_views, embed_dim) float32, unit length."""
    model: Any = clip.model.eval()
    device = model.logit_scale.device
    rows = range(len(views))
    with contextlib.closing(ImageReader(views, clip.preprocess, num_workers=num_workers)) as reader:
        parts = [
            model.encode_image(reader.read(rows[first : first + batch_size]).to(device), normalize=True).float().cpu()
            for first in range(0, len(views), batch_size)
        ]
    return torch.cat(parts).numpy()


@torch.inference_mode()
def embed_texts(clip: Clip, texts: list[str], *, batch_size: int) -> np.ndarray:
    """Text features: (num_texts, embed_dim) float32, unit length. Each distinct text is computed once."""
    model: Any = clip.model.eval()
    device = model.logit_scale.device
    distinct = list(dict.fromkeys(texts))
    parts = [
        model.encode_text(clip.tokenizer(distinct[first : first + batch_size]).to(device), normalize=True).float().cpu()
        for first in range(0, len(distinct), batch_size)
    ]
    place = {text: number for number, text in enumerate(distinct)}
    return torch.cat(parts).numpy()[[place[text] for text in texts]]


def features_of(
    path: Path,
    views: Views,
    *,
    identity: dict[str, Any],
    load: Callable[[], Clip],
    caption: str,
    batch_size: int,
    num_workers: int,
) -> Features:
    """Features of `views`, from `path` where it holds them, else computed and stored there.

    Args:
        path: Parquet file: view_id, image_features, text_features.
        identity: What the features depend on: fingerprints of model and dataset, split, caption.
        load: Gives the model; not called where the stored features serve.
    """
    identity = {"version": VERSION, **identity}
    stored = _read_features(path, identity, views.view_ids)
    if stored is not None:
        return stored
    clip = load()
    features = Features(
        images=embed_images(clip, views, batch_size=batch_size, num_workers=num_workers),
        texts=embed_texts(clip, views.texts(caption), batch_size=batch_size),
    )
    _write_features(path, features, identity, views.view_ids)
    return features


def _read_features(path: Path, identity: dict[str, Any], view_ids: list[str]) -> Features | None:
    try:
        table = pq.read_table(path)
    except (FileNotFoundError, pa.ArrowException, OSError):
        return None
    metadata = (table.schema.metadata or {}).get(_IDENTITY)
    if metadata is None or json.loads(metadata) != identity or table.column("view_id").to_pylist() != view_ids:
        return None
    return Features(_matrix(table.column("image_features")), _matrix(table.column("text_features")))


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    return np.stack(column.to_numpy()).astype(np.float32, copy=False)


def _write_features(path: Path, features: Features, identity: dict[str, Any], view_ids: list[str]) -> None:
    table = pa.table(
        {
            "view_id": view_ids,
            "image_features": _rows(features.images),
            "text_features": _rows(features.texts),
        }
    ).replace_schema_metadata({_IDENTITY: json.dumps(identity)})
    with written_aside(path) as aside:
        pq.write_table(table, aside, compression="zstd")


def _rows(matrix: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
