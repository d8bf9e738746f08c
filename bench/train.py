"""Cost of a training step on the CPU, against open_clip's own step over the same images in the same run.

    python -m bench.train [--seconds 240] [--batch-size 32] [--architecture ViT-B-32] [--precision bf16]
        [--only clip open_clip_train]

Draws a dataset (`bench.drawn_views`) and lets these contestants take turns, one step each, until the time is over:

    designclip       the preset `designclip`: B pairs and another view of each, that is 2B images and B captions, from
                     the dataset's files to the optimizer step
    balanced         the preset `designclip-balanced`: the same images and captions
    open_clip_2B     open_clip's step over 2B pairs in memory, with the fused optimizer that we use, too
    same_inputs      the towers, open_clip's loss and the fused optimizer over 2B images and B captions
    clip             the preset `clip`: B pairs, from the dataset's files to the optimizer step
    open_clip_train  `train_one_epoch` of open_clip_train over B pairs from image files, its own loader and optimizer
    open_clip_B      open_clip's step over B pairs in memory, with the fused optimizer

Reports medians of the seconds per step; the first round is not counted. Our contestants share one model, open_clip's
another. `designclip_ratio` is designclip / open_clip_2B, so ours is cheaper below 1; `balanced_to_designclip` is the
cost of the preset in steps of the other; `clip_ratio` is the samples per second of clip / those of open_clip_train, so
ours is faster above 1. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import open_clip
import torch

from bench.drawn_views import write_dataset
from bench.open_clip_training import ImageFiles, OpenClipTraining, Pairs, read_files
from bench.own_training import OwnTraining
from model.clip.loading import Clip, load_clip
from model.clip.source import ModelSource
from model.clip.tokenizer import fast_tokenizer
from model.dataset.folder import open_dataset
from model.dataset.images import ImageReader
from model.dataset.views import Views, read_views
from model.training.config import TrainConfig

_NUM_FILES = 512  # views that are also written as image files, for open_clip_train
_RATED = ("clip", "open_clip_train")
_RATIOS = {  # name → contestants whose seconds are divided
    "designclip_ratio": ("designclip", "open_clip_2B"),
    "balanced_to_designclip": ("balanced", "designclip"),
    "designclip_to_same_inputs": ("designclip", "same_inputs"),
    "clip_ratio": ("open_clip_train", "clip"),
    "clip_to_open_clip_step": ("clip", "open_clip_B"),
}

Step = Callable[[], float]
"""Takes one step and returns its seconds."""


def write_files(views: Views, folder: Path, clip: Clip) -> ImageFiles:
    """Write some views as image files, which are read as by open_clip_train: Pillow, random crop, bicubic resizing."""
    rows = range(min(_NUM_FILES, len(views)))
    paths = [folder / f"{row}.jpg" for row in rows]
    for row, path in zip(rows, paths, strict=True):
        path.write_bytes(views.images[row])
    transform = open_clip.image_transform(
        clip.preprocess.size_px, is_train=True, aug_cfg={"scale": (TrainConfig().min_crop_area, 1.0)}
    )
    return ImageFiles(paths, views.texts_of(rows, "text", [0.0] * len(rows)), transform, clip.tokenizer)


def read_pairs(views: Views, clip: Clip, num_pairs: int) -> Pairs:
    """The first views and their captions, preprocessed for a model."""
    rows = range(num_pairs)
    with contextlib.closing(ImageReader(views, clip.preprocess, num_workers=1)) as images:
        return images.read(rows), fast_tokenizer(clip.tokenizer)(views.texts_of(rows, "text", [0.0] * num_pairs))


@contextlib.contextmanager
def contestants(folder: Path, arguments: argparse.Namespace) -> Iterator[dict[str, Step]]:
    """Context manager: name → step of each contestant."""
    # One model for our steps and one for open_clip's, which has a fused and an unfused optimizer.
    batch_size = arguments.batch_size
    views = read_views(open_dataset(folder), "train")
    clip = load_clip(ModelSource(arguments.architecture))
    (folder / "files").mkdir()
    stock_model = load_clip(ModelSource(arguments.architecture)).model
    fused = OpenClipTraining(stock_model, is_fused=True, precision=arguments.precision)
    stock = OpenClipTraining(stock_model, is_fused=False, precision=arguments.precision)
    # The same views in memory and as image files.
    images, tokens = read_pairs(views, clip, 2 * batch_size)
    files = read_files(
        write_files(views, folder / "files", clip), batch_size=batch_size, num_workers=arguments.num_workers
    )
    with contextlib.ExitStack() as closing:

        def own(preset: str) -> Step:
            config = TrainConfig(
                preset=preset,
                architecture=arguments.architecture,
                precision=arguments.precision,
                batch_size=batch_size,
                num_workers=arguments.num_workers,
                num_steps=10**6,
                device="cpu",
            )
            return closing.enter_context(contextlib.closing(OwnTraining(clip, views, config))).take_step

        whole, half = (images, tokens), (images[:batch_size], tokens[:batch_size])
        yield {
            "designclip": own("designclip"),
            "balanced": own("designclip-balanced"),
            "open_clip_2B": lambda: fused.take_steps([whole], num_steps=1, batch_size=2 * batch_size),
            "same_inputs": lambda: fused.take_unequal_step(images, tokens[:batch_size]),
            "clip": own("clip"),
            "open_clip_train": lambda: stock.take_steps(files, num_steps=1, batch_size=batch_size),
            "open_clip_B": lambda: fused.take_steps([half], num_steps=1, batch_size=batch_size),
        }


def race(steps: dict[str, Step], *, seconds: float) -> dict[str, list[float]]:
    """Name → seconds of each step after the first round. Rounds start while time is left; there are at least two."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    until = time.perf_counter() + seconds
    num_rounds = 0
    while num_rounds < 2 or time.perf_counter() < until:
        for name, step in steps.items():
            taken[name].append(step())
        num_rounds += 1
    return {name: values[1:] for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--batch-size", type=int, default=32, help="B")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--num-workers", type=int, default=2, help="threads or processes that read images")
    parser.add_argument("--num-views", type=int, default=4000)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure only these contestants, in more rounds")
    parser.add_argument("--seconds", type=float, default=240.0, help="time after which no further round starts")
    arguments = parser.parse_args()
    # Measure.
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["DESIGNCLIP_CACHE"] = str(Path(temporary) / "cache")
        folder = Path(temporary) / "drawn"
        folder.mkdir()
        write_dataset(folder, arguments.num_views)
        with contestants(folder, arguments) as steps:
            wanted = {name: step for name, step in steps.items() if name in (arguments.only or steps)}
            taken = race(wanted, seconds=arguments.seconds)
    # Summarise.
    medians = {name: statistics.median(values) for name, values in taken.items()}
    batch_size = arguments.batch_size
    result = {
        "bench": "train",
        "architecture": arguments.architecture,
        "batch_size": batch_size,
        "precision": arguments.precision,
        "num_threads": torch.get_num_threads(),
        "num_rounds": min(len(values) for values in taken.values()),
        "step_s": {name: round(value, 3) for name, value in medians.items()},
        **{f"{name}_samples_per_s": round(batch_size / medians[name], 2) for name in _RATED if name in medians},
        **{
            name: round(medians[above] / medians[below], 3)
            for name, (above, below) in _RATIOS.items()
            if above in medians and below in medians
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
