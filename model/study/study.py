"""A study from its plan to its page: trains and measures what is missing, and judges every claim.

OUT/runs/ARM-seed-S/          a training run
OUT/outcomes/ARM-seed-S.npz   what it does with each measured view
OUT/study.html                the page
OUT/study.json                estimates and verdicts; written last

Nothing is computed twice: a study that was stopped, or to which seeds or arms are added, continues where it was.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from model.dataset.folder import Dataset, open_dataset
from model.dataset.views import read_views
from model.files import exclusive_lock, read_json, write_json, write_text
from model.progress import Progress
from model.study.config import StudyConfig
from model.study.outcomes import MEASURES, parts_of
from model.study.page import render_study
from model.study.runs import StudyRun, make_runs, num_steps_of, plan_runs, require_replaceable
from model.study.summary import Outcomes, summarise
from model.training.run.folder import RunFolder
from model.training.run.metrics import read_timings

_LOG = logging.getLogger(__name__)


def plan_study(dataset_dir: str | Path, out: str | Path, config: StudyConfig) -> dict[str, Any]:
    """What a study would do: its runs, those that are done or taken over, its steps, and hours if they can be told.

    Hours follow from the speed of runs of the same architecture and batch size among those of the data folder; without
    one they are None.

    Raises:
        ModelError: The dataset or a model to start from does not exist.
    """
    out, dataset = Path(out), open_dataset(dataset_dir)
    others = _other_runs(out)
    runs = plan_runs(config, dataset, out, others)
    missing = [run for run in runs if run.outcomes() is None]
    to_train = list({run.folder: run for run in missing if run.found is None}.values())  # arms can share a run
    seconds = [_seconds_of(run, dataset, [*others, *(one.folder for one in runs)]) for run in to_train]
    known = [value for value in seconds if value is not None]
    return {
        "study": config.name,
        "arms": len(config.arms),
        "seeds": len(config.seeds),
        "runs": len(runs),
        "done": len(runs) - len(missing),
        "taken_over": len(missing) - len(to_train),
        "to_train": len(to_train),
        "steps": sum(num_steps_of(run.training, dataset) for run in to_train),
        "hours": round(sum(known) / 3600, 3) if len(known) == len(to_train) else None,
    }


def run_study(
    dataset_dir: str | Path,
    out: str | Path,
    config: StudyConfig,
    *,
    num_jobs: int = 1,
    replace: bool = False,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Make the missing runs of a study, compare its arms, and write its page.

    Args:
        dataset_dir: Folder with `dataset.json`.
        out: Folder of the study; finished runs in `runs/` of the data folder above it may be taken over.
        config: The study.
        num_jobs: Runs at a time.
        replace: Whether runs of the study with other settings or data may be replaced.
        progress: Called with the steps done and the steps in all, over all runs.
        should_stop: Called now and then; if it returns True, the study stops and can be resumed.

    Returns:
        The content of `study.json`.

    Raises:
        ConfigError: The folder holds runs of other settings or data, and `replace` is False.
        ModelError: The dataset or the device cannot be used, or a run failed.
        TrainingStoppedError: `should_stop` returned True.
    """
    out, dataset = Path(out), open_dataset(dataset_dir)
    out.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(out):
        runs = plan_runs(config, dataset, out, _other_runs(out))
        if not replace:
            require_replaceable(runs)
        make_runs(runs, dataset.folder, num_jobs=num_jobs, progress=progress, should_stop=should_stop)
        views = read_views(dataset, config.split)
        values = {(run.arm.name, run.seed): stored for run in runs if (stored := run.outcomes()) is not None}
        outcomes = Outcomes(values, views, parts_of(dataset, views), config.num_resamples)
        result = {
            "stage": "study",
            "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, "split": config.split},
            "study": config.to_dict(),
            "measures": MEASURES,
            **summarise(config, outcomes),
        }
        write_text(out / "study.html", render_study(result))
        write_json(out / "study.json", result)
    _LOG.info("study %s: %d runs, %s", config.name, len(runs), out / "study.html")
    return result


def _other_runs(out: Path) -> list[Path]:
    """Folders of runs in the data folder that the study is in, and of its other studies."""
    data_dir = out.resolve().parent.parent
    folders = [*data_dir.glob("runs/*/"), *data_dir.glob("studies/*/runs/*/")]
    return sorted(folder for folder in folders if out.resolve() not in folder.parents)


def _seconds_of(run: StudyRun, dataset: Dataset, folders: Sequence[Path]) -> float | None:
    """Estimated time of a run, from the median step of a run of the same size; None if there is none."""
    for folder in folders:
        other = RunFolder(folder)
        known = (read_json(other.config) or {}).get("config", {})
        is_same = all(known.get(name) == getattr(run.training, name) for name in ("architecture", "batch_size"))
        if is_same and (steps := [row["seconds"] for row in read_timings(other)]):
            return statistics.median(steps) * num_steps_of(run.training, dataset)
    return None
