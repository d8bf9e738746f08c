"""Features of a split under a model: computed once, stored as Parquet, reused while model and dataset are the same.

Images and texts have separate files, so that changed captions do not recompute the images:

    FOLDER/DATASET-SPLIT-images.parquet        view_id, features, norm; of the claimed lines, SPLIT-claimed-images
    FOLDER/DATASET-SPLIT-KIND.parquet          text, features; each distinct text once
    FOLDER/DATASET-SPLIT-classes.parquet       view_id, logits; if the model has a classification head

FOLDER is `embeddings/` in the run folder of a model that was trained here, and `.embeddings/NAME-FINGERPRINT/` in the
dataset folder for any other model: hidden, since `datasets.load_dataset` reads every visible Parquet file of a folder.
The footer of a file says what it depends on; if that has changed, the file is computed again.

Features that are not finite are an error here, where the model and the view or text are known. Anything computed from
them would be wrong without a sign: comparisons with NaN are false.
"""

from __future__ import annotations

import collections
import contextlib
import json
import logging
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.nn import functional

from model.clip.loading import Clip
from model.clip.precision import computing_in
from model.dataset.ahead import read_ahead
from model.dataset.folder import Dataset
from model.dataset.images import ImageReader, normalise
from model.dataset.views import Views
from model.errors import NonFiniteError
from model.files import atomic_write, sha256_of_json
from model.progress import Progress

VERSION = 2  # raised when equal inputs would give other features
_IDENTITY = b"designclip"
_ROWS_A_GROUP = 8192
_BATCHES_AHEAD = 2  # that are decoded while another is encoded
_IN_DATASET, _IN_DATASET_BEFORE = ".embeddings", "embeddings"
_NUM_NAMED = 3  # views or texts in an error message

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFeatures:
    """Image features of views, one row a view.

    Attributes:
        features: (num_views, embed_dim) float32, unit length.
        norms: (num_views,) float32, lengths before normalisation; features × norms is the output of the model.
    """

    features: np.ndarray
    norms: np.ndarray


def embeddings_folder(dataset: Dataset, *, run_dir: Path | None, name: str, fingerprint: str) -> Path:
    """Folder of the features of a model.

    Args:
        run_dir: Folder of the training run that made the model; None if it was not trained here.
        name: Display name of the model.
        fingerprint: Fingerprint of the model, hexadecimal.
    """
    if run_dir is not None:
        return run_dir / "embeddings"
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "model"
    return dataset.folder / _IN_DATASET / f"{plain[:60]}-{fingerprint[:12]}"


def hide_older_embeddings(dataset: Dataset) -> None:
    """Move the embeddings that earlier versions kept in a visible folder of the dataset into the hidden one.

    As long as the visible folder exists, `datasets.load_dataset` cannot read the dataset.
    """
    before, now = dataset.folder / _IN_DATASET_BEFORE, dataset.folder / _IN_DATASET
    if not before.is_dir() or now.exists():
        return
    try:
        before.rename(now)
    except OSError as error:  # such as a dataset that may only be read; its embeddings are computed again elsewhere
        _LOG.warning("%s stays where it is: %s", before, error.strerror)
    else:
        _LOG.info("%s is now the hidden folder %s", before, now.name)


def require_finite(features: np.ndarray, *, model: str, things: Sequence[str]) -> None:
    """Raise NonFiniteError, naming the model and the first things concerned, if any value is NaN or infinite.

    Args:
        features: (num_things, …), one row a thing.
        model: Display name of the model.
        things: What the rows are of, such as "view D900001-1".
    """
    is_finite = np.isfinite(features).reshape(len(features), -1).all(axis=1)
    if is_finite.all():
        return
    wrong = np.flatnonzero(~is_finite)
    named = ", ".join(things[row] for row in wrong[:_NUM_NAMED]) + (", …" if len(wrong) > _NUM_NAMED else "")
    raise NonFiniteError(
        f"the model {model} returns values that are not finite for {len(wrong):,} of {len(features):,}: {named}; check "
        "its weights, or train again with a lower learning_rate"
    )


def encode_images(
    clip: Clip, views: Views, *, batch_size: int, num_workers: int = 1, precision: str = "fp32"
) -> Iterator[np.ndarray]:
    """Yield the model's own image features of all views, batch by batch: (at most batch_size, embed_dim) float32.

    Images are decoded while the batch before them is encoded. They go to the device as 8-bit grey; to a GPU they go
    from pinned memory, and it has the next batch to encode while the features of the last one are copied back.

    Args:
        clip: The model.
        views: The views.
        batch_size: Images a forward pass.
        num_workers: Threads that decode images.
        precision: One of `model.clip.precision.PRECISIONS`.

    Raises:
        NonFiniteError: The features of a view are not finite.
    """
    model: Any = clip.model.eval()
    device: torch.device = model.logit_scale.device
    on_gpu = device.type == "cuda"

    def finished(rows: range, features: torch.Tensor) -> np.ndarray:
        values = features.float().cpu().numpy()
        require_finite(values, model=clip.name, things=[f"view {views.view_id(row)}" for row in rows])
        return values

    @torch.inference_mode()
    def encode(grey: torch.Tensor) -> torch.Tensor:
        pixels = normalise(grey.to(device, non_blocking=True), clip.preprocess)
        with computing_in(precision, device):
            return model.encode_image(pixels)

    lag = 1 if on_gpu else 0  # batches whose features are still being computed
    encoded: collections.deque[tuple[range, torch.Tensor]] = collections.deque()
    with contextlib.closing(_read_ahead(clip, views, batch_size, num_workers, pin_memory=on_gpu)) as batches:
        for rows, grey in batches:
            encoded.append((rows, encode(grey)))
            if len(encoded) > lag:
                yield finished(*encoded.popleft())
        while encoded:
            yield finished(*encoded.popleft())


