"""A dataset as a repository of the hub: read by the hub's own libraries, sent to a hub on the loopback interface."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from model.clip.push import PushError
from model.dataset.images import decode_grey
from model.errors import ConfigError
from model.exports.push import push_dataset
from model.files import read_json, write_json
from tests.model.clip.hub import TOKEN, serving_hub
from tests.model.dataset.drawings import draw_rows, write_dataset

MANIFEST = {
    "weeks": ["I20210105", "I20210112"],
    "num_patents": {"train": 16, "test": 4},
    "num_families": {"train": 15, "test": 4},
    "counts": {"uspc_class": {"train": {"D3": 20, "D7": 12}, "test": {"D3": 8}}},
    "dropped": {"views": {"no_caption": 3}, "patents": {}},
    "split_rule": "By hash of the family with seed 0.",
    "notes": ["The split validation is empty: it has a share of 0."],
    "made": {"stage": "dataset", "version": 3, "config_sha256": "abc123"},
}


@pytest.fixture(scope="module")
def dataset(designs, tmp_path_factory):
    """The drawn dataset with all that `dataset.json` says of a real one."""
    folder = tmp_path_factory.mktemp("pushed") / "designs"
    folder.mkdir()
    for path in designs.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    write_json(folder / "dataset.json", {**read_json(folder / "dataset.json"), **MANIFEST})
    return folder


@pytest.fixture(scope="module")
def written(dataset, tmp_path_factory) -> Path:
    """The folder of a dry run, in shards of 20 views."""
    out = tmp_path_factory.mktemp("hub") / "folder"
    sent = push_dataset(dataset, "team/views", out, views_a_shard=20, is_dry_run=True)
    assert sent["address"] is None and sent["folder"] == str(out)
    assert sent["files"] == {str(path.relative_to(out)): path.stat().st_size for path in out.rglob("*.*")} | {
        "SHA256SUMS": (out / "SHA256SUMS").stat().st_size
    }
    return out


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serving_hub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


@pytest.mark.slow
def test_datasets_reads_the_folder_by_its_card_with_splits_types_and_pictures(written, designs, tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    read = datasets.load_dataset(str(written), cache_dir=str(tmp_path))
    assert {split: len(rows) for split, rows in read.items()} == {"train": 32, "test": 8}
    features = read["train"].features
    assert isinstance(features["image"], datasets.Image) and features["grant_date"].dtype == "date32"
    rows = pq.read_table(designs / "train-00000-of-00001.parquet").to_pylist()
    row = read["train"][21]
    assert row["view_id"] == rows[21]["view_id"] and row["cited_by_examiner"] == ["D710000", "D999999"]
    assert (decode_grey(rows[21]["image"]) == row["image"]).all()


@pytest.mark.slow
def test_croissant_is_valid_and_gives_every_record_with_its_picture(written):
    import mlcroissant

    described = mlcroissant.Dataset(jsonld=str(written / "croissant.json"))
    assert not described.metadata.issues.errors
    records = list(described.records("views"))
    assert len(records) == 40 and len({record["views/view_id"] for record in records}) == 40
    assert records[0]["views/image"].size == (96, 96)
    metadata = json.loads((written / "croissant.json").read_text())
    assert metadata["datePublished"] == "2021-08-05"  # the newest grant
    types = {field["name"]: field["dataType"] for field in metadata["recordSet"][0]["field"]}
    assert types["image"] == "sc:ImageObject" and types["grant_date"] == "sc:Date" and types["text"] == "sc:Text"


def test_the_card_says_sizes_licence_fields_split_rule_limits_and_how_it_was_made(written, dataset):
    from huggingface_hub import DatasetCard

    card = DatasetCard((written / "README.md").read_text())
    data = card.data.to_dict()
    assert (data["license"], data["license_name"], data["size_categories"]) == ("other", "us-patents", "n<1K")
    assert data["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*"},
        {"split": "test", "path": "data/test-*"},
    ]
    assert [split["num_examples"] for split in data["dataset_info"]["splits"]] == [32, 8]
    assert {"name": "image", "dtype": "image"} in data["dataset_info"]["features"]
    assert "40 captioned views of US design patents, granted in 2 weeks from 2021-01-05 to 2021-01-12" in card.text
    assert re.search(r"\| train \| 32 \| 16 \| 15 \| [\d.]+ \|", card.text)
    for sentence in (
        "D3 Travel Goods, Personal Belongings, and Storage or Carrying Articles (20)",
        "By hash of the family with seed 0.",
        "The split validation is empty",
        "Views that were left out, by reason: 3 no_caption.",
        read_json(dataset / "dataset.json")["fingerprint"],
        'datasets.load_dataset("team/views", split="train")',
        "| `cited_by_examiner` | list<string> |",
    ):
        assert sentence in card.text, sentence
    assert "Patents that were left out" not in card.text


@pytest.mark.slow
def test_the_hub_gets_all_files_and_loses_only_shards_that_no_longer_belong(written, dataset, hub, tmp_path):
    stale = "data/train-00000-of-00009.parquet"
    hub.files["datasets/team/views"] = {stale: b"old", "notes.md": b"of the team", "data/mine.parquet": b"mine"}

    sent = push_dataset(dataset, "team/views", tmp_path / "out", views_a_shard=20, is_private=True)

    assert sent["address"] == f"{hub.url}/datasets/team/views/commit/{'0' * 40}"
    (created,) = hub.created
    assert (created["type"], created["name"], created["visibility"]) == ("dataset", "views", "private")
    files = hub.files["datasets/team/views"]
    assert files.keys() == {*sent["files"], "notes.md", "data/mine.parquet"} and stale not in files
    for path in written.rglob("*.*"):
        assert files[str(path.relative_to(written))] == path.read_bytes()


def test_a_rejected_token_is_reported_in_one_sentence_without_the_token(dataset, hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(PushError, match=r"the hub rejected team/views: .*; check the name, HF_TOKEN") as refused:
        push_dataset(dataset, "team/views", tmp_path / "out")
    assert "hf_wrong" not in str(refused.value)


def test_an_invalid_name_is_refused_before_anything_is_written(dataset, tmp_path):
    with pytest.raises(ConfigError, match="is not a repository name"):
        push_dataset(dataset, "views", tmp_path / "out", is_dry_run=True)
    assert not (tmp_path / "out").exists()


def test_a_view_without_an_image_of_its_claimed_lines_is_null_in_that_column(tmp_path):
    rows = draw_rows(2, split="train")
    rows[0]["claimed_image"], rows[1]["claimed_image"] = rows[2]["image"], None
    dataset = write_dataset(tmp_path / "dataset", {"train": rows})
    push_dataset(dataset, "team/views", tmp_path / "out", is_dry_run=True)
    table = pq.read_table(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    claimed = table.column("claimed_image").to_pylist()
    assert claimed[0]["bytes"] == rows[2]["image"] and claimed[1] is None
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["claimed_image"] == features["image"] == {"_type": "Image"}
