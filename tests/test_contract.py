"""What `patentdata` writes is what `model` reads; nothing else binds the two."""

import dataclasses
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.refresh import refresh
from model.dataset.folder import open_dataset
from model.dataset.views import read_views
from patentdata.store import schemas
from tests.flows.walks import draw_archives, small_walk

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("contract")
    source = draw_archives(folder / "source", num_patents=4)
    refresh.fn(dataclasses.replace(small_walk(source, folder / "data"), training=None))
    return folder / "data" / "datasets" / "designs"


def test_the_model_reads_every_view_that_was_written(dataset_dir):
    manifest = json.loads((dataset_dir / "dataset.json").read_text())
    dataset = open_dataset(dataset_dir)
    assert (dataset.name, dataset.fingerprint) == ("designs", manifest["fingerprint"])
    for split in {file["split"] for file in manifest["files"]}:
        views = read_views(dataset, split)
        files = [file["name"] for file in manifest["files"] if file["split"] == split]
        written = [row for name in files for row in pq.read_table(dataset_dir / name).to_pylist()]
        assert list(views.view_ids) == [row["view_id"] for row in written]
        assert list(views.patent_numbers) == [row["patent_number"] for row in written]


def test_files_of_the_dataset_have_the_fields_that_are_documented(dataset_dir):
    for path in dataset_dir.glob("*.parquet"):
        assert pq.read_schema(path).names == schemas.DATASET.names
