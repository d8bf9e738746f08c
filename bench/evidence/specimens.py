"""The drawn patents of the evidence: long-tailed weeks to train on, then weeks of equal classes to measure on.

The weeks go through the project's own stages from archives to captions, so that views are cut from their sheets and
captions are made from title, viewpoint and class (the captioner "described") as in real use.

Weeks show the two halves of the kinds of article in turn: the first kind of each class, and all others, among them
those that specimens do not show by default. Together they are the data of nearly all runs. Apart they are that of the
transfer from one half to the other, so every class occurs in both.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from bench.evidence.scale import Data
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
from patentdata.specimens.classes import HELD_BACK_KINDS, KINDS
from patentdata.store.folder import DataFolder
from patentdata.views.patent_views import ViewsConfig
from patentdata.views.square_images import TrainingImageConfig
from patentdata.views.stage import split_archive
from patentdata.worker import prepare_worker

WeekProgress = Callable[[int, int], None]  # weeks done, weeks in all

_FIRST_DAY = datetime.date(2025, 1, 7)
_PATENTS_A_WEEK = 99  # whole blocks of the 33 classes
_FIRST_NUMBER = 940_500  # a multiple of 33: equally frequent classes come in blocks of 33 numbers
_DRAWING_SCALE = 0.3  # the training images are a fraction of a sheet


@dataclass(frozen=True)
class Week:
    """One drawn week.

    Attributes:
        name: "I" and its date.
        day: Its date.
        split: The split that its patents belong to.
        half: Index of the half of the kinds of article that it shows.
        config: What is drawn.
    """

    name: str
    day: datetime.date
    split: Literal["train", "validation", "test"]
    half: int
    config: SpecimenConfig


DATASETS: dict[str, Callable[[Week], bool]] = {
    "choice": lambda week: week.split != "test",
    "all": lambda week: True,
    "first-half": lambda week: week.half == 0,
    "second-half": lambda week: week.half == 1,
}
"""Name of a dataset → the weeks in it. What is chosen is chosen with a dataset that has no test part."""


def halves() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the articles of both halves: the first kind of each class, and all other kinds."""
    first = {kind.uspc_class: kind.article for kind in reversed(KINDS)}
    others = [kind.article for kind in (*KINDS, *HELD_BACK_KINDS) if kind.article not in first.values()]
    return tuple(first.values()), tuple(others)


def weeks(data: Data) -> Iterator[Week]:
    """All weeks in the order of their dates: training, validation, test."""
    day, number = _FIRST_DAY, _FIRST_NUMBER
    parts: tuple[tuple[Literal["train", "validation", "test"], int, float], ...] = (
        ("train", data.num_training_patents, data.tail_ratio),
        ("validation", data.num_validation_patents, 1.0),
        ("test", data.num_test_patents, 1.0),
    )
    for split, num_patents, ratio in parts:
        end, half = number + num_patents, 0
        while number < end:
            config = SpecimenConfig(
                num_patents=min(_PATENTS_A_WEEK, end - number),
                seed=data.seed,
                first_number=number,
                long_tailed=ratio,
                articles=halves()[half],
                max_figures=data.max_figures,
                drawing_scale=_DRAWING_SCALE,
            )
            yield Week(f"I{day:%Y%m%d}", day, split, half, config)
            day, number, half = day + datetime.timedelta(weeks=1), number + config.num_patents, 1 - half


def make_datasets(
    out: Path, data: Data, *, num_workers: int, progress: WeekProgress = lambda done, of: None
) -> dict[str, Path]:
    """Draw the patents and make the datasets of them; what exists already is kept.

    Args:
        out: Folder of the evidence.
        data: What is drawn.
        num_workers: Number of processes, each of which draws and processes a week at a time.
        progress: Called after each week.

    Returns:
        Name of each of `DATASETS` → its folder.
    """
    drawn = list(weeks(data))
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"), initializer=prepare_worker) as pool:
        walks = [pool.submit(_walk, out / "weeks" / week.name, out / "data", week.name, week.config) for week in drawn]
        for num_done, walk in enumerate(as_completed(walks), start=1):
            walk.result()
            progress(num_done, len(drawn))
    first_day = {split: next(week.day for week in drawn if week.split == split) for split in ("validation", "test")}
    folders = {}
    for name, is_in in DATASETS.items():
        config = DatasetConfig(
            name=name,
            image=TrainingImageConfig(size_px=data.image_px),
            split=SplitConfig(kind="temporal", validation_from=first_day["validation"], test_from=first_day["test"]),
        )
        names = [week.name for week in drawn if is_in(week)]
        build_dataset(DataFolder(str(out / "data")), names, config, num_threads=num_workers)
        folders[name] = out / "data" / "datasets" / name
    return folders


def _walk(source: Path, data_dir: Path, week: str, config: SpecimenConfig) -> None:
    """Draw one week and run the stages archives, grants, views and captions on it."""
    _draw(source, week, config)
    folder = DataFolder(str(data_dir))
    (archive,) = (archive for archive in list_weeks(str(source)) if archive.week == week)
    keep_archive(folder, archive, ArchivesConfig())
    parse_archive(folder, week)
    split_archive(folder, week, ViewsConfig())
    caption_views(folder, week, CaptionsConfig())


def _draw(source: Path, week: str, config: SpecimenConfig) -> None:
    """Write the week's archive, completely or not at all; it is kept if it was drawn with the same settings."""
    receipt = source / f"{week}.settings"
    if receipt.is_file() and receipt.read_text() == repr(config):
        return
    source.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=source) as temporary:
        path = write_week(Path(temporary), week, config, truth=False)
        path.replace(source / path.name)
    receipt.write_text(repr(config))
