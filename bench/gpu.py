"""Speed of training, embedding and ranks on a GPU, each against a reference in the same run.

    python -m bench.gpu [--minutes 5.5] [--device cuda] [--out DIR]
    python -m bench.gpu --quick --device cpu

Draws a dataset (`bench.drawn_views`; nothing is downloaded) and measures these parts, the most informative first:

    clip        `model.training.train.train` with the preset `clip`: B pairs per step
    designclip  the same with the preset `designclip`: B/2 pairs and another view of each, so B images per step
    open_clip   `train_one_epoch` of open_clip_train with B pairs that are already on the GPU: nothing is read
    embedding   views to image features as evaluation computes them, in bf16; the reference is the bare tower
    ranks       exact ranks of 50,000 queries among 50,000 candidates (images/s are queries/s, without a reference)

the first four for ViT-B-32 and ViT-L-14, training both eager and compiled. A part for which there is not enough time
left is skipped and listed. The first steps of a run of ours are not counted. `waiting` is the share of time in which
training waited for a batch; during some of it the GPU was still busy with the previous step, so it is an upper bound of
the GPU's idle time.

Prints a table; writes gpu.json after each part to the folder `--out`, by default $OUT if that is set.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench import embedding
from bench.drawn_views import write_dataset
from bench.open_clip_training import OpenClipTraining
from bench.retrieval import draw_features
from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.errors import TrainingStoppedError
from model.evaluation.context import chunk_mb
from model.evaluation.measures.metrics import Answers, best_ranks, scores_of_features
from model.files import write_json
from model.training.config import TrainConfig
from model.training.run.folder import RunFolder
from model.training.run.metrics import read_timings
from model.training.train import train

_EMBEDDED_BATCHES = 16
_RANKS_DIM = 512


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that is measured.

    Attributes:
        architecture: open_clip's name of the architecture.
        what: "clip", "designclip", "open_clip", "embedding" or "ranks".
        num_images: Images per step, or queries and candidates.
        compiled: Whether torch.compile is used.
    """

    architecture: str
    what: str
    num_images: int
    compiled: bool = False

    @property
    def name(self) -> str:
        """Name in messages."""
        return f"{self.architecture} {self.what}{', compiled' if self.compiled else ''}".strip()

    @property
    def needed_s(self) -> float:
        """Time to allow for in addition to the steps: building and compiling the model, writing a checkpoint."""
        is_large = self.architecture == "ViT-L-14"
        return (20.0 if is_large else 10.0) + (90.0 if is_large else 60.0) * self.compiled


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The result of a part.

    Attributes:
        part: What was measured.
        images_per_s: Images per second over the counted steps.
        num_steps: Number of counted steps.
        waiting: Share of their time in which training waited for a batch; None if no batches are read.
        memory_gb: Peak memory of the GPU; of the process if there is no GPU; None if it was not measured.
        ratio: Speed relative to the bare tower, for embedding.
    """

    part: Part
    images_per_s: float
    num_steps: int
    waiting: float | None = None
    memory_gb: float | None = None
    ratio: float | None = None


@dataclass
class Plan:
    """What to measure, the time for it, and the results so far.

    Attributes:
        device: Device to train on.
        parts: The parts, the most informative first.
        seconds_of_steps: Time for the counted steps of each part.
        num_warm_up: Steps of each part that are not counted.
        num_views: Views in the dataset.
        until: Time at which to end, on the clock of `time.monotonic`.
        speeds: Results of the parts that are done.
        left_out: Parts that were skipped, each with its reason.
    """

    device: torch.device
    parts: list[Part]
    seconds_of_steps: float
    num_warm_up: int
    num_views: int
    until: float
    speeds: list[Speed] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def parts_of(sizes: dict[str, int], *, num_ranks: int = 50_000) -> list[Part]:
    """All parts; first those that a short run should measure.

    Args:
        sizes: Architecture → images per step.
        num_ranks: Queries, and candidates, that ranks are computed of.
    """

    def of_each(*whats: str, compiled: bool = False) -> list[Part]:
        return [
            Part(architecture=architecture, what=what, num_images=num_images, compiled=compiled)
            for architecture, num_images in sizes.items()
            for what in whats
        ]

    return [
        *of_each("clip", "open_clip"),
        *of_each("embedding"),
        Part(architecture="", what="ranks", num_images=num_ranks),
        *of_each("clip", "open_clip", compiled=True),
        *of_each("designclip"),
    ]


def measure(plan: Plan, folder: Path, announce: Callable[[str], None], after_each: Callable[[], None]) -> None:
    """Draw the dataset and measure the parts of the plan; speeds and skipped parts are added to it."""
    write_dataset(folder, plan.num_views)
    for number, part in enumerate(plan.parts):
        if time.monotonic() + part.needed_s + plan.seconds_of_steps > plan.until:
            plan.left_out.append(f"{part.name}: no time left")
            continue
        announce(f"{part.name} …")
        try:
            plan.speeds.append(measure_part(plan, part, folder, folder / f"run-{number}"))
        except torch.OutOfMemoryError:
            plan.left_out.append(f"{part.name}: out of memory")
        gc.collect()
        if plan.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        after_each()


def measure_part(plan: Plan, part: Part, dataset: Path, run_dir: Path) -> Speed:
    """Measure one part; the folder of its run is removed afterwards."""
    if part.what == "open_clip":
        return measure_open_clip(plan, part)
    if part.what == "embedding":
        return measure_embedding(plan, part, dataset)
    if part.what == "ranks":
        return measure_ranks(plan, part)
    try:
        return measure_ours(plan, part, dataset, run_dir)
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def measure_ours(plan: Plan, part: Part, dataset: Path, run_dir: Path) -> Speed:
    """Train as a user would until the time is over, and read the timings that the run recorded."""
    config = TrainConfig(
        preset=part.what,
        architecture=part.architecture,
        batch_size=part.num_images // (2 if part.what == "designclip" else 1),
        num_steps=10**6,
        precision="bf16",
        compile=part.compiled,
        device=str(plan.device),
        checkpoint_every_steps=10**6,
        num_workers=max(1, len(os.sched_getaffinity(0)) - 2),
        num_batches_ahead=4,
        divergence_factor=None,
    )
    watch = _Watch(plan)
    with contextlib.suppress(TrainingStoppedError):
        train(dataset, run_dir, config, progress=watch.record, should_stop=lambda: watch.is_over)
    rows = read_timings(RunFolder(run_dir))[plan.num_warm_up :]
    seconds = sum(row["seconds"] for row in rows)
    return Speed(
        part=part,
        images_per_s=part.num_images * len(rows) / seconds,
        num_steps=len(rows),
        waiting=sum(row["wait_s"] for row in rows) / seconds,
        memory_gb=max(row["memory_bytes"] for row in rows) / 1e9,
    )


class _Watch:
    """Decides when the time of the counted steps is over; it starts with the last step that is not counted."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._num_done = 0
        self._until = float("inf")

    def record(self, num_done: int, _num_steps: int, _values: dict[str, Any]) -> None:
        self._num_done = num_done
        if num_done == self._plan.num_warm_up:
            self._until = time.monotonic() + self._plan.seconds_of_steps

    @property
    def is_over(self) -> bool:
        return self._num_done > self._plan.num_warm_up + 1 and time.monotonic() > self._until


