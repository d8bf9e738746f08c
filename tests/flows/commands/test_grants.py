"""The command `grants`, and the patents that it and a walk leave out."""

import json

import pyarrow.parquet as pq
import pytest

from flows.commands.options import CaptionOptions, WalkOptions, exclusions
from flows.commands.settings import build
from flows.weeks import WeeksConfig
from tests.flows.command_line import run
from tests.flows.walks import draw_archives
from tests.patentdata.grants.grant_xml import grant_xml


@pytest.fixture
def designclip(monkeypatch, capfd):
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


def numbers(path) -> list[str]:
    return pq.read_table(path).column("patent_number").to_pylist()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PATN\nWKU  D02390012\n", "APS text, the format until 2001"),
        (grant_xml(title=""), "no <invention-title> in the grant D900001"),
        (b"", "no grant in old.txt: empty"),
    ],
)
def test_files_without_any_grant_end_in_one_sentence_and_exit_code_1(designclip, tmp_path, data, says):
    (tmp_path / "old.txt").write_bytes(data)
    code, _, err = designclip("grants", tmp_path / "old.txt", "--out", tmp_path / "a.parquet")
    assert code == 1
    assert says in " ".join(err.split())


def test_excluded_patents_of_files_are_left_out_and_counted(designclip, tmp_path):
    (tmp_path / "week.xml").write_bytes(b"".join(grant_xml(number=f"D090000{i}") for i in (1, 2, 3)))
    (tmp_path / "withdrawn.txt").write_text("Des. 900,002  # withdrawn\n")
    arguments = ("--exclude", "USD0900001S1", "--exclude-file", tmp_path / "withdrawn.txt", "--json")
    code, out, _ = designclip("grants", tmp_path / "week.xml", "--out", tmp_path / "a.parquet", *arguments)
    assert code == 0
    assert json.loads(out)[0]["tallies"]["documents"]["dropped"] == {"excluded": 2}
    assert numbers(tmp_path / "a.parquet") == ["D900003"]


@pytest.mark.slow
def test_an_excluded_patent_of_a_data_folder_has_no_views_either(designclip, tmp_path):
    source = draw_archives(tmp_path / "source", num_patents=2)
    data_dir = tmp_path / "data"
    assert designclip("archives", "--source", source, "-d", data_dir, "--years", "2024")[0] == 0
    assert designclip("grants", "-d", data_dir, "--workers", 1)[0] == 0
    first, *others = numbers(data_dir / "grants" / "I20240102.parquet")
    untouched = (data_dir / "grants" / "I20240109.parquet").read_bytes()
    assert designclip("grants", "-d", data_dir, "--workers", 1, "--exclude", first)[0] == 0
    assert numbers(data_dir / "grants" / "I20240102.parquet") == others
    assert (data_dir / "grants" / "I20240109.parquet").read_bytes() == untouched
    assert designclip("views", "-d", data_dir, "--workers", 1)[0] == 0
    assert set(numbers(data_dir / "views" / "I20240102.parquet")) == set(others)


def test_what_is_no_patent_number_is_named(designclip, tmp_path):
    (tmp_path / "week.xml").write_bytes(grant_xml())
    code, _, err = designclip("grants", tmp_path / "week.xml", "--out", tmp_path / "a.parquet", "--exclude", "chair")
    assert code == 2
    assert "'chair' is not the number of a design patent; write it as D907292" in " ".join(err.split())


def test_numbers_of_the_command_line_join_those_of_the_settings_file(tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text('[weeks.grants]\nexclude = ["D1"]\nexclude_file = "old.txt"\n')
    walk = WalkOptions(data_dir=str(tmp_path), exclude=["D2"], config=settings)
    values = walk.settings(CaptionOptions(), years="", training=False)
    grants = build(WeeksConfig, values["weeks"]).grants
    assert (grants.exclude, grants.exclude_file) == (("D1", "D2"), "old.txt")
    assert exclusions(None, "new.txt", {"exclude_file": "old.txt"}) == {"exclude_file": "new.txt"}


CASES = {
    "01-joined-documents/joined.xml": (2, {}),
    "02-stripped-declarations/stripped.xml": (2, {}),
    "08-capital-greek/OHgr.xml": (1, {}),
    "10-one-bad-character/ampersand.xml": (1, {"repaired_ampersand": 1}),
    "10-one-bad-character/control.xml": (1, {"repaired_character": 1}),
    "33-cited-design-without-D/no_D.xml": (1, {}),
    "36-old-and-packed-text/ipg.xml.gz": (1, {}),
    "36-old-and-packed-text/pg010410.sgm": (0, {}),
    "37-hyphen-labels/hyphen.xml": (1, {}),
}


@pytest.mark.real
@pytest.mark.parametrize("case", CASES)
def test_a_file_from_the_field_gives_its_grants(designclip, tmp_path, real_data, case):
    path = real_data.parent / "cases" / case
    if not path.exists():
        pytest.skip(f"no {path}")
    num_rows, repairs = CASES[case]
    code, out, _ = designclip("grants", path, "--out", tmp_path / "a.parquet", "--json")
    (report,) = json.loads(out)
    assert (report["tallies"]["documents"]["num_out"], report["counts"]) == (num_rows, repairs)
    assert code == (0 if num_rows else 1)
