"""Each format, opened by the library that it is for, or checked field by field where that library is heavy."""

from __future__ import annotations

import csv
import datetime
import json
import re
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.dataset.classes import USPC
from model.dataset.images import decode_grey
from model.errors import ConfigError
from model.exports.export import ExportConfig, export_dataset
from tests.model.dataset.drawings import draw_rows, write_dataset
from tests.model.search.searchable import HOSTILE

HOSTILE_STEM = "D710001-2%28a%29%20%26%20%2E%2E%2F%2E%2E%2Fx"


def rows_of(designs: Path, split: str) -> list[dict]:
    return pq.read_table(designs / f"{split}-00000-of-00001.parquet").to_pylist()


def test_webdataset_reads_every_view_of_the_shards_with_caption_class_and_metadata(designs, tmp_path):
    import webdataset

    export_dataset(ExportConfig(format="webdataset", views_a_shard=9), designs, tmp_path)
    rows = rows_of(designs, "train")
    read = list(webdataset.WebDataset(f"{tmp_path}/train/{{0..3}}.tar", shardshuffle=False).decode())
    assert [sample["txt"] for sample in read] == [row["text"] for row in rows]
    assert [sample["json"]["view_id"] for sample in read] == [row["view_id"] for row in rows]
    assert [sample["cls"] for sample in read] == [USPC.index_of(row["uspc_class"]) for row in rows]
    assert read[3]["json"]["title"] == HOSTILE and read[3]["__key__"] == HOSTILE_STEM
    assert read[2]["json"]["grant_date"] == "2020-03-05"
    raw = list(webdataset.WebDataset(f"{tmp_path}/test/0.tar", shardshuffle=False))
    assert [sample["jpg"] for sample in raw] == [row["image"] for row in rows_of(designs, "test")]


def test_clip_benchmark_and_open_clip_find_the_files_that_they_look_for(designs, tmp_path):
    export_dataset(ExportConfig(format="webdataset", views_a_shard=9, task="classification"), designs, tmp_path)
    assert (tmp_path / "dataset_type.txt").read_text() == "classification\n"
    assert (tmp_path / "train" / "nshards.txt").read_text() == "4\n"
    sizes = json.loads((tmp_path / "train" / "sizes.json").read_text())
    assert sizes == {"0.tar": 9, "1.tar": 9, "2.tar": 9, "3.tar": 5}
    names = (tmp_path / "classnames.txt").read_text().splitlines()
    assert names == list(USPC.titles) and names[USPC.index_of("D7")].startswith("Equipment for Preparing")
    templates = (tmp_path / "zeroshot_classification_templates.txt").read_text().splitlines()
    assert "a patent drawing of Chair." in [template.format(c="Chair") for template in templates]


def test_views_that_a_task_cannot_use_are_left_out_and_counted(tmp_path):
    rows = draw_rows(3, split="train")
    rows[0]["text"], rows[1]["uspc_class"] = " ", None
    dataset = write_dataset(tmp_path / "dataset", {"train": rows})
    retrieval = export_dataset(ExportConfig(format="webdataset"), dataset, tmp_path / "retrieval")
    assert (retrieval["num_views"], retrieval["dropped"]) == (5, {"no_caption": 1})
    classes = ExportConfig(format="webdataset", task="classification")
    assert export_dataset(classes, dataset, tmp_path / "classes")["dropped"] == {"no_us_class": 1}
    with pytest.raises(ConfigError, match="task is 'both'; use one of retrieval, classification"):
        export_dataset(ExportConfig(format="webdataset", task="both"), dataset, tmp_path / "both")


