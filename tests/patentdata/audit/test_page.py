"""The page of an audit, and the JSON file next to it."""

import json

import numpy as np
import pytest

from patentdata.audit.findings import AuditConfig, Features
from patentdata.audit.neighbours import ClassCheckConfig
from patentdata.audit.page import write_audit
from patentdata.audit.views import read_views
from patentdata.errors import ConfigError, OutputError
from tests.patentdata.audit.datasets import build_audited

CONFIG = AuditConfig(class_check=ClassCheckConfig(num_neighbours=2, min_votes=4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_audited(tmp_path_factory.mktemp("audit") / "data")


def audit(folder, out, **options):
    summary = write_audit(folder, "designs", out, config=CONFIG, **options)
    return summary, json.loads(out.with_suffix(".json").read_text()), out.read_text()


def test_the_page_and_its_json_say_what_was_found(folder, tmp_path):
    summary, found, page = audit(folder, tmp_path / "audit.html")
    assert summary["num_views"] == 12 == found["num_views"]
    assert summary["near_duplicates_across_splits"] == 2 and summary["contradictions_viewpoint"] == 1
    pairs = {(pair["view_id"], pair["other_view_id"], pair["turn"]) for pair in found["near_duplicates"]}
    assert pairs == {(f"D900000-{label}", f"D901000-{label}", "mirrored") for label in (1, 2)}
    assert found["contradictions"] == [
        {"view_id": "D900020-2", "kind": "viewpoint", "words": "Rear view", "declared": "front"}
    ]
    assert "neighbours are told by the drawings alone" in " ".join(page.split()).replace("Neighbours", "neighbours")
    assert page.count("<img") == 5 and "Rear view of &lt;b&gt;a chair" in page
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page


def test_equal_datasets_give_equal_pages(folder, tmp_path):
    (tmp_path / "again").mkdir()
    one, other = (audit(folder, path / "audit.html")[1:] for path in (tmp_path, tmp_path / "again"))
    assert one == other


def features_of(folder, change=lambda values, names: values):
    """Features of a model to which the views of a patent are all alike."""
    names = [row["view_id"] for row in read_views(folder, "designs").rows]
    patents = [name.partition("-")[0] for name in names]
    values = np.eye(64, dtype=np.float32)[np.unique(patents, return_inverse=True)[1]]
    return Features("run <1>", names, change(values, names))


def test_with_a_model_pairs_have_a_cosine_and_neighbours_are_told_by_its_features(folder, tmp_path):
    def change(values, names):
        values[[name.startswith("D901000") for name in names]] = values[names.index("D900000-1")]
        return values

    _, found, page = audit(folder, tmp_path / "audit.html", features=features_of(folder, change))
    assert {pair["cosine"] for pair in found["near_duplicates"]} == {1.0}
    assert found["neighbours_by"] == "run <1>" and "image features of run &lt;1&gt;" in page


def test_features_find_pairs_that_the_list_lacks_if_the_drawings_are_alike(folder, tmp_path):
    path = folder.path("datasets", "designs", ".near_duplicates", "pairs.parquet")
    listed = folder.fs.cat_file(path)
    folder.fs.rm_file(path)
    try:
        features = features_of(folder, lambda values, names: np.ones_like(values) / 8)
        _, found, _ = audit(folder, tmp_path / "audit.html", features=features)
    finally:
        folder.fs.pipe_file(path, listed)
    pairs = {(pair["view_id"], pair["other_view_id"], pair["found_by"]) for pair in found["near_duplicates"]}
    assert pairs == {(f"D900000-{label}", f"D901000-{label}", "features") for label in (1, 2)}


def test_a_page_that_cannot_be_and_a_dataset_that_is_not_there_are_named(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"x\.json cannot be the page"):
        write_audit(folder, "designs", tmp_path / "x.json", config=CONFIG)
    with pytest.raises(OutputError, match="no finished dataset 'other'"):
        write_audit(folder, "other", tmp_path / "x.html", config=CONFIG)
