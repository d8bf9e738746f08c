"""A small frozen dataset with a near-duplicate across its splits and a wrong caption."""

import hashlib

import numpy as np

from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.splits import SplitConfig
from patentdata.dataset.stage import build_dataset
from patentdata.store.folder import DataFolder
from patentdata.views.sheets import to_png
from patentdata.views.signatures import signature
from patentdata.views.square_images import TrainingImageConfig
from tests.patentdata.dataset.near_duplicates.drawn import figure
from tests.patentdata.dataset.test_stage import TUESDAY, week_name, write_week


def build_audited(url) -> DataFolder:
    """Two weeks of three patents, the second one for test; D901000 shows the drawings of D900000, mirrored."""
    folder = DataFolder(url)
    for week in (0, 1):
        numbers = range(900000 + 1000 * week, 900060 + 1000 * week, 20)
        write_week(folder, week, numbers, change_view=_drawn, change_caption=_wrong)
    split = SplitConfig(kind="temporal", test_from=TUESDAY.replace(day=12))
    config = DatasetConfig(image=TrainingImageConfig(size_px=64), split=split)
    build_dataset(folder, [week_name(week) for week in (0, 1)], config)
    return folder


def _drawn(view):
    number, _, label = view["view_id"].partition("-")
    page = figure((900000 if number == "D901000" else int(number[1:])) * 10 + int(label))
    page = np.ascontiguousarray(page[:, ::-1] if number == "D901000" else page)
    png = to_png(page)
    return view | {"image": png, "signature": signature(page), "image_sha256": hashlib.sha256(png).hexdigest()}


def _wrong(caption):
    return caption | ({"text": "Rear view of <b>a chair"} if caption["view_id"] == "D900020-2" else {})
