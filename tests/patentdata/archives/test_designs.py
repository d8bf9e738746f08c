"""Keeping the DESIGN members of weekly archives, sound and damaged, and reading them back."""

import gzip
import io
import tarfile
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patentdata.archives.designs import ArchivesConfig, keep_designs, read_kept, unpack_member
from patentdata.errors import ArchiveError
from patentdata.store.report import Report
from tests.patentdata.archives.red_book import WEEK, design, packed, tar_of, with_method, zip_of


def keep(archive: bytes | io.RawIOBase, config: ArchivesConfig | None = None) -> tuple[bytes, Report]:
    """The kept tar and the report, checked."""
    out, report = io.BytesIO(), Report("archives", WEEK)
    source = io.BytesIO(archive) if isinstance(archive, bytes) else archive
    keep_designs(source, out, name="I20240102.tar", config=config or ArchivesConfig(), report=report)
    report.check()
    return out.getvalue(), report


def kept_members(tar: bytes) -> dict[str, bytes]:
    return {name: read() for name, read in read_kept(io.BytesIO(tar))}


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_design_members_are_kept_byte_for_byte_and_the_rest_is_counted(pack):
    name, data = design()
    tar, report = keep(
        pack(
            {
                name: data,
                f"{WEEK}/UTIL0001/US11000001-20240102.ZIP": b"utility",
                f"{WEEK}/PLANT/USPP12345-20240102.ZIP": b"plant",
                f"{WEEK}-SUPP/DESIGN/USD0900001-20240102-SUPP.ZIP": b"supplement",
            }
        )
    )
    assert kept_members(tar) == {"USD0900001-20240102": data}
    tally = report.tally("members")
    assert (tally.num_in, tally.num_out) == (4, 1)
    assert tally.dropped == {"not_a_design_util": 1, "not_a_design_plant": 1, "not_a_design_supp": 1}


def test_a_tar_and_a_zip_of_the_same_members_are_kept_as_the_same_bytes():
    members = dict([design(900001), design(900002)])
    assert keep(tar_of(members))[0] == keep(zip_of(members))[0]