def _read_ahead(
    clip: Clip, views: Views, batch_size: int, num_workers: int, *, pin_memory: bool
) -> Generator[tuple[range, torch.Tensor]]:
    """Yield rows and their grey images, (num_rows, height_px, width_px) uint8; the next batches are being decoded."""
    starts = range(0, len(views), batch_size)
    batches = (range(first, min(first + batch_size, len(views))) for first in starts)
    with contextlib.closing(ImageReader(views, clip.preprocess, num_workers=num_workers)) as reader:

        def read(rows: range) -> tuple[range, torch.Tensor]:
            return rows, reader.read_grey(rows, pin_memory=pin_memory)

        yield from read_ahead(read, batches, num_ahead=_BATCHES_AHEAD)


def embed_images(
    clip: Clip, views: Views, *, batch_size: int, num_workers: int = 1, precision: str = "fp32"
) -> np.ndarray:
    """Image features of all views: (num_views, embed_dim) float32, unit length."""
    parts = encode_images(clip, views, batch_size=batch_size, num_workers=num_workers, precision=precision)
    return np.concatenate([_to_unit_length(part)[0] for part in parts])


@torch.inference_mode()
def embed_texts(
    clip: Clip, texts: Sequence[str], *, batch_size: int, precision: str = "fp32", progress: Progress | None = None
) -> np.ndarray:
    """Text features: (num_texts, embed_dim) float32, unit length. Each distinct text is computed once.

    Raises:
        NonFiniteError: The features of a text are not finite.
    """
    model: Any = clip.model.eval()
    device = model.logit_scale.device
    distinct = list(dict.fromkeys(texts))
    parts = []
    for first in range(0, len(distinct), batch_size):
        batch = distinct[first : first + batch_size]
        with computing_in(precision, device):
            encoded = model.encode_text(clip.tokenizer(batch).to(device))
        features = functional.normalize(encoded.float(), dim=-1).cpu().numpy()
        require_finite(features, model=clip.name, things=[f"the text {text[:60]!r}" for text in batch])
        parts.append(features)
        if progress is not None:
            progress(min(first + batch_size, len(distinct)), len(distinct), {"doing": "texts"})
    index = {text: number for number, text in enumerate(distinct)}
    return np.concatenate(parts)[[index[text] for text in texts]]


