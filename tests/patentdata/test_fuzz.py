"""Archives, grants and sheets, damaged in every way that may break a reader, become rows or counted reasons.

Only the project's own errors are raised, every report balances, and memory stays bounded. The cases are the same in
every run; `DESIGNCLIP_FUZZ=50` tries a hundred times as many, other ones each time. A case that hangs exceeds the time
limit of the suite.
"""

from __future__ import annotations

import io
import os
import re
import resource
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patentdata.archives import designs
from patentdata.archives.designs import ArchivesConfig
from patentdata.classes import canonical_locarno, canonical_patent_number, canonical_uspc
from patentdata.errors import PatentDataError, SheetError
from patentdata.grants import loose_files, parsing
from patentdata.grants.figure_descriptions import describe_figures
from patentdata.grants.viewpoints import read_viewpoint
from patentdata.specimens import SpecimenConfig, SpecimenPatent, draw_patent
from patentdata.store.report import Report
from patentdata.views.patent_views import patent_views
from patentdata.views.sheets import read_sheet
from patentdata.views.splitting import ViewsConfig, split_sheet
from tests.patentdata.archives.red_book import WEEK, packed, tar_of, zip_of
from tests.patentdata.grants.grant_xml import grant_xml, patdoc_xml

pytestmark = pytest.mark.slow

_IS_ORDINARY = "DESIGNCLIP_FUZZ" not in os.environ
_TIMES = float(os.environ.get("DESIGNCLIP_FUZZ", "0.5"))
_ROOM_BYTES = 3 << 30  # what a case may use in addition to what the tests use anyway

# Small, so that a ZIP bomb is found in little time.
BOUNDS = ArchivesConfig(max_member_bytes=4 << 20, max_unpacked_bytes=16 << 20, max_entries=200)


def cases(num: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Settings of one property: `num` cases, the same ones in every ordinary run."""
    return settings(
        max_examples=max(1, round(num * _TIMES)),
        derandomize=_IS_ORDINARY,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True, scope="module")
def _bounded_memory() -> Iterator[None]:
    """A case that needs too much memory fails, and does not use up the machine's."""
    here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (here + _ROOM_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


# --- What is damaged, and how -----------------------------------------------------------------------------------------

CONFIG = SpecimenConfig(num_patents=2, drawing_scale=0.3)
PATENTS = [draw_patent(number, date="20240102", config=CONFIG) for number in (900_001, 900_002)]
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


def files_of(patent: SpecimenPatent) -> dict[str, bytes]:
    return dict(patent.files())


def member_of(patent: SpecimenPatent) -> tuple[str, bytes]:
    files = files_of(patent)
    stem = next(name for name in files if name.endswith(".XML")).removesuffix(".XML")
    return f"{WEEK}/DESIGN/{stem}.ZIP", packed(files, stem=stem)


MEMBERS = dict(map(member_of, PATENTS))
XML = [next(data for name, data in files_of(patent).items() if name.endswith(".XML")) for patent in PATENTS]
SHEETS = [data for name, data in files_of(PATENTS[0]).items() if name.endswith(".TIF")]
DOCUMENTS = [*XML, grant_xml(), patdoc_xml()]
OTHER_ENTRIES = {f"{WEEK}/UTIL0001/US11500001-20240102.ZIP": b"utility" * 90}
ARCHIVES = [tar_of(MEMBERS | OTHER_ENTRIES), zip_of(MEMBERS | OTHER_ENTRIES)]

_PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(_NUMBERS).map(lambda number: struct.pack("<I", number)),
    st.sampled_from(_NUMBERS).map(lambda number: struct.pack(">H", number & 0xFFFF)),
    st.sampled_from([b"\0" * 700, b"\xff" * 700, b"PK\x03\x04", b"PK\x05\x06", b"ustar\x0000", b"<?xml ", b"]]>"]),
)


_LENGTHS = st.sampled_from([1, 2, 4, 40, 512, 5000])


@st.composite
def damaged(draw: st.DrawFn, data: bytes, pieces: st.SearchStrategy[bytes] = _PIECES) -> bytes:
    """Bytes of which some are overwritten, inserted, removed, repeated, exchanged, or cut off."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        length = draw(_LENGTHS)
        match draw(st.integers(0, 6)):
            case 0:
                piece = draw(pieces)
                changed[at : at + len(piece)] = piece
            case 1:
                changed[at:at] = draw(pieces)
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                other = draw(st.integers(0, max(len(changed) - 1, 0)))
                changed[at : at + length] = changed[other : other + length]
            case 5 if changed:
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case 6:
                del changed[at:]
    return bytes(changed)


_MARKUP = [
    b"<p>",
    b"</p>",
    b"<figref>",
    b"&amp;",
    b"&bogus;",
    b"&#0;",
    b"&#x110000;",
    b"&#xD800;",
    b"<![CDATA[",
    b"]]>",
]
_MARKUP += [b"<!--", b"<b>" * 400, b"us-patent-grant", b"<us-patent-grant>", b"<PATDOC>", b"<sequence-cwu/>"]
_MARKUP += [b"<!ENTITY a 'b'>", b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>", b"<?xml version='1.0'?>"]
_CONTENT = [b" encoding='utf-16'", b" encoding='bogus'", b"9" * 400, b"20241399", b"D0", b"D" + b"9" * 30, b"\xff\xfe"]
_CONTENT += [b"FIGS. 1-99999999 and 1(a)-(zz) ", b"FIG. " * 300, "١٢٣".encode(), b"\xef\xbb\xbf", b"\0"]
_WORDS_AND_PIECES = st.sampled_from(_MARKUP + _CONTENT) | _PIECES
_ENTITIES = st.integers(2, 12).map(
    lambda depth: b"".join(b"<!ENTITY e%d '%s'>" % (i, b"&e%d;" % (i - 1) * 10 if i else b"ha") for i in range(depth))
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Grant documents that are damaged, in another encoding, or full of entities; sometimes several in one file."""
    parts = []
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        data = draw(st.sampled_from(DOCUMENTS))
        kind = draw(st.integers(0, 9))
        if kind == 0:
            data = data.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "utf-32", "utf-7", "cp037"])))
        elif kind == 1:
            depth = draw(_ENTITIES)
            root = max(data.find(b"<us-patent-grant"), data.find(b"<PATDOC"), 0)
            data = b"<!DOCTYPE us-patent-grant [" + depth + b"]>" + data[root:].replace(b"<p>", b"<p>&e1;&e9;", 1)
        parts.append(draw(damaged(data, _WORDS_AND_PIECES)) if kind != 9 else data)
    return b"\n".join(parts)


