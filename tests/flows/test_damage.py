"""The weekly walk on broken input: what is sound comes through, what is broken is named, and mending it heals all."""

import io
import json
import re
import resource
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.outcomes import WeekOutcome
from flows.preflight.status import read_status
from flows.weeks import WeeksConfig, walk_weeks
from patentdata.specimens import DAMAGE, SpecimenConfig, SpecimenPatent, draw_patent, write_week
from patentdata.specimens.packing import pack_documents
from patentdata.store.folder import DataFolder
from tasks.running.runners import WorkersConfig
from tests.flows.command_line import run
from tests.flows.programs import designclip as designclip_command
from tests.flows.programs import started
from tests.flows.walks import hashes

pytestmark = pytest.mark.slow

WEEK, SOUND_WEEK = "I20240102", "I20240109"
DAMAGED = "D900003"  # the last patent of the week is the one that is damaged

FAILED_WEEKS = {
    "empty_archive": "holds nothing",
    "truncated_archive": "is cut short",
    "html_archive": "is a web page, not an archive",
}

# What was damaged → the stage and the unit in which it is dropped, and why.
DROPS: dict[str, list[tuple[str, str, str]]] = {
    "truncated_member": [("archives", "members", "broken_member")],
    "broken_member": [("archives", "members", "broken_member")],
    "zip_bomb": [("archives", "members", "unpacks_beyond_bounds")],
    "traversal_name": [("archives", "members", "unsafe_name")],
    "absolute_name": [("archives", "members", "unsafe_name")],
    "symlink_member": [("archives", "members", "not_a_plain_file")],
    "duplicate_member": [("archives", "members", "duplicate_member")],
    "broken_tiff": [("views", "sheets", "broken_sheet"), ("views", "figures", "figure_not_found")],
    "huge_tiff": [("views", "sheets", "broken_sheet"), ("views", "figures", "figure_not_found")],
    "missing_sheet": [("views", "sheets", "sheet_missing"), ("views", "figures", "figure_not_found")],
    "extra_sheet": [],
    "missing_xml": [("grants", "grants", "broken_member"), ("views", "sheets", "no_grant")],
    "broken_xml": [("grants", "grants", "cut_off"), ("views", "sheets", "no_grant")],
    "external_entity": [("grants", "grants", "external_entity"), ("views", "sheets", "no_grant")],
    "entity_bomb": [("grants", "grants", "malformed"), ("views", "sheets", "no_grant")],
    "missing_title": [("grants", "grants", "no_title"), ("views", "sheets", "no_grant")],
    "wrong_size": [],
}


def specimens(*damage: str) -> SpecimenConfig:
    """Three patents, the same whatever is done to them afterwards."""
    return SpecimenConfig(num_patents=3, damage=damage, drawing_scale=0.4)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A folder of two sound weeks."""
    folder = tmp_path_factory.mktemp("sound")
    write_week(folder, WEEK, specimens())
    write_week(folder, SOUND_WEEK, SpecimenConfig(num_patents=1, first_number=910_001, drawing_scale=0.4))
    return folder


@pytest.fixture(scope="module")
def undisturbed(sound, tmp_path_factory) -> Path:
    """Data folder of a walk over the sound weeks."""
    data_dir = tmp_path_factory.mktemp("undisturbed")
    assert all(outcome.error is None for outcome in walk(sound, data_dir).values())
    return data_dir


def walk(source: Path, data_dir: Path) -> dict[str, WeekOutcome]:
    workers = WorkersConfig(kind="threads", num_workers=2)
    outcomes = walk_weeks(WeeksConfig(data_dir=str(data_dir), source=str(source), workers=workers))
    for outcome in outcomes:
        for report in outcome.reports.values():
            report.check()
    return {outcome.week: outcome for outcome in outcomes}


def drops(outcome: WeekOutcome) -> set[tuple[str, str, str]]:
    """Stage, unit and reason of everything dropped by name."""
    return {
        (stage, unit, drop.reason)
        for stage, report in outcome.reports.items()
        for unit, tally in report.tallies.items()
        for drop in tally.drops
    }


def subjects(outcome: WeekOutcome) -> set[str]:
    return {
        drop.subject for report in outcome.reports.values() for tally in report.tallies.values() for drop in tally.drops
    }


def views_of(data_dir: Path, *patents: str) -> list[dict]:
    """Views of the patents named, in the order of the week's file; of a week that failed, none."""
    path = data_dir / "views" / f"{WEEK}.parquet"
    rows = pq.read_table(path).to_pylist() if path.exists() else []
    return [row for row in rows if row["patent_number"] in patents]


