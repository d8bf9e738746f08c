"""Damage on request: each kind damages what its description says, and the other patents are intact."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from lxml import etree
from PIL import Image

from patentdata.errors import ConfigError
from patentdata.specimens import DAMAGE, SpecimenConfig, write_week
from patentdata.specimens.damage import damage_plan

pytestmark = pytest.mark.slow

_WEEK = "I20240102"
_OF_PATENTS = tuple(kind for kind in DAMAGE if not kind.endswith("_archive"))


def _write(folder: Path, *damage: str, num_patents: int = 2, container: str = "tar") -> Path:
    config = SpecimenConfig(num_patents=num_patents, drawing_scale=0.15, max_figures=2, damage=damage)
    return write_week(folder, _WEEK, config, container=container)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A week with one patent for each kind of damage to a patent."""
    return _write(tmp_path_factory.mktemp("damaged"), *_OF_PATENTS, num_patents=len(_OF_PATENTS) + 2)


@pytest.fixture(scope="module")
def notes(damaged: Path) -> dict[str, dict]:
    return {note["damage"]: note for note in json.loads((damaged.parent / f"{_WEEK}.damage.json").read_text())}


def _member(damaged: Path, note: dict) -> bytes:
    with tarfile.open(damaged) as archive:
        return archive.extractfile(note["member"]).read()


def _files(damaged: Path, note: dict) -> dict[str, bytes]:
    inner = zipfile.ZipFile(io.BytesIO(_member(damaged, note)))
    return {name.split("/")[-1]: inner.read(name) for name in inner.namelist() if inner.getinfo(name).file_size < 2**22}


def _xml(damaged: Path, note: dict) -> bytes:
    return next(content for name, content in _files(damaged, note).items() if name.endswith(".XML"))


def _sheets(damaged: Path, note: dict) -> dict[str, bytes]:
    return {name: content for name, content in _files(damaged, note).items() if name.endswith(".TIF")}


def _listed(xml: bytes) -> list[str]:
    return [image.get("file") for image in etree.fromstring(xml).findall(".//img")]


def test_every_kind_of_damage_is_noted_with_the_damaged_patent(notes: dict[str, dict]):
    assert set(notes) == set(_OF_PATENTS)
    assert len({note["patent"] for note in notes.values()}) == len(_OF_PATENTS)


def test_patents_that_are_not_damaged_are_the_same_as_in_a_week_without_damage(damaged: Path, tmp_path: Path):
    whole = _write(tmp_path, num_patents=len(_OF_PATENTS) + 2)
    with tarfile.open(whole) as expected, tarfile.open(damaged) as archive:
        for name in expected.getnames()[:2]:
            assert archive.extractfile(name).read() == expected.extractfile(name).read()
    assert not (tmp_path / f"{_WEEK}.damage.json").exists()


@pytest.mark.parametrize("kind", ["truncated_member", "broken_member"])
def test_a_damaged_member_is_not_a_zip(kind: str, damaged: Path, notes: dict[str, dict]):
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(_member(damaged, notes[kind])))


def test_a_zip_bomb_unpacks_to_hundreds_of_times_its_size(damaged: Path, notes: dict[str, dict]):
    inner = zipfile.ZipFile(io.BytesIO(_member(damaged, notes["zip_bomb"])))
    assert max(info.file_size / info.compress_size for info in inner.infolist()) > 900


@pytest.mark.parametrize(("kind", "start"), [("traversal_name", f"{_WEEK}/DESIGN/../"), ("absolute_name", "/")])
def test_the_name_of_a_member_leads_out_of_the_folder(kind: str, start: str, damaged: Path, notes: dict[str, dict]):
    number = notes[kind]["patent"][1:]
    with tarfile.open(damaged) as archive:
        names = [info.name for info in archive if number in info.name]
    assert any(name.startswith(start) for name in names)
    assert notes[kind]["member"] in names


