"""How fast views become model-ready tensors, against open_clip's own transform over the same bytes in the same run.

    python -m bench.loader [--num-views 1000000] [--batch-size 32] [--seconds 20]

Writes a dataset of drawn views (`--num-views`, four a patent, long-tailed classes, JPEGs of about 8 KB of which there
are 512 different ones), and reads batches as `designclip` trains: views and captions drawn by class, cropped, brought
to 224 px, captions tokenised. The reference is what open_clip trains with: Pillow, torchvision's random crop
with bicubic resizing, and open_clip's tokenizer. The two take turns, each on one thread, in seconds of the processor.
"ready" ends in float32 of three channels, "grey" in the 8-bit images that are normalised where the model is. Start-up
is measured twice, in seconds of the clock: the first writes the cache, every later one maps it. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from model.classes import USPC
from model.clip import Preprocess
from model.data import ImageReader, Views, normalise, read_views
from model.dataset import open_dataset
from model.sampling import Sampler, batch_draws
from model.tokens import quicken

_NUM_DIFFERENT = 512
_VIEWS_A_PATENT = 4
_ROWS_A_FILE = 50_000
_ROWS_A_GROUP = 1024
_MIN_AREA = 0.9
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
    """A dataset of drawn views in the layout that `model` reads, image bytes uncompressed as in a real one."""
    rng = np.random.default_rng(0)
    jpegs = pa.array(draw_jpegs(rng), pa.binary())
    shares = np.arange(1, len(USPC) + 1) ** -1.2
    classes = np.array(USPC.codes)[rng.choice(len(USPC), num_views // _VIEWS_A_PATENT + 1, p=shares / shares.sum())]
    files = []
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
    listing = {"name": "drawn", "fingerprint": f"drawn-{num_views}", "files": files}
    (folder / "dataset.json").write_text(json.dumps(listing))


def _shuffled(rng: np.random.Generator, sentence: str) -> str:
    return " ".join(rng.permutation(sentence.split())) + "."


def start(folder: Path, batch_size: int) -> tuple[Views, Sampler, float]:
    """All that stands before the first step, and its seconds."""
    begun = time.perf_counter()
    views = read_views(open_dataset(folder), "train", mapped_from_bytes=1)
    sampler = Sampler(
        classes=views.class_ids(USPC),
        patents=views.patent_ids,
        num_classes=len(USPC),
        sampler="item",
        beta=1.2,
        batch_size=batch_size,
        seed=0,
    )
    sampler.other_views(sampler.rows(0), 0)
    return views, sampler, time.perf_counter() - begun


def race(views: Views, sampler: Sampler, *, seconds: float) -> dict[str, float]:
    """Samples a second of each loader, taking turns for so many seconds in all."""
    plain = open_clip.get_tokenizer("ViT-B-32")
    quick = quicken(plain)
    transform = open_clip.image_transform(224, is_train=True, aug_cfg={"scale": (_MIN_AREA, 1.0)})
    preprocess = Preprocess(
        size_px=(224, 224),
        mean=open_clip.OPENAI_DATASET_MEAN,
        std=open_clip.OPENAI_DATASET_STD,
        interpolation="bicubic",
        resize_mode="shortest",
    )

    def plan(step: int) -> tuple[list[int], np.ndarray]:
        return sampler.rows(step).tolist(), batch_draws(step, num_rows=sampler.num_rows, num_draws=4, seed=0)

    def grey(step: int) -> torch.Tensor:
        rows, draws = plan(step)
        quick(views.texts_of(rows, "shape_or_function", draws[:, 3]))
        return images.read_grey(rows, draws[:, :3], min_area=_MIN_AREA)

    def ready(step: int) -> torch.Tensor:
        return normalise(grey(step), preprocess)

    def reference(step: int) -> torch.Tensor:
        rows, draws = plan(step)
        plain(views.texts_of(rows, "shape_or_function", draws[:, 3]))
        return torch.stack([transform(Image.open(io.BytesIO(views.images[row]))) for row in rows])

    loaders: dict[str, Callable[[int], torch.Tensor]] = {"ready": ready, "grey": grey, "reference": reference}
    spent, num_steps = dict.fromkeys(loaders, 0.0), dict.fromkeys(loaders, 0)
    with contextlib.closing(ImageReader(views, preprocess, num_workers=1)) as images:
        for load in loaders.values():
            load(0)  # words are remembered, threads are started
        until = time.perf_counter() + seconds
        step = 1
        while time.perf_counter() < until:
            for name, load in loaders.items():
                begun = time.process_time()
                load(step)
                spent[name] += time.process_time() - begun
                num_steps[name] += 1
            step += 1
    speeds = {name: num_steps[name] * sampler.num_rows / spent[name] for name in loaders}
    return {
        "samples_per_s": round(speeds["ready"]),
        "grey_samples_per_s": round(speeds["grey"]),
        "reference_samples_per_s": round(speeds["reference"]),
        "ratio": round(speeds["ready"] / speeds["reference"], 2),
        "grey_ratio": round(speeds["grey"] / speeds["reference"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-views", type=int, default=100_000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the loaders race, together")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["DESIGNCLIP_CACHE"] = str(Path(temporary) / "cache")
        folder = Path(temporary) / "drawn"
        folder.mkdir()
        write_dataset(folder, arguments.num_views)
        *_, first_start_s = start(folder, arguments.batch_size)
        views, sampler, start_s = start(folder, arguments.batch_size)
        sizes = [len(views.images.view(row)) for row in range(min(1000, len(views)))]
        result: dict[str, Any] = {
            "bench": "loader",
            "num_views": len(views),
            "batch_size": sampler.num_rows,
            "jpeg_bytes": round(float(np.mean(sizes))),
            "first_start_s": round(first_start_s, 2),
            "start_s": round(start_s, 2),
            **race(views, sampler, seconds=arguments.seconds),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
