"""A week of specimens: its layout, its grants, its sheets and the truth about them."""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from lxml import etree
from PIL import Image

from patentdata.errors import ConfigError
from patentdata.specimens import HAZARDS, SpecimenConfig, SpecimenPatent, draw_patent, write_week
from patentdata.specimens.classes import CLASSES, HELD_BACK_KINDS, printed_uspc
from patentdata.specimens.design import kind_of
from patentdata.specimens.drawing.pen import paste, with_axis, with_brace, with_call_out
from patentdata.specimens.lettering import LabelStyle, draw_label

_DATE = "20240102"


def _draw(number: int = 900_001, **settings: object) -> SpecimenPatent:
    return draw_patent(number, date=_DATE, config=SpecimenConfig(**settings))  # type: ignore[arg-type]


def _ink(tiff: bytes) -> np.ndarray:
    return ~np.asarray(Image.open(io.BytesIO(tiff)))


def _touches_all_edges(ink: np.ndarray, box: list[int]) -> bool:
    x0, y0, x1, y1 = box
    inside = ink[y0:y1, x0:x1]
    return bool(inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any())


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = SpecimenConfig(num_patents=4, drawing_scale=0.4, max_figures=4)
    return write_week(tmp_path_factory.mktemp("week"), f"I{_DATE}", config)


@pytest.fixture(scope="module")
def hazards() -> dict[str, SpecimenPatent]:
    """One patent for each hazard."""
    config = SpecimenConfig(num_patents=len(HAZARDS), hazards=tuple(HAZARDS), drawing_scale=0.5, max_figures=4)
    return {
        hazard: draw_patent(config.first_number + index, date=_DATE, config=config)
        for index, hazard in enumerate(HAZARDS)
    }


def test_a_week_has_the_layout_of_the_patent_office(week: Path):
    with tarfile.open(week) as archive:
        names = archive.getnames()
        inner = zipfile.ZipFile(io.BytesIO(archive.extractfile(names[0]).read()))
    designs = [name for name in names if name.startswith(f"I{_DATE}/DESIGN/")]
    assert designs == [f"I{_DATE}/DESIGN/USD{number:07d}-{_DATE}.ZIP" for number in range(900_001, 900_005)]
    folder = f"USD0900001-{_DATE}"
    assert inner.namelist()[0] == f"{folder}/{folder}-D00000.TIF"
    assert inner.namelist()[-1] == f"{folder}/{folder}.XML"


def test_a_week_holds_other_kinds_of_patent_in_addition_to_its_designs(week: Path):
    with tarfile.open(week) as archive:
        folders = [name.rsplit("/", 1)[0] for name in archive.getnames()]
    assert [f for f in folders if f != f"I{_DATE}/DESIGN"] == [
        f"I{_DATE}/UTIL0115",
        f"I{_DATE}/PLANT",
        f"I{_DATE}/REISSUE",
        f"I{_DATE}-SUPP/DESIGN",
    ]


def test_a_zip_holds_the_same_members_as_a_tar(week: Path, tmp_path: Path):
    zipped = write_week(
        tmp_path, f"I{_DATE}", SpecimenConfig(num_patents=4, drawing_scale=0.4, max_figures=4), container="zip"
    )
    assert zipped.name == f"I{_DATE}.ZIP"
    with tarfile.open(week) as archive, zipfile.ZipFile(zipped) as other:
        assert other.namelist() == archive.getnames()
        assert all(other.read(name) == archive.extractfile(name).read() for name in archive.getnames())


def test_bytes_depend_on_week_and_settings_and_not_on_the_number_of_workers(week: Path, tmp_path: Path):
    config = SpecimenConfig(num_patents=4, drawing_scale=0.4, max_figures=4, workers=2)
    again = write_week(tmp_path, f"I{_DATE}", config)
    assert again.read_bytes() == week.read_bytes()
    assert (tmp_path / f"I{_DATE}.truth.jsonl").read_bytes() == week.with_suffix(".truth.jsonl").read_bytes()


def test_another_seed_draws_other_patents():
    assert _draw(seed=1, drawing_scale=0.3).xml != _draw(seed=2, drawing_scale=0.3).xml


def test_the_truth_has_one_line_for_each_sheet_of_the_archive(week: Path):
    rows = [json.loads(line) for line in week.with_suffix(".truth.jsonl").read_text().splitlines()]
    sheets = []
    with tarfile.open(week) as archive:
        for name in archive.getnames():
            if name.startswith(f"I{_DATE}/DESIGN/"):
                inner = zipfile.ZipFile(io.BytesIO(archive.extractfile(name).read()))
                sheets += [Path(n).name for n in inner.namelist() if n.endswith(".TIF") and "D00000" not in n]
    assert [row["file"] for row in rows] == sheets