def measure_open_clip(plan: Plan, part: Part) -> Speed:
    """Measure open_clip's own loop, training on the same batch repeatedly."""
    clip = load_clip(ModelSource(part.architecture), device=plan.device)
    if plan.device.type == "cuda":  # as `open_clip_train` does
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    training = OpenClipTraining(clip.model, is_fused=False)
    if part.compiled:
        clip.model.compile()
    images = torch.rand(part.num_images, 3, *clip.preprocess.size_px, device=plan.device)
    tokens = clip.tokenizer(["a rounded hollow body with a handle"] * part.num_images).to(plan.device)

    def take(num_steps: int) -> float:
        return training.take_steps([(images, tokens)] * num_steps, num_steps=num_steps, batch_size=part.num_images)

    take(plan.num_warm_up)
    num_steps = max(2, int(plan.seconds_of_steps / take(1)))
    seconds = take(num_steps)
    return Speed(
        part=part, images_per_s=part.num_images * num_steps / seconds, num_steps=num_steps, memory_gb=_peak_gb(plan)
    )


def measure_embedding(plan: Plan, part: Part, dataset: Path) -> Speed:
    """Embed the views as evaluation does, and the same images with the tower alone."""
    clip = load_clip(ModelSource(part.architecture), device=plan.device)
    views = read_views(open_dataset(dataset), "train")
    terms = argparse.Namespace(
        batch_size=part.num_images,
        workers=max(1, len(os.sched_getaffinity(0)) - 2),
        precision="bf16",
        rounds=1,
    )
    views = replace(views, table=views.table.slice(0, part.num_images * _EMBEDDED_BATCHES))
    measured = embedding.measure(clip, views, terms)
    return Speed(
        part=part,
        images_per_s=measured["views_per_s"],
        num_steps=math.ceil(len(views) / part.num_images),
        memory_gb=_peak_gb(plan),
        ratio=measured["ratio"],
    )


