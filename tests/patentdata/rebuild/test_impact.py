"""IMPACT's layout, and the comparison of a table of IMPACT with the data folder."""

import csv
import datetime
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.stage import caption_views
from patentdata.errors import ConfigError, OutputError
from patentdata.grants.stage import parse_archive
from patentdata.rebuild.impact_compare import compare, explain, read_list, write_page
from patentdata.rebuild.impact_layout import (
    COLUMNS,
    caption_of,
    impact_number,
    impact_row,
    locked_layout,
    write_week,
    write_year,
)
from patentdata.specimens import SpecimenConfig
from patentdata.specimens import write_week as draw_week
from patentdata.store.folder import DataFolder
from patentdata.views.patent_views import ViewsConfig
from patentdata.views.stage import split_archive
from tests.flows.walks import hashes, times

pytestmark = pytest.mark.slow

WEEKS = ("I20240102", "I20240109")


def walk(source: Path, data_dir: Path) -> DataFolder:
    """Run every week in a folder through the four weekly stages, from archives to captions."""
    folder = DataFolder(data_dir)
    for archive in list_weeks(str(source)):
        keep_archive(folder, archive, ArchivesConfig())
        parse_archive(folder, archive.week)
        split_archive(folder, archive.week, ViewsConfig())
        caption_views(folder, archive.week, CaptionsConfig())
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for i, week in enumerate(WEEKS):
        draw_week(folder, week, SpecimenConfig(num_patents=2, first_number=900_001 + 2 * i, drawing_scale=0.3))
    return folder


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory) -> DataFolder:
    return walk(source, tmp_path_factory.mktemp("data"))


def write(folder: DataFolder, out: Path) -> None:
    for week in WEEKS:
        write_week(folder, week, out)
    write_year(2024, WEEKS, out)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def grant(**fields: object) -> dict:
    """A row of grants; a test states only the fields that it is about."""
    blank = {
        "patent_number": "D900001",
        "title": "Chair",
        "claim": "The ornamental design for a chair.",
        "grant_date": datetime.date(2024, 1, 2),
        "locarno_class": "06-01",
        "locarno_further": [],
        "uspc": "D6/334",
        "uspc_further": [],
        "citations": [],
        "field_of_search": [],
        "inventor_countries": ["US"],
        "num_figures": 1,
        "num_sheets": 1,
        "figures": [{"text": "FIG. 1 is a front view of a chair."}],
        "other_paragraphs": [],
    }
    return blank | fields


# --- The layout -------------------------------------------------------------------------------------------------------


def test_a_year_has_a_table_of_twelve_columns_and_a_folder_for_each_patent(folder, source, tmp_path):
    write(folder, tmp_path)
    rows = table(tmp_path / "2024.csv")
    assert list(rows[0]) == list(COLUMNS) and len(COLUMNS) == 12
    assert [row["id"] for row in rows] == ["D0900001", "D0900002", "D0900003", "D0900004"]
    folders = sorted(path.name for path in (tmp_path / "2024").iterdir())
    assert folders == [f"US{row['id']}-{row['date']}" for row in rows]
    for row in rows:
        names = {path.name for path in (tmp_path / "2024" / f"US{row['id']}-{row['date']}").iterdir()}
        assert set(read_list(row["file_names"])) | {f"US{row['id']}-{row['date']}.XML"} == names
        assert len(read_list(row["fig_desc"])) == int(row["no_figs"]) and row["caption"]


def test_the_files_of_a_patent_are_those_of_the_archive_byte_for_byte(folder, source, tmp_path):
    write(folder, tmp_path)
    with tarfile.open(source / f"{WEEKS[0]}.tar") as archive:
        members = [member for member in archive if "/DESIGN/" in member.name and member.isfile()]
        for member in members:
            with zipfile.ZipFile(io.BytesIO(archive.extractfile(member).read())) as packed:
                for name in packed.namelist():
                    assert (tmp_path / "2024" / name).read_bytes() == packed.read(name)


def test_a_second_run_writes_nothing(folder, tmp_path):
    write(folder, tmp_path)
    before = times(tmp_path)
    write(folder, tmp_path)
    assert times(tmp_path) == before


