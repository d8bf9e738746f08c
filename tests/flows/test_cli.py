"""The command line: results for people, JSON for machines, one sentence where it fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from flows import cli
from patentdata.errors import EmptyDatasetError
from patentdata.specimens import draw_patent
from patentdata.specimens.config import SpecimenConfig
from tests.flows.command_line import run
from tests.flows.walks import draw_archives
from tests.patentdata.archives.red_book import tar_of
from tests.patentdata.grants.grant_xml import grant_xml

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return draw_archives(tmp_path_factory.mktemp("source"), num_patents=3)


@pytest.fixture
def designclip(monkeypatch, capfd):
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


@pytest.mark.slow
def test_stage_by_stage_a_week_comes_to_a_dataset(designclip, source, tmp_path):
    data_dir = tmp_path / "data"
    assert designclip("archives", "--source", source, "-d", data_dir)[0] == 0
    for stage in ("grants", "views", "captions"):
        code, out, _ = designclip(stage, "-d", data_dir, "--workers", 1, "--json")
        assert code == 0
        assert [week["week"] for week in json.loads(out)] == ["I20240102", "I20240109"]
    code, out, _ = designclip("dataset", "-d", data_dir, "--name", "mine", "--json")
    assert code == 0 and json.loads(out)[0]["tallies"]["patents"]["num_in"] == 6
    assert (data_dir / "datasets" / "mine" / "dataset.json").is_file()
    code, out, _ = designclip("status", "-d", data_dir, "--json")
    states = {stage["state"] for week in json.loads(out) for stage in week["stages"].values()}
    assert code == 0 and states == {"done"}
    code, out, _ = designclip("status", "-d", data_dir)
    assert code == 0 and "I20240102" in out and "figures" in out
    (data_dir / "captions" / "I20240109.parquet").unlink()
    code, out, err = designclip("dataset", "-d", data_dir, "--name", "one-week", "--json")
    assert code == 0 and json.loads(out)[0]["tallies"]["patents"]["num_in"] == 3
    assert "warning: I20240109 left out: captions not done" in err


def test_a_folder_without_weeks_says_what_to_do(designclip, tmp_path):
    code, out, _ = designclip("status", "-d", tmp_path)
    assert code == 0
    assert out.startswith("no weeks here yet; `designclip refresh --source …`")


@pytest.mark.slow
def test_refresh_without_training_prints_counts_in_and_out(designclip, source, tmp_path):
    code, out, _ = designclip("refresh", "-s", source, "-d", tmp_path, "--no-training", "--runner", "threads")
    assert code == 0
    assert all(word in out for word in ("members", "grants", "sheets", "figures", "front_page"))


@pytest.mark.slow
def test_a_stage_whose_input_is_missing_says_which_stage_to_run(designclip, source, tmp_path):
    designclip("archives", "--source", source, "-d", tmp_path)
    code, _, err = designclip("views", "-d", tmp_path)
    assert code == 1
    assert (
        "2 of 2 weeks failed" in err and "grants/I20240102.parquet is missing; run again from the stage grants" in err
    )


def test_weeks_shows_what_is_offered_and_what_is_here(designclip, source, tmp_path):
    code, out, _ = designclip("weeks", "-s", source, "-d", tmp_path, "--json")
    assert code == 0
    weeks = [(week["week"], week["state"]) for week in json.loads(out)["weeks"]]
    assert weeks == [("I20240102", "missing"), ("I20240109", "missing")]


def test_loose_grants_become_a_parquet_file(designclip, tmp_path):
    (tmp_path / "a.xml").write_bytes(grant_xml())
    code, out, _ = designclip("grants", tmp_path / "a.xml", "--out", tmp_path / "a.parquet", "--json")
    assert code == 0 and json.loads(out)[0]["tallies"]["documents"]["num_out"] == 1


def test_loose_sheets_become_a_line_each(designclip, tmp_path):
    sheets = tmp_path / "sheets"
    sheets.mkdir()
    patent = draw_patent(900001, date="20240102", config=SpecimenConfig())
    for name, data in patent.sheets.items():
        (sheets / name).write_bytes(data)
    (sheets / "USD0900001-20240102-D00099.TIF").write_bytes(b"no TIFF")
    code, out, _ = designclip("views", "--sheets", sheets, "--jsonl", tmp_path / "x.jsonl", "--json")
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert code == 0
    assert {line["patent"] for line in lines} == {"USD0900001"}
    assert sum(len(line["figures"]) for line in lines) >= 1
    assert json.loads(out)[0]["tallies"]["sheets"]["dropped"] == {"broken_sheet": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("refresh", "-s", "nowhere", "-d", "{tmp}"), 1, "no folder nowhere; name one that holds weekly archives"),
        (("refresh", "-d", "{tmp}"), 1, "no week in {tmp}; name a source of weekly archives, as in designclip"),
        (("refresh", "-d", "{tmp}", "--years", "20x"), 2, "'20x' names no years; write 2021, 2007-2022"),
        (("refresh", "-d", "{tmp}", "--runner", "magic"), 2, "weeks.workers.kind: Input should be 'processes'"),
        (("refresh", "-d", "{tmp}", "--runner", "dask"), 2, "dask_address belongs to kind"),
        (("refresh", "-d", "{tmp}", "-c", "{tmp}/no.toml"), 2, "cannot read {tmp}/no.toml: No such file"),
        (
            ("dataset", "-d", "{tmp}"),
            2,
            "no week in {tmp} is complete; designclip status -d {tmp} shows what is missing",
        ),
        (("archives", "-s", "{tmp}", "-d", ""), 2, "the data folder has no name"),
        (("archives", "-s", "{tmp}", "-d", "nosuch://x"), 2, "cannot read the address nosuch://x"),
        (("views", "--sheets", "{tmp}"), 2, "name --data-dir, or both --sheets and --jsonl"),
        (("views", "--sheets", "{tmp}", "--jsonl", "{tmp}/x"), 2, "holds no TIFF file"),
        (("grants",), 2, "name FILES and --out, or --data-dir"),
        (("specimens", "--out", "{tmp}", "--hazard", "magic"), 2, "magic"),
        (("magic",), 2, "No such command 'magic'"),
    ],
)
def test_an_error_is_one_sentence_and_an_exit_code(designclip, tmp_path, arguments, code, sentence):
    was, out, err = designclip(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert (was, out) == (code, "")
    assert sentence.format(tmp=tmp_path) in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_settings_file_is_read_and_unknown_settings_are_refused(designclip, source, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("[dataset]\nname = 'small'\n[dataset.image]\nsize_px = 64\n")
    arguments = ("refresh", "-s", source, "-d", tmp_path / "data", "--no-training", "--runner", "threads")
    assert designclip(*arguments, "-c", settings)[0] == 0
    manifest = json.loads((tmp_path / "data" / "datasets" / "small" / "dataset.json").read_text())
    assert manifest["made"]["config"]["image"]["size_px"] == 64
    settings.write_text("[dataset]\nsize = 64\n")
    code, _, err = designclip(*arguments, "-c", settings)
    assert code == 2 and "dataset.size: there is no such setting; use " in err


def test_help_of_every_command_says_what_it_is_for():
    shown = subprocess.run([sys.executable, "-m", "flows.cli", "--help"], capture_output=True, text=True, check=True)
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    assert len(commands) >= 19
    for name, command in commands.items():
        assert command.help and name in shown.stdout


# --- Nothing is lost with exit code 0 ---------------------------------------------------------------------------------


def test_a_week_that_gives_nothing_fails_and_no_empty_dataset_is_frozen(designclip, tmp_path):
    (tmp_path / "source").mkdir()
    utility = {"I20240102/UTIL0115/US11500001-20240102.ZIP": b"utility"}
    (tmp_path / "source" / "I20240102.tar").write_bytes(tar_of(utility))
    arguments = ("refresh", "-s", tmp_path / "source", "-d", tmp_path / "data", "--no-training", "--runner", "threads")
    for _ in range(2):
        code, _, err = designclip(*arguments)
        assert code == 1 and "I20240102.tar: none of its members was kept (1 not_a_design_util)" in err
    assert not (tmp_path / "data" / "datasets").exists() and not list((tmp_path / "data").rglob("I2024*"))


@pytest.mark.parametrize("command", ["weeks", "archives", "refresh"])
def test_what_a_source_cannot_give_is_named_and_the_exit_code_is_1(designclip, source, tmp_path, command):
    here = tmp_path / "source"
    here.mkdir()
    (here / "I20240102.tar").symlink_to(source / "I20240102.tar")
    (here / "I20240116" / "DESIGN").mkdir(parents=True)
    more = ("--no-training", "--runner", "threads") if command == "refresh" else ()
    code, out, err = designclip(command, "-s", here, "-d", tmp_path / "data", *more)
    assert code == 1 and "I20240116 is unpacked in" in err and "pack it with tar -cf I20240116.tar" in err
    assert out  # the summary of the week that is there
    assert command == "weeks" or (tmp_path / "data" / "archives" / "I20240102.tar").is_file()


def test_a_data_folder_with_two_colons_is_where_it_says(designclip, source, tmp_path):
    assert designclip("archives", "-s", source, "-d", tmp_path / "x::o")[0] == 0
    assert {path.name for path in tmp_path.iterdir()} == {"x::o"}


@pytest.mark.slow
def test_an_empty_dataset_is_reported_after_what_became_of_the_weeks(designclip, source, tmp_path, monkeypatch):
    def freeze(*_: object) -> None:
        raise EmptyDatasetError("dataset designs would be empty")

    monkeypatch.setattr("flows.refresh.freeze", freeze)
    code, out, err = designclip("refresh", "-s", source, "-d", tmp_path, "--no-training", "--runner", "threads")
    assert code == 1 and "dataset designs would be empty" in err and "figures" in out