@pytest.mark.parametrize(
    ("archive", "sentence"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page, not an archive"),
        (b"\xef\xbb\xbf\n <html></html>", "is a web page, not an archive"),
        (gzip.compress(b"tar", mtime=0), "is compressed with gzip; unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "is a 7-Zip archive; unpack it"),
        (tar_of({}), "holds nothing"),
        (zip_of({}), "holds nothing"),
        (b"%PDF-1.7 and so on", "is neither a tar nor a ZIP"),
        (b"PK\x03\x04 but nothing behind it", "is cut short or damaged"),
    ],
)
def test_a_file_that_is_not_an_archive_is_an_error_in_one_sentence(archive, sentence):
    with pytest.raises(ArchiveError, match=rf"I20240102\.tar {sentence}.*(fetch it|run) again"):
        keep(archive)


def test_a_tar_cut_anywhere_before_its_end_mark_is_refused():
    whole = tar_of(dict([design(900001), design(900002)]))
    end_of_members = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for num_bytes in (100, 512, 700, end_of_members - 512, end_of_members, end_of_members + 512):
        with pytest.raises(ArchiveError):
            keep(whole[:num_bytes])
    assert keep(whole[: end_of_members + 1024])[1].tally("members").num_out == 2


def test_a_header_damaged_in_the_middle_is_not_taken_for_the_end():
    first, second = design(900001), design(900002)
    archive = bytearray(tar_of(dict([first, second])))
    at = archive.find(second[0].encode())
    archive[at + 148 : at + 156] = b"garbage!"
    with pytest.raises(ArchiveError, match=f"damaged at byte {at}"):
        keep(bytes(archive))


def test_a_member_whose_header_states_an_impossible_size_does_not_keep_the_reader_busy():
    archive = bytearray(tar_of({f"{WEEK}/UTIL0001/US11000001-20240102.ZIP": b"u", **dict([design()])}))
    archive[124:136] = b"\x80\x00" + b"\xff" * 10  # its size, as tars write large ones
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    with pytest.raises(ArchiveError, match=r"is cut short or damaged \(a member is longer than the file\)"):
        keep(bytes(archive))


def test_a_zip_cut_short_is_refused():
    archive = zip_of(dict([design(900001), design(900002)]))
    end_of_first_member = archive.rfind(b"PK\x03\x04" + archive[4:10])
    for num_bytes in (len(archive) - 1, len(archive) - 40, len(archive) - 150, end_of_first_member):
        with pytest.raises(ArchiveError, match="cut short"):
            keep(archive[:num_bytes])


def test_a_zip_cut_right_after_a_member_is_not_taken_for_that_member():
    name, data = design()
    archive = zip_of({name: data})
    with pytest.raises(ArchiveError, match="cut short"):
        keep(archive[: archive.find(data) + len(data)])


def _link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("../../USD0900002-20240102.ZIP", b"x", "unsafe_name"),
        ("/I20240102/DESIGN/USD0900002-20240102.ZIP", b"x", "unsafe_name"),
        ("I20240102/DESIGN/..\\..\\USD0900002-20240102.ZIP", b"x", "unsafe_name"),
        ("C:/DESIGN/USD0900002-20240102.ZIP", b"x", "unsafe_name"),
        ("I20240102/DESIGN/USD0900002-20240102.ZIP", _link(tarfile.SYMTYPE), "not_a_plain_file"),
        ("I20240102/DESIGN/USD0900002-20240102.ZIP", _link(tarfile.LNKTYPE), "not_a_plain_file"),
        ("I20240102/DESIGN/USD0900002-20240102.ZIP", _link(tarfile.CHRTYPE), "not_a_plain_file"),
        ("I20240102/DESIGN/readme.txt", b"x", "unexpected_name"),
        ("I20240102/DESIGN/USD0900002-20240102.ZIP", b"no zip at all", "broken_member"),
        ("I20240102/DESIGN/USD0900002-20240102.ZIP", packed({}), "empty_member"),
        ("I20240102/DESIGN/USD0900002-20240102.ZIP", packed({"a.XML": b"a" * 3_000_000}), "unpacks_beyond_bounds"),
        ("I20240102/DESIGN/USD0900002-20240102.ZIP", b"x" * 2_000_000, "member_too_large"),
        ("I20240102/DESIGN/sub/USD0900001-20240102.ZIP", design(900001)[1], "duplicate_member"),
        (f"I20240102/DESIGN/USD{'9' * 120}-20240102.ZIP", design(900001)[1], "unexpected_name"),
        (
            "I20240102/DESIGN/USD0900002-20240102.ZIP",
            zip_of({"a.XML": b"<a/>"}, zipfile.ZIP_BZIP2),
            "unknown_compression",
        ),
    ],
)
def test_a_bad_member_is_dropped_with_its_reason_and_the_others_are_kept(name, content, reason):
    good, last = design(900001), design(900003)
    archive = tar_of({good[0]: good[1], name: content, last[0]: last[1]})
    tar, report = keep(archive, ArchivesConfig(max_member_bytes=1_000_000))
    assert list(kept_members(tar)) == ["USD0900001-20240102", "USD0900003-20240102"]
    assert report.tally("members").dropped == {reason: 1}


def test_a_member_with_too_many_files_is_dropped():
    name, _ = design()
    archive = tar_of({name: packed({f"{i}.TIF": b"" for i in range(20)})})
    _, report = keep(archive, ArchivesConfig(max_entries=10))
    assert report.tally("members").dropped == {"unpacks_beyond_bounds": 1}


