"""The drawn patents of the evidence: long-tailed weeks to train on, and later weeks of equal classes to test on.

The weeks go through the project's own stages from archives to captions, so that views are cut from their sheets and
captions are made from title, viewpoint and class (the captioner "described") as in real use.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from bench.evidence.scale import Scale
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.stage import caption_views
from patentdata.dataset.splits import SplitConfig
from patentdata.dataset.stage import DatasetConfig, build_dataset
from patentdata.grants.stage import parse_archive
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from patentdata.views.patent_views import ViewsConfig
from patentdata.views.square_images import TrainingImageConfig
from patentdata.views.stage import split_archive
from patentdata.worker import prepare_worker

WeekProgress = Callable[[int, int], None]  # weeks done, weeks in all

_FIRST_DAY = datetime.date(2024, 1, 2)
_PATENTS_A_WEEK = 100
_FIRST_NUMBER = 904_200  # a multiple of 33: equally frequent classes come in blocks of 33 numbers
_DRAWING_SCALE = 0.3  # the training images are a fraction of a sheet


def make_dataset(out: Path, scale: Scale, *, num_workers: int, progress: WeekProgress = lambda done, of: None) -> Path:
    """Draw the patents and make a dataset of them; what exists already is kept.

    Args:
        out: Folder of the evidence.
        scale: Size of the evidence.
        num_workers: Number of processes, each of which draws and processes a week at a time.
        progress: Called after each week.

    Returns:
        The folder of the dataset, which has the splits train and test.
    """
    weeks = dict(_plan(scale))
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"), initializer=prepare_worker) as pool:
        walks = [pool.submit(_walk, out / "weeks" / week, out / "data", week, config) for week, config in weeks.items()]
        for num_done, walk in enumerate(as_completed(walks), start=1):
            walk.result()
            progress(num_done, len(weeks))
    config = DatasetConfig(
        name="evidence",
        image=TrainingImageConfig(size_px=scale.image_px),
        split=SplitConfig(kind="temporal", test_from=_first_test_day(weeks)),
    )
    build_dataset(DataFolder(str(out / "data")), list(weeks), config, num_threads=num_workers)
    return out / "data" / "datasets" / config.name


def _plan(scale: Scale) -> Iterator[tuple[str, SpecimenConfig]]:
    """Pairs of week and what is drawn for it: first the training weeks, then the test weeks with equal classes."""
    day, number = _FIRST_DAY, _FIRST_NUMBER
    for num_patents, ratio in ((scale.num_training_patents, scale.tail_ratio), (scale.num_test_patents, 1.0)):
        end = number + num_patents
        while number < end:
            yield (
                f"I{day:%Y%m%d}",
                SpecimenConfig(
                    num_patents=min(_PATENTS_A_WEEK, end - number),
                    first_number=number,
                    long_tailed=ratio,
                    max_figures=scale.max_figures,
                    drawing_scale=_DRAWING_SCALE,
                ),
            )
            day, number = day + datetime.timedelta(weeks=1), min(number + _PATENTS_A_WEEK, end)


def _first_test_day(weeks: dict[str, SpecimenConfig]) -> datetime.date:
    """Date of the first week with equal classes."""
    week = next(week for week, config in weeks.items() if config.long_tailed == 1)
    return datetime.datetime.strptime(week, "I%Y%m%d").date()


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