@pytest.mark.real
def test_every_grant_is_valid_against_the_office_dtd(real_data: Path, hazards: dict[str, SpecimenPatent]):
    dtd = etree.DTD(str(real_data / "dtd" / "v45-2014-04-03.dtd"))
    others = [_draw(number, drawing_scale=0.2, max_figures=3) for number in range(900_050, 900_058)]
    for patent in [*hazards.values(), *others]:
        assert dtd.validate(etree.fromstring(patent.xml)), dtd.error_log.filter_from_errors()


def test_a_grant_is_ascii_with_hexadecimal_character_references():
    texts = [_draw(number, drawing_scale=0.2, max_figures=3).xml for number in range(900_001, 900_007)]
    assert all(text.isascii() for text in texts)
    assert any(re.search(rb"&#x[0-9a-f]+;", text) for text in texts)


def test_sizes_in_millimetres_agree_with_the_pixels_within_three():
    patent = _draw()
    images = etree.fromstring(patent.xml).findall(".//img")
    assert [image.get("file") for image in images] == list(patent.sheets)
    for image in images:
        height, width = _ink(patent.sheets[image.get("file")]).shape
        assert abs(float(image.get("wi").removesuffix("mm")) * 300 / 25.4 - width) <= 3
        assert abs(float(image.get("he").removesuffix("mm")) * 300 / 25.4 - height) <= 3


def test_sheets_are_one_bit_g4_with_white_zero_in_a_single_strip():
    tiff = Image.open(io.BytesIO(list(_draw().sheets.values())[1]))
    assert tiff.mode == "1"
    tags = tiff.tag_v2
    assert (tags[259], tags[262], tags[278], tags[282], tags[283]) == (4, 0, tiff.height, 300, 300)
    assert len(tags[273]) == 1


def test_sheets_have_a_margin_of_twenty_pixels_and_the_front_page_of_ten():
    for index, tiff in enumerate(_draw().sheets.values()):
        ink = _ink(tiff)
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        margin = 10 if index == 0 else 20
        assert (rows[0], columns[0]) == (margin, margin)
        assert (ink.shape[0] - rows[-1] - 1, ink.shape[1] - columns[-1] - 1) == (margin, margin)


def test_boxes_of_figures_and_labels_touch_their_ink_on_all_sides(hazards: dict[str, SpecimenPatent]):
    for patent in hazards.values():
        for row in patent.truth:
            ink = _ink(patent.sheets[row["file"]])
            assert ink.shape == (row["height"], row["width"])
            for figure in row["figures"]:
                assert _touches_all_edges(ink, figure["figure_box"])
                assert figure["label_box"] is None or _touches_all_edges(ink, figure["label_box"])


def test_all_ink_of_a_sheet_is_in_a_box():
    patent = _draw()
    for row in patent.truth:
        ink = _ink(patent.sheets[row["file"]]).copy()
        for figure in row["figures"]:
            for x0, y0, x1, y1 in (figure["figure_box"], figure["label_box"]):
                ink[y0:y1, x0:x1] = False
        assert not ink.any()


def test_every_figure_is_declared_and_every_declared_figure_is_on_a_sheet():
    for number in range(900_001, 900_007):
        patent = _draw(number, drawing_scale=0.2, max_figures=3)
        drawn = [figure["label"] for row in patent.truth for figure in row["figures"]]
        root = etree.fromstring(patent.xml)
        declared = [ref.text.removeprefix("FIG. ") for ref in root.findall(".//figref")]
        assert drawn == ([None] if declared == ["The sole FIGURE"] else declared)
        assert root.findtext(".//number-of-figures") == str(len(drawn))
        assert root.findtext(".//number-of-drawing-sheets") == str(len(patent.truth))


def test_no_sheet_is_larger_than_the_largest_published_ones(hazards: dict[str, SpecimenPatent]):
    for patent in [*hazards.values(), _draw(drawing_scale=1.2)]:
        for row in patent.truth:
            assert row["width"] <= 2452
            assert row["height"] <= 3080


def test_every_class_appears_once_in_a_block_of_balanced_patents():
    config = SpecimenConfig()
    start = 27_300 * len(CLASSES)
    counts = [kind_of(number, config).uspc_class for number in range(start, start + 20 * len(CLASSES))]
    assert set(counts) == set(CLASSES)
    assert len(CLASSES) == 33
    assert max(map(counts.count, CLASSES)) <= 3 * min(map(counts.count, CLASSES))


