import io
import tarfile
import zipfile
from functools import cache

import numpy as np
import pytest
from PIL import Image

from patentdata.errors import ConfigError, SheetError
from patentdata.grants.parsing import parse_grant
from patentdata.specimens import HAZARDS, SpecimenConfig, draw_patent
from patentdata.store import schemas
from patentdata.store.report import Report
from patentdata.views.grouping import group_ink
from patentdata.views.labels.labels import normalised
from patentdata.views.loose_sheets import split_folder, write_figures
from patentdata.views.patent_views import patent_views, sheet_number
from patentdata.views.sheets import read_sheet
from patentdata.views.splitting import Split, SplitFigure, SplitSheet, ViewsConfig, reading_order, split_sheet

pytestmark = pytest.mark.slow

# The orientation of a sheet without a label can only be guessed; a sheet without ink has a test of its own.
SPLITTABLE = [hazard for hazard in HAZARDS if hazard not in ("no_label", "blank_sheet")]


@cache
def specimen(hazard=None, number=900_001):
    hazards = (hazard,) if hazard else ()
    return draw_patent(number, date="20240102", config=SpecimenConfig(seed=1, hazards=hazards, num_patents=24))


def views_of(drawn, report=None, drawings=None, **changes):
    grant = parse_grant(drawn.xml, source_archive="I20240102", source_member=drawn.name) | changes
    return patent_views(grant, drawn.sheets if drawings is None else drawings, report=report)


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.parametrize("hazard", SPLITTABLE)
def test_sheets_alone_are_split_as_a_person_would(hazard):
    drawn = specimen(hazard)
    files = {name.rsplit("/")[-1]: data for name, data in drawn.sheets.items()}
    for truth in drawn.truth:
        name = truth["file"].rsplit("/")[-1]
        split = split_sheet(read_sheet(files[name], name=name))
        assert split.rotation_cw == truth["rotation_cw_to_upright"]
        found = {normalised(figure.label): figure.box for figure in split.figures}
        assert sorted(map(str, found)) == sorted(str(normalised(figure["label"])) for figure in truth["figures"])
        for figure in truth["figures"]:
            boxes = [figure["figure_box"], *figure.get("figure_box_alt", [])]
            assert max(overlap(found[normalised(figure["label"])], box) for box in boxes) >= 0.75


def test_a_row_has_every_key_and_its_image_is_the_box_turned_upright():
    drawn = specimen("landscape")
    for row in views_of(drawn):
        assert list(row) == schemas.VIEWS.names
        x0, y0, x1, y1 = row["box"]
        sides = (x1 - x0, y1 - y0) if row["rotation_cw"] % 180 == 0 else (y1 - y0, x1 - x0)
        assert Image.open(io.BytesIO(row["image"])).size == (row["width"], row["height"]) == sides


def test_every_declared_figure_is_found_and_named_after_its_label():
    drawn, report = specimen("hague_label"), Report("views")
    rows = views_of(drawn, report)
    report.check()
    grant = parse_grant(drawn.xml, source_archive="I20240102", source_member=drawn.name)
    expected = [f"{grant['patent_number']}-{figure['label']}" for figure in grant["figures"]]
    assert sorted(row["view_id"] for row in rows if not row["is_front_page"]) == sorted(expected)
    assert report.tally("figures").num_out == len(expected)


def split_of(*labels):
    """A sheet split into figures with these labels."""
    page = np.zeros((40, 40), np.uint8)
    (group,) = group_ink(page, []).groups
    figures = tuple(
        SplitFigure(label=label, label_box=None, box=(0, 0, 40, 40), score=1.0, flags=()) for label in labels
    )
    return Split(sheet=SplitSheet(rotation_cw=0, figures=figures), upright=page, groups=(group,) * len(labels))


