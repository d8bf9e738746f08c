"""The data folder, and the hashes of its files."""

import errno
import hashlib
import os
import subprocess
import sys

import pytest

from patentdata.errors import ConfigError, OutputError
from patentdata.store.folder import DataFolder
from patentdata.store.hashes import mark_of, remember_sha256, sha256_of


def test_a_file_appears_only_if_its_block_ends_without_an_error(tmp_path):
    folder = DataFolder(tmp_path)
    path = folder.path("views", "x.parquet")
    with pytest.raises(KeyError), folder.writing(path) as file:
        file.write(b"half")
        assert not folder.exists(path)
        raise KeyError
    assert folder.names("views") == [] and list((tmp_path / "views").iterdir()) == []
    with folder.writing(path) as file:
        file.write(b"whole")
    assert folder.names("views") == ["x.parquet"]


def test_a_full_disk_is_an_error_in_one_sentence_and_leaves_no_file(tmp_path):
    folder = DataFolder(tmp_path)
    with (
        pytest.raises(OutputError, match=r"cannot write .*x\.parquet: No space left on device"),
        folder.writing(folder.path("views", "x.parquet")),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list((tmp_path / "views").iterdir()) == []


def test_what_a_training_run_is_writing_meanwhile_is_left_alone(tmp_path):
    checkpoint = tmp_path / "runs" / "designs" / "checkpoints" / ".step-00000004.pt.partial"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"half")
    with DataFolder(tmp_path).locked():
        assert checkpoint.read_bytes() == b"half"


def test_leftovers_of_a_killed_run_are_removed_by_the_next(tmp_path):
    (tmp_path / "views").mkdir()
    leftover = tmp_path / "views" / ".x.parquet.partial"
    leftover.write_bytes(b"half")
    with DataFolder(tmp_path).locked():
        assert not leftover.exists()


def test_a_second_run_on_the_same_folder_ends_with_an_error_in_one_sentence(tmp_path):
    code = f"from patentdata.store.folder import DataFolder\nwith DataFolder({str(tmp_path)!r}).locked(): pass"
    with DataFolder(tmp_path).locked():
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"another run is writing to {tmp_path}" in second.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_hash_of_a_file_follows_its_bytes(tmp_path):
    folder = DataFolder(tmp_path)
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = folder.sha256(str(path))
    assert folder.sha256(str(path)) == first
    path.write_bytes(b"two")
    assert folder.sha256(str(path)) != first


def test_hashes_are_right_without_a_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "file"))
    (tmp_path / "file").write_bytes(b"one")
    folder = DataFolder(tmp_path)
    assert folder.sha256(str(tmp_path / "file")).startswith("7692c3ad")


def test_a_file_changed_while_its_hash_was_computed_is_hashed_again(tmp_path):
    fs, path = DataFolder(tmp_path).fs, tmp_path / "x"
    path.write_bytes(b"one")
    mark = mark_of(fs, str(path))
    path.write_bytes(b"three")
    remember_sha256(fs, str(path), "0" * 64, mark=mark)
    assert sha256_of(fs, str(path)) == hashlib.sha256(b"three").hexdigest()


@pytest.mark.parametrize("name", ["x::o", "a%20b", "simplecache::x", "~"])
def test_a_local_path_is_taken_literally(tmp_path, name):
    folder = DataFolder(f"{tmp_path}/{name}")
    folder.write_json(folder.path("grants", "a.json"), 1)
    assert (tmp_path / name / "grants" / "a.json").read_text() == "1\n"


def test_a_file_address_with_escapes_is_refused():
    with pytest.raises(
        ConfigError, match="file:///data/a%20b has escapes such as %20; write the path itself, /data/a b"
    ):
        DataFolder("file:///data/a%20b")