def built(data_dir: Path) -> dict[str, str]:
    """Hashes of all that the walk built; the notes beside the archives name the folder that these came from."""
    return {path: sha256 for path, sha256 in hashes(data_dir).items() if not path.endswith((".json", ".lock"))}


def states(data_dir: Path, week: str = WEEK) -> set[str]:
    (status,) = (status for status in read_status(str(data_dir)) if status.week == week)
    return {stage.state for stage in status.stages}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_harms_nothing_else_and_heals(damage, sound, undisturbed, tmp_path, monkeypatch, caplog):
    source, data_dir, here = (tmp_path / name for name in ("source", "data", "here"))
    write_week(source, WEEK, specimens(damage), truth=False)
    shutil.copy(sound / f"{SOUND_WEEK}.tar", source)
    here.mkdir()
    monkeypatch.chdir(here)

    outcomes = walk(source, data_dir)
    outcome = outcomes[WEEK]
    assert outcomes[SOUND_WEEK].error is None
    if damage in FAILED_WEEKS:
        assert outcome.failed_stage == "archives"
        assert re.fullmatch(rf"{WEEK}\.tar {FAILED_WEEKS[damage]}.*fetch it again", outcome.error or "")
    else:
        assert (outcome.failed_stage, outcome.error) == (None, None)
        assert drops(outcome) - {("views", "front_pages", "no_grant")} == set(DROPS[damage])
        assert all("900003" in subject for subject in subjects(outcome))
        assert states(data_dir) == {"done"}
        if damage != "empty_archive":
            assert views_of(data_dir, "D900001", "D900002") == views_of(undisturbed, "D900001", "D900002")
    assert not [record for record in caplog.records if record.exc_info]
    assert {path.name for path in tmp_path.iterdir()} == {"source", "data", "here"} and not list(here.iterdir())
    assert not list(Path("/tmp").glob("USD09000*"))

    shutil.copy(sound / f"{WEEK}.tar", source)
    assert walk(source, data_dir)[WEEK].error is None
    assert built(data_dir) == built(undisturbed)


@pytest.mark.parametrize(
    "damage", [name for name, expected in DROPS.items() if expected[:1] and expected[0][0] == "views"]
)
def test_of_a_patent_with_a_bad_sheet_the_other_sheets_come_through(damage, undisturbed, tmp_path):
    write_week(tmp_path / "source", WEEK, specimens(damage), truth=False)
    walk(tmp_path / "source", tmp_path / "data")
    kept = {row["view_id"]: row["image_sha256"] for row in views_of(tmp_path / "data", DAMAGED)}
    whole = {row["view_id"]: row["image_sha256"] for row in views_of(undisturbed, DAMAGED) if row["sheet_number"] != 1}
    assert kept == whole


# --- Odd patents and odd archives, one at a time beside a plain patent ------------------------------------------------


@pytest.fixture(scope="module")
def pair() -> tuple[SpecimenPatent, SpecimenPatent]:
    """A plain patent, D900001, and one to do things to, D900002."""
    config = specimens()
    return draw_patent(900_001, date=WEEK[1:], config=config), draw_patent(900_002, date=WEEK[1:], config=config)