@pytest.mark.parametrize(
    ("sheets", "expected"),
    [
        ([("5",), ("6",), ("54", "5"), ("56",)], ["5", "6", "54", "55", "56"]),
        ([("54",), ("5",), ("56", "5")], ["54", "55", "56", "5"]),
        ([("54", "7", "56")], ["54", "7", "56"]),
    ],
    ids=["read twice", "neighbours on other sheets", "another number"],
)
def test_a_number_whose_equal_digits_were_merged_is_corrected_by_its_neighbours_and_the_grant(
    monkeypatch, sheets, expected
):
    drawn = specimen()
    splits = iter([split_of(*labels) for labels in sheets])
    monkeypatch.setattr("patentdata.views.patent_views.split_page", lambda *_: next(splits))
    grant = parse_grant(drawn.xml, source_archive="I20240102", source_member=drawn.name)
    figures = [grant["figures"][0] | {"label": str(number)} for number in (*range(1, 8), 54, 55, 56)]
    file = next(name for name in drawn.sheets if sheet_number(name) == 1)
    drawings = {file.replace("D00001", f"D0000{index}"): drawn.sheets[file] for index in range(1, len(sheets) + 1)}
    rows = views_of(drawn, drawings=drawings, figures=figures)
    assert [row["figure_label"] for row in rows] == expected
    for row in rows:
        assert ("inferred_label" in row["flags"]) == (row["figure_label"] == "55")


def test_the_front_page_comes_first_and_says_what_it_copies():
    rows = views_of(specimen())
    assert [row["sheet_number"] for row in rows] == sorted(row["sheet_number"] for row in rows)
    assert rows[0]["is_front_page"] and rows[0]["view_id"].endswith("-0")
    assert rows[0]["front_page_of"] and set(rows[0]["front_page_of"]) <= {row["view_id"] for row in rows[1:]}


def test_a_single_figure_without_a_label_is_the_declared_one():
    rows = [row for row in views_of(specimen("no_label")) if not row["is_front_page"]]
    assert [(row["figure_label"], row["flags"]) for row in rows] == [("1", [])]


def test_a_figure_that_the_grant_does_not_declare_is_flagged():
    rows = [row for row in views_of(specimen(), figures=[]) if not row["is_front_page"]]
    assert rows
    for row in rows:
        assert row["viewpoint"] == "none" and row["description"] is None
        assert "undeclared_label" in row["flags"] and row["score"] <= 0.5


def test_broken_missing_and_blank_sheets_are_counted_with_their_reasons():
    drawn, report = specimen(), Report("views")
    names = list(drawn.sheets)
    blank = io.BytesIO()
    Image.new("1", (300, 200), 1).save(blank, "TIFF", compression="group4")
    drawings = {names[0]: b"<html>", names[1]: blank.getvalue()}
    assert views_of(drawn, report, drawings) == []
    report.check()
    assert report.tally("front_pages").dropped == {"broken_sheet": 1}
    expected = {"sheet_missing": len(names) - 2, "sheet_without_ink": 1}
    assert report.tally("sheets").dropped == {reason: num for reason, num in expected.items() if num}
    assert report.tally("figures").dropped == {"figure_not_found": report.tally("figures").num_in}


def test_of_two_files_with_one_sheet_number_the_second_is_dropped():
    drawn, report = specimen(), Report("views")
    again = {name.lower(): data for name, data in drawn.sheets.items()}
    rows = views_of(drawn, report, drawings={**drawn.sheets, **again})
    report.check()
    assert [row["view_id"] for row in rows] == [row["view_id"] for row in views_of(drawn)]
    assert report.tally("front_pages").dropped == {"repeated_sheet": 1}
    assert report.tally("sheets").dropped == {"repeated_sheet": len(again) - 1}


def test_of_two_files_with_one_sheet_number_the_first_that_can_be_read_counts():
    drawn, report = specimen(), Report("views")
    copies = {f"copy of {name}": b"cut" for name in drawn.sheets}
    rows = views_of(drawn, report, drawings={**copies, **drawn.sheets})
    report.check()
    assert [row["view_id"] for row in rows] == [row["view_id"] for row in views_of(drawn)]
    assert report.tally("sheets").dropped == {"broken_sheet": len(copies) - 1}


def test_of_files_with_one_sheet_number_the_first_readable_one_counts():
    drawn, report = specimen(), Report("views")
    broken = {name.lower(): b"no drawing" for name in drawn.sheets}
    rows = views_of(drawn, report, drawings={**broken, **drawn.sheets})
    report.check()
    assert [row["view_id"] for row in rows] == [row["view_id"] for row in views_of(drawn)]
    assert report.tally("sheets").dropped == {"broken_sheet": len(broken) - 1}