def _to_unit_length(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features scaled to unit length, and their lengths before; features of length 0 stay 0."""
    norms = np.linalg.norm(features, axis=1).astype(np.float32)
    return features / np.maximum(norms, 1e-12)[:, None], norms


def image_features_of(
    path: Path,
    views: Views,
    *,
    identity: dict[str, Any],
    encode: Callable[[], Iterator[np.ndarray]],
    progress: Progress | None = None,
) -> ImageFeatures:
    """Image features of `views`: read from `path` if they are stored there, else computed and stored.

    They are written as they are computed, so that only the result is in memory as a whole, and no image.

    Args:
        path: Parquet file: view_id, features, norm.
        identity: What the features depend on: fingerprints of model and dataset, and the split.
        encode: Yields the model's own features of all views part by part, as `encode_images` does; not called if stored
            features are used.
        progress: Called after each part.
    """
    identity = {"version": VERSION, **identity}
    stored = _read(path, identity, key="view_id", keys=views.view_ids)
    if stored is not None:
        return ImageFeatures(stored.values, stored.norms)
    with atomic_write(path) as temporary, _Writer(temporary, identity) as writer:
        for part in encode():
            features, norms = _to_unit_length(part)
            first = writer.num_rows
            ids = [views.view_id(row) for row in range(first, first + len(part))]
            writer.add(pa.table({"view_id": ids, "features": _rows(features), "norm": norms}))
            if progress is not None:
                progress(writer.num_rows, len(views), {"doing": f"images of {views.split}"})
    computed = _read(path, identity, key="view_id", keys=views.view_ids)
    assert computed is not None, f"{path} was written a moment ago"
    return ImageFeatures(computed.values, computed.norms)


def class_logits_of(
    path: Path, views: Views, *, identity: dict[str, Any], classify: Callable[[], np.ndarray]
) -> np.ndarray:
    """Class logits of `views`: read from `path` if they are stored there, else computed by `classify` and stored.

    Args:
        path: Parquet file: view_id, logits.
        identity: What the logits depend on: fingerprints of model and dataset, the split, and the classes.
        classify: Computes (num_views, num_classes) float32.
    """
    identity = {"version": VERSION, **identity}
    stored = _read(path, identity, key="view_id", keys=views.view_ids)
    if stored is not None:
        return stored.values
    logits = classify()
    _write(path, pa.table({"view_id": list(views.view_ids), "logits": _rows(logits)}), identity)
    return logits


def text_features_of(
    path: Path,
    texts: Sequence[str],
    *,
    identity: dict[str, Any],
    load: Callable[[], Clip],
    batch_size: int,
    precision: str = "fp32",
    progress: Progress | None = None,
) -> np.ndarray:
    """Text features: read from `path` if it holds these texts, else computed and stored.

    Args:
        path: Parquet file: text, features; each distinct text once, in order of first appearance.
        identity: What the features depend on in addition to the texts: the fingerprint of the model.
        load: Loads the model; not called if stored features are used.

    Returns:
        (num_texts, embed_dim) float32, unit length; equal texts have equal rows.
    """
    distinct = list(dict.fromkeys(texts))
    identity = {"version": VERSION, **identity, "texts": sha256_of_json(distinct)}
    stored = _read(path, identity, key="text", keys=distinct)
    if stored is not None:
        features = stored.values
    else:
        features = embed_texts(load(), distinct, batch_size=batch_size, precision=precision, progress=progress)
        _write(path, pa.table({"text": distinct, "features": _rows(features)}), identity)
    index = {text: number for number, text in enumerate(distinct)}
    return features[[index[text] for text in texts]]


@dataclass(frozen=True)
class _Stored:
    """The content of a file.

    Attributes:
        values: (num_rows, width) float32, its features or logits.
        norms: (num_rows,) float32; empty if the file has no such column.
    """

    values: np.ndarray
    norms: np.ndarray


def _read(path: Path, identity: dict[str, Any], *, key: str, keys: Sequence[str]) -> _Stored | None:
    """What is stored; None if the file is absent or damaged, or holds other rows or those of another model."""
    try:
        metadata = (pq.read_schema(path).metadata or {}).get(_IDENTITY)
        if metadata is None or json.loads(metadata) != identity:
            stored = None
        else:
            with pq.ParquetFile(path) as file:
                stored = _content(file) if file.read([key]).column(key).to_pylist() == list(keys) else None
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError, ValueError):
        _LOG.info("%s: computed again, the stored file is damaged", path.name)
        return None
    if stored is None:
        _LOG.info("%s: computed again, the stored file is of another model, dataset or version", path.name)
        return None
    if not all(np.isfinite(part).all() for part in np.array_split(stored.values, 64)):
        _LOG.info("%s: computed again, the stored values are not finite", path.name)
        return None
    _LOG.info("%s: stored features are used", path.name)
    return stored


def _content(file: pq.ParquetFile) -> _Stored:
    """All values of a file, read group by group into one array."""
    name = "logits" if "logits" in file.schema_arrow.names else "features"
    width = file.schema_arrow.field(name).type.list_size
    values = np.empty((file.metadata.num_rows, width), np.float32)
    first = 0
    for batch in file.iter_batches(batch_size=_ROWS_A_GROUP, columns=[name]):
        values[first : first + len(batch)] = batch.column(name).flatten().to_numpy().reshape(-1, width)
        first += len(batch)
    has_norms = "norm" in file.schema_arrow.names
    norms = file.read(["norm"]).column("norm").to_numpy() if has_norms else np.empty(0, np.float32)
    return _Stored(values, norms)


class _Writer:
    """Writes a table to a Parquet file, part by part, in groups of equal size.

    Args:
        path: The file.
        identity: What its content depends on, for the footer.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self._path = path
        self._metadata = {_IDENTITY: json.dumps(identity)}
        self._file: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self.num_rows = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._waiting:
            self._flush(pa.concat_tables(self._waiting))
        if self._file is not None:
            self._file.close()

    def add(self, part: pa.Table) -> None:
        """Add rows; they are written when a group is full."""
        self.num_rows += len(part)
        self._waiting.append(part)
        waiting = pa.concat_tables(self._waiting)
        while len(waiting) >= _ROWS_A_GROUP:
            self._flush(waiting[:_ROWS_A_GROUP])
            waiting = waiting[_ROWS_A_GROUP:]
        self._waiting = [waiting] if len(waiting) else []

    def _flush(self, rows: pa.Table) -> None:
        rows = rows.replace_schema_metadata(self._metadata).combine_chunks()
        if self._file is None:
            self._file = pq.ParquetWriter(self._path, rows.schema, compression="zstd")
        self._file.write_table(rows)


def _write(path: Path, table: pa.Table, identity: dict[str, Any]) -> None:
    with atomic_write(path) as temporary, _Writer(temporary, identity) as writer:
        writer.add(table)


def _rows(matrix: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
