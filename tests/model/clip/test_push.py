"""Uploading a trained model to a repository of the hub, with its results."""

from __future__ import annotations

import pytest

from model.clip.push import PushError, push_model, render_results
from model.errors import ArchitectureError, ConfigError
from model.files import write_json
from tests.model.clip.hub import TOKEN, serving_hub

pytestmark = pytest.mark.slow

EVALUATION = {
    "dataset": {"name": "designs", "split": "test"},
    "tasks": {
        "retrieval": {
            "tables": {
                "text_to_image": {
                    "title": "Text → image",
                    "columns": ["model", "chance"],
                    "figures": {
                        "R@10": {
                            "unit": "share",
                            "model": {"value": 0.25, "low": 0.2, "high": 0.304},
                            "chance": {"value": 0.01},
                        },
                        "median rank": {"unit": "rank", "model": {"value": 31.0}},
                    },
                }
            }
        }
    },
}


@pytest.fixture
def run(tmp_path):
    """A run folder with the files that an upload needs."""
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    (model / "open_clip_config.json").write_text("{}")
    (model / "open_clip_model.safetensors").write_bytes(bytes(1000))
    (model / "README.md").write_text("# A model\n")
    (model / ".left-over").write_text("not part of the model")
    return tmp_path / "run"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with serving_hub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub


def test_a_dry_run_lists_the_files_and_does_not_contact_the_hub(run, hub):
    sent = push_model(run, "team/designs", is_dry_run=True)

    assert sent == {
        "repository": "team/designs",
        "files": {"README.md": 10, "open_clip_config.json": 2, "open_clip_model.safetensors": 1000},
        "address": None,
    }
    assert hub.created == [] and hub.files == {}


def test_the_hub_gets_the_files_of_the_model_and_a_card_with_its_results(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    write_json(run / "evaluation.json", EVALUATION)

    sent = push_model(run, "team/designs", is_private=True)

    assert sent["address"] == f"{hub.url}/team/designs/commit/{'0' * 40}"
    (created,) = hub.created
    assert (created["organization"], created["name"], created["visibility"]) == ("team", "designs", "private")
    files = hub.files["team/designs"]
    assert sorted(files) == ["README.md", "open_clip_config.json", "open_clip_model.safetensors"]
    assert files["open_clip_model.safetensors"] == bytes(1000)
    card = files["README.md"].decode()
    assert card.startswith("# A model\n") and "| R@10 | 25.0 % (20.0–30.4) | 1.0 % |" in card
    assert {name: len(content) for name, content in files.items()} == sent["files"]
    assert (run / "model" / "README.md").read_text() == "# A model\n"  # the run's own files stay as they are


def test_a_rejected_token_is_reported_in_one_sentence_without_the_token(run, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")

    with pytest.raises(PushError, match=r"the hub rejected team/designs: .*; check the name, HF_TOKEN") as refused:
        push_model(run, "team/designs")
    assert "hf_wrong" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        *("designs", "no name/designs", "a/b/c", "team/", "/designs", "tëam/designs"),
        *("-team/designs", "team/designs.", "te--am/designs", "team/designs.git", f"team/{'x' * 97}"),
    ],
)
@pytest.mark.parametrize("is_dry_run", [True, False])
def test_an_invalid_repository_name_is_refused_before_the_hub_is_contacted(run, hub, name, is_dry_run):
    with pytest.raises(ConfigError, match=r"is not a repository name.*; use OWNER/NAME, such as my-team/designclip"):
        push_model(run, name, is_dry_run=is_dry_run)
    assert hub.created == []


def test_an_unreachable_hub_is_reported_in_one_sentence(run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving_hub() as hub:
        url = hub.url
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)

    with pytest.raises(PushError, match=r"the hub rejected team/designs: .*or try again later"):
        push_model(run, "team/designs")


def test_an_incomplete_model_is_not_uploaded(run):
    (run / "model" / "open_clip_model.safetensors").unlink()

    with pytest.raises(ArchitectureError, match=r"no open_clip_model\.safetensors there; name a finished run"):
        push_model(run, "team/designs")


def test_results_become_tables_with_unit_and_interval():
    assert render_results(None) == ""
    assert render_results(EVALUATION).splitlines()[-5:] == [
        "",
        "| | model | chance |",
        "|---|---|---|",
        "| R@10 | 25.0 % (20.0–30.4) | 1.0 % |",
        "| median rank | 31.0 |  |",
    ]