def test_only_the_kinds_of_article_that_are_named_are_drawn_among_them_those_held_back():
    config = SpecimenConfig(articles=("chair", "sofa", "lace"), long_tailed=5)
    drawn = {kind_of(number, config).article for number in range(900_000, 900_200)}
    usual = {kind_of(number, SpecimenConfig()).article for number in range(900_000, 900_500)}
    assert drawn == {"chair", "sofa", "lace"}
    assert not usual & {kind.article for kind in HELD_BACK_KINDS}
    with pytest.raises(ConfigError, match="articles: unknown unicorn"):
        SpecimenConfig(articles=("unicorn",))


def test_a_long_tail_makes_the_first_class_far_more_frequent_than_the_last():
    config = SpecimenConfig(long_tailed=60)
    classes = [kind_of(number, config).uspc_class for number in range(900_000, 903_000)]
    assert classes.count(CLASSES[0]) > 20 * max(1, classes.count(CLASSES[-1]))


@pytest.mark.parametrize(
    ("uspc_class", "subclass", "printed"),
    [(6, "335", "D 6335"), (26, "2", "D26  2"), (14, "209.1", "D142091"), (1, "106", "D 1106")],
)
def test_us_classes_are_printed_in_fixed_columns(uspc_class: int, subclass: str, printed: str):
    assert printed_uspc(uspc_class, subclass) == printed


