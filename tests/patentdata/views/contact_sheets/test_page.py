"""The page that shows a person how the sheets of a week were split."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patentdata.archives import designs
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import list_weeks
from patentdata.archives.stage import keep_archive
from patentdata.errors import ConfigError, OutputError
from patentdata.grants.stage import parse_archive
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, open_table, read_provenance, read_report, write_table
from patentdata.store.weeks import kept_path, table_path
from patentdata.views.contact_sheets.cards import FLAG_WORDS, ContactSheetsConfig, Sheet, make_card, thumbnail
from patentdata.views.contact_sheets.page import write_contact_sheets
from patentdata.views.patent_views import ViewsConfig
from patentdata.views.splitting import TRUST
from patentdata.views.stage import split_archive

pytestmark = pytest.mark.slow

WEEK = "I20240102"
_HOSTILE_TITLE = "<script>alert(1)</script>"
_SPECIMENS = SpecimenConfig(
    num_patents=4, drawing_scale=0.6, hazards=("blank_sheet", "landscape"), damage=("missing_sheet", "broken_tiff")
)


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> DataFolder:
    """A week of specimens up to its views; the first patent has a hostile title, two are damaged."""
    source = tmp_path_factory.mktemp("source")
    _retitle(write_week(source, WEEK, _SPECIMENS), _HOSTILE_TITLE)
    folder = DataFolder(tmp_path_factory.mktemp("data"))
    (week,) = list_weeks(str(source))
    keep_archive(folder, week, ArchivesConfig())
    parse_archive(folder, WEEK)
    split_archive(folder, WEEK, ViewsConfig())
    return folder


@pytest.fixture
def folder(walked, tmp_path) -> DataFolder:
    """A copy of the walked week that a test may change."""
    shutil.copytree(walked.root, tmp_path / "data")
    return DataFolder(tmp_path / "data")


def _retitle(archive: Path, title: str) -> None:
    """Give the first design patent of an archive another title."""
    with tarfile.open(archive) as source:
        members = [(info, source.extractfile(info).read()) for info in source.getmembers() if info.isfile()]
    index = next(i for i, (info, _) in enumerate(members) if "/DESIGN/" in info.name and "SUPP" not in info.name)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(members[index][1])) as packed, zipfile.ZipFile(out, "w") as changed:
        for name in packed.namelist():
            data = packed.read(name)
            if name.upper().endswith(".XML"):
                data = re.sub(rb"(<invention-title[^>]*>)[^<]*", rb"\g<1>" + html.escape(title).encode(), data)
            changed.writestr(name, data)
    members[index] = (members[index][0], out.getvalue())
    with tarfile.open(archive, "w") as target:
        for info, data in members:
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))


def _views(folder: DataFolder) -> list[dict]:
    with open_table(folder, table_path(folder, "views", WEEK)) as table:
        return table.read().to_pylist()


def _rewrite_views(folder: DataFolder, rows: list[dict]) -> None:
    path = table_path(folder, "views", WEEK)
    made = read_provenance(folder, path)
    provenance = Provenance(**{name: made[name] for name in ("stage", "version", "config", "inputs")})
    write_table(folder, path, schemas.VIEWS, [rows], provenance, read_report(folder, path))


def _page(folder: DataFolder, out: Path, **settings) -> tuple[str, dict]:
    summary = write_contact_sheets(folder, [WEEK], out, config=ContactSheetsConfig(**settings))
    return out.read_text(), summary


def _cards(page: str) -> list[tuple[str, str]]:
    """Name and HTML of each card in order, without the week in the name."""
    parts = re.split(rf'<article class="card[^"]*" id="{WEEK}-([^"]*)">', page)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def _names(page: str) -> list[str]:
    return [name for name, _ in _cards(page)]


def _section(page: str, name: str) -> str:
    return page.partition(f'<section aria-labelledby="{name}">')[2].partition("</section>")[0]


def test_every_sheet_of_the_archive_and_of_the_grants_is_on_the_page_once(walked, tmp_path):
    page, summary = _page(walked, tmp_path / "page.html")
    names = _names(page)
    assert len(set(names)) == len(names) == summary["num_sheets"] == summary["num_shown"]
    report = read_report(walked, table_path(walked, "views", WEEK))
    assert len(names) == report.tallies["sheets"].num_in + report.tallies["front_pages"].num_in
    with walked.open(kept_path(walked, WEEK)) as archive:
        for stem, read in designs.read_kept(archive):
            for file_name in designs.unpack_member(read(), ArchivesConfig()):
                if file_name.endswith(".TIF"):
                    assert f"D{stem[4:10]}-sheet-{int(file_name[-9:-4])}" in names


def test_sheets_left_out_are_shown_with_their_reason_in_plain_words_and_counted(walked, tmp_path):
    page, summary = _page(walked, tmp_path / "page.html")
    left_out = _section(page, "left_out")
    for words in (
        "Left out: no ink was found on it",
        "Left out: the drawing cannot be read",
        "Left out: the grant lists it, but the archive lacks it",
        "The drawing is not in the archive.",
    ):
        assert words in left_out
    tally = read_report(walked, table_path(walked, "views", WEEK)).tallies["sheets"]
    assert {drop.reason for drop in tally.drops} == {"broken_sheet", "sheet_missing", "sheet_without_ink"}
    assert summary["num_left_out"] == len(tally.drops) == len(_names(left_out))
    head = page.partition("<main>")[0]
    row = re.search(r'<th scope="row">sheets</th><td>(\d+)</td><td>(\d+)</td>\s*<td class="text">([^<]*)', head)
    assert (int(row[1]), int(row[2])) == (tally.num_in, tally.num_out)
    assert row[3] == ", ".join(f"{number} {reason.replace('_', ' ')}" for reason, number in tally.dropped.items())


def test_a_declared_figure_that_was_not_found_is_listed_with_its_sentence_and_shown_on_a_sheet_of_its_patent(
    walked, tmp_path
):
    page, summary = _page(walked, tmp_path / "page.html")
    drops = read_report(walked, table_path(walked, "views", WEEK)).tallies["figures"].drops
    assert drops and summary["num_figures_not_found"] == len(drops)
    with open_table(walked, table_path(walked, "grants", WEEK)) as table:
        grants = {row["patent_number"]: row for row in table.read().to_pylist()}
    doubtful = dict(_cards(_section(page, "doubtful")))
    for drop in drops:
        number, _, label = drop.subject.partition(" FIG. ")
        sentence = next(figure["text"] for figure in grants[number]["figures"] if figure["label"] == label)
        assert html.escape(sentence, quote=False) in html.unescape(_section(page, "missing"))
        assert any(f"FIG. {label} is declared" in card for name, card in doubtful.items() if name.startswith(number))


def test_doubtful_sheets_come_first_in_order_of_score(folder, tmp_path):
    rows = _views(folder)
    numbered = [row for row in rows if row["patent_number"] == "D900001" and not row["is_front_page"]]
    low, flagged = numbered[0], numbered[-1]
    assert low["sheet_number"] != flagged["sheet_number"]
    low["score"], low["flags"] = 0.2, []
    flagged["score"], flagged["flags"] = 0.1, ["touching_figures", "an_unheard_of_flag"]
    _rewrite_views(folder, rows)
    page, summary = _page(folder, tmp_path / "page.html")
    names = _names(page)
    expected = [f"D900001-sheet-{row['sheet_number']}" for row in (flagged, low)]
    positions = [names.index(name) for name in expected]
    assert positions == sorted(positions) and positions[1] < summary["num_doubtful"]
    cards = dict(_cards(page))
    assert "touches a neighbour, so the cut may be wrong" in cards[expected[0]]
    assert "an unheard of flag" in cards[expected[0]]
    assert "its score is low" in cards[expected[1]]
    assert summary["num_flagged"] == sum(bool(row["flags"]) for row in rows)


def test_each_view_is_described_by_label_viewpoint_and_score(walked, tmp_path):
    page, _ = _page(walked, tmp_path / "page.html")
    cards = dict(_cards(page))
    for row in _views(walked):
        card = cards[f"{row['patent_number']}-sheet-{row['sheet_number']}"]
        name = f"FIG. {row['figure_label']}" if row["figure_label"] else "No label"
        name = "Front page" if row["is_front_page"] else name
        item = next(item for item in re.findall(r"<li.*?</li>", card, re.DOTALL) if f"<strong>{name}</strong>" in item)
        assert f"{row['score']:.2f}" in item
        if row["viewpoint"] != "none":
            assert row["viewpoint"].replace("_", " ") in item


def test_the_page_is_self_contained_and_a_title_cannot_inject_markup(walked, tmp_path):
    page, _ = _page(walked, tmp_path / "page.html")
    assert "<script" not in page.lower()
    assert html.escape(_HOSTILE_TITLE) in page
    assert not [url for url in re.findall(r'(?:src|href)="([^"]*)"', page) if not url.startswith(("data:", "#"))]
    assert "url(" not in page and "@import" not in page
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img[^>]*>", page))


def test_equal_data_gives_equal_bytes(walked, tmp_path):
    assert _page(walked, tmp_path / "one.html")[0] == _page(walked, tmp_path / "two.html")[0]


def test_a_limit_keeps_the_doubtful_sheets_and_says_what_is_not_shown(walked, tmp_path):
    whole, summary = _page(walked, tmp_path / "whole.html")
    limit = summary["num_doubtful"] + 1
    page, limited = _page(walked, tmp_path / "page.html", limit=limit)
    assert _names(page) == _names(whole)[:limit]
    assert limited == summary | {
        "page": str(tmp_path / "page.html"),
        "num_bytes": len(page.encode()),
        "num_shown": limit,
    }
    assert f"{limit} of {summary['num_sheets']} sheets are shown" in page
    assert "are shown</strong>" not in whole


def test_without_weeks_all_are_shown_and_progress_is_reported_for_each_sheet(walked, tmp_path):
    reported = []
    summary = write_contact_sheets(
        walked,
        [],
        tmp_path / "page.html",
        config=ContactSheetsConfig(),
        progress=lambda num_done, num_all: reported.append((num_done, num_all)),
    )
    assert summary["weeks"] == [WEEK]
    assert reported == [(num_done, summary["num_shown"]) for num_done in range(1, summary["num_shown"] + 1)]


def _view(**fields) -> dict:
    return {
        "view_id": "D1-1",
        "patent_number": "D1",
        "sheet_number": 1,
        "figure_label": "1",
        "viewpoint": "front",
        "viewpoint_direction": None,
        "description": "FIG. 1 is a front view.",
        "box": [10, 20, 60, 40],
        "label_box": [70, 25, 80, 35],
        "rotation_cw": 0,
        "is_front_page": False,
        "front_page_of": [],
        "broken_share": 0.0,
        "score": 1.0,
        "flags": [],
    } | fields


def _card(view: dict, page: np.ndarray):
    sheet = Sheet(week=WEEK, patent_number="D1", title="Chair", number=1, member="USD1", views=(view,))
    return make_card(sheet, page, "", ContactSheetsConfig())


@pytest.mark.parametrize(
    ("rotation_cw", "box", "label_box", "size"),
    [
        (0, (10, 20, 50, 20), (70, 25, 10, 10), (200, 100)),
        (90, (60, 10, 20, 50), (65, 70, 10, 10), (100, 200)),
        (180, (140, 60, 50, 20), (120, 65, 10, 10), (200, 100)),
        (270, (20, 140, 20, 50), (25, 120, 10, 10), (100, 200)),
    ],
)
def test_sheet_and_boxes_are_turned_upright_together(rotation_cw, box, label_box, size):
    page = np.full((100, 200), 255, np.uint8)
    page[20:40, 10:60] = 0
    card = _card(_view(rotation_cw=rotation_cw), page)
    (mark,) = card.marks
    assert (mark.box, mark.label_box) == (box, label_box)
    assert (card.picture.width, card.picture.height) == size
    assert max(card.picture.shown_width, card.picture.shown_height) == ContactSheetsConfig().plain_px


def test_the_front_page_names_what_it_copies_and_a_view_without_label_says_so():
    page = np.full((100, 200), 255, np.uint8)
    front = _view(is_front_page=True, front_page_of=["D1-2", "D1-10"], figure_label=None, viewpoint="none")
    (mark,) = _card(front, page).marks
    assert (mark.name, mark.viewpoint) == ("Front page", "copies FIG. 2, 10")
    (mark,) = _card(_view(figure_label=None, viewpoint="in_use", label_box=None), page).marks
    assert (mark.name, mark.viewpoint, mark.tag) == ("No label", "in use", "? · in use")


def test_a_thin_line_is_still_visible_when_a_sheet_is_reduced_six_times():
    page = np.full((600, 600), 255, np.uint8)
    page[300:303] = 0
    small = np.asarray(Image.open(io.BytesIO(thumbnail(page, 100, 100))))
    assert small.shape == (100, 100) and small.dtype == np.uint8
    assert small[50].max() < 60  # plain reduction by area would give 127
    assert small[48].min() == 255


def test_views_that_are_older_than_their_grants_are_refused(folder, tmp_path):
    path = table_path(folder, "grants", WEEK)
    with open_table(folder, path) as table:
        rows = table.read().to_pylist()
    provenance = Provenance(stage="grants", version=99, inputs=read_provenance(folder, path)["inputs"])
    write_table(folder, path, schemas.GRANTS, [rows], provenance, read_report(folder, path))
    with pytest.raises(OutputError, match=f"the views of {WEEK} are stale; run the views stage"):
        _page(folder, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_week_without_views_a_folder_without_weeks_and_a_page_that_is_a_folder_are_refused(walked, tmp_path):
    config = ContactSheetsConfig()
    with pytest.raises(OutputError, match="the views of I20240109 are missing; run the views stage"):
        write_contact_sheets(walked, ["I20240109"], tmp_path / "page.html", config=config)
    with pytest.raises(ConfigError, match="holds no views; run the views stage first"):
        write_contact_sheets(DataFolder(tmp_path / "empty"), [], tmp_path / "page.html", config=config)
    with pytest.raises(ConfigError, match="is a folder; name an HTML file"):
        write_contact_sheets(walked, [WEEK], tmp_path, config=config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": 0}, "show at least 1 sheet"),
        ({"doubtful_below": 1.5}, "scores are between 0 and 1"),
        ({"plain_px": 5}, "between 32 and 2000"),
    ],
)
def test_unusable_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ContactSheetsConfig(**settings)


_MEASURE = """<script>
addEventListener("load", () => {
  const cards = [];
  for (const card of document.querySelectorAll("article")) {
    const img = card.querySelector(".sheet img");
    if (!img) continue;
    card.scrollIntoView();
    const of = img.getBoundingClientRect();
    const share = (rect) => { const r = rect.getBoundingClientRect(); return [
      (r.left - of.left) / of.width, (r.top - of.top) / of.height, r.width / of.width, r.height / of.height]; };
    const labels = [...card.querySelectorAll("rect.label")];
    cards.push({
      id: card.id, pixels: img.naturalWidth,
      figures: [...card.querySelectorAll("rect.figure")].map(share), labels: labels.map(share),
      onTop: labels.map((label) => { const r = label.getBoundingClientRect();
        return document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2) === label; }),
    });
  }
  document.title = JSON.stringify(cards);
});
</script>"""


def test_a_browser_shows_the_boxes_over_the_drawings(walked, tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    page, _ = _page(walked, tmp_path / "page.html")
    eager = page.replace('loading="lazy" decoding="async"', "")  # so that every image is loaded when it is measured
    (tmp_path / "measured.html").write_text(eager.replace("</body>", f"{_MEASURE}</body>"))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --window-size=1500,1200"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    address = (tmp_path / "measured.html").as_uri()
    done = subprocess.run(
        [chromium, *flags.split(), profile, "--dump-dom", address], capture_output=True, timeout=120, check=True
    )
    measured = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", done.stdout.decode(), re.DOTALL)[1]))
    by_card = {card["id"]: card for card in measured}
    rows = [row for row in _views(walked) if row["rotation_cw"] == 0]
    sizes = _sheet_sizes(walked, {(row["patent_number"], row["sheet_number"]) for row in rows})
    assert len(rows) > 5
    for row in rows:
        card = by_card[f"{WEEK}-{row['patent_number']}-sheet-{row['sheet_number']}"]
        width, height = sizes[row["patent_number"], row["sheet_number"]]
        assert card["pixels"] > 1
        for box, shares in ((row["box"], card["figures"]), (row["label_box"], card["labels"])):
            if box is not None:
                x0, y0, x1, y1 = box
                expected = (x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height)
                # a stroke of constant width may count towards a rectangle's size
                assert any(np.allclose(share, expected, atol=0.02) for share in shares)
        assert all(card["onTop"])


def _sheet_sizes(folder: DataFolder, wanted: set[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
    """Patent and sheet → width and height in pixels, as Pillow reads them."""
    sizes = {}
    with folder.open(kept_path(folder, WEEK)) as archive:
        for stem, read in designs.read_kept(archive):
            for file_name, data in designs.unpack_member(read(), ArchivesConfig()).items():
                if file_name.endswith(".TIF") and (key := (f"D{stem[4:10]}", int(file_name[-9:-4]))) in wanted:
                    sizes[key] = Image.open(io.BytesIO(data)).size
    return sizes


@pytest.mark.parametrize("rotation_cw", [0, 90])
def test_broken_lines_are_coloured_where_they_are_on_the_sheet(rotation_cw):
    page = np.full((100, 200), 255, np.uint8)
    page[30, 20:60] = page[80, 20:180] = 0
    broken = np.zeros((20, 50), bool)
    broken[10, 10:] = True
    view = _view(rotation_cw=rotation_cw, broken_share=0.25, label_box=None)
    sheet = Sheet(week=WEEK, patent_number="D1", title="", number=1, member="", views=(view,))
    upright = np.rot90(broken, -1) if rotation_cw else broken
    card = make_card(sheet, page, "", ContactSheetsConfig(), {"D1-1": upright})
    picture = Image.open(io.BytesIO(base64.b64decode(card.picture.uri.partition(",")[2]))).convert("RGB")
    pixels = np.asarray(picture.rotate(rotation_cw, expand=True)).astype(int)
    scale = pixels.shape[1] / 200
    is_coloured = pixels[..., 0] - pixels[..., 1] > 60
    rows, columns = np.nonzero(is_coloured)
    assert set((rows / scale).round()) <= {29, 30, 31}
    assert (columns / scale).min() == pytest.approx(20, abs=2) and (columns / scale).max() == pytest.approx(60, abs=2)
    assert card.marks[0].broken == "25 % broken"


def test_stored_broken_lines_are_those_that_the_page_shows(tmp_path):
    config = SpecimenConfig(num_patents=1, drawing_scale=0.5, max_figures=2, hazards=("dashed_surroundings",))
    write_week(tmp_path / "source", WEEK, config)
    folder = DataFolder(tmp_path / "data")
    (week,) = list_weeks(str(tmp_path / "source"))
    keep_archive(folder, week, ArchivesConfig())
    parse_archive(folder, WEEK)
    split_archive(folder, WEEK, ViewsConfig())
    assert any(row["claimed_image"] for row in _views(folder))
    page, _ = _page(folder, tmp_path / "page.html")
    shares = [row["broken_share"] for row in _views(folder) if row["broken_share"]]
    shown = [int(percent) for percent in re.findall(r"(\d+) % broken", page)]
    assert sorted(shown) == sorted(max(1, round(100 * share)) for share in shares)


def test_every_flag_that_lowers_a_score_has_words_for_people():
    assert FLAG_WORDS.keys() >= TRUST.keys()
    assert {flag for flag in FLAG_WORDS if not flag.startswith("broken_lines")} == TRUST.keys()