def test_a_member_is_a_symbolic_link(damaged: Path, notes: dict[str, dict]):
    with tarfile.open(damaged) as archive:
        assert archive.getmember(notes["symlink_member"]["member"]).issym()


def test_a_member_is_in_the_archive_twice(damaged: Path, notes: dict[str, dict]):
    with tarfile.open(damaged) as archive:
        assert archive.getnames().count(notes["duplicate_member"]["member"]) == 2


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_tiff_cannot_be_read(damaged: Path, notes: dict[str, dict]):
    sheet = list(_sheets(damaged, notes["broken_tiff"]).values())[1]
    with pytest.raises((OSError, SyntaxError)):
        Image.open(io.BytesIO(sheet)).load()


def test_a_huge_tiff_declares_far_more_pixels_than_it_holds(damaged: Path, notes: dict[str, dict]):
    sheet = list(_sheets(damaged, notes["huge_tiff"]).values())[1]
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        assert Image.open(io.BytesIO(sheet)).size == (65_000, 65_000)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def test_a_listed_sheet_is_missing_and_an_unlisted_sheet_is_present(damaged: Path, notes: dict[str, dict]):
    missing, extra = notes["missing_sheet"], notes["extra_sheet"]
    assert len(_sheets(damaged, missing)) == len(_listed(_xml(damaged, missing))) - 1
    assert len(_sheets(damaged, extra)) == len(_listed(_xml(damaged, extra))) + 1


def test_the_xml_of_a_patent_is_missing(damaged: Path, notes: dict[str, dict]):
    assert not any(name.endswith(".XML") for name in _files(damaged, notes["missing_xml"]))


def test_the_xml_of_a_patent_is_cut_off(damaged: Path, notes: dict[str, dict]):
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(_xml(damaged, notes["broken_xml"]))


def test_xml_asks_for_a_file_or_multiplies_entities(damaged: Path, notes: dict[str, dict]):
    assert b'SYSTEM "file:///etc/passwd"' in _xml(damaged, notes["external_entity"])
    with pytest.raises(etree.XMLSyntaxError):  # libxml2 recognises the amplification by itself
        etree.fromstring(_xml(damaged, notes["entity_bomb"]), etree.XMLParser(resolve_entities=True))


def test_the_title_of_a_grant_is_missing(damaged: Path, notes: dict[str, dict]):
    assert etree.fromstring(_xml(damaged, notes["missing_title"])).find(".//invention-title") is None


def test_sizes_in_millimetres_do_not_fit_the_pixels(damaged: Path, notes: dict[str, dict]):
    sheets = _sheets(damaged, notes["wrong_size"])
    image = etree.fromstring(_xml(damaged, notes["wrong_size"])).find(".//img")
    width = np.asarray(Image.open(io.BytesIO(sheets[image.get("file")]))).shape[1]
    assert abs(float(image.get("wi").removesuffix("mm")) * 300 / 25.4 - width) > 30


@pytest.mark.parametrize("container", ["tar", "zip"])
def test_an_archive_is_truncated_or_empty_or_an_html_page(container: str, tmp_path: Path):
    whole = _write(tmp_path / "whole", container=container)
    cut = _write(tmp_path / "cut", "truncated_archive", container=container)
    assert 0 < cut.stat().st_size < whole.stat().st_size
    assert whole.read_bytes().startswith(cut.read_bytes())
    page = _write(tmp_path / "page", "html_archive", container=container)
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")
    empty = _write(tmp_path / "empty", "empty_archive", container=container)
    if container == "tar":
        with tarfile.open(empty) as archive:
            assert archive.getnames() == []
    else:
        assert zipfile.ZipFile(empty).namelist() == []


def test_more_kinds_of_damage_than_patents_are_refused():
    with pytest.raises(ConfigError, match="need as many patents"):
        damage_plan(SpecimenConfig(num_patents=1, damage=("missing_xml", "broken_xml")))