def test_examiners_cite_earlier_specimens_of_the_same_kind():
    config = SpecimenConfig(num_patents=400, drawing_scale=0.2)
    patent = draw_patent(900_390, date=_DATE, config=config)
    cited = [int(c.number[1:]) for c in patent.grant.citations if re.fullmatch(r"D900\d{3}", c.number)]
    assert cited
    assert all(number < 900_390 for number in cited)
    assert {kind_of(number, config) for number in cited} == {kind_of(900_390, config)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_patents": 0}, "draw at least 1"),
        ({"hazards": ("fire",)}, "unknown fire; known are call_out"),
        ({"damage": ("flood",)}, "unknown flood; known are truncated_archive"),
        ({"num_patents": 1, "hazards": ("speckle", "halftone")}, "2 hazards need as many patents"),
        ({"long_tailed": 0.5}, "at least 1, such as 60"),
    ],
)
def test_impossible_settings_are_refused_with_possible_ones(settings: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        SpecimenConfig(**settings)


# --- Hazards -------------------------------------------------------------------------------------------------------


def _sheets(patent: SpecimenPatent) -> list[tuple[dict, np.ndarray]]:
    return [(row, _ink(patent.sheets[row["file"]])) for row in patent.truth]


def _orientations(patent: SpecimenPatent) -> set[str | None]:
    return {image.get("orientation") for image in etree.fromstring(patent.xml).findall(".//img")[1:]}


def test_a_turned_sheet_is_or_is_not_declared_as_landscape(hazards: dict[str, SpecimenPatent]):
    for hazard, orientations in (("landscape", {"landscape"}), ("landscape_unsaid", {None})):
        assert {row["rotation_cw_to_upright"] for row in hazards[hazard].truth} == {90}
        assert _orientations(hazards[hazard]) == orientations
    assert {row["rotation_cw_to_upright"] for row in hazards["upside_down"].truth} == {180}


def test_diagonal_neighbours_have_boxes_that_overlap_and_ink_that_does_not_touch(hazards: dict[str, SpecimenPatent]):
    row = next(row for row in hazards["diagonal_neighbours"].truth if len(row["figures"]) == 2)
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = (figure["figure_box"] for figure in row["figures"])
    assert min(ax1, bx1) > max(ax0, bx0)
    assert min(ay1, by1) > max(ay0, by0)


def test_labels_are_inside_the_box_of_their_drawing_on_request(hazards: dict[str, SpecimenPatent]):
    inside = 0
    for row in hazards["label_inside"].truth:
        for figure in row["figures"]:
            (x0, y0, x1, y1), (lx0, ly0, lx1, ly1) = figure["figure_box"], figure["label_box"]
            inside += x0 <= lx0 and y0 <= ly0 and lx1 <= x1 and ly1 <= y1
    assert inside >= 1


def test_at_least_one_halftone_is_a_third_ink_or_more(hazards: dict[str, SpecimenPatent]):
    shares = []
    for row, ink in _sheets(hazards["halftone"]):
        for figure in row["figures"]:
            x0, y0, x1, y1 = figure["figure_box"]
            shares.append(ink[y0:y1, x0:x1].mean())
    assert max(shares) > 1 / 3


def test_edge_views_are_a_few_pixels_high(hazards: dict[str, SpecimenPatent]):
    sides = [min(b[2] - b[0], b[3] - b[1]) for row in hazards["thin_edge"].truth for b in
             (figure["figure_box"] for figure in row["figures"])]  # fmt: skip
    assert min(sides) < 40


def test_a_blank_sheet_has_no_ink_and_no_figures(hazards: dict[str, SpecimenPatent]):
    row, ink = _sheets(hazards["blank_sheet"])[-1]
    assert not ink.any()
    assert row["figures"] == []


def test_hague_labels_are_bare_numbers_and_the_grant_is_of_series_35(hazards: dict[str, SpecimenPatent]):
    patent = hazards["hague_label"]
    labels = [figure["label"] for row in patent.truth for figure in row["figures"]]
    assert labels == [f"1.{index}" for index in range(1, len(labels) + 1)]
    root = etree.fromstring(patent.xml)
    assert root.findtext(".//us-application-series-code") == "35"
    assert root.findtext(".//international-registration-number").startswith("DM")


def test_the_truth_of_a_sheet_without_label_has_no_label(hazards: dict[str, SpecimenPatent]):
    (row,) = hazards["no_label"].truth
    assert [(figure["label"], figure["label_box"]) for figure in row["figures"]] == [(None, None)]


def test_there_are_specks_outside_the_boxes(hazards: dict[str, SpecimenPatent]):
    row, ink = _sheets(hazards["speckle"])[0]
    rest = ink.copy()
    for figure in row["figures"]:
        for x0, y0, x1, y1 in (figure["figure_box"], figure["label_box"]):
            rest[y0:y1, x0:x1] = False
    assert rest.any()


@pytest.mark.parametrize(
    "hazard", ["call_out", "section_mark", "exploded_brace", "exploded_dashes", "dashed_surroundings"]
)
def test_what_is_added_to_a_drawing_belongs_to_its_box(hazard: str, hazards: dict[str, SpecimenPatent]):
    """The sheet holds no ink outside the boxes, so the addition is in one of them."""
    for row, ink in _sheets(hazards[hazard]):
        rest = ink.copy()
        for figure in row["figures"]:
            for x0, y0, x1, y1 in filter(None, (figure["figure_box"], figure["label_box"])):
                rest[y0:y1, x0:x1] = False
        assert not rest.any()


@pytest.mark.parametrize("hazard", ["call_out", "section_mark"])
def test_references_within_a_drawing_add_ink_to_the_second_figure_only(hazard: str):
    plain, marked = (_draw(900_023, drawing_scale=0.4, max_figures=2, hazards=hazards) for hazards in ((), (hazard,)))
    ink = [[_ink(sheet).sum() for sheet in patent.sheets.values()] for patent in (plain, marked)]
    assert ink[0][0] == pytest.approx(ink[1][0], rel=0.3)  # the front page copies FIG. 1, which shows no reference
    assert ink[1][-1] > ink[0][-1]


def test_loose_parts_are_held_together_by_a_brace_or_an_axis():
    parts = np.zeros((300, 100), dtype=bool)
    parts[:60], parts[200:] = True, True
    assert with_axis(parts)[60:200, 48:53].any()
    braced = with_brace(parts)
    assert braced[:, :20].any()
    assert braced.any(axis=1).all()


def test_a_stencil_cuts_glyphs_and_an_underline_is_below_them():
    rng = np.random.default_rng(0)
    plain = draw_label("8", LabelStyle(face="sans_bold"), rng)
    assert draw_label("8", LabelStyle(face="sans_bold", stencil=True), rng).sum() < plain.sum()
    underlined = draw_label("8", LabelStyle(face="sans_bold", underline=True), rng)
    assert underlined.shape[0] > plain.shape[0]
    assert underlined[-1].all()


@pytest.mark.parametrize(
    ("x", "y", "num_inked"), [(2, 1, 12), (-1, -2, 4), (8, 3, 6), (3, 4, 6), (20, 0, 0), (-9, 0, 0)]
)
def test_a_bitmap_pasted_over_an_edge_is_cut_off_there(x, y, num_inked):
    page = np.zeros((6, 10), bool)
    paste(page, np.ones((4, 3), bool), x, y)
    assert page.sum() == num_inked


def test_a_call_out_without_room_is_whole_and_next_to_a_flat_drawing():
    style = LabelStyle()
    rng = np.random.default_rng(0)
    flat = np.ones((8, 400), bool)
    note = draw_label("3", style, np.random.default_rng(0))
    assert with_call_out(flat, "FIG. 3", style, rng)[:, -note.shape[1] :].any(axis=1).sum() >= note.shape[0]
