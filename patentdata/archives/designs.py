"""The DESIGN members of weekly archives: kept byte for byte, and read back.

An archive comes from outside, so nothing in it is trusted: its first bytes say what it is, names are compared and never
used as paths, sizes are bounded, and members are read as a stream, one at a time. Reading can stop at the end of the
DESIGN tree, which is a small part of a week; whether all of the tree was there is then judged by the run of its patent
numbers.
"""

from __future__ import annotations

import io
import itertools
import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from patentdata.archives.members import (
    COMPRESSIONS,
    READ_ERRORS,
    HashingSource,
    Member,
    is_folder,
    read_members,
    shown_name,
)
from patentdata.errors import ArchiveError
from patentdata.store.report import Report, Tally

_DESIGN_NAME = re.compile(r"(USD[A-Z]?([0-9]{1,12})-[0-9]{8})\.ZIP", re.IGNORECASE)
_MOST_NAMED = 100  # missing numbers that are named; the others are counted
_MAX_XML_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class ArchivesConfig:
    """Bounds on what a member may be, and how far an archive is read.

    A member beyond the bounds is dropped with its reason. The largest design members known hold some 50 MB of drawings.
    G4 sheets hardly compress, so a high ratio is a sign of a ZIP bomb.

    Attributes:
        max_member_bytes: Largest size of a member in the archive.
        max_unpacked_bytes: Largest size of a member's files together.
        max_unpacked_ratio: Largest ratio of these two sizes.
        max_entries: Largest number of files in a member.
        whole: Read archives of a server to their end, also after the DESIGN tree.
        max_missing_share: Largest share of numbers missing from the run of patent numbers with which reading stops
            after the DESIGN tree; one may always be missing, since numbers are withdrawn. If more are, the archive is
            read to its end.
    """

    max_member_bytes: int = 256 << 20
    max_unpacked_bytes: int = 1 << 30
    max_unpacked_ratio: float = 200.0
    max_entries: int = 5_000
    whole: bool = False
    max_missing_share: float = 0.02

    def __post_init__(self) -> None:
        for name in ("max_member_bytes", "max_unpacked_bytes", "max_unpacked_ratio", "max_entries"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.max_missing_share <= 1:
            raise ValueError(f"max_missing_share is {self.max_missing_share}; it is a share, from 0 to 1")

    @property
    def bounds(self) -> dict[str, Any]:
        """The settings that decide which members are kept; how far an archive is read changes no kept byte."""
        names = ("max_member_bytes", "max_unpacked_bytes", "max_unpacked_ratio", "max_entries")
        return {name: getattr(self, name) for name in names}


@dataclass
class NumberRun:
    """The patent numbers of a week's DESIGN members, which are consecutive except for withdrawn ones.

    >>> run = NumberRun({900001, 900002, 900005})
    >>> run.missing, run.is_complete(max_missing_share=0.02)
    ([900003, 900004], False)
    """

    numbers: set[int] = field(default_factory=set)

    @property
    def missing(self) -> list[int]:
        """Numbers between the first and the last that no member has, in order; the first hundred of them."""
        found = sorted(self.numbers)
        gaps = (range(one + 1, next_one) for one, next_one in itertools.pairwise(found) if next_one - one > 1)
        return list(itertools.islice(itertools.chain.from_iterable(gaps), _MOST_NAMED))

    @property
    def num_missing(self) -> int:
        """How many numbers between the first and the last no member has."""
        return max(self.numbers) - min(self.numbers) + 1 - len(self.numbers) if self.numbers else 0

    def is_complete(self, max_missing_share: float) -> bool:
        """Whether all of the week's designs may have been seen: few enough numbers are missing to be withdrawn ones."""
        num_in_run = self.num_missing + len(self.numbers)
        return bool(self.numbers) and self.num_missing <= max(1, max_missing_share * num_in_run)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "first": min(self.numbers, default=None),
            "last": max(self.numbers, default=None),
            "num": len(self.numbers),
            "num_missing": self.num_missing,
            "missing": self.missing,
        }


@dataclass(frozen=True)
class Reading:
    """How an archive was read.

    Attributes:
        sha256: Hash of all bytes of the archive, hexadecimal; None if not all were read.
        num_bytes: How many bytes of a tar were read; None for a ZIP.
        ended_at: Where reading ended: "end mark" (of a tar), "directory" (of a ZIP) or "end of DESIGN".
        run: The patent numbers found.
    """

    sha256: str | None
    num_bytes: int | None
    ended_at: str
    run: NumberRun


