"""All lines against the claimed ones, on drawn patents that share surroundings: the study `claimed`, measured.

    python -m bench.claimed --out /tmp/claimed --patents 240 --steps 300 --seeds 2

Patents are drawn in groups of six consecutive numbers. Those of a group have the same unclaimed surroundings and claim
different articles, of a dozen kinds; examiners cite patents of the same kind of article, whose surroundings are usually
others. The week goes through the project's own stages, so broken lines are found in the drawings and not taken from the
pen. The reference is the arm that is trained and measured on all lines, in the same run. What is done already in the
folder is not done again.

`nearest_stranger` of the study looks at the drawings. Here it is also known who shares surroundings:
`same_surroundings` is the share of the views whose nearest view of another family has the same surroundings and claims
an article of another class.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.clip.encoder import find_encoder
from model.clip.loading import choose_device
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.evaluation.measures.metrics import scores_of_features
from model.study.comparison import Resampling
from model.study.config import StudyConfig, read_study
from model.study.runs import plan_runs
from model.study.strangers import nearest_strangers
from model.study.study import run_study
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.stage import caption_views
from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.splits import SplitConfig
from patentdata.dataset.stage import build_dataset
from patentdata.grants.stage import parse_archive
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from patentdata.views.patent_views import ViewsConfig
from patentdata.views.square_images import TrainingImageConfig
from patentdata.views.stage import split_archive

WEEK = "I20250107"
NUM_SHARING = 6
_ARTICLES = (
    *("chair", "faucet", "bottle", "hammer", "lamp", "mug"),
    *("hat", "dumbbell", "plug", "camera", "watch", "toothbrush"),
)
_FIRST_NUMBER = 960_000  # a multiple of NUM_SHARING, so that every group is whole
_IMAGE_PX = 96


def make_dataset(out: Path, num_patents: int) -> Path:
    """Draw a week of patents and make a dataset of it; returns its folder."""
    config = SpecimenConfig(
        num_patents=num_patents,
        first_number=_FIRST_NUMBER,
        articles=_ARTICLES,
        max_figures=3,
        max_figures_per_sheet=1,
        drawing_scale=0.7,
        shared_surroundings=NUM_SHARING,
    )
    if not list(out.glob(f"weeks/{WEEK}*")):
        write_week(out / "weeks", WEEK, config, truth=False)
    folder = DataFolder(str(out / "data"))
    (archive,) = list_weeks(str(out / "weeks"))
    keep_archive(folder, archive, ArchivesConfig())
    parse_archive(folder, WEEK)
    split_archive(folder, WEEK, ViewsConfig())
    caption_views(folder, WEEK, CaptionsConfig())
    dataset = DatasetConfig(
        image=TrainingImageConfig(size_px=_IMAGE_PX), split=SplitConfig(test_share=0.5, validation_share=0.0)
    )
    build_dataset(folder, [WEEK], dataset)
    return out / "data" / "datasets" / dataset.name


def same_surroundings(dataset_dir: Path, out: Path, study: StudyConfig) -> dict[str, Any]:
    """Arm → mean and interval of `same_surroundings`, from the features that the study has stored."""
    dataset = open_dataset(dataset_dir)
    values: dict[str, list[np.ndarray]] = {}
    for run in plan_runs(study, dataset, out, []):
        views = read_views(dataset, study.split, lines=run.evaluation.lines)
        features = find_encoder(run.folder, choose_device("cpu")).image_features(dataset, views).features
        families = np.unique(views.families, return_inverse=True)[1]
        scores = scores_of_features(*(2 * [torch.from_numpy(features)]))
        strangers = nearest_strangers(scores, families)
        groups = np.array([int(number[1:]) // NUM_SHARING for number in views.patent_numbers])
        classes = np.array(views.classes)
        is_only = (groups == groups[strangers]) & (classes != classes[strangers])
        values.setdefault(run.arm.name, []).append(is_only.astype(np.float64))
    resampling = Resampling(families, study.num_resamples)
    return {arm: asdict(resampling.estimate(np.stack(of_seeds, axis=1))) for arm, of_seeds in values.items()}


def main() -> None:
    """Measure, and print the estimates and the verdicts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for patents, dataset, runs and page")
    parser.add_argument("--patents", type=int, default=240, help="a multiple of 6")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    dataset = make_dataset(options.out, options.patents)
    training = {
        "architecture": "designclip-tiny",
        "num_steps": options.steps,
        "batch_size": 32,
        "warmup_steps": options.steps // 10,
        "learning_rate": 1e-3,
        "device": "cpu",
        "checkpoint_every_steps": options.steps,
    }
    study = read_study("claimed", training, seeds=options.seeds)
    out = options.out / "data" / "studies" / "claimed"
    result = run_study(dataset, out, study, num_jobs=options.jobs)
    by_pen = same_surroundings(dataset, out, study)
    shown = {"same_surroundings": by_pen, "estimates": result["estimates"], "claims": result["claims"]}
    print(json.dumps(shown, indent=1))


if __name__ == "__main__":
    main()
