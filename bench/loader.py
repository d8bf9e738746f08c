"""Speed at which views become model-ready tensors, against open_clip's own transform of the same bytes in the same run.

    python -m bench.loader [--num-views 1000000] [--batch-size 32] [--seconds 20]

Writes a dataset of drawn views (`bench.drawn_views`), and reads batches as for training `designclip`: views and
captions sampled by class, images cropped and resized to 224 px, captions tokenised. The reference is what open_clip
trains with: Pillow, torchvision's random crop with bicubic resizing, and open_clip's tokenizer. The loaders take turns,
each on one thread; processor time counts. "ready" ends in float32 of three channels, "grey" in 8-bit images that are
normalised on the model's device. Start-up is measured twice in wall time: the first one writes the cache, later ones
map it. Prints one JSON line.
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

import numpy as np
import open_clip
import torch
from PIL import Image

from bench.drawn_views import write_dataset
from model.clip.tokenizer import fast_tokenizer
from model.dataset.classes import USPC
from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader, Preprocess, normalise
from model.dataset.views import Views, read_views
from model.training.sampling import Sampler, batch_draws

_MIN_AREA = 0.9


def start(folder: Path, batch_size: int) -> tuple[Views, Sampler, float]:
    """Everything that happens before the first step, and its wall seconds."""
    started = time.perf_counter()
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
    return views, sampler, time.perf_counter() - started


def race(views: Views, sampler: Sampler, *, seconds: float) -> dict[str, float]:
    """Samples per second of each loader; they take turns for `seconds` in total."""
    stock_tokenizer = open_clip.get_tokenizer("ViT-B-32")
    own_tokenizer = fast_tokenizer(stock_tokenizer)
    transform = open_clip.image_transform(224, is_train=True, aug_cfg={"scale": (_MIN_AREA, 1.0)})
    preprocess = Preprocess(
        size_px=(224, 224),
        mean=open_clip.OPENAI_DATASET_MEAN,
        std=open_clip.OPENAI_DATASET_STD,
        interpolation="bicubic",
        resize_mode="shortest",
    )

    # The loaders: all read the same rows at the same step.
    def plan(step: int) -> tuple[list[int], np.ndarray]:
        return sampler.rows(step).tolist(), batch_draws(step, num_rows=sampler.num_rows, num_draws=4, seed=0)

    def grey(step: int) -> torch.Tensor:
        rows, draws = plan(step)
        own_tokenizer(views.texts_of(rows, "shape_or_function", draws[:, 3]))
        return images.read_grey(rows, draws[:, :3], min_area=_MIN_AREA)

    def ready(step: int) -> torch.Tensor:
        return normalise(grey(step), preprocess)

    def reference(step: int) -> torch.Tensor:
        rows, draws = plan(step)
        stock_tokenizer(views.texts_of(rows, "shape_or_function", draws[:, 3]))
        return torch.stack([transform(Image.open(io.BytesIO(views.images[row]))) for row in rows])

    loaders: dict[str, Callable[[int], torch.Tensor]] = {"ready": ready, "grey": grey, "reference": reference}
    spent, num_steps = dict.fromkeys(loaders, 0.0), dict.fromkeys(loaders, 0)
    with contextlib.closing(ImageReader(views, preprocess, num_workers=1)) as images:
        for load in loaders.values():
            load(0)  # fills the tokenizers' caches, starts threads
        until = time.perf_counter() + seconds
        step = 1
        while time.perf_counter() < until:
            for name, load in loaders.items():
                started = time.process_time()
                load(step)
                spent[name] += time.process_time() - started
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
    parser.add_argument("--seconds", type=float, default=20.0, help="total time of all loaders")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["DESIGNCLIP_CACHE"] = str(Path(temporary) / "cache")
        folder = Path(temporary) / "drawn"
        folder.mkdir()
        write_dataset(folder, arguments.num_views)
        *_, first_start_s = start(folder, arguments.batch_size)
        os.sync()  # so that dirty pages are not written back during the measurement
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