def inverted(data):
    stream = io.BytesIO()
    Image.fromarray(255 - read_sheet(data, name="sheet")).convert("1").save(stream, "TIFF", compression="group4")
    return stream.getvalue()


def test_sheets_of_white_lines_on_black_are_turned_over_and_flagged():
    drawn = specimen()
    rows = views_of(drawn, drawings={name: inverted(data) for name, data in drawn.sheets.items()})
    plain = views_of(drawn)
    assert [(row["view_id"], row["image"]) for row in rows] == [(row["view_id"], row["image"]) for row in plain]
    for row, usual in zip(rows, plain, strict=True):
        assert set(row["flags"]) == {*usual["flags"], "inverted_sheet"}
        assert row["score"] < usual["score"]


def test_a_drawing_whose_size_is_not_that_in_the_grant_is_counted():
    drawn, right, wrong = specimen(), Report("views"), Report("views")
    views_of(drawn, right)
    grant = parse_grant(drawn.xml, source_archive="I20240102", source_member=drawn.name)
    images = [image | {"width_mm": image["width_mm"] + 1.0} for image in grant["images"]]
    views_of(drawn, wrong, images=images)
    assert "size_disagrees" not in right.counts
    assert wrong.counts["size_disagrees"] == len(drawn.sheets)


def test_a_label_inside_its_figure_is_erased():
    inside = 0
    for row in views_of(specimen("label_inside")):
        if row["is_front_page"] or row["rotation_cw"]:
            continue
        x0, y0, x1, y1 = (a - b for a, b in zip(row["label_box"], row["box"][:2] * 2, strict=True))
        image = np.asarray(Image.open(io.BytesIO(row["image"])).convert("L"))
        if x0 >= 0 and y0 >= 0 and x1 <= row["width"] and y1 <= row["height"]:
            inside += 1
            assert (image[y0:y1, x0:x1] == 0).mean() < 0.01
    assert inside


def test_ink_of_a_neighbour_inside_the_box_is_removed():
    drawn = specimen("diagonal_neighbours")
    overlapping = 0
    for truth in drawn.truth:
        name = truth["file"].rsplit("/")[-1]
        page = read_sheet({n.rsplit("/")[-1]: data for n, data in drawn.sheets.items()}[name], name=name)
        total = np.count_nonzero(page == 0)
        rows = [row for row in views_of(drawn) if row["sheet_number"] == truth["sheet"]]
        inks = [np.count_nonzero(np.asarray(Image.open(io.BytesIO(row["image"])).convert("L")) == 0) for row in rows]
        boxed = sum(np.count_nonzero(page[y0:y1, x0:x1] == 0) for x0, y0, x1, y1 in (row["box"] for row in rows))
        assert sum(inks) <= total
        overlapping += boxed > sum(inks)
    assert overlapping


@pytest.mark.parametrize(
    "page",
    [
        np.zeros((500, 500), np.uint8),
        np.zeros((1, 1), np.uint8),
        np.full((3, 2), 255, np.uint8),
        np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (401, 303)),
        np.random.default_rng(1).choice(np.array([0, 255, 255, 255, 255], np.uint8), (303, 1001)),
        np.tile(np.array([[0, 255]], np.uint8), (9, 1500)),
    ],
    ids=["black", "one_pixel", "blank", "noise", "sparse_noise", "comb"],
)
def test_any_page_can_be_split(page):
    split = split_sheet(page)
    assert bool(split.figures) == bool((page == 0).any())
    for figure in split.figures:
        x0, y0, x1, y1 = figure.box
        assert 0 <= x0 < x1 <= page.shape[1] and 0 <= y0 < y1 <= page.shape[0]
        assert 0 <= figure.score <= 1


