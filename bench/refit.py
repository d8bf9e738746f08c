"""Cost of refitting the head at the end of a run, against the run's own steps.

    python -m bench.refit [--architecture ViT-B-32] [--batch-size 32] [--precision bf16] [--num-views 256]

Draws a dataset (`bench.drawn_views`), takes steps of the preset `designclip-balanced`, and refits the head on all of
the views. In addition, fits a last layer on random inputs of the largest number of views that a refit uses. Reports:

    step_s            median seconds of a step of B pairs
    refit_s           seconds of the refit, from the dataset's files to the fitted layer
    share_of_run      of the time of a run of the default number of epochs over these views, the refit's part
    largest_fit_s     seconds of the fit alone for `MOST_VIEWS_OF_A_CLASS` views of each class

Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.drawn_views import write_dataset
from bench.own_training import OwnTraining
from model.clip.loading import load_clip
from model.clip.source import ModelSource
from model.dataset.classes import USPC
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.training.config import TrainConfig
from model.training.refit import MOST_VIEWS_OF_A_CLASS, fit_last_layer, refit_head

_WIDTH = 256  # inputs of the last layer of a fusion head


def time_largest_fit() -> float:
    """Seconds of a fit on random inputs whose classes differ by about one standard deviation."""
    rng = np.random.default_rng(0)
    classes = np.repeat(np.arange(len(USPC)), MOST_VIEWS_OF_A_CLASS)
    centres = rng.standard_normal((len(USPC), _WIDTH), dtype=np.float32) / 16
    inputs = rng.standard_normal((len(classes), _WIDTH), dtype=np.float32) + centres[classes]
    blocks = np.split(inputs, range(1024, len(inputs), 1024))
    started = time.perf_counter()
    fit_last_layer(blocks, classes, num_classes=len(USPC), l2=TrainConfig().refit_l2, device=torch.device("cpu"))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--batch-size", type=int, default=32, help="B")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"))
    parser.add_argument("--num-views", type=int, default=256)
    parser.add_argument("--num-steps", type=int, default=4, help="steps that are timed, after one that is not")
    arguments = parser.parse_args()
    config = TrainConfig(
        preset="designclip-balanced",
        architecture=arguments.architecture,
        precision=arguments.precision,
        batch_size=arguments.batch_size,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["DESIGNCLIP_CACHE"] = str(Path(temporary) / "cache")
        folder = Path(temporary) / "drawn"
        folder.mkdir()
        write_dataset(folder, arguments.num_views)
        views = read_views(open_dataset(folder), "train")
        with contextlib.closing(OwnTraining(load_clip(ModelSource(config.architecture)), views, config)) as training:
            seconds = [training.take_step() for _ in range(1 + arguments.num_steps)][1:]
            started = time.perf_counter()
            refit_head(training.learner, training.stream, folder / "refit", weights_id="bench")
            refit_s = time.perf_counter() - started
            num_steps = training.stream.num_steps
    step_s = statistics.median(seconds)
    result = {
        "bench": "refit",
        "architecture": config.architecture,
        "batch_size": config.batch_size,
        "precision": config.precision,
        "num_threads": torch.get_num_threads(),
        "num_views": arguments.num_views,
        "num_steps": num_steps,
        "step_s": round(step_s, 3),
        "refit_s": round(refit_s, 3),
        "share_of_run": round(refit_s / (num_steps * step_s + refit_s), 4),
        "largest_fit_s": round(time_largest_fit(), 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
