"""Datasets of drawn views in the layout that `model` reads, for benchmarks that need many views quickly.

Four views per patent and long-tailed classes. The images are 512 different line drawings of 256 px, JPEGs of about
8 KB; the captions have about seventeen words, with shapes and functions that differ from view to view.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.dataset.classes import USPC

_NUM_DIFFERENT = 512
_VIEWS_A_PATENT = 4
_ROWS_A_FILE = 50_000
_ROWS_A_GROUP = 1024
_SENTENCES = {
    "shape": "a rounded rectangular hollow body tapered toward its base with a curved handle and an elongated lid",
    "function": "used for holding pouring lighting seating displaying or protecting the article on its front panel",
}


def draw_jpegs(rng: np.random.Generator) -> list[bytes]:
    """Line drawings of 256 px, as the dataset stage stores them."""
    jpegs = []
    for _ in range(_NUM_DIFFERENT):
        image = np.full((256, 256), 255, np.uint8)
        for _ in range(5):
            centre, axes = rng.integers(60, 196, 2), rng.integers(10, 60, 2)
            cv2.ellipse(image, centre.tolist(), axes.tolist(), int(rng.integers(180)), 0, 360, 0, 1, cv2.LINE_AA)
        corners = rng.integers(30, 226, (6, 2)).astype(np.int32)
        cv2.polylines(image, [corners], isClosed=True, color=0, thickness=1, lineType=cv2.LINE_AA)
        jpegs.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return jpegs


def write_dataset(folder: Path, num_views: int) -> None:
    """Write a dataset of drawn views in the layout that `model` reads; JPEGs are stored as they are."""
    rng = np.random.default_rng(0)
    jpegs = pa.array(draw_jpegs(rng), pa.binary())
    shares = np.arange(1, len(USPC) + 1) ** -1.2
    classes = np.array(USPC.codes)[rng.choice(len(USPC), num_views // _VIEWS_A_PATENT + 1, p=shares / shares.sum())]
    files = []
    # One file after the other, since all rows together may not fit into memory.
    for first in range(0, num_views, _ROWS_A_FILE):
        rows = np.arange(first, min(first + _ROWS_A_FILE, num_views))
        patents = rows // _VIEWS_A_PATENT
        columns = {
            "view_id": [
                f"D{800_000 + patent}-{row % _VIEWS_A_PATENT}" for row, patent in zip(rows, patents, strict=True)
            ],
            "patent_number": [f"D{800_000 + patent}" for patent in patents],
            "uspc_class": classes[patents].tolist(),
            **{name: [_shuffled(rng, sentence) for _ in rows] for name, sentence in _SENTENCES.items()},
            "image": jpegs.take(pa.array(rng.integers(_NUM_DIFFERENT, size=len(rows)))),
        }
        columns["text"] = columns["shape"]
        name = f"train-{first:08d}.parquet"
        compression = {column: "NONE" if column == "image" else "ZSTD" for column in columns}
        pq.write_table(
            pa.table(columns),
            folder / name,
            row_group_size=_ROWS_A_GROUP,
            compression=compression,
            use_dictionary=False,
        )
        files.append({"name": name, "split": "train", "num_rows": len(rows)})
    # What `model` reads of the description of a dataset.
    listing = {"name": "drawn", "fingerprint": f"drawn-{num_views}", "files": files}
    (folder / "dataset.json").write_text(json.dumps(listing))


def _shuffled(rng: np.random.Generator, sentence: str) -> str:
    """The words of a sentence in random order."""
    return " ".join(rng.permutation(sentence.split())) + "."