def test_a_folder_is_split_in_order_of_names_and_files_that_are_broken_or_blank_are_dropped(tmp_path):
    drawn, report = specimen(), Report("views")
    sheets = [(name.rsplit("/")[-1], data) for name, data in drawn.sheets.items() if sheet_number(name)]
    for name, data in reversed(sheets):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "A-D00001.TIF").write_bytes(b"II*\x00 and no more")
    Image.new("1", (300, 200), 1).save(tmp_path / "B-D00001.TIF", compression="group4")
    (tmp_path / "._A-D00001.TIF").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "notes.txt").write_text("no sheet")
    lines = list(split_folder(tmp_path, report=report))
    assert [line["file"] for line in lines] == [name for name, _ in sheets]
    assert [line["sheet"] for line in lines] == list(range(1, len(sheets) + 1))
    assert report.tally("sheets").dropped == {"broken_sheet": 1, "sheet_without_ink": 1}
    report.check()


def test_a_folder_of_which_no_sheet_can_be_split_is_an_error_and_leaves_no_file(tmp_path):
    (tmp_path / "A-D00001.TIF").write_bytes(b"II*\x00 and no more")
    with pytest.raises(
        SheetError, match=r"none of its 1 sheets could be split; the first: A-D00001\.TIF: damaged TIFF"
    ):
        write_figures(tmp_path, tmp_path / "figures.jsonl")
    (tmp_path / "A-D00001.TIF").unlink()
    with pytest.raises(ConfigError, match="holds no TIFF file"):
        write_figures(tmp_path, tmp_path / "figures.jsonl")
    assert not (tmp_path / "figures.jsonl").exists()


def test_unusable_settings_are_refused_with_what_to_give():
    with pytest.raises(ValueError, match="max_pixels is 0; give the largest sheet to read"):
        ViewsConfig(max_pixels=0)


@pytest.mark.slow
@pytest.mark.real
def test_every_declared_figure_of_the_real_patents_is_found(real_data):
    report = Report("views")
    copies = 0
    for archive in sorted((real_data / "redbook").glob("*.tar"))[:4]:
        with tarfile.open(archive) as tar:
            for entry in tar:
                stream = tar.extractfile(entry)
                if stream is None or "/DESIGN/" not in entry.name or "-SUPP" in entry.name:
                    continue
                with zipfile.ZipFile(stream) as inner:
                    files = {name.rsplit("/")[-1]: inner.read(name) for name in sorted(inner.namelist())}
                (xml,) = [data for name, data in files.items() if name.upper().endswith(".XML")]
                drawings = {name: data for name, data in files.items() if name.upper().endswith(".TIF")}
                grant = parse_grant(xml, source_archive=archive.stem, source_member=entry.name)
                rows = patent_views(grant, drawings, report=report)
                copies += bool(rows[0]["front_page_of"])
    report.check()
    assert report.tally("figures").num_in > 0
    assert report.tally("figures").drops == report.tally("sheets").drops == []
    assert copies == report.tally("front_pages").num_in


@pytest.mark.parametrize(
    "boxes",
    [
        [(100, 60, 400, 350), (500, 50, 800, 350), (100, 500, 400, 800)],  # the right one is a little higher
        [(100, 50, 400, 350), (500, 300, 800, 700)],  # the right one starts far lower, so it is a row of its own
        [(100, 50, 400, 800), (500, 40, 800, 350), (500, 500, 800, 810)],  # two next to a tall one
    ],
)
def test_figures_are_read_in_rows_from_left_to_right(boxes):
    assert reading_order(boxes) == list(range(len(boxes)))
    backwards = list(reversed(boxes))
    assert [backwards[index] for index in reading_order(backwards)] == boxes


def test_reading_order_has_every_box_once_even_if_they_precede_each_other_in_a_cycle():
    cycle = [(0, 0, 300, 100), (100, 60, 200, 160), (0, 110, 110, 170)]
    assert sorted(reading_order(cycle)) == [0, 1, 2]


CASES = {
    1: ["1.7"],
    2: ["8"],
    4: ["5", "6"],
    5: ["11", "12", "13", "14"],
}


@pytest.mark.real
@pytest.mark.parametrize("number", CASES)
def test_labels_that_people_met_in_the_field_are_read(real_data, number):
    folder = real_data.parent / "cases" / "40-drawn-labels"
    if not folder.is_dir():
        pytest.skip("no folder of cases")
    (file,) = folder.glob(f"*-D0000{number}.TIF")
    split = split_sheet(read_sheet(file.read_bytes(), name=file.name))
    assert sorted((figure.label for figure in split.figures), key=lambda label: float(label)) == CASES[number]
