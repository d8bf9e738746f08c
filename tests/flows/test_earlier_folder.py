"""A data folder that an earlier state of the code made is found done: equal claims, equal bytes.

`earlier_folder.json` holds the hashes of such a folder, one drawn week of three patents, and the versions of the stages
that made it. A stage whose version has been raised since then, and every stage after it, is rebuilt on purpose and not
compared.
"""

import hashlib
import json
from pathlib import Path

import pytest

from flows.weeks import WeeksConfig, walk_weeks
from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.stage import build_dataset
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import read_provenance
from tasks.running.runners import WorkersConfig

_WEEK = "I20240102"
_EARLIER = json.loads(Path(__file__).with_name("earlier_folder.json").read_text())


def _versions(folder: DataFolder) -> dict[str, int]:
    """Stage → version that made its output."""
    made = {"archives": folder.read_json(folder.path("archives", f"{_WEEK}.json"))["made"]}
    for stage in ("grants", "views", "captions"):
        made[stage] = read_provenance(folder, folder.path(stage, f"{_WEEK}.parquet"))
    made["dataset"] = folder.read_json(folder.path("datasets", "designs", "dataset.json"))["made"]
    return {stage: values["version"] for stage, values in made.items()}


@pytest.mark.slow
def test_a_folder_of_an_earlier_state_of_the_code_is_found_done(tmp_path):
    write_week(tmp_path / "source", _WEEK, SpecimenConfig(num_patents=3))
    workers = WorkersConfig(kind="threads", num_workers=1)
    walk_weeks(WeeksConfig(data_dir=str(tmp_path / "data"), source=str(tmp_path / "source"), workers=workers))
    folder = DataFolder(str(tmp_path / "data"))
    build_dataset(folder, [_WEEK], DatasetConfig())
    now = {name: hashlib.sha256((tmp_path / "data" / name).read_bytes()).hexdigest() for name in _EARLIER["sha256"]}
    archive = f"archives/{_WEEK}.tar"
    if now[archive] != _EARLIER["sha256"][archive]:
        pytest.skip("this machine's arithmetic draws the specimens otherwise, so there is nothing to compare")

    compared = ["archives"]
    for stage, version in list(_versions(folder).items())[1:]:
        if version != _EARLIER["versions"][stage]:
            break
        compared.append("datasets" if stage == "dataset" else stage)
    differing = [name for name in now if name.partition("/")[0] in compared and now[name] != _EARLIER["sha256"][name]]
    assert not differing, "other bytes without a raised version: an existing folder would not be found done"
