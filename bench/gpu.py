"""Training on a GPU from dataset files to optimiser steps, beside open_clip's own step in the same run.

    python -m bench.gpu [--minutes 7.5] [--device cuda] [--out DIR]
    python -m bench.gpu --quick --device cpu

Draws a dataset (`bench.drawn_views`; nothing is downloaded), and takes one part after the other, first what tells most:

    clip        `model.training.train.train` with the preset of that name, B pairs a step
    designclip  likewise: B/2 pairs and another view of each, so B images a step
    open_clip   `train_one_epoch` of open_clip_train over B pairs that lie on the GPU: nothing is read

each for ViT-B-32 and ViT-L-14, plain and compiled. A part that the time left does not allow is left out and named. Of a
run of ours the first steps are not counted. `waiting` is the share of the time in which training had no batch; the GPU
still had the step before to do for some of it, so that it is an upper bound of the GPU's own waiting.

Prints a table; writes gpu.json, anew after each part, to `--out`, which is $OUT where that is set.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.drawn_views import write_dataset
from bench.open_clip_training import OpenClipTraining
from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.errors import TrainingStoppedError
from model.files import write_json
from model.training.config import TrainConfig
from model.training.run.folder import RunFolder
from model.training.run.metrics import read_timings
from model.training.train import train


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that is measured.

    Attributes:
        architecture: As open_clip calls it.
        what: "clip", "designclip" or "open_clip".
        num_images: A step.
        compiled: By torch.compile.
    """

    architecture: str
    what: str
    num_images: int
    compiled: bool = False

    @property
    def name(self) -> str:
        return f"{self.architecture} {self.what}{', compiled' if self.compiled else ''}"

    @property
    def needed_s(self) -> float:
        """What the part may take, beyond the seconds of its steps: building, compiling, writing a checkpoint."""
        is_large = self.architecture == "ViT-L-14"
        return (20.0 if is_large else 10.0) + (90.0 if is_large else 60.0) * self.compiled


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What a part came to.

    Attributes:
        images_per_s: Over the steps that count.
        num_steps: That count.
        waiting: Share of their time in which training had no batch; None where none is read.
        memory_gb: Most that the GPU held; on a CPU that of the process.
    """

    part: Part
    images_per_s: float
    num_steps: int
    waiting: float | None = None
    memory_gb: float | None = None


@dataclass
class Plan:
    """What to measure, within what time, and what of it is done.

    Attributes:
        device: Where.
        parts: What tells most comes first.
        seconds_of_steps: A part.
        num_warm_up: Steps of each part that do not count.
        num_views: Of the dataset.
        until: On the clock of `time.monotonic`.
        speeds: Of the parts done.
        left_out: The other parts, each with its reason.
    """

    device: torch.device
    parts: list[Part]
    seconds_of_steps: float
    num_warm_up: int
    num_views: int
    until: float
    speeds: list[Speed] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def parts_of(sizes: dict[str, int]) -> list[Part]:
    """All parts; what a short run should still come to first.

    Args:
        sizes: Architecture → images a step.
    """
    return [
        Part(architecture=architecture, what=what, num_images=num_images, compiled=compiled)
        for compiled, kinds in ((False, ("clip", "open_clip")), (True, ("clip", "open_clip")), (False, ("designclip",)))
        for architecture, num_images in sizes.items()
        for what in kinds
    ]


def measure(plan: Plan, folder: Path, tell: Callable[[str], None], after_each: Callable[[], None]) -> None:
    """Draw the dataset and fill in the speeds of the plan, part by part."""
    write_dataset(folder, plan.num_views)
    for number, part in enumerate(plan.parts):
        if time.monotonic() + part.needed_s + plan.seconds_of_steps > plan.until:
            plan.left_out.append(f"{part.name}: no time left")
            continue
        tell(f"{part.name} …")
        try:
            plan.speeds.append(measure_part(plan, part, folder, folder / f"run-{number}"))
        except torch.OutOfMemoryError:
            plan.left_out.append(f"{part.name}: more memory is wanted than the device has")
        gc.collect()
        if plan.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        after_each()


def measure_part(plan: Plan, part: Part, dataset: Path, run_dir: Path) -> Speed:
    """One part; the folder of its run is gone afterwards."""
    if part.what == "open_clip":
        return measure_open_clip(plan, part)
    try:
        return measure_ours(plan, part, dataset, run_dir)
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def measure_ours(plan: Plan, part: Part, dataset: Path, run_dir: Path) -> Speed:
    """Train until the time is over, as a user would, and read the run's own timings."""
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
        train(dataset, run_dir, config, progress=watch.hear, should_stop=lambda: watch.is_over)
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
    """Says when the steps that count have had their time; that begins with the last step that does not count."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._num_done = 0
        self._until = float("inf")

    def hear(self, num_done: int, _num_steps: int, _values: dict[str, Any]) -> None:
        self._num_done = num_done
        if num_done == self._plan.num_warm_up:
            self._until = time.monotonic() + self._plan.seconds_of_steps

    @property
    def is_over(self) -> bool:
        return self._num_done > self._plan.num_warm_up + 1 and time.monotonic() > self._until


def measure_open_clip(plan: Plan, part: Part) -> Speed:
    """Let open_clip's own loop train on one batch again and again."""
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
    memory_gb = torch.cuda.max_memory_allocated() / 1e9 if plan.device.type == "cuda" else None
    return Speed(
        part=part, images_per_s=part.num_images * num_steps / seconds, num_steps=num_steps, memory_gb=memory_gb
    )