def test_csv_readers_get_all_columns_and_paths_of_the_images(designs, tmp_path):
    export_dataset(ExportConfig(format="csv"), designs, tmp_path)
    rows = rows_of(designs, "train")
    table = pandas.read_csv(tmp_path / "train.csv")
    assert list(table.columns) == ["filepath", *(name for name in rows[0] if name != "image")]
    assert table["text"].tolist() == [row["text"] for row in rows] and table["title"][2] == HOSTILE
    assert table["cited_by_examiner"][0].split() == ["D710000", "D999999"]
    assert pandas.to_datetime(table["grant_date"])[1].date() == datetime.date(2020, 2, 5)
    assert pandas.isna(table["grant_date"][0]) and pandas.isna(table["function"][0])
    assert [(tmp_path / path).read_bytes() for path in table["filepath"]] == [row["image"] for row in rows]
    assert re.fullmatch(rf"images/train-[\w-]+/{HOSTILE_STEM}\.jpg", table["filepath"][3])
    with (tmp_path / "test.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 8


def test_fiftyone_gets_the_documented_layout_with_a_group_for_each_patent(designs, tmp_path):
    export_dataset(ExportConfig(format="fiftyone"), designs, tmp_path)
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    samples = json.loads((tmp_path / "samples.json").read_text())["samples"]
    rows = rows_of(designs, "train") + rows_of(designs, "test")
    assert [sample["view_id"] for sample in samples] == [row["view_id"] for row in rows]
    # The dataset: a grouped one, its slices all images, its fields declared with FiftyOne's own types.
    assert (metadata["media_type"], metadata["group_field"]) == ("group", "patent")
    assert metadata["group_media_types"] == {"view_1": "image", "view_2": "image"}
    assert metadata["default_group_slice"] == "view_1" and metadata["version"] == "1.0.0"
    declared = {field["name"]: field["ftype"].rpartition(".")[2] for field in metadata["sample_fields"]}
    assert declared["grant_date"] == "DateField" and declared["cited_by_examiner"] == "ListField"
    assert declared["id"] == "ObjectIdField" and declared["title"] == "StringField"
    # The samples: declared fields only, unique identifiers, one group a patent with one sample a slice.
    known = {"_id", "_media_type", "_rand", *declared}
    assert all(set(sample) <= known for sample in samples)
    assert len({sample["_id"]["$oid"] for sample in samples}) == 40
    slices = Counter((sample["patent"]["_id"]["$oid"], sample["patent"]["name"]) for sample in samples)
    assert len(slices) == 40 and len({group for group, _ in slices}) == 20
    by_group = {sample["patent"]["_id"]["$oid"]: sample["patent_number"] for sample in samples}
    assert all(by_group[sample["patent"]["_id"]["$oid"]] == sample["patent_number"] for sample in samples)
    assert all(re.fullmatch("[0-9a-f]{24}", sample["_id"]["$oid"]) for sample in samples)
    assert samples[0]["tags"] == ["train"] and samples[0]["grant_date"] is None
    assert samples[1]["grant_date"] == {"$date": 1_580_860_800_000}  # 2020-02-05
    assert [(tmp_path / sample["filepath"]).read_bytes() for sample in samples] == [row["image"] for row in rows]


def test_faiss_finds_a_view_by_its_own_feature_and_the_table_names_it(designs, model, tmp_path):
    import faiss

    done = export_dataset(ExportConfig(format="faiss", model=model), designs, tmp_path)
    index = faiss.read_index(str(tmp_path / "index.faiss"))
    views = pandas.read_csv(tmp_path / "views.csv")
    assert index.ntotal == len(views) == done["num_views"] == 40 and done["model"]["name"] == "clip"
    features = index.reconstruct_n(0, 40)
    assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    scores, found = index.search(features[[5]], 3)
    assert found[0][0] == 5 and scores[0][0] == pytest.approx(1, abs=1e-5)
    rows = rows_of(designs, "train") + rows_of(designs, "test")
    assert views["view_id"].tolist() == [row["view_id"] for row in rows]


@pytest.mark.slow
def test_lancedb_searches_the_table_and_reads_its_pictures(designs, model, tmp_path):
    import lancedb

    export_dataset(ExportConfig(format="lancedb", model=model), designs, tmp_path)
    table = lancedb.connect(tmp_path).open_table("views")
    assert table.count_rows() == 40 and table.schema.field("vector").type == pa.list_(pa.float32(), 16)
    rows = {row["view_id"]: row for row in table.to_arrow().to_pylist()}
    for row in rows_of(designs, "train"):
        assert {name: rows[row["view_id"]][name] for name in row} == row
    vector = np.array(rows["D710002-1"]["vector"], np.float32)
    (nearest,) = table.search(vector).distance_type("cosine").limit(1).to_list()
    assert nearest["_distance"] == pytest.approx(0, abs=1e-5)
    assert decode_grey(nearest["image"]).shape == (96, 96)


def test_without_lancedb_an_export_to_it_says_how_to_install_it(designs, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "lancedb", None)
    with pytest.raises(ConfigError, match="LanceDB is not installed here; install it with: pip install lancedb"):
        export_dataset(ExportConfig(format="lancedb"), designs, tmp_path)


def test_images_of_the_claimed_lines_go_along_for_the_views_that_have_them(tmp_path):
    rows = draw_rows(2, split="train")
    for row in rows:
        row["claimed_image"] = None
    rows[0]["claimed_image"] = claimed = rows[2]["image"]
    dataset = write_dataset(tmp_path / "dataset", {"train": rows})
    for name in ("webdataset", "csv", "fiftyone"):
        export_dataset(ExportConfig(format=name), dataset, tmp_path / name)
    with tarfile.open(tmp_path / "webdataset" / "train" / "0.tar") as shard:
        assert [name for name in shard.getnames() if "claimed" in name] == ["D700000-1.claimed.jpg"]
    table = pandas.read_csv(tmp_path / "csv" / "train.csv")
    assert (tmp_path / "csv" / table["claimed_filepath"][0]).read_bytes() == claimed
    assert table["claimed_filepath"].isna().tolist() == [False, True, True, True]
    samples = json.loads((tmp_path / "fiftyone" / "samples.json").read_text())["samples"]
    assert samples[0]["claimed_filepath"].startswith("fields/claimed_filepath/")
    assert (tmp_path / "fiftyone" / samples[0]["claimed_filepath"]).read_bytes() == claimed
    assert samples[1]["claimed_filepath"] is None
    metadata = json.loads((tmp_path / "fiftyone" / "metadata.json").read_text())
    assert metadata["app_config"] == {"media_fields": ["filepath", "claimed_filepath"]}
