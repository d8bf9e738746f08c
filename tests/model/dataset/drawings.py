"""Small datasets of drawn shapes, in the layout that this library reads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SHAPES = ("circle", "square", "triangle", "cross", "ring", "bar", "star", "wave")
FILLS = ("outlined", "hatched")
SIZES = ("small", "large")


def draw_shape(shape: str, fill: str, size: str, rng: np.random.Generator, side_px: int = 96) -> np.ndarray:
    """One shape, black on white: (side_px, side_px) uint8."""
    image = np.full((side_px, side_px), 255, np.uint8)
    radius = (0.2 if size == "small" else 0.38) * side_px * rng.uniform(0.9, 1.1)
    centre = side_px / 2 + rng.uniform(-0.08, 0.08, 2) * side_px
    corners = {"triangle": 3, "square": 4, "circle": 40, "ring": 40, "bar": 4, "cross": 12, "star": 10, "wave": 60}
    angles = np.linspace(0, 2 * np.pi, corners[shape], endpoint=False) + rng.uniform(-0.1, 0.1)
    reach = np.full(len(angles), radius)
    if shape == "star":
        reach[::2] *= 0.45
    if shape == "wave":
        reach *= 0.75 + 0.25 * np.sin(6 * angles)
    if shape == "cross":
        reach[1::3] *= 0.4
    outline = centre + np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1)
    if shape == "bar":
        outline[:, 1] = centre[1] + (outline[:, 1] - centre[1]) * 0.25
    points = [np.round(outline).astype(np.int32)]
    if fill == "hatched":
        mask = np.zeros_like(image)
        cv2.fillPoly(mask, points, 255)
        stripes = (np.add.outer(np.arange(side_px), np.arange(side_px)) % 6) < 2
        image[(mask > 0) & stripes] = 0
    cv2.polylines(image, points, isClosed=True, color=0, thickness=1, lineType=cv2.LINE_AA)
    if shape == "ring":
        cv2.circle(image, (int(centre[0]), int(centre[1])), int(radius * 0.5), 0, 1, cv2.LINE_AA)
    return image


def draw_rows(num_patents: int, *, split: str, views_per_patent: int = 2, seed: int = 0) -> list[dict]:
    """Rows of one split. The views of a patent share shape, fill and caption."""
    rng = np.random.default_rng(seed)
    rows = []
    for patent in range(num_patents):
        number = f"D{seed * 10_000 + patent + 700_000}"
        shape, fill, size = rng.choice(SHAPES), rng.choice(FILLS), rng.choice(SIZES)
        for view in range(views_per_patent):
            _, jpeg = cv2.imencode(".jpg", draw_shape(shape, fill, size, rng), [cv2.IMWRITE_JPEG_QUALITY, 90])
            rows.append(
                {
                    "view_id": f"{number}-{view + 1}",
                    "patent_number": number,
                    "family": number,
                    "split": split,
                    "title": f"{shape.capitalize()} plate",
                    "uspc_class": f"D{1 + SHAPES.index(shape)}",
                    "viewpoint": "front",
                    "text": f"A {size} {fill} {shape}, front view.",
                    "shape": f"{size} {fill} {shape}",
                    "function": None,
                    "image": jpeg.tobytes(),
                    "image_sha256": hashlib.sha256(jpeg.tobytes()).hexdigest(),
                    "cited_by_examiner": [],
                }
            )
    return rows


def with_surroundings(rows: list[dict]) -> list[dict]:
    """The rows with columns for claimed lines; every other view gets surroundings that are not claimed.

    There, the shape is at the lower right of a frame, at half its size.
    """
    return [{**row, **(_surrounded(row["image"]) if index % 2 else _WHOLLY_CLAIMED)} for index, row in enumerate(rows)]


_WHOLLY_CLAIMED = {"claimed_image": None, "claimed_box": None}


def _surrounded(shape: bytes) -> dict:
    """The image columns of a view in which a shape has surroundings."""
    drawn = cv2.imdecode(np.frombuffer(shape, np.uint8), cv2.IMREAD_GRAYSCALE)
    side, half = len(drawn), len(drawn) // 2
    start = side - half - 6
    image = np.full_like(drawn, 255)
    cv2.rectangle(image, (2, 2), (side - 3, side - 3), 0, 1)
    image[start : start + half, start : start + half] = cv2.resize(drawn, (half, half), interpolation=cv2.INTER_AREA)
    edges = [start / side, start / side, (start + half) / side, (start + half) / side]
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    return {"image": jpeg, "claimed_image": shape, "claimed_box": edges}


def write_dataset(folder: Path, rows_by_split: dict[str, list[dict]], *, name: str = "shapes") -> Path:
    """Write rows as a dataset folder: one Parquet file a split, and `dataset.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for split, rows in rows_by_split.items():
        if not rows:
            continue
        path = folder / f"{split}-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append({"name": path.name, "split": split, "num_rows": len(rows), "sha256": digest})
    fingerprint = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    (folder / "dataset.json").write_text(json.dumps({"name": name, "fingerprint": fingerprint, "files": files}))
    return folder


def draw_dataset(folder: Path, *, train: int = 24, validation: int = 4, test: int = 8, name: str = "shapes") -> Path:
    """Write a dataset folder of drawn patents with two views each; the numbers are patents a split."""
    sizes = {"train": train, "validation": validation, "test": test}
    rows = {split: draw_rows(num, split=split, seed=seed) for seed, (split, num) in enumerate(sizes.items(), start=1)}
    return write_dataset(folder, rows, name=name)