class _LargeArchive(io.RawIOBase):
    """A tar of one design and many large utility members, made as it is read."""

    def __init__(self, num_members: int, member_bytes: int) -> None:
        self._pieces = self._draw(num_members, member_bytes)
        self._ahead = b""

    def _draw(self, num_members, member_bytes):
        members = tar_of(dict([design()])).rstrip(b"\0")
        yield members.ljust(-(-len(members) // 512) * 512, b"\0")
        for i in range(num_members):
            info = tarfile.TarInfo(f"{WEEK}/UTIL0001/US{11_000_000 + i}-20240102.ZIP")
            info.size = member_bytes
            yield info.tobuf()
            yield from (b"u" * 65_536 for _ in range(member_bytes // 65_536))
        yield b"\0" * 10_240

    def readable(self):
        return True

    def read(self, num_bytes=-1):
        while len(self._ahead) < num_bytes and (piece := next(self._pieces, b"")):
            self._ahead += piece
        data, self._ahead = self._ahead[:num_bytes], self._ahead[num_bytes:]
        return data


def test_memory_does_not_grow_with_the_length_of_the_archive():
    def peak(num_members: int) -> int:
        tracemalloc.start()
        _, report = keep(_LargeArchive(num_members, 1 << 20))
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert report.tally("members").num_in == num_members + 1
        return peak_bytes

    assert peak(128) < peak(8) + 1_000_000


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12_000), st.binary(min_size=1, max_size=40)), max_size=6), st.integers(0, 12_000)
)
def test_damaged_bytes_end_in_a_report_or_an_archive_error(patches, length):
    archive = bytearray(tar_of(dict([design(900001), design(900002)])))
    for at, data in patches:
        archive[at : at + len(data)] = data
    try:
        keep(bytes(archive[:length]))
    except ArchiveError as error:
        assert "I20240102.tar" in str(error)


def test_a_file_that_cannot_be_unpacked_is_empty_and_the_others_are_unpacked():
    data = bytearray(packed({"a.XML": b"<a/>", "b.TIF": bytes(range(256)) * 20}))
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        start = archive.infolist()[1].header_offset + 60
    data[start : start + 30] = b"\xff" * 30
    assert unpack_member(bytes(data), ArchivesConfig()) == {"a.XML": b"<a/>", "b.TIF": b""}


def test_a_compression_that_unpacks_without_a_bound_is_refused_before_it_is_unpacked():
    bomb = zip_of({"a.TIF": bytes(1 << 20)}, zipfile.ZIP_BZIP2)
    with pytest.raises(ArchiveError, match="compressed in another way than stored or deflated"):
        unpack_member(bomb, ArchivesConfig(max_unpacked_ratio=1e9))


@pytest.mark.parametrize(
    ("method", "name"), [(zipfile.ZIP_BZIP2, "BZIP2"), (zipfile.ZIP_LZMA, "LZMA"), (9, "Deflate64"), (93, "zstd")]
)
def test_a_member_compressed_in_an_unknown_way_is_dropped_with_the_method_and_the_others_are_kept(method, name):
    good, bad = design(900001), design(900002)
    tar, report = keep(with_method(zip_of(dict([good, bad])), method, of=bad[0]))
    assert list(kept_members(tar)) == ["USD0900001-20240102"]
    (drop,) = report.tally("members").drops
    assert (drop.reason, drop.subject) == ("unknown_compression", bad[0])
    assert drop.detail == f"compressed by {name} (method {method}); repack it with the method Deflate"


def test_an_entry_without_a_name_is_ignored():
    nameless = bytearray(zip_of({"x": b"", "a.XML": b"<a/>"}))
    directory = nameless.find(b"PK\x01\x02")
    nameless[directory + 46] = 0  # zipfile ends a name at its first zero byte
    assert unpack_member(bytes(nameless), ArchivesConfig()) == {"a.XML": b"<a/>"}


def test_a_bound_of_zero_is_refused():
    with pytest.raises(ValueError, match="max_entries is 0; it must be above 0"):
        ArchivesConfig(max_entries=0)
