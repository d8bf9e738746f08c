"""The command `dataset --audit`."""

import json

import open_clip
import pytest
from safetensors.torch import save_file

from tests.flows.command_line import run
from tests.model.conftest import MICRO_CLIP
from tests.patentdata.audit.datasets import build_audited


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("audited") / "data"
    build_audited(data_dir)
    return data_dir


@pytest.fixture
def designclip(monkeypatch, capfd):
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


def test_an_audit_says_what_it_found_in_one_line_and_leaves_the_dataset_as_it_was(designclip, data_dir, tmp_path):
    before = (data_dir / "datasets" / "designs" / "dataset.json").read_bytes()
    code, _, err = designclip("dataset", "-d", data_dir, "--audit", "--report", tmp_path / "a.html")
    assert code == 0
    assert "12 views: 2 near-duplicates across splits" in err and "1 captions that contradict the grant" in err
    assert "the drawings alone" in (tmp_path / "a.html").read_text()
    assert (data_dir / "datasets" / "designs" / "dataset.json").read_bytes() == before


def test_with_a_model_its_features_tell_what_is_near(designclip, data_dir, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(MICRO_CLIP))
    model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=False, load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    code, out, _ = designclip(
        *("dataset", "-d", data_dir, "--audit", "--model", f"local-dir:{folder}", "--report", tmp_path / "a.html"),
        "--json",
    )
    assert code == 0 and json.loads(out)["near_duplicates_across_splits"] >= 2
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["neighbours_by"] != "drawing"
    assert all(pair["cosine"] is not None for pair in found["near_duplicates"])


def test_what_belongs_to_an_audit_is_refused_without_it(designclip, data_dir):
    code, _, err = designclip("dataset", "-d", data_dir, "--model", "designs")
    assert code == 2 and "--model and --report belong to --audit" in err


def test_an_audit_of_no_dataset_is_an_error_in_a_sentence(designclip, tmp_path):
    code, _, err = designclip("dataset", "-d", tmp_path, "--audit", "--report", tmp_path / "a.html")
    assert code == 1 and "has no finished dataset 'designs'" in err
