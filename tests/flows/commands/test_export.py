"""The command that exports a dataset, and the list of exports in the state of a data folder."""

from __future__ import annotations

import json

import fsspec
import pytest

from tests.flows.command_line import run
from tests.model.conftest import MICRO_CLIP
from tests.model.search.searchable import draw_searchable, write_model


@pytest.fixture
def data_dir(tmp_path):
    draw_searchable(tmp_path / "data" / "datasets" / "designs")
    return tmp_path / "data"


@pytest.fixture
def designclip(monkeypatch, capfd):
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


def test_an_export_says_what_it_wrote_and_how_to_open_it_and_is_listed_with_the_dataset(designclip, data_dir, tmp_path):
    out = tmp_path / "table"
    code, _, err = designclip("export", "csv", "-d", data_dir, "--out", out)
    assert code == 0 and "40 views of designs, 42 files" in err and "--csv-img-key filepath" in err
    code, text, _ = designclip("export", "csv", "-d", data_dir, "--out", out, "--json")
    note = json.loads((out / "export.json").read_text())
    assert code == 0 and note.items() <= json.loads(text).items()
    (listed,) = json.loads((data_dir / "datasets" / "designs" / ".exports.json").read_text()).items()
    dataset = json.loads((data_dir / "datasets" / "designs" / "dataset.json").read_text())
    assert listed[0] == str(out.resolve()) and listed[1]["fingerprint"] == note["fingerprint"]
    assert listed[1]["dataset_fingerprint"] == dataset["fingerprint"]
    _, _, err = designclip("status", "-d", data_dir)
    assert f"designs as csv: 40 views in {out}" in err and "has changed since" not in err
    draw_searchable(data_dir / "datasets" / "designs")
    path = data_dir / "datasets" / "designs" / "dataset.json"
    path.write_text(json.dumps(dataset | {"fingerprint": "another"}))
    assert "the dataset has changed since, export it again with --replace" in designclip("status", "-d", data_dir)[2]
    code, _, err = designclip("export", "csv", "-d", data_dir, "--out", out)
    assert code == 1 and "holds an export to csv of another dataset" in err
    assert designclip("export", "csv", "-d", data_dir, "--out", out, "--replace")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("parquet", "--out", "x"), "format is 'parquet'; use one of webdataset"),
        (("csv", "--out", "s3://bucket/x"), "an export is written to a folder on this machine"),
        (("csv", "--out", "x", "--model", "designs"), "an export to csv has no features"),
        (("webdataset", "--out", "x", "--task", "both"), "task is 'both'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(
    designclip, data_dir, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    code, _, err = designclip("export", *arguments, "-d", data_dir)
    assert code == 2 and sentence in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_dataset_and_a_run_on_an_object_store_are_exported(designclip, data_dir, tmp_path):
    (tmp_path / "open_clip_config.json").write_text(json.dumps(MICRO_CLIP))
    write_model(f"local-dir:{tmp_path}", data_dir / "runs" / "designs" / "model")
    store = fsspec.filesystem("memory")
    store.put(str(data_dir), "/export-bucket", recursive=True)
    code, _, err = designclip("export", "faiss", "-d", "memory://export-bucket", "--out", tmp_path / "index")
    assert code == 0, err
    assert (tmp_path / "index" / "index.faiss").is_file()
    assert str(tmp_path / "index") in json.loads(store.cat("/export-bucket/datasets/designs/.exports.json"))