def result_of(plan: Plan) -> dict[str, Any]:
    """Plain values for gpu.json."""
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
    """The speeds, ours beside open_clip's of the same architecture, compiled as ours is."""
    table = Table("model", "what", "images a step", "images/s", "× open_clip", "waiting", "memory", "steps")
    reference = {
        (speed.part.architecture, speed.part.compiled): speed.images_per_s
        for speed in plan.speeds
        if speed.part.what == "open_clip"
    }
    for speed in sorted(plan.speeds, key=lambda speed: plan.parts.index(speed.part)):
        part, beside = speed.part, reference.get((speed.part.architecture, speed.part.compiled))
        table.add_row(
            part.architecture,
            part.what + (", compiled" if part.compiled else ""),
            f"{part.num_images:,}",
            f"{speed.images_per_s:,.0f}",
            "" if beside is None or part.what == "open_clip" else f"{speed.images_per_s / beside:.2f}",
            "" if speed.waiting is None else f"{100 * speed.waiting:.1f} %",
            "" if speed.memory_gb is None else f"{speed.memory_gb:.1f} GB",
            f"{speed.num_steps:,}",
        )
    return table


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    sizes = {"ViT-B-32": arguments.batch_size, "ViT-L-14": arguments.large_batch_size}
    parts = [part for part in parts_of(sizes) if arguments.compile or not part.compiled]
    if arguments.quick:
        parts = [part for part in parts_of({"designclip-tiny": 16}) if not part.compiled]
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
    parser.add_argument("--minutes", type=float, default=7.5, help="for everything")
    parser.add_argument("--seconds", type=float, default=12.0, help="of steps that count, for each part")
    parser.add_argument("--batch-size", type=int, default=1024, help="images a step of ViT-B-32")
    parser.add_argument("--large-batch-size", type=int, default=128, help="images a step of ViT-L-14")
    parser.add_argument("--num-views", type=int, default=50_000)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="measure compiled too")
    parser.add_argument("--quick", action="store_true", help="a small model and a few steps, to see that it works")
    parser.add_argument("--out", type=Path, default=os.environ.get("OUT"), help="folder for gpu.json")
    options = parser.parse_args(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; try --quick --device cpu")
    plan = plan_of(options)

    def write_result() -> None:
        if options.out is not None:
            write_json(Path(options.out) / "gpu.json", result_of(plan))

    with tempfile.TemporaryDirectory() as temporary:
        os.environ["DESIGNCLIP_CACHE"] = str(Path(temporary) / "cache")
        folder = Path(temporary) / "drawn"
        folder.mkdir()
        measure(plan, folder, lambda doing: print(doing, file=sys.stderr, flush=True), write_result)
    write_result()
    out = Console(width=None if sys.stdout.isatty() else 120)
    out.print(f"{result_of(plan)['device']}, torch {torch.__version__}, bf16")
    out.print(table_of(plan))
    for why in plan.left_out:
        out.print(f"left out: {why}")


if __name__ == "__main__":
    main()