@pytest.mark.parametrize(
    "damage", ["file missing", "file cut", "folder missing", "table cut", "rows missing", "left half-written"]
)
def test_damaged_output_is_written_again_with_the_same_bytes(folder, tmp_path, damage):
    write(folder, tmp_path)
    hashes_before, times_before = hashes(tmp_path), times(tmp_path)
    patent = tmp_path / "2024" / "USD0900001-20240102"
    drawing = patent / "USD0900001-20240102-D00001.TIF"
    match damage:
        case "file missing":
            drawing.unlink()
        case "file cut":
            drawing.write_bytes(drawing.read_bytes()[:-1])
        case "folder missing":
            shutil.rmtree(patent)
        case "table cut":
            (tmp_path / "2024.csv").write_text("title,id\r\n")
        case "rows missing":
            (tmp_path / ".weeks" / f"{WEEKS[0]}.csv").unlink()
        case _:
            patent.rename(patent.with_name(f".{patent.name}.writing"))
    write(folder, tmp_path)
    assert hashes(tmp_path) == hashes_before
    others = {path for path in times_before if "20240109" in path or "D0900002" in path}
    assert all(times(tmp_path)[path] == times_before[path] for path in others)


def test_the_folder_of_a_patent_is_removed_if_its_week_is_re_issued_without_it(source, tmp_path):
    here, out = tmp_path / "source", tmp_path / "impact"
    shutil.copytree(source, here)
    folder = walk(here, tmp_path / "data")
    write(folder, out)
    draw_week(tmp_path, WEEKS[0], SpecimenConfig(num_patents=1, first_number=900_001, drawing_scale=0.3))
    (tmp_path / f"{WEEKS[0]}.tar").rename(here / f"{WEEKS[0]}_r1.tar")
    write(walk(here, tmp_path / "data"), out)
    assert not (out / "2024" / "USD0900002-20240102").exists()
    assert [row["id"] for row in table(out / "2024.csv")] == ["D0900001", "D0900003", "D0900004"]


