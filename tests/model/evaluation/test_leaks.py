"""Leak checks, made before anything is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.clip.encoder import find_encoder
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from model.errors import DatasetError
from model.evaluation.config import EvaluationConfig
from model.evaluation.leaks import check_leaks, near_duplicates, titles_in_captions
from tests.model.dataset.drawings import draw_rows, write_dataset

WARN = EvaluationConfig(stop_on=())


def check(folder: Path, config: EvaluationConfig = WARN, *, encoders=(), **splits) -> dict[str, int]:
    dataset = open_dataset(write_dataset(folder, splits))
    leaks = check_leaks(dataset, read_views(dataset, "test"), encoders, config)
    return {leak.check: leak.num_found for leak in leaks}


def two_splits() -> dict[str, list[dict]]:
    return {split: draw_rows(3, split=split, seed=seed) for seed, split in ((1, "train"), (2, "test"))}


def test_a_clean_dataset_passes_every_check(tmp_path):
    found = check(tmp_path, EvaluationConfig(), **two_splits())
    assert found == {"patents": 0, "families": 0, "images": 0, "near_duplicates": 0, "front_pages": 0, "titles": 0}


@pytest.mark.parametrize(
    ("column", "name"), [("patent_number", "patents"), ("family", "families"), ("image_sha256", "images")]
)
def test_what_is_in_two_splits_is_counted_and_stops_the_evaluation_if_so_set(tmp_path, column, name):
    splits = two_splits()
    splits["test"][0][column] = splits["train"][0][column]

    assert check(tmp_path, **splits)[name] == 1
    with pytest.raises(
        DatasetError,
        match=rf"1 of \d {name} of the split test are in another split as well.*remove '{name}' from stop_on",
    ):
        check(tmp_path, EvaluationConfig(stop_on=(name,)), **splits)


def test_patents_and_families_in_two_splits_stop_the_evaluation_by_default(tmp_path):
    splits = two_splits()
    splits["test"][0]["family"] = splits["train"][0]["family"]
    with pytest.raises(DatasetError, match=r"families.*, such as D7"):
        check(tmp_path, EvaluationConfig(), **splits)


def write_pairs(folder: Path, pairs: list[tuple[str, str, str, str, bool]]) -> None:
    """Write a list of near-duplicates, as the dataset stage does: view and split, other view and split, left out."""
    columns = ("view_id", "split", "other_view_id", "other_split", "is_left_out")
    rows = [
        dict(zip(columns, pair, strict=True)) | {"similarity": 0.99 - index / 100, "turn": "mirrored"}
        for index, pair in enumerate(pairs)
    ]
    path = folder / ".near_duplicates" / "pairs.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def test_near_duplicates_in_other_splits_are_counted_by_view_and_listed(tmp_path):
    write_pairs(
        tmp_path,
        [
            ("D1-1", "train", "D9-1", "test", False),
            ("D9-1", "test", "D2-1", "train", False),
            ("D3-1", "validation", "D9-2", "test", False),
            ("D4-1", "train", "D5-1", "train", False),
            ("D6-1", "train", "D9-3", "test", True),
        ],
    )
    dataset = open_dataset(write_dataset(tmp_path, two_splits()))
    leak = near_duplicates(dataset, "test")
    assert (leak.num_found, leak.num_looked_at) == (2, 6)
    assert leak.message == (
        "2 of 6 views of the split test have a near-duplicate in another split (1 in train, 1 in validation), such as "
        "D9-1 and D1-1, D9-1 and D2-1, D9-2 and D3-1"
    )
    assert leak.examples[0] == "D9-1 is D1-1 of train, mirrored (0.99)"
    assert near_duplicates(dataset, "validation").num_found == 1
    with pytest.raises(DatasetError, match="near_duplicates"):
        check_leaks(dataset, read_views(dataset, "test"), (), EvaluationConfig(stop_on=("near_duplicates",)))


def test_without_a_list_of_near_duplicates_nothing_is_claimed(tmp_path):
    leak = near_duplicates(open_dataset(write_dataset(tmp_path, two_splits())), "test")
    assert (leak.num_found, leak.num_looked_at) == (0, None)
    assert "build it again" in leak.message


def test_a_damaged_list_of_near_duplicates_is_an_error(tmp_path):
    write_pairs(tmp_path, [("D1-1", "train", "D9-1", "test", False)])
    path = tmp_path / ".near_duplicates" / "pairs.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"pairs\.parquet: not a readable Parquet file"):
        near_duplicates(open_dataset(write_dataset(tmp_path, two_splits())), "test")


def test_front_pages_are_recognized_by_their_names_or_by_a_column(tmp_path):
    splits = two_splits()
    splits["test"][0]["view_id"] = "D900-0"
    assert check(tmp_path / "named", **splits)["front_pages"] == 1
    for index, row in enumerate(splits["test"]):
        row["is_front_page"] = index < 3
    assert check(tmp_path / "marked", **splits)["front_pages"] == 3


def test_captions_that_contain_their_title_are_counted(tmp_path):
    splits = two_splits()
    splits["test"][1]["text"] = f"Front view of a {splits['test'][1]['title'].upper()}"
    assert check(tmp_path, **splits)["titles"] == 1


def test_without_captions_nothing_is_claimed_about_titles():
    leak = titles_in_captions(["", ""], [None, None])
    assert (leak.num_looked_at, leak.message) == (None, "no view has a caption, so none holds a title")
    assert titles_in_captions(["A cup."], ["Lamp"]).message == "0 of 1 captions hold the title of their patent"


def test_views_without_a_hash_are_not_counted_as_equal(tmp_path):
    splits = two_splits()
    for rows in splits.values():
        for row in rows:
            row["image_sha256"] = None
    assert check(tmp_path, **splits)["images"] == 0


def test_a_model_that_was_trained_on_another_dataset_is_named(tmp_path, micro_clip):
    run = tmp_path / "my-run"
    folder = run / "model"
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(
        (Path(micro_clip.removeprefix("local-dir:")) / "open_clip_config.json").read_text()
    )
    encoder = find_encoder(run, torch.device("cpu"))
    splits = two_splits()
    for fingerprint, expected in (("other", 1), (None, 0)):
        (run / "config.json").write_text(json.dumps({"dataset_fingerprint": fingerprint}))
        assert check(tmp_path / "d", encoders=[encoder], **splits)["other_training"] == expected
    (run / "config.json").write_text(json.dumps({"dataset_fingerprint": "other"}))
    assert "other_training" not in check(tmp_path / "d", encoders=[encoder.untrained(0)], **splits)
    (run / "config.json").write_text(json.dumps({"dataset_fingerprint": open_dataset(tmp_path / "d").fingerprint}))
    assert check(tmp_path / "d", encoders=[encoder], **splits)["other_training"] == 0
