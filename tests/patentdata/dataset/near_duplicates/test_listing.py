"""Near-duplicates of a dataset: listed, and left out if the settings ask for it."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from patentdata.dataset.config import DatasetConfig
from patentdata.dataset.near_duplicates.listing import FILE_NAME, find_near_duplicates
from patentdata.dataset.near_duplicates.search import NearDuplicateConfig
from patentdata.dataset.splits import SplitConfig
from patentdata.dataset.stage import build_dataset
from patentdata.errors import OutputError
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import read_provenance
from patentdata.views.sheets import to_png
from patentdata.views.signatures import signature
from patentdata.views.square_images import TrainingImageConfig
from tests.patentdata.dataset.near_duplicates.drawn import figure
from tests.patentdata.dataset.test_stage import TUESDAY, week_name, write_week

LEAVE_OUT = NearDuplicateConfig(leave_out=True)


def row(view_id, split, page, *, family=""):
    patent = view_id.partition("-")[0]
    return {
        "view_id": view_id,
        "split": split,
        "patent_number": patent,
        "family": family or patent,
        "signature": None if page is None else signature(np.ascontiguousarray(page)),
    }


def test_pairs_of_different_patents_are_listed_and_those_of_one_patent_counted():
    rows = [
        row("D1-1", "train", figure(1)),
        row("D1-2", "train", figure(1)[:, ::-1]),
        row("D2-1", "train", np.rot90(figure(1)), family="D1"),
        row("D3-1", "test", figure(2)),
        row("D4-1", "test", None),
    ]
    found = find_near_duplicates(rows, NearDuplicateConfig())
    listed = [(one["view_id"], one["other_view_id"], one["turn"], one["is_same_family"]) for one in found.rows]
    assert listed == [("D1-1", "D2-1", "turned by 90°", True), ("D1-2", "D2-1", "mirrored, turned by 90°", True)]
    assert list(found.rows[0]) == schemas.NEAR_DUPLICATES.names
    assert found.to_dict() == {
        "num_pairs": {"train": 2},
        "num_left_out": 0,
        "num_pairs_of_one_patent": 1,
        "num_without_signature": 1,
        "num_crowded": 0,
    }


def test_the_earlier_split_of_train_validation_and_test_gives_way():
    rows = [
        row(f"D{number}-1", split, figure(drawing))
        for number, (split, drawing) in enumerate(
            [("test", 1), ("train", 1), ("validation", 1), ("validation", 2), ("train", 2), ("train", 3), ("train", 3)]
        )
    ]
    found = find_near_duplicates(rows, LEAVE_OUT)
    assert dict(found.left_out) == {"D1-1": "D0-1", "D2-1": "D0-1", "D4-1": "D3-1"}
    kept = [(one["view_id"], one["other_view_id"]) for one in found.rows if not one["is_left_out"]]
    assert kept == [("D5-1", "D6-1")]
    assert not find_near_duplicates(rows, NearDuplicateConfig()).left_out


def test_nothing_is_left_out_unnoticed_if_views_cannot_be_searched():
    rows = [row("D1-1", "train", figure(1)), row("D2-1", "test", None)]
    with pytest.raises(OutputError, match=r"1 views cannot be searched.*such as D2-1.*run the views stage again"):
        find_near_duplicates(rows, LEAVE_OUT)


# In a dataset: two weeks by day of grant, the first one for training.


def drawn_view(copied=()):
    """Gives each view its own drawing, and the patents in `copied` the drawing of patent 900000."""

    def change(view):
        number, _, label = view["view_id"].partition("-")
        page = figure(int(label) if number[1:] in copied else int(number[1:]) * 10 + int(label))
        return view | {"image": to_png(page), "signature": signature(page), "image_sha256": view["view_id"]}

    return change


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    folder = DataFolder(tmp_path / "data")
    write_week(folder, 0, [900000, 900020, 900040], change_view=drawn_view(("900000",)))
    write_week(folder, 2, [902000, 902020], change_view=drawn_view(("902000",)))
    return folder


def build(folder, num_weeks, near_duplicates):
    config = DatasetConfig(
        image=TrainingImageConfig(size_px=32),
        split=SplitConfig(kind="temporal", test_from=TUESDAY.replace(day=12)),
        near_duplicates=near_duplicates,
    )
    return build_dataset(folder, [week_name(week) for week in (0, 2)[:num_weeks]], config)


def shards(folder):
    return {
        name: folder.fs.cat_file(folder.path("datasets", "designs", name))
        for name in folder.names("datasets", "designs")
        if name.endswith(".parquet")
    }


def test_a_later_week_takes_near_duplicates_out_of_an_old_file_whose_provenance_says_so(folder):
    build(folder, 1, LEAVE_OUT)
    before = shards(folder)
    report = build(folder, 2, LEAVE_OUT)

    after = shards(folder)
    (name,) = before
    assert before[name] != after[name]
    path = folder.path("datasets", "designs", name)
    assert "near_duplicate" in read_provenance(folder, path)["inputs"]
    assert {view.partition("-")[0] for view in pq.read_table(path)["view_id"].to_pylist()} == {"D900020", "D900040"}
    assert report.tally("views").left_out["near_duplicate"] == 2
    report.check()


def test_without_near_duplicates_the_setting_changes_no_file_of_views(folder):
    build(folder, 1, NearDuplicateConfig())
    before = shards(folder)
    build(folder, 1, LEAVE_OUT)
    assert shards(folder) == before


def test_the_list_has_the_pairs_that_stay_and_those_left_out(folder):
    build(folder, 2, NearDuplicateConfig())
    listed = pq.read_table(folder.path("datasets", "designs", FILE_NAME)).to_pylist()
    assert {(one["view_id"], one["other_view_id"], one["is_left_out"]) for one in listed} == {
        ("D900000-1", "D902000-1", False),
        ("D900000-2", "D902000-2", False),
    }
    manifest = folder.read_json(folder.path("datasets", "designs", "dataset.json"))
    assert manifest["near_duplicates"]["num_pairs"] == {"train-test": 2}
    assert len(shards(folder)) == 2

    build(folder, 2, LEAVE_OUT)
    listed = pq.read_table(folder.path("datasets", "designs", FILE_NAME)).to_pylist()
    assert [one["is_left_out"] for one in listed] == [True, True]


def test_a_damaged_list_is_written_again_and_the_dataset_is_then_as_before(folder):
    build(folder, 2, LEAVE_OUT)
    path = folder.path("datasets", "designs", FILE_NAME)
    whole, manifest = folder.fs.cat_file(path), folder.fs.cat_file(folder.path("datasets", "designs", "dataset.json"))
    for damage in (lambda: folder.fs.pipe_file(path, whole[:-9]), lambda: folder.fs.rm_file(path)):
        damage()
        build(folder, 2, LEAVE_OUT)
        assert folder.fs.cat_file(path) == whole
        assert json.loads(folder.fs.cat_file(folder.path("datasets", "designs", "dataset.json"))) == json.loads(
            manifest
        )