def keep_designs(
    source: BinaryIO,
    out: BinaryIO,
    *,
    name: str,
    config: ArchivesConfig,
    report: Report,
    hash_all: bool = True,
) -> Reading:
    """Copy the DESIGN members of a weekly archive into a tar, in their order, bytes unchanged.

    Args:
        source: The archive; its first bytes decide whether it is a tar or a ZIP. A tar is read as a stream.
        out: Where the tar is written. Its headers have no times or owners: equal members give equal bytes.
        name: What to call the archive in messages.
        config: Bounds.
        report: Counts the "members".
        hash_all: Read every byte, and hash the archive. If not, a tar is read to the end of its DESIGN tree (to its own
            end if too many numbers are missing by then), and of a ZIP only the DESIGN members and the directory.

    Raises:
        ArchiveError: Not an archive, or one cut short. A bad member is no error: it is dropped, and reading continues.
    """
    hashing, run, tally = HashingSource(source), NumberRun(), report.tally("members")
    keys: set[str] = set()  # of the members kept so far
    is_cut = False
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT) as kept:
        for member in read_members(hashing, name):
            if member.is_folder:
                continue
            reason, tree = _reason_to_distrust(member), _tree_of(member.name)
            is_of_other_tree = not reason and tree != "DESIGN"
            if is_of_other_tree and member.is_streamed and not hash_all and run.is_complete(config.max_missing_share):
                is_cut = True
                break
            tally.num_in += 1
            if reason:
                tally.drop(reason, shown_name(member.name))
            elif is_of_other_tree:
                tally.leave_out(f"not_a_design_{tree.lower()}")
            else:
                _keep_design(member, kept, keys, run, tally, config)
    if not tally.num_in:
        raise ArchiveError(f"{name} holds nothing; fetch it again")
    return _reading_of(hashing, run, is_cut=is_cut, hash_all=hash_all)


def _keep_design(
    member: Member, kept: tarfile.TarFile, keys: set[str], run: NumberRun, tally: Tally, config: ArchivesConfig
) -> None:
    """Copy a member of the DESIGN tree into the tar, or drop it with its reason; either way its number is noted."""
    file_name = PurePosixPath(member.name).name
    if match := _DESIGN_NAME.fullmatch(file_name):
        run.numbers.add(int(match[2]))
    reason, data = _admit(member, keys, config)
    if reason:
        tally.drop(reason, shown_name(member.name))
        return
    info = tarfile.TarInfo(f"DESIGN/{file_name}")
    info.size = len(data)
    kept.addfile(info, io.BytesIO(data))
    keys.add(_key_of(member.name))
    tally.num_out += 1


def _reading_of(hashing: HashingSource, run: NumberRun, *, is_cut: bool, hash_all: bool) -> Reading:
    """How an archive was read whose members have all been seen, or which was cut after its DESIGN tree."""
    if is_cut:
        return Reading(None, hashing.num_bytes, "end of DESIGN", run)
    ended_at = "directory" if hashing.is_zip else "end mark"
    if hashing.is_zip and not hash_all:
        return Reading(None, None, ended_at, run)
    return Reading(hashing.finish(), None if hashing.is_zip else hashing.num_bytes, ended_at, run)


def read_kept(archive: BinaryIO) -> list[tuple[str, Callable[[], bytes]]]:
    """Members of a tar that `keep_designs` wrote, in order of their names.

    Args:
        archive: The tar, seekable; it has to stay open while members are read.

    Returns:
        For each member its name without extension ("USD0907292-20210105") and a function that reads its bytes.

    Raises:
        ArchiveError: The tar is damaged.
    """
    try:
        kept = tarfile.open(fileobj=archive, mode="r:")  # noqa: SIM115 - the readers need it open
        members = kept.getmembers()
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"the kept archive is damaged ({error}); run the archives stage again") from error

    def reader(info: tarfile.TarInfo) -> Callable[[], bytes]:
        return lambda: kept.extractfile(info).read()  # type: ignore[union-attr]

    return sorted(((PurePosixPath(info.name).stem, reader(info)) for info in members), key=lambda pair: pair[0])