# --- Grants -----------------------------------------------------------------------------------------------------------


@cases(3000)
@given(data=documents())
def test_a_file_of_grants_becomes_rows_and_counted_reasons(data):
    report = Report("grants", "fuzz")
    rows = list(parsing.read_grants(data, name="fuzz", report=report))
    report.check()
    assert len(rows) == report.tally("documents").num_out
    for row in rows:
        assert row["patent_number"] and row["title"] and row["grant_date"]


_PHRASES = [
    "FIG. ",
    "FIGS. ",
    "1",
    "2A",
    "(b)",
    "-",
    "–",
    " to ",
    ", and ",
    "is a ",
    "front view",
    " thereof;",
    "1.1 : ",
]
_PHRASES += [
    "perspective",
    "99999",
    "sole FIGURE",
    "'",
    "/",
    "D14",
    " D 2",
    "840",
    "LOC (12) Cl. ",
    "\n",
    "USD",
    "0" * 50,
]
_TEXT = st.text(max_size=300) | st.lists(st.sampled_from(_PHRASES), max_size=60).map("".join)


@cases(2000)
@given(paragraphs=st.lists(_TEXT, max_size=6), title=_TEXT, num_figures=st.none() | st.integers(0, 10**6))
def test_any_description_of_drawings_is_read_as_figures(paragraphs, title, num_figures):
    figures, others = describe_figures(paragraphs, title=title, num_figures=num_figures)
    labels = [figure["label"] for figure in figures]
    assert len(labels) == len(set(labels))
    assert len(others) <= len(paragraphs)
    for paragraph in paragraphs:
        read_viewpoint(paragraph, title=title)


@cases(3000)
@given(text=_TEXT | st.none())
def test_any_printed_class_or_number_is_read_or_is_none(text):
    for canonical in (canonical_uspc, canonical_locarno, canonical_patent_number):
        value = canonical(text)
        assert value is None or (isinstance(value, str) and value)


# --- Archives ---------------------------------------------------------------------------------------------------------


def keep(data: bytes) -> None:
    """Read an archive as the stages archives, grants and views do."""
    report = Report("archives", "fuzz")
    kept = io.BytesIO()
    try:
        designs.keep_designs(io.BytesIO(data), kept, name="fuzz.tar", config=BOUNDS, report=report)
    except PatentDataError as error:
        assert len(str(error)) < 1000 and "\n" not in str(error)
        return
    report.check()
    members = designs.read_kept(io.BytesIO(kept.getvalue()))
    assert len(members) == report.tally("members").num_out
    for stem, read in members:
        assert stem.upper().startswith("USD")
        unpack(read())