@pytest.fixture(scope="module")
def pair_walked(pair, tmp_path_factory) -> tuple[Path, list[dict]]:
    """Data folder and views of a walk over the pair, packed plainly."""
    folder = tmp_path_factory.mktemp("pair")
    _, views = walk_archive(tar_with(*map(member, pair)), folder)
    return folder / "data", views


Files = list[tuple[str, bytes]]


def member(patent: SpecimenPatent, files: Files | None = None) -> tuple[str, bytes]:
    packed = pack_documents(patent.name, patent.files() if files is None else files)
    return f"{WEEK}/DESIGN/{patent.name}.ZIP", packed


def tar_with(*members: tuple[str, bytes | None], layout: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of members; one without content is a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.size = len(content or b"")
            info.mtime = 1_704_153_600.5  # half a second: PAX writes a header of its own for it
            archive.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def zip_with(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{WEEK}/DESIGN/", b"")
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def walk_archive(archive: bytes, folder: Path) -> tuple[WeekOutcome, list[dict]]:
    """What became of the week, and its views."""
    source = folder / "source"
    source.mkdir()
    (source / f"{WEEK}.tar").write_bytes(archive)
    outcome = walk(source, folder / "data")[WEEK]
    return outcome, views_of(folder / "data", "D900001", "D900002")


def num_views(views: list[dict]) -> tuple[int, int]:
    return tuple(sum(row["patent_number"] == number for row in views) for number in ("D900001", "D900002"))


ARCHIVES: dict[str, Callable[..., bytes]] = {
    "a ZIP of deflated members": zip_with,
    "PAX headers": lambda *members: tar_with(*members, layout=tarfile.PAX_FORMAT),
    "old headers": lambda *members: tar_with(*members, layout=tarfile.USTAR_FORMAT),
    "folders of their own": lambda *members: tar_with((f"{WEEK}/", None), (f"{WEEK}/DESIGN/", None), *members),
    "names beyond a hundred characters": lambda *members: tar_with(
        *((name.replace("DESIGN/", "DESIGN/" + "deep/" * 40), content) for name, content in members)
    ),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_every_way_to_pack_a_week_gives_the_same_kept_archive(kind, pair, pair_walked, tmp_path):
    outcome, views = walk_archive(ARCHIVES[kind](*map(member, pair)), tmp_path)
    assert drops(outcome) == set() and min(num_views(views)) > 0
    assert built(tmp_path / "data") == built(pair_walked[0])


def with_xml(pattern: bytes, replacement: bytes) -> Callable[[SpecimenPatent], Files]:
    """The patent's files, something in its XML replaced."""

    def change(patent: SpecimenPatent) -> Files:
        xml, num_changes = re.subn(pattern, lambda _: replacement, patent.xml, flags=re.DOTALL)
        assert num_changes, f"{pattern!r} stands nowhere in the XML"
        return [(name, xml if name.endswith(".XML") else content) for name, content in patent.files()]

    return change


def with_sheet(change: Callable[[Image.Image], bytes]) -> Callable[[SpecimenPatent], Files]:
    """The patent's files, its first sheet replaced by what `change` makes of its pixels."""

    def replace(patent: SpecimenPatent) -> Files:
        sheet = list(patent.sheets)[1]
        with Image.open(io.BytesIO(patent.sheets[sheet])) as image:
            pixels = Image.fromarray(np.asarray(image.convert("L")))
        return [(name, change(pixels) if name == sheet else content) for name, content in patent.files()]

    return replace


def tiff(mode: str = "1", **options: object) -> Callable[[Image.Image], bytes]:
    def encode(pixels: Image.Image) -> bytes:
        out = io.BytesIO()
        pixels.convert(mode).save(out, "TIFF", **options)
        return out.getvalue()

    return encode


SAME_VIEWS: dict[str, Callable[[SpecimenPatent], Files]] = {
    "lower-case extensions": lambda patent: [
        (name.replace(".XML", ".xml").replace(".TIF", ".tif"), content) for name, content in patent.files()
    ],
    "nested folders": lambda patent: [(f"a/b/{name}", content) for name, content in patent.files()],
    "grey": with_sheet(tiff("L", compression="tiff_lzw")),
    "colour": with_sheet(tiff("RGB")),
    "transparent": with_sheet(tiff("RGBA")),
    "PackBits": with_sheet(tiff(compression="packbits")),
    "Group 3": with_sheet(tiff(compression="group3")),
    "Deflate": with_sheet(tiff(compression="tiff_adobe_deflate")),
    "UTF-16": lambda patent: [
        (name, content.decode().replace("UTF-8", "UTF-16", 1).encode("utf-16") if name.endswith(".XML") else content)
        for name, content in patent.files()
    ],
}


@pytest.mark.parametrize("kind", SAME_VIEWS)
def test_odd_ways_to_write_a_patent_give_the_same_views(kind, pair, pair_walked, tmp_path):
    outcome, views = walk_archive(tar_with(member(pair[0]), member(pair[1], SAME_VIEWS[kind](pair[1]))), tmp_path)
    assert drops(outcome) == set()
    assert views == pair_walked[1]


_FIGURES = rb"(?<=<description-of-drawings>).*?(?=</description-of-drawings>)"
_TITLE = rb"(?<=<invention-title)[^>]*>[^<]*(?=</invention-title>)"
_NO_GRANT = {("views", "sheets", "no_grant"), ("views", "front_pages", "no_grant")}

# What the patent is like → what is dropped of it. Its neighbour comes through whole, and the week goes on.
ODD_PATENTS: dict[str, tuple[Callable[[SpecimenPatent], Files], set[tuple[str, str, str]]]] = {
    "a second document": (lambda patent: [*patent.files(), ("other.XML", patent.xml)], set()),
    "a utility patent": (
        with_xml(rb"<kind>S1</kind>", b"<kind>B2</kind>"),
        {("grants", "grants", "utility"), *_NO_GRANT},
    ),
    "another patent's number": (
        with_xml(rb"(?<=<doc-number>)D0900002(?=</doc-number>)", b"D0900001"),
        {("grants", "grants", "repeated_number"), *_NO_GRANT},
    ),
    "a blank title": (with_xml(_TITLE, b"> "), {("grants", "grants", "no_title"), *_NO_GRANT}),
    "a title of 5,000 characters": (with_xml(_TITLE, b">" + b"chair " * 833 + b"ab"), set()),
    "a title of one endless word": (with_xml(_TITLE, b">" + b"x" * 5_000), set()),
    "a title with markup": (with_xml(_TITLE, b"><b>Chair</b> with arm<sub>2</sub>"), set()),
    "a title beyond ASCII": (with_xml(_TITLE, "> 🪑 كرسي \u202e 椅子 &#x1F4A9;".encode()), set()),
    "no figure described": (with_xml(_FIGURES, b""), set()),
    "200 figures described": (
        with_xml(_FIGURES, b"".join(b"<p>FIG. %d is a front view;</p>" % number for number in range(1, 201))),
        {("views", "figures", "figure_not_found")},
    ),
    "a million figures in a range": (
        with_xml(_FIGURES, b"<p>FIGS. 1-999999 are views of a chair.</p>"),
        {("views", "figures", "figure_not_found")},
    ),
    "no drawing listed": (with_xml(rb"<drawings.*?</drawings>", b""), set()),
    "no drawing there": (
        lambda patent: [(name, content) for name, content in patent.files() if name.endswith(".XML")],
        {
            ("views", "sheets", "sheet_missing"),
            ("views", "front_pages", "sheet_missing"),
            ("views", "figures", "figure_not_found"),
        },
    ),
    "a drawing with a foreign name": (
        lambda patent: [*patent.files(), ("Zeichnung \u202e 椅.TIF", b"no TIFF")],
        {("views", "sheets", "broken_sheet")},
    ),
    "a sheet of two pages": (
        with_sheet(lambda pixels: tiff(save_all=True, append_images=[pixels.convert("1")])(pixels)),
        {("views", "sheets", "broken_sheet"), ("views", "figures", "figure_not_found")},
    ),
    "a sheet that is empty": (
        with_sheet(lambda _: b""),
        {("views", "sheets", "broken_sheet"), ("views", "figures", "figure_not_found")},
    ),
    "a sheet that is white": (
        with_sheet(lambda pixels: tiff()(Image.new("1", pixels.size, 1))),
        {("views", "sheets", "sheet_without_ink"), ("views", "figures", "figure_not_found")},
    ),
    "a sheet that is black": (with_sheet(lambda pixels: tiff()(Image.new("1", pixels.size, 0))), set()),
    "a sheet of one pixel": (with_sheet(lambda _: tiff()(Image.new("1", (1, 1), 0))), set()),
    "a sheet one pixel high": (with_sheet(lambda _: tiff()(Image.new("1", (60_000, 1), 0))), set()),
    "a sheet of noise": (
        with_sheet(lambda _: tiff()(Image.fromarray(np.random.default_rng(0).random((1200, 900)) > 0.5))),
        set(),
    ),
}


@pytest.mark.parametrize("kind", ODD_PATENTS)
def test_an_odd_patent_is_read_or_dropped_and_its_neighbour_comes_through(kind, pair, tmp_path):
    plain, odd = pair
    change, expected = ODD_PATENTS[kind]
    outcome, views = walk_archive(tar_with(member(plain), member(odd, change(odd))), tmp_path)
    assert outcome.error is None
    assert drops(outcome) == expected
    assert all("900002" in subject or "Zeichnung" in subject for subject in subjects(outcome))
    of_the_plain, of_the_odd = num_views(views)
    assert of_the_plain == 1 + len({figure for row in plain.truth for figure in _labels(row)})
    assert bool(of_the_odd) == (not _NO_GRANT & expected and kind != "no drawing there")
    assert len({row["view_id"] for row in views}) == len(views)
    assert states(tmp_path / "data") == {"done"}


def _labels(truth: dict) -> list[str]:
    return [figure["label"] for figure in truth["figures"]] if truth["sheet"] else []


def test_of_two_members_with_one_patent_the_first_is_taken(pair, tmp_path):
    plain, other = pair
    second = f"{WEEK}/DESIGN/USD0999999-{WEEK[1:]}.ZIP", member(other)[1]
    outcome, views = walk_archive(tar_with(member(plain), member(other), second), tmp_path)
    assert drops(outcome) == {("grants", "grants", "repeated_number"), *_NO_GRANT}
    assert min(num_views(views)) > 0 and len({row["view_id"] for row in views}) == len(views)


# --- The command line on a bad day ------------------------------------------------------------------------------------


@pytest.fixture
def designclip(monkeypatch, capfd):
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


def refresh(source: Path, data_dir: Path) -> tuple[object, ...]:
    return "refresh", "-s", source, "-d", data_dir, "--no-training", "--runner", "threads", "--json"


def test_json_is_whole_and_alone_on_stdout_when_a_week_fails(designclip, sound, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(sound / f"{SOUND_WEEK}.tar", source)
    (source / f"{WEEK}.tar").write_bytes(b"<html>Sign in</html>")
    code, out, err = designclip(*refresh(source, tmp_path / "data"))
    weeks = {week["week"]: week for week in json.loads(out)["weeks"]}
    assert code == 1 and "Traceback" not in err
    assert (weeks[WEEK]["failed_stage"], weeks[SOUND_WEEK]["error"]) == ("archives", None)
    assert [week["week"] for week in json.loads(designclip("status", "-d", tmp_path / "data", "--json")[1])] == [
        SOUND_WEEK
    ]


def test_folders_may_have_any_name(designclip, sound, undisturbed, tmp_path):
    source, data_dir = tmp_path / "a ü 椅 [x] 'q' %20 #1?", tmp_path / "dä ta [y]* #2"
    shutil.copytree(sound, source)
    assert designclip(*refresh(source, data_dir))[0] == 0
    weekly = {path: sha256 for path, sha256 in built(data_dir).items() if not path.startswith("datasets")}
    assert weekly == built(undisturbed)
    assert states(data_dir) == {"done"}


def test_files_that_are_no_weeks_are_passed_over_and_unfinished_downloads_are_named(
    designclip, sound, undisturbed, tmp_path
):
    source, data_dir = tmp_path / "source", tmp_path / "data"
    shutil.copytree(sound, source)
    (source / "I20240116.tar.part").write_bytes(b"half of it")
    (source / "I20240123.txt").mkdir()
    shutil.copytree(undisturbed, data_dir)
    (data_dir / "archives" / "notes.json").write_text("{}")
    (data_dir / "grants" / "readme.txt").write_text("mine")
    (data_dir / "views" / "copy of I20240102.parquet").write_bytes(b"mine")
    code, out, _ = designclip(*refresh(source, data_dir), "--years", "2024")
    assert code == 1 and "I20240116.tar.part" in out and "I20240123" not in out
    assert [week["week"] for week in json.loads(out)["weeks"]] == [WEEK, SOUND_WEEK]
    assert [week.week for week in read_status(str(data_dir))] == [WEEK, SOUND_WEEK]


def test_a_second_run_on_a_folder_in_use_leaves_with_a_sentence(designclip, sound, tmp_path):
    with DataFolder(tmp_path / "data").locked():
        code, out, err = designclip(*refresh(sound, tmp_path / "data"))
        assert (code, out) == (1, "") and "another run is writing to" in err
        assert designclip("status", "-d", tmp_path / "data")[0] == 0
    assert designclip(*refresh(sound, tmp_path / "data"))[0] == 0


@pytest.mark.parametrize(
    ("command", "sentence"), [("refresh", "cannot write to {file}: File exists"), ("status", "cannot list {file}/")]
)
def test_a_file_in_place_of_the_data_folder_is_an_error_in_a_sentence(designclip, sound, tmp_path, command, sentence):
    file = tmp_path / "file"
    file.write_bytes(b"")
    arguments = refresh(sound, file) if command == "refresh" else ("status", "-d", file)
    code, out, err = designclip(*arguments)
    assert (code, out) == (1, "") and err.startswith("error: " + sentence.format(file=file))


def test_where_the_disk_takes_no_more_a_sentence_says_so_and_the_next_run_heals(sound, undisturbed, tmp_path):
    limit = (undisturbed / "views" / f"{WEEK}.parquet").stat().st_size - 1  # room for all but the largest file
    data_dir = tmp_path / "data"
    log = tmp_path / "log"
    with started(_refresh_within, limit, *refresh(sound, data_dir), log=log) as process:
        process.join()
    shown = log.read_text()
    assert process.exitcode == 1 and "Traceback" not in shown
    result = json.JSONDecoder().raw_decode(shown[shown.index("{") :])[0]
    (week,) = (week for week in result["weeks"] if week["week"] == WEEK)
    assert week["error"] == f"cannot write {data_dir}/views/{WEEK}.parquet: File too large"
    assert not list(data_dir.rglob("*.partial"))
    assert "damaged" not in {state for status in read_status(str(data_dir)) for state in _states(status)}
    walk(sound, data_dir)
    healed = {path: sha256 for path, sha256 in built(data_dir).items() if not path.startswith("datasets")}
    assert healed == built(undisturbed)


def _refresh_within(limit: int, *arguments: object) -> None:
    """The command line in a process that can write no file beyond a number of bytes, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    designclip_command(*arguments)


def _states(status) -> list[str]:
    return [stage.state for stage in status.stages]