def test_file_names_in_an_archive_never_lead_out_of_the_folder_of_the_patent(source, tmp_path):
    here = tmp_path / "source"
    here.mkdir()
    with tarfile.open(source / f"{WEEKS[0]}.tar") as archive:
        name = f"{WEEKS[0]}/DESIGN/USD0900001-20240102.ZIP"
        data = archive.extractfile(name).read()
    packed = io.BytesIO(data)
    with zipfile.ZipFile(packed, "a") as member:
        member.writestr("../../../../evil.TIF", b"out")
        member.writestr("other/USD0900001-20240102-D00001.TIF", b"again")
        member.writestr("a\x1b[31mb.TIF", b"colour")
    with tarfile.open(here / f"{WEEKS[0]}.tar", "w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(packed.getvalue())
        archive.addfile(info, io.BytesIO(packed.getvalue()))
    folder = walk(here, tmp_path / "data")
    report = write_week(folder, WEEKS[0], tmp_path / "impact")
    assert report.tally("files").dropped == {"odd_name": 2}
    assert not list(tmp_path.glob("evil*")) and (tmp_path / "impact/2024/USD0900001-20240102/evil.TIF").is_file()


def test_a_patent_without_a_grant_gets_no_folder_and_is_counted(source, tmp_path):
    config = SpecimenConfig(num_patents=2, damage=("missing_title",), drawing_scale=0.3)
    draw_week(tmp_path / "source", WEEKS[0], config)
    folder = walk(tmp_path / "source", tmp_path / "data")
    report = write_week(folder, WEEKS[0], tmp_path / "impact")
    assert report.tally("patents").dropped == {"no_grant": 1}
    assert len(list((tmp_path / "impact" / "2024").iterdir())) == 1


def test_a_week_with_a_missing_stage_is_refused(folder, tmp_path):
    with pytest.raises(OutputError, match="of I20240116 is missing; run rebuild again"):
        write_week(folder, "I20240116", tmp_path)


def test_two_runs_cannot_write_one_layout_at_the_same_time(tmp_path):
    refused = pytest.raises(OutputError, match="another run is writing to")
    with locked_layout(tmp_path), refused, locked_layout(tmp_path):
        pass


def test_a_row_has_every_class_in_canonical_form_and_in_order():
    row = impact_row(
        grant(
            uspc="D2/840",
            uspc_further=["D2/977", "D14/209.1"],
            citations=[{"uspc": "428/156"}, {"uspc": None}],
            field_of_search=["D14/485-D14/495"],
        ),
        [],
        None,
    )
    assert row["class"] == "D2/840,D2/977,D14/209.1"
    assert row["class_search"] == "['06-01', 'D2/840', 'D2/977', 'D14/209.1', '428/156', 'D14/485-D14/495']"


def test_the_number_of_figures_is_the_number_declared_or_else_the_number_stated():
    four = [{"text": f"FIG. {number} is a view."} for number in range(1, 5)]
    assert impact_row(grant(figures=four, num_figures=1), [], None)["no_figs"] == "4"
    assert impact_row(grant(figures=[], num_figures=3), [], None)["no_figs"] == "3"


def test_a_patent_number_is_printed_with_leading_zeros():
    assert [impact_number(number) for number in ("D907292", "D1050475", "D99999")] == [
        "D0907292",
        "D1050475",
        "D0099999",
    ]


def test_the_caption_of_a_patent_is_that_of_its_front_page_or_else_of_a_perspective_view():
    views = [
        {"view_id": "a", "viewpoint": "front", "is_front_page": False},
        {"view_id": "b", "viewpoint": "perspective", "is_front_page": False},
        {"view_id": "c", "viewpoint": "none", "is_front_page": True},
    ]
    assert caption_of(views, {"a": "A", "b": "B", "c": "C"}) == "C"
    assert caption_of(views, {"a": "A", "b": "B"}) == "B"
    assert caption_of(views, {}) is None


# --- The comparison ---------------------------------------------------------------------------------------------------


def reason_for_descriptions(theirs: list[str], ours: list[str], others: tuple[str, ...] = ()) -> str:
    """Why two lists of figure descriptions differ; `others` are paragraphs of the grant that describe no figure."""
    return explain("fig_desc", repr(theirs), repr(ours), grant(other_paragraphs=list(others)))


@pytest.mark.parametrize(
    ("column", "theirs", "here", "fields", "reason"),
    [
        ("class", "D 5 59", "D5/59", {}, "canonical_form"),
        ("class", "D 2840", "D2/840", {}, "canonical_form"),
        ("class", "D2840", "D28/40", {}, "stripped_blanks"),
        ("class", "D14486,D14487", "D14/486,D14/487,D14/491", {}, "further_classes"),
        ("class", "D14486", "D15/1", {}, "different"),
        ("class_search", "['0505', 'D 5 59', 'D25138']", "['05-05', 'D5/59', 'D25/138']", {}, "canonical_form"),
        ("class_search", "['0505', 'D 5 59', 'none']", "['05-05', 'D5/59']", {}, "unreadable_class"),
        ("class_search", "['0505', 'D 5 59']", "['05-05', 'D5/59', 'D5/60']", {}, "further_classes"),
        ("class_search", "D 5 59", "['D5/59']", {}, "not_a_list"),
        ("title", "Chair with", "Chair with seat", {}, "words_at_markup"),
        ("title", "Chair A ; B", "Chair A; B", {}, "blanks_at_markup"),
        ("title", "Table", "Chair", {}, "different"),
        ("claim", "nan", "The ornamental design", {}, "empty_in_impact"),
        ("inv_country", "US,KR", "KR,US", {}, "other_order"),
        ("inv_country", "US,US,KR", "KR", {}, "other_parties"),
        ("no_figs", "1", "4", {"num_figures": 1}, "declared_figures"),
        ("no_figs", "2", "4", {"num_figures": 1}, "different"),
        ("file_names", "['b.TIF', 'a.TIF']", "['a.TIF', 'b.TIF']", {}, "other_order"),
        ("caption", "A chair.", "Front page of a chair", {}, "other_captioner"),
        ("sheets", "3", "4", {}, "different"),
    ],
)
def test_a_difference_has_its_reason(column, theirs, here, fields, reason):
    assert explain(column, theirs, here, grant(**fields)) == reason


def test_a_difference_of_descriptions_has_its_reason():
    notice = "The file of this patent contains at least one drawing executed in color."
    one, two = "FIG. 1 is a front view;", "FIG. 2 is a rear view."
    assert reason_for_descriptions([notice, one], [one, two], (notice,)) == "shifted_paragraphs"
    assert reason_for_descriptions(["FIG. 1 is a front view ;", two], [one, two]) == "blanks_at_markup"
    assert reason_for_descriptions([f"{one} {two}"], [one, two]) == "figures_share_a_paragraph"
    assert reason_for_descriptions([one], [one, two]) == "fewer_paragraphs"
    assert reason_for_descriptions(["FIG. 9 is a cat."], [one, two]) == "different"


def test_the_table_that_the_layout_writes_has_no_differences(folder, tmp_path):
    write(folder, tmp_path)
    found = compare(tmp_path / "2024.csv", folder)
    assert (found.num_impact, found.num_here, found.num_both) == (4, 4, 4)
    assert found.differences == [] and found.one_sided == []


def test_patents_on_one_side_only_are_listed_with_the_reason(tmp_path):
    config = SpecimenConfig(num_patents=3, damage=("missing_title",), drawing_scale=0.3)
    draw_week(tmp_path / "source", WEEKS[0], config)
    folder = walk(tmp_path / "source", tmp_path / "data")
    theirs = tmp_path / "2024.csv"
    theirs.write_text(
        "title,id,date\n"
        "Chair,D0900002,20240102\n"
        "Chair,D0900002,20240102\n"
        "Chair,D0900003,20240102\n"
        "Chair,D0999999,20240102\n"
        "Chair,D0999998,20240116\n"
        "Chair,none,20240116\n"
    )
    found = compare(theirs, folder)
    assert {(item.patent, item.reason, item.detail) for item in found.one_sided} == {
        ("D0900001", "missing_in_impact", ""),
        ("D0900002", "repeated_in_impact", ""),
        ("D0900003", "dropped_here", "no_title"),
        ("D0999999", "not_in_the_week", ""),
        ("D0999998", "week_not_here", ""),
        ("none", "unreadable_row", ""),
    }


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("a,b\n1,2\n", "is not a table of IMPACT: it has no columns id and date"), (None, "cannot read .*: No such file")],
)
def test_a_file_that_is_not_a_table_of_impact_is_refused_in_a_sentence(folder, tmp_path, content, sentence):
    path = tmp_path / "2024.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=sentence):
        compare(path, folder)