def unpack(data: bytes) -> None:
    try:
        files = designs.unpack_member(data, BOUNDS)
    except PatentDataError:
        return
    assert sum(map(len, files.values())) <= BOUNDS.max_unpacked_bytes


@cases(1200)
@given(data=st.data())
def test_a_damaged_archive_is_kept_in_part_or_refused_in_one_sentence(data):
    keep(data.draw(damaged(data.draw(st.sampled_from(ARCHIVES)))))


@cases(400)
@given(data=st.data())
def test_a_file_that_only_begins_like_an_archive_is_refused_or_dropped(data):
    start = data.draw(st.sampled_from([b"PK\x03\x04", b"PK\x05\x06", b"\0" * 512, b"\0" * 257 + b"ustar", b"", b"<"]))
    keep(start + data.draw(st.binary(max_size=3000)))


# name, mode, size, time, type, name of a link, magic, device, prefix: their positions in a header, and lengths
_TAR_FIELDS = st.sampled_from(
    [(0, 100), (100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (329, 8), (345, 155)]
)
_TAR_VALUES = st.one_of(
    st.binary(max_size=155),
    st.sampled_from([b"7" * 155, b"\xff" * 155, b"\x80" + b"\xff" * 11, b"-1", b"", b"../" * 60]),
    st.sampled_from([bytes([kind]) for kind in b"0123456789xgLKSVDM\0"]),
)
with tarfile.open(fileobj=io.BytesIO(ARCHIVES[0])) as _archive:
    _TAR_HEADERS = st.sampled_from([info.offset for info in _archive.getmembers()])


@st.composite
def odd_tars(draw: st.DrawFn) -> bytes:
    """A tar with fields of its headers set to anything, and their checksums corrected."""
    data = bytearray(ARCHIVES[0])
    for _ in range(draw(st.integers(1, 3))):
        header = draw(_TAR_HEADERS)
        at, length = draw(_TAR_FIELDS)
        value = draw(_TAR_VALUES)
        data[header + at : header + at + length] = value[:length].ljust(length, b"\0")
        data[header + 148 : header + 156] = b" " * 8
        checksum = sum(data[header : header + 512])
        data[header + 148 : header + 156] = b"%06o\0 " % checksum
    return bytes(data)


@cases(600)
@given(data=odd_tars())
def test_a_tar_with_any_values_in_its_headers_is_read_or_refused(data):
    keep(data)


_ZIP_HEADERS = st.sampled_from([(b"PK\x03\x04", 30), (b"PK\x01\x02", 46), (b"PK\x05\x06", 22)])  # and their length
_ANY_NUMBER = st.sampled_from(_NUMBERS) | st.integers(0, 2**32 - 1)


@st.composite
def odd_zips(draw: st.DrawFn, data: bytes) -> bytes:
    """A ZIP with fields of its local headers, directory and end record set to anything."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        mark, size = draw(_ZIP_HEADERS)
        positions = [found.start() for found in re.finditer(re.escape(mark), data)]
        at = positions[draw(st.integers(0, len(positions) - 1))] + draw(st.integers(4, size - 1))
        value = struct.pack("<I", draw(_ANY_NUMBER))[: draw(st.sampled_from([1, 2, 4]))]
        changed[at : at + len(value)] = value
    return bytes(changed)


SMALL_MEMBER = packed({"USD0900001-20240102.XML": XML[0], "USD0900001-20240102-D00001.TIF": b"II*\0" + bytes(60)})
SMALL_ZIP = zip_of({f"{WEEK}/DESIGN/USD0900001-20240102.ZIP": SMALL_MEMBER})


@cases(800)
@given(data=odd_zips(SMALL_MEMBER))
def test_a_member_with_any_values_in_its_headers_is_unpacked_or_refused(data):
    unpack(data)
    keep(tar_of({f"{WEEK}/DESIGN/USD0900001-20240102.ZIP": data}))


@cases(400)
@given(data=odd_zips(SMALL_ZIP))
def test_a_zipped_week_with_any_values_in_its_headers_is_read_or_refused(data):
    keep(data)


@cases(300)
@given(data=st.data())
def test_a_damaged_loose_file_gives_grants_or_an_error_in_one_sentence(data, tmp_path_factory):
    whole = data.draw(st.sampled_from([*ARCHIVES, *MEMBERS.values(), zip_of({"ipg240102.xml": b"\n".join(DOCUMENTS)})]))
    folder = tmp_path_factory.mktemp("loose")
    path = folder / "file"
    path.write_bytes(data.draw(damaged(whole)))
    try:
        report = loose_files.write_grants([path], folder / "grants.parquet")
    except PatentDataError as error:
        assert "\n" not in str(error)
    else:
        report.check()


# --- Sheets -----------------------------------------------------------------------------------------------------------

SHEET_PIXELS = 4_000_000


def read(data: bytes) -> np.ndarray | None:
    try:
        page = read_sheet(data, name="fuzz", max_pixels=SHEET_PIXELS)
    except SheetError as error:
        assert "\n" not in str(error)
        return None
    assert page.dtype == np.uint8 and page.ndim == 2 and 0 < page.size <= SHEET_PIXELS
    return page


@cases(1500)
@given(data=st.data())
def test_a_damaged_sheet_is_read_or_refused(data):
    read(data.draw(damaged(data.draw(st.sampled_from(SHEETS)))))


_TIFF_FIELDS = st.sampled_from([(0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")])  # tag, type, count, value
_TIFF_NUMBERS = st.sampled_from(_NUMBERS) | st.integers(0, 70_000)


@st.composite
def odd_tiffs(draw: st.DrawFn) -> bytes:
    """A TIFF with tags of its directory set to anything."""
    data = bytearray(draw(st.sampled_from(SHEETS)))
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (num_tags,) = struct.unpack_from(order + "H", data, directory)
    for _ in range(draw(st.integers(1, 4))):
        entry = directory + 2 + 12 * draw(st.integers(0, num_tags - 1))
        offset, form = draw(_TIFF_FIELDS)
        number = draw(_TIFF_NUMBERS)
        struct.pack_into(order + form, data, entry + offset, number & (0xFFFF if form == "H" else 0xFFFFFFFF))
    return bytes(data)


@cases(1000)
@given(data=odd_tiffs())
def test_a_sheet_with_any_values_in_its_tags_is_read_or_refused(data):
    read(data)


@st.composite
def pages(draw: st.DrawFn) -> np.ndarray:
    """Pages that are not drawings: noise, stripes, blocks and frames."""
    height, width = draw(st.integers(1, 500)), draw(st.integers(1, 500))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    page = np.full((height, width), 255, np.uint8)
    for _ in range(draw(st.integers(0, 4))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        part = page[top : top + draw(st.integers(1, 300)), left : left + draw(st.integers(1, 300))]
        match draw(st.integers(0, 3)):
            case 0:
                part[rng.random(part.shape) < draw(st.sampled_from([0.01, 0.5, 0.99]))] = 0
            case 1:
                part[:: draw(st.integers(1, 9))] = 0
            case 2:
                part[:] = 0
            case _:
                part[[0, -1]], part[:, [0, -1]] = 0, 0
    return page


@cases(120)
@given(page=pages(), orientation=st.sampled_from([None, "landscape", "portrait", "sideways"]), label=_TEXT)
def test_any_page_is_split_into_boxes_inside_it(page, orientation, label):
    sheet = split_sheet(page, orientation=orientation, declared=[label, "1"])
    for figure in sheet.figures:
        for x0, y0, x1, y1 in filter(None, (figure.box, figure.label_box)):
            assert 0 <= x0 < x1 <= page.shape[1] and 0 <= y0 < y1 <= page.shape[0]


GRANT = parsing.parse_grant(XML[0], source_archive=WEEK, source_member="USD0900001-20240102/USD0900001-20240102.XML")
DRAWINGS = {name: data for name, data in files_of(PATENTS[0]).items() if name.endswith(".TIF")}


@cases(60)
@given(data=st.data())
def test_a_patent_whose_sheets_are_damaged_gives_views_and_counted_reasons(data):
    drawings = dict(DRAWINGS)
    for name in data.draw(st.lists(st.sampled_from(sorted(drawings)), min_size=1, max_size=3)):
        drawings[name] = data.draw(damaged(drawings[name]))
    report = Report("views", "fuzz")
    rows = patent_views(GRANT, drawings, config=ViewsConfig(max_pixels=SHEET_PIXELS), report=report)
    report.check()
    assert len({row["view_id"] for row in rows}) == len(rows)


def test_every_specimen_can_be_read_before_it_is_damaged():
    for data in ARCHIVES:
        report, kept = Report("archives"), io.BytesIO()
        designs.keep_designs(io.BytesIO(data), kept, name="sound", config=BOUNDS, report=report)
        assert report.tally("members").num_out == len(MEMBERS)
    assert all(read(data) is not None for data in SHEETS)
    assert zipfile.is_zipfile(io.BytesIO(SMALL_MEMBER))
