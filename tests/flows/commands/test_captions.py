"""The command `captions`: prompts of one's own, the plan of a server, and a judge."""

import json

import pytest

from flows.commands.options import CaptionOptions
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.stage import caption_views
from patentdata.store.folder import DataFolder
from tests.flows.command_line import run
from tests.patentdata.captions.vllm.endpoint import MODEL, Endpoint, says
from tests.patentdata.captions.weeks import WEEK, write_views


@pytest.fixture
def designclip(monkeypatch, capfd):
    monkeypatch.setattr("patentdata.captions.vllm.plan.shutil.which", lambda _name: None)  # whatever GPUs are here
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"vision_config": {"patch_size": 14}, "video_token_id": 9}))
    processor = {"min_pixels": 3136, "max_pixels": 802_816, "patch_size": 14, "merge_size": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_a_plan_shows_each_value_with_its_reason_and_the_command(designclip, model, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("[weeks.captions.server]\nmax_model_len = 4000\n")
    code, out, _ = designclip("captions", "-d", tmp_path, "-c", settings, "--model", model, "--plan", "--json")
    assert code == 0
    plan = json.loads(out)
    values = {value["name"]: (value["value"], value["why"]) for value in plan["values"]}
    assert values["max_model_len"] == ("4000", "named in the settings")
    assert values["picture"][0].startswith("the drawing's proportions, at most 802,816 px")
    assert values["data_parallel_size"] == ("vLLM's own", "no GPU is visible")
    assert "--max-model-len 4000" in plan["command"]
    assert """--limit-mm-per-prompt '{"image": 1, "video": 0}'""" in plan["command"]


def test_a_plan_can_be_read_on_a_terminal_and_needs_a_model(designclip, model, tmp_path):
    code, out, err = designclip("captions", "-d", tmp_path, "--model", model, "--plan")
    assert code == 0
    assert "limit_mm_per_prompt" in out and "--limit-mm-per-prompt" in err
    code, _, err = designclip("captions", "-d", tmp_path, "--endpoint", "http://gpu:8000/v1", "--plan")
    assert code != 0 and "no model is named, so no server is started" in err


def test_a_prompt_with_an_unknown_name_ends_the_command_before_anything_is_asked(designclip, tmp_path):
    (tmp_path / "own.toml").write_text('name = "own/1"\ntext = "What is {{ titel }}?"\n')
    code, _, err = designclip(
        "captions", "-d", tmp_path, "--endpoint", "http://127.0.0.1:9/v1", "--prompt", tmp_path / "own.toml"
    )
    assert code == 2
    assert "own.toml: text names titel, which is not a field of a view; choose from title, article" in err


@pytest.mark.slow
def test_a_judge_is_asked_from_the_command_line(designclip, tmp_path):
    folder = DataFolder(tmp_path / "data")
    write_views(folder, 6)
    caption_views(folder, WEEK, CaptionsConfig())
    verdict = json.dumps({"verdict": "true", "reason": "The drawing shows it."})
    with Endpoint(lambda _asked: says(verdict)) as endpoint:
        judge = ("--judge", MODEL, "--judge-endpoint", endpoint.url, "--judge-samples", 3)
        code, out, _ = designclip("captions", "-d", folder.root, *judge, "--json")
        assert code == 0
        shown, table, _ = designclip("captions", "-d", folder.root, *judge)
    judgement = json.loads(out)
    assert judgement["not_found"]["verdicts"] == {"true": 3, "false": 0, "cannot tell": 0}
    assert judgement["agreement"] == 1
    assert shown == 0 and "it agrees with the detectors on 100.0 % of all captions" in " ".join(table.split())


@pytest.mark.parametrize(
    ("options", "from_file", "prompt", "views_per_question"),
    [
        ({"views_per_question": "patent"}, {}, "patent", "patent"),
        ({"views_per_question": "patent", "prompt": "own.toml"}, {}, "own.toml", "patent"),
        ({"views_per_question": "patent"}, {"prompt": "own.toml"}, "own.toml", "patent"),
        ({"views_per_question": "1"}, {"prompt": "views"}, "views", 1),
        ({}, {"prompt": "patent", "views_per_question": "patent"}, "patent", "patent"),
    ],
)
def test_whole_patents_are_asked_about_by_the_prompt_for_them_unless_another_is_named(
    options, from_file, prompt, views_per_question
):
    settings = CaptionOptions(model="m", **options).settings(from_file)
    assert (settings["prompt"], settings["views_per_question"]) == (prompt, views_per_question)