def unpack_member(data: bytes, config: ArchivesConfig, *, endings: tuple[str, ...] = ("",)) -> dict[str, bytes]:
    """Files of one member by their names without folders, in the member's order.

    A second file of the same name keeps its folders in its name. A file that cannot be unpacked is empty.

    Args:
        data: The member, a ZIP.
        config: Bounds.
        endings: Only files whose names end like one of these, in upper or lower case, are unpacked.

    Raises:
        ArchiveError: The member is not a ZIP, or is beyond the bounds.
    """
    try:
        packed = zipfile.ZipFile(io.BytesIO(data))
    except READ_ERRORS as error:
        raise ArchiveError(f"no readable ZIP ({error})") from error
    files: dict[str, bytes] = {}
    with packed:
        if _is_beyond_bounds(packed, len(data), config):
            raise ArchiveError("unpacks to more than the bounds allow")
        if _is_oddly_compressed(packed):
            raise ArchiveError("compressed in another way than stored or deflated")
        for info in packed.infolist():
            file_name = PurePosixPath(info.filename.replace("\\", "/")).name
            if is_folder(info) or not file_name.lower().endswith(endings) or not file_name:
                continue
            if file_name in files:  # in another folder of the member: it keeps its whole name, and is counted later
                file_name = shown_name(info.filename)
            try:
                files[file_name] = packed.read(info)
            except READ_ERRORS:
                files[file_name] = b""
    return files


def read_grant_document(member: bytes) -> tuple[str, bytes]:
    """Name and bytes of the one XML document of a member. Raises ArchiveError if there is not exactly one to read."""
    documents = unpack_member(member, ArchivesConfig(), endings=(".xml",))
    if len(documents) != 1:
        raise ArchiveError(f"{len(documents)} XML documents in the member, expected 1")
    ((name, xml),) = documents.items()
    if not xml or len(xml) > _MAX_XML_BYTES:
        raise ArchiveError(f"{name} cannot be unpacked or is beyond {_MAX_XML_BYTES >> 20} MiB")
    return name, xml


def read_drawings(member: bytes) -> dict[str, bytes]:
    """Drawings of a member in order of their names. Raises ArchiveError."""
    return dict(sorted(unpack_member(member, ArchivesConfig(), endings=(".tif", ".tiff")).items()))


def _reason_to_distrust(member: Member) -> str:
    """Why a member of any tree is dropped unread, or ""."""
    if not _is_safe_name(member.name):
        return "unsafe_name"
    return "" if member.is_plain_file else "not_a_plain_file"


def _admit(member: Member, keys: set[str], config: ArchivesConfig) -> tuple[str, bytes]:
    """The reason to drop a member of the DESIGN tree, or "" and its bytes.

    Args:
        member: The member.
        keys: Keys of the members kept so far.
        config: Bounds.
    """
    if not _DESIGN_NAME.fullmatch(PurePosixPath(member.name).name):
        return "unexpected_name", b""
    if _key_of(member.name) in keys:
        return "duplicate_member", b""
    if member.num_bytes > config.max_member_bytes:
        return "member_too_large", b""
    data = member.read()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if _is_beyond_bounds(packed, len(data), config):
                return "unpacks_beyond_bounds", b""
            if _is_oddly_compressed(packed):
                return "unknown_compression", b""
            return ("", data) if packed.infolist() else ("empty_member", b"")
    except READ_ERRORS:
        return "broken_member", b""


def _is_beyond_bounds(packed: zipfile.ZipFile, num_bytes: int, config: ArchivesConfig) -> bool:
    """Whether a member states sizes beyond the bounds; zipfile never unpacks more than is stated."""
    unpacked = sum(info.file_size for info in packed.infolist())
    return (
        len(packed.infolist()) > config.max_entries
        or unpacked > config.max_unpacked_bytes
        or unpacked > num_bytes * config.max_unpacked_ratio
    )


def _is_oddly_compressed(packed: zipfile.ZipFile) -> bool:
    """Whether a file is compressed in a way that cannot be unpacked within bounds."""
    return any(info.compress_type not in COMPRESSIONS for info in packed.infolist())


def _tree_of(name: str) -> str:
    """The tree that a member is in: "DESIGN", "UTIL", "PLANT", …; "SUPP" for all of the supplementary tree."""
    parts = [part for part in name.replace("\\", "/").upper().split("/") if part not in ("", ".")]
    folders = parts[:-1]
    if any(part.endswith("-SUPP") for part in folders):
        return "SUPP"
    if "DESIGN" in folders:
        return "DESIGN"
    return re.sub(r"[^A-Z]", "", folders[1]) or "OTHER" if len(folders) > 1 else "OTHER"


def _is_safe_name(name: str) -> bool:
    """Whether a name, taken as a path, would stay within the folder that it is relative to."""
    parts = name.replace("\\", "/").split("/")
    return not (name.startswith(("/", "\\")) or ".." in parts or re.match(r"^[A-Za-z]:", name) or "\0" in name)


def _key_of(name: str) -> str:
    """What tells a member from the others, whatever its folder."""
    return PurePosixPath(name).stem.upper()
