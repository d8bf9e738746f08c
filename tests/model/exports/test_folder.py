"""The folder of an export: resumed, sealed, and never at the cost of a file that somebody else put there."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from model.errors import ConfigError, DatasetError
from model.exports.export import ExportConfig, export_dataset
from model.exports.folder import ExportError, read_note
from tests.model.exports.test_formats import HOSTILE_STEM

SHARDS = ExportConfig(format="webdataset", views_a_shard=5)
CSV = ExportConfig(format="csv")


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def killed_export(config: ExportConfig, dataset: Path, out: Path, *, after_views: int) -> None:
    """Export in a child process that is killed, without any chance to clean up, after so many views."""

    def kill(num_done: int, *_: object) -> None:
        if num_done == after_views:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        export_dataset(config, dataset, out, progress=kill)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("name", ["webdataset", "csv", "fiftyone"])
def test_an_export_that_was_killed_resumes_and_has_the_bytes_of_one_that_was_not(name, designs, tmp_path):
    config = SHARDS if name == "webdataset" else ExportConfig(format=name)
    export_dataset(config, designs, tmp_path / "whole")
    killed_export(config, designs, tmp_path / "killed", after_views=36)
    assert not (tmp_path / "killed" / "export.json").exists()
    read = []
    export_dataset(config, designs, tmp_path / "killed", progress=lambda num_done, *_: read.append(num_done))
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert len(read) < 40  # what was whole is not read again
    assert read[-1] == 40


def test_a_finished_export_is_left_alone_and_its_hashes_can_be_checked_by_sha256sum(designs, tmp_path):
    first = export_dataset(CSV, designs, tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert export_dataset(CSV, designs, tmp_path / "out") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times
    checked = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path / "out", capture_output=True
    )
    assert checked.returncode == 0, checked.stderr
    files = {name for name in content(tmp_path / "out") if name not in ("export.json", "SHA256SUMS")}
    assert first["num_files"] == len(files) == 42 and not (tmp_path / "out" / ".export").exists()
    note = read_note(tmp_path / "out")
    assert note["dataset"] == "designs" and note["num_views"] == 40 and note["dropped"] == {}


def test_a_note_that_was_edited_is_not_one(designs, tmp_path):
    export_dataset(CSV, designs, tmp_path)
    text = (tmp_path / "export.json").read_text()
    (tmp_path / "export.json").write_text(text.replace('"num_views": 40', '"num_views": 41'))
    assert read_note(tmp_path) is None


def test_a_folder_with_files_of_others_is_refused_and_stays_as_it_is(designs, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for replace in (False, True):
        with pytest.raises(ExportError, match=r"thesis\.tex was not written by this export; move it away, or name"):
            export_dataset(CSV, designs, tmp_path, replace=replace)
    assert content(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_file_that_was_put_into_an_export_is_never_removed(designs, tmp_path):
    export_dataset(CSV, designs, tmp_path)
    mine = tmp_path / "images" / "train-00000-of-00001" / "mine.jpg"
    mine.write_bytes(b"mine")
    for config, replace in ((CSV, False), (CSV, True), (SHARDS, True)):
        with pytest.raises(ExportError, match=r"mine\.jpg was not written by this export"):
            export_dataset(config, designs, tmp_path, replace=replace)
    assert mine.read_bytes() == b"mine"


def test_a_changed_file_is_kept_and_named_until_it_may_be_replaced(designs, tmp_path):
    before = export_dataset(CSV, designs, tmp_path)
    whole = content(tmp_path)
    (tmp_path / "train.csv").write_text("annotated by hand")
    with pytest.raises(ExportError, match=r"train\.csv was changed after it was exported; move it away, or add"):
        export_dataset(CSV, designs, tmp_path)
    assert (tmp_path / "train.csv").read_text() == "annotated by hand"
    assert export_dataset(CSV, designs, tmp_path, replace=True) == before
    assert content(tmp_path) == whole


def test_a_missing_file_is_written_again(designs, tmp_path):
    export_dataset(CSV, designs, tmp_path)
    whole = content(tmp_path)
    (tmp_path / "images" / "train-00000-of-00001" / f"{HOSTILE_STEM}.jpg").unlink()
    export_dataset(CSV, designs, tmp_path)
    assert content(tmp_path) == whole


@pytest.mark.parametrize("is_finished", [True, False])
def test_another_export_is_replaced_only_if_asked_and_leaves_nothing_behind(is_finished, designs, tmp_path):
    if is_finished:
        export_dataset(CSV, designs, tmp_path / "out")
    else:
        killed_export(CSV, designs, tmp_path / "out", after_views=36)
    with pytest.raises(ExportError, match=r"holds an export to csv of another dataset, version or setting"):
        export_dataset(SHARDS, designs, tmp_path / "out")
    export_dataset(SHARDS, designs, tmp_path / "out", replace=True)
    export_dataset(SHARDS, designs, tmp_path / "fresh")
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_an_export_is_not_mixed_with_the_dataset(designs, tmp_path):
    for out in (designs, designs / "shards", designs.parent):
        with pytest.raises(ExportError, match="are in one another; name another folder"):
            export_dataset(CSV, designs, out)
    assert not (designs / "shards").exists()


def test_a_damaged_dataset_is_named_and_seals_nothing(designs, tmp_path):
    copy = tmp_path / "designs"
    copy.mkdir()
    for name, data in content(designs).items():
        if name.endswith(("parquet", "json")) and "/" not in name:
            (copy / name).write_bytes(data)
    path = copy / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-2000] + bytes(2000))
    with pytest.raises(DatasetError, match=r"train-00000-of-00001\.parquet: .*build the dataset again"):
        export_dataset(CSV, copy, tmp_path / "out")
    assert not (tmp_path / "out" / "export.json").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"format": "parquet"}, "format is 'parquet'; use one of webdataset, fiftyone, lancedb, faiss, csv"),
        ({"format": "faiss"}, "an export to faiss is of features; name the model"),
        ({"format": "csv", "model": "designs"}, "an export to csv has no features; leave the model out"),
    ],
)
def test_settings_that_do_not_fit_are_refused(values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ExportConfig(**values)
