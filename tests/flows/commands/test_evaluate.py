"""The commands that measure: models and tasks as people name them, and DeepPatent from its lists to its results."""

from __future__ import annotations

import json

import pytest

from flows.commands.evaluate import split_names
from tests.flows.command_line import run
from tests.model.conftest import MICRO_CLIP
from tests.model.dataset.deep_patent_folder import listed_path, write_deep_patent
from tests.model.dataset.drawings import draw_dataset
from tests.model.search.searchable import write_model

SETTINGS = "[evaluation]\nnum_resamples = 20\nnum_examples = 1\ndevice = 'cpu'\ngallery_size = 4\nbatch_size = 16\n"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    draw_dataset(folder / "datasets" / "designs", name="designs")
    architecture = tmp_path_factory.mktemp("architecture")
    (architecture / "open_clip_config.json").write_text(json.dumps(MICRO_CLIP))
    write_model(f"local-dir:{architecture}", folder / "runs" / "small" / "model")
    (folder / "settings.toml").write_text(SETTINGS)
    return folder


@pytest.fixture
def designclip(monkeypatch, capfd):
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


@pytest.mark.parametrize(
    "given",
    [
        ["retrieval,prior_art"],
        ["retrieval, prior_art"],
        ["retrieval prior_art"],
        ["retrieval", "prior-art"],
        [" retrieval ,\tprior-art, "],
    ],
)
def test_names_of_tasks_are_separated_by_commas_blanks_or_the_option(given):
    assert split_names(given) == ("retrieval", "prior_art")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["small", "local-dir:{runs}/small/model"])
def test_a_run_is_measured_under_every_name_it_goes_by(designclip, data_dir, model):
    command = ["evaluate", "-d", data_dir, "-c", data_dir / "settings.toml", "--tasks", "retrieval zero-shot"]
    command += ["-m", model.format(runs=data_dir / "runs")]
    code, out, err = designclip(*command, "--json")
    measured = json.loads(out)

    assert (code, err) == (0, "")
    assert list(measured["tasks"]) == ["retrieval", "zero_shot"] and measured["model"]["name"] == "small"
    assert (data_dir / "runs" / "small" / "report.html").is_file()
    shown = " ".join(designclip(*command)[1].split())
    assert "16 queries, 0 of them without a right answer, 16 candidates. Right: a view answers a query where" in shown
    assert "Ties: a wrong candidate whose score ties with a right one is ranked before it" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("-m", "small", "--tasks", "magic"), 2, "tasks is ('magic',); choose from retrieval, zero_shot, "),
        (("-m", "small", "--tasks", "retrieval,retrieval"), 2, "each at most once"),
        (("-m", "local-dir:{data}/nowhere"), 1, "{data}/nowhere: no open_clip_config.json there; name a folder"),
        (
            ("-m", "{data}/datasets"),
            1,
            "no open_clip_config.json in this folder or its model/; name a finished run or model",
        ),
        (("-m", "small", "--dataset", "nowhere"), 1, "no such dataset folder; build the dataset first"),
        ((), 2, "Missing option '--model' / '-m'"),
    ],
)
def test_what_cannot_be_measured_is_reported_in_a_sentence(designclip, data_dir, arguments, code, sentence):
    was, out, err = designclip("evaluate", "-d", data_dir, *(one.format(data=data_dir) for one in arguments))

    assert (was, out) == (code, "")
    assert sentence.format(data=data_dir) in err and "Traceback" not in err


@pytest.mark.slow
def test_deep_patent_is_imported_trained_on_with_arcface_and_measured(designclip, data_dir, tmp_path):
    lists, images = write_deep_patent(tmp_path, train=6)
    (images / listed_path(800_000, 3)).unlink()
    named = ("--lists", lists, "--images", images, "-d", data_dir, "--splits", "test,train")
    code, out, _ = designclip("deep-patent", *named)
    assert code == 0 and "1 missing image" in out and "test_query_patent.txt" in out
    made = json.loads(designclip("deep-patent", *named, "--json")[1])
    assert made["lists"]["test"]["database"]["num_out"] == 17

    small = f"local-dir:{data_dir / 'runs' / 'small' / 'model'}"
    settings = [f"architecture={small}", "num_steps=2", "batch_size=8", "device=cpu"]
    code, out, err = designclip(
        "train", "-d", data_dir, "--dataset", "deep-patent", "--preset", "arcface", "--json",
        *(part for setting in settings for part in ("--set", setting)),
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["config"]["arcface_weight"] == 1.0

    code, out, _ = designclip(
        "evaluate", "-d", data_dir, "-m", "deep-patent", "--dataset", "deep-patent", "--json",
        "--tasks", "deep_patent,image_retrieval", "-c", data_dir / "settings.toml",
    )  # fmt: skip
    measured = json.loads(out)
    assert code == 0
    assert set(measured["tasks"]["deep_patent"]["tables"]) == {"official", "without_front_pages"}
    assert measured["tasks"]["image_retrieval"]["status"] == "measured"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--lists", "{tmp}", "--images", "{tmp}"), 1, "name the folder of DeepPatent's lists"),
        (("--lists", "{tmp}/lists", "--images", "{tmp}"), 1, "name the folder that contains I20181127"),
        (("--lists", "{tmp}/lists", "--images", "{tmp}/images", "--splits", "all"), 2, "choose from train, validation"),
        (
            ("--lists", "{tmp}/lists", "--images", "{tmp}/images", "--dataset", "designs"),
            2,
            "contains another dataset; choose another name for DeepPatent",
        ),
    ],
)
def test_lists_that_cannot_be_used_are_reported_in_a_sentence(
    designclip, data_dir, tmp_path, arguments, code, sentence
):
    write_deep_patent(tmp_path, test=1)
    was, out, err = designclip("deep-patent", "-d", data_dir, *(one.format(tmp=tmp_path) for one in arguments))

    assert (was, out) == (code, "")
    assert sentence in err and "Traceback" not in err