def measure_ranks(plan: Plan, part: Part) -> Speed:
    """Exact ranks among random features, in chunks that suit the device."""
    queries, gallery = (features.to(plan.device) for features in draw_features(part.num_images, _RANKS_DIM))
    answers = Answers.by_group(*[np.arange(part.num_images)] * 2)
    started = time.perf_counter()
    best_ranks(scores_of_features(queries, gallery), answers, len(gallery), max_chunk_mb=chunk_mb(plan.device))
    seconds = time.perf_counter() - started
    return Speed(part=part, images_per_s=part.num_images / seconds, num_steps=1, memory_gb=_peak_gb(plan))


def _peak_gb(plan: Plan) -> float | None:
    return torch.cuda.max_memory_allocated() / 1e9 if plan.device.type == "cuda" else None


def result_of(plan: Plan) -> dict[str, Any]:
    """The content of gpu.json."""
    cores = len(os.sched_getaffinity(0))
    name = torch.cuda.get_device_name() if plan.device.type == "cuda" else "CPU"
    return {
        "bench": "gpu",
        "device": f"{name}, {cores} cores",
        "torch": torch.__version__,
        "num_views": plan.num_views,
        "parts": [asdict(speed) for speed in plan.speeds],
        "left_out": plan.left_out,
    }


def table_of(plan: Plan) -> Table:
    """The speeds, with the ratio to open_clip's of the same architecture, compiled or not as ours, or to the tower."""
    table = Table("model", "what", "images per step", "images/s", "× reference", "waiting", "memory", "steps")
    reference = {
        (speed.part.architecture, speed.part.compiled): speed.images_per_s
        for speed in plan.speeds
        if speed.part.what == "open_clip"
    }
    for speed in sorted(plan.speeds, key=lambda speed: plan.parts.index(speed.part)):
        part, stock = speed.part, reference.get((speed.part.architecture, speed.part.compiled))
        table.add_row(
            part.architecture,
            part.what + (", compiled" if part.compiled else ""),
            f"{part.num_images:,}",
            f"{speed.images_per_s:,.0f}",
            _ratio(speed, stock),
            "" if speed.waiting is None else f"{100 * speed.waiting:.1f} %",
            "" if speed.memory_gb is None else f"{speed.memory_gb:.1f} GB",
            f"{speed.num_steps:,}",
        )
    return table


def _ratio(speed: Speed, stock: float | None) -> str:
    """Speed relative to the reference: the bare tower for embedding, open_clip's step for training."""
    if speed.ratio is not None:
        return f"{speed.ratio:.2f}"
    is_training = speed.part.what in ("clip", "designclip")
    return f"{speed.images_per_s / stock:.2f}" if is_training and stock is not None else ""


def plan_of(arguments: argparse.Namespace) -> Plan:
    """The plan that the command line asks for."""
    sizes = {"ViT-B-32": arguments.batch_size, "ViT-L-14": arguments.large_batch_size}
    parts = [part for part in parts_of(sizes) if arguments.compile or not part.compiled]
    if arguments.quick:
        parts = [part for part in parts_of({"designclip-tiny": 16}, num_ranks=500) if not part.compiled]
    return Plan(
        device=torch.device(arguments.device),
        parts=parts,
        seconds_of_steps=0.5 if arguments.quick else arguments.seconds,
        num_warm_up=2 if arguments.quick else 10,
        num_views=64 if arguments.quick else arguments.num_views,
        until=time.monotonic() + 60 * arguments.minutes,
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=5.5, help="total time")
    parser.add_argument("--seconds", type=float, default=12.0, help="time of the counted steps of each part")
    parser.add_argument("--batch-size", type=int, default=1024, help="images per step of ViT-B-32")
    parser.add_argument("--large-batch-size", type=int, default=128, help="images per step of ViT-L-14")
    parser.add_argument("--num-views", type=int, default=50_000)
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=True, help="also measure compiled models"
    )
    parser.add_argument("--quick", action="store_true", help="a small model and a few steps, to check that it works")
    parser.add_argument("--out", type=Path, default=os.environ.get("OUT"), help="folder for gpu.json")
    options = parser.parse_args(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device; try --quick --device cpu")
    plan = plan_of(options)

    def write_result() -> None:
        if options.out is not None:
            write_json(Path(options.out) / "gpu.json", result_of(plan))

    with tempfile.TemporaryDirectory() as temporary:
        os.environ["DESIGNCLIP_CACHE"] = str(Path(temporary) / "cache")
        folder = Path(temporary) / "drawn"
        folder.mkdir()
        measure(plan, folder, lambda message: print(message, file=sys.stderr, flush=True), write_result)
    write_result()
    out = Console(width=None if sys.stdout.isatty() else 120)
    out.print(f"{result_of(plan)['device']}, torch {torch.__version__}, bf16")
    out.print(table_of(plan))
    for reason in plan.left_out:
        out.print(f"left out: {reason}")


if __name__ == "__main__":
    main()