def test_the_page_escapes_the_values_of_the_tables(folder, tmp_path):
    theirs = tmp_path / "2024.csv"
    theirs.write_text('title,id,date\n"<script>alert(1)</script>",D0900001,20240102\n')
    found = compare(theirs, folder)
    write_page(found, theirs.name, folder, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "&lt;script&gt;" in page and "<script>" not in page
    assert json.loads(json.dumps(found.to_dict()))["columns"]["title"] == {"equal": 0, "different": {"different": 1}}


@pytest.mark.real
def test_every_difference_between_29_real_patents_and_impact_has_a_reason(real_data, tmp_path):
    folder = DataFolder(tmp_path / "data")
    for archive in list_weeks(str(real_data / "redbook")):
        keep_archive(folder, archive, ArchivesConfig())
        parse_archive(folder, archive.week)
    found = compare(real_data / "impact_2021.csv", folder)
    assert (found.num_impact, found.num_here, found.num_both, found.one_sided) == (29, 29, 29, [])
    assert found.reasons("fig_desc") == {"shifted_paragraphs": 4, "blanks_at_markup": 4}
    assert found.reasons("class") == {"canonical_form": 25, "further_classes": 4}
    assert found.reasons("class_search") == {"canonical_form": 20, "further_classes": 9}
    other_columns = set(found.columns) - {"fig_desc", "class", "class_search"}
    assert all(found.equal[column] == 29 for column in other_columns)
