"""The DESIGN members of weekly archives: kept byte for byte, and read back.

An archive comes from outside, so nothing in it is trusted: its first bytes say what it is, names are compared and never
used as paths, sizes are bounded, and members are read as a stream, one at a time. Reading can stop at the end of the
DESIGN tree, which is a small part of a week; whether all of the tree was there is then judged by the run of its patent
numbers.

What counts as a design is decided by the name of the member, "USD0900001-20240102.ZIP", and not by the folder alone:
weeks that were packed again often lack the folders. A week of which nothing was kept is an error that says what is in
it, since an empty week that counts as done would never be looked at again.
"""

from __future__ import annotations

import io
import itertools
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from patentdata.archives.members import (
    READ_ERRORS,
    HashingSource,
    Member,
    compression_of,
    is_companion,
    is_folder,
    normalised_name,
    read_members,
    shown_name,
)
from patentdata.errors import ArchiveError
from patentdata.store.report import Report

_DESIGN_NAME = re.compile(r"(USD[A-Z]?([0-9]{1,12})-[0-9]{8})\.ZIP", re.IGNORECASE)
_MOST_NAMED = 100  # missing numbers that are named; the others are counted
_MAX_XML_BYTES = 64 << 20
_UNSAFE_NAME_ADVICE = "names that begin at a root or lead upwards are not read; pack the members by relative names"
_MOST_SHOWN = 3  # names and details in the message about a week of which nothing was kept


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


@dataclass
class Contents:
    """What an archive holds, in few words.

    >>> contents = Contents()
    >>> for name in ("I20240102/UTIL01/a.ZIP", "I20240102/UTIL01/b.ZIP", "readme.txt"):
    ...     contents.add(name)
    >>> print(contents)
    3 members, 2 in I20240102/UTIL01, 1 at the top: I20240102/UTIL01/a.ZIP, I20240102/UTIL01/b.ZIP, readme.txt
    """

    num_in_folder: Counter[str] = field(default_factory=Counter)
    first_names: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """Count a member by its topmost two folders, and remember its name if it is one of the first."""
        self.num_in_folder["/".join(name.split("/")[:-1][:2])] += 1
        if len(self.first_names) < _MOST_SHOWN:
            self.first_names.append(shown_name(name))

    def __str__(self) -> str:
        most = self.num_in_folder.most_common(_MOST_SHOWN)
        folders = [f"{num:,} in {shown_name(folder)}" if folder else f"{num:,} at the top" for folder, num in most]
        num_others = len(self.num_in_folder) - len(most)
        folders += [f"and {num_others:,} more folders"] if num_others else []
        names = ", ".join(self.first_names) + (", …" if self.num_in_folder.total() > len(self.first_names) else "")
        num = self.num_in_folder.total()
        return f"{num:,} member{'' if num == 1 else 's'}, {', '.join(folders)}: {names}"


@dataclass(frozen=True)
class Reading:
    """How an archive was read.

    Attributes:
        sha256: Hash of all bytes of the archive, hexadecimal; None if not all were read.
        num_bytes: How many bytes of a tar were read; None for a ZIP, also for one that holds a tar.
        ended_at: Where reading ended: "end mark" (of a tar), "directory" (of a ZIP) or "end of DESIGN".
        run: The patent numbers found.
        contents: What the archive holds.
    """

    sha256: str | None
    num_bytes: int | None
    ended_at: str
    run: NumberRun
    contents: Contents


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
        report: Counts the "members", and "companions_in_members", which a system added to members that are kept.
        hash_all: Read every byte, and hash the archive. If not, a tar is read to the end of its DESIGN tree (to its own
            end if too many numbers are missing by then), and of a ZIP only the DESIGN members and the directory.

    Raises:
        ArchiveError: Not an archive, or one cut short. A bad member is no error: it is dropped, and reading continues.
    """
    hashing, run, contents, tally = HashingSource(source), NumberRun(), Contents(), report.tally("members")
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
            contents.add(member.name)
            if is_companion(member.name):
                tally.leave_out("companion_file")
            elif reason:
                detail = _UNSAFE_NAME_ADVICE if reason == "unsafe_name" else ""
                tally.drop(reason, shown_name(member.name), detail)
            elif is_of_other_tree:
                tally.leave_out(f"not_a_design_{tree.lower()}")
            else:
                _keep_design(member, kept, keys, run, report, config)
    if not tally.num_in:
        raise ArchiveError(f"{name} holds nothing; fetch it again")
    return _reading_of(hashing, run, contents, is_cut=is_cut, hash_all=hash_all)


def require_kept(report: Report, contents: Contents, name: str) -> None:
    """Raise ArchiveError if no member of an archive was kept; the message says what the archive holds.

    Args:
        report: What `keep_designs` counted.
        contents: What it found.
        name: What to call the archive in the message.
    """
    tally = report.tally("members")
    if tally.num_out:
        return
    reasons = ", ".join(f"{num:,} {reason}" for reason, num in tally.dropped.items())
    details = "; ".join(list(dict.fromkeys(drop.detail for drop in tally.drops if drop.detail))[:_MOST_SHOWN])
    advice = details or "a week holds DESIGN/USD0900001-20240102.ZIP and others of that kind, in a tar or ZIP"
    raise ArchiveError(f"{name}: none of its members was kept ({reasons}); it holds {contents}; {advice}")


def _keep_design(
    member: Member, kept: tarfile.TarFile, keys: set[str], run: NumberRun, report: Report, config: ArchivesConfig
) -> None:
    """Copy a member of the DESIGN tree into the tar, or drop it with its reason; either way its number is noted."""
    tally = report.tally("members")
    file_name = PurePosixPath(member.name).name
    if match := _DESIGN_NAME.fullmatch(file_name):
        run.numbers.add(int(match[2]))
    admission = _admit(member, keys, config)
    if admission.reason:
        tally.drop(admission.reason, shown_name(member.name), admission.detail)
        return
    if admission.num_companions:
        report.count("companions_in_members", admission.num_companions)
    data = admission.data
    info = tarfile.TarInfo(f"DESIGN/{file_name}")
    info.size = len(data)
    kept.addfile(info, io.BytesIO(data))
    keys.add(_key_of(member.name))
    tally.num_out += 1


def _reading_of(hashing: HashingSource, run: NumberRun, contents: Contents, *, is_cut: bool, hash_all: bool) -> Reading:
    """How an archive was read whose members have all been seen, or which was cut after its DESIGN tree."""
    sha256 = None
    if not is_cut and (hash_all or not hashing.is_zip):
        sha256 = hashing.finish()
    ended_at = "end of DESIGN" if is_cut else "directory" if hashing.is_zip else "end mark"
    return Reading(sha256, None if hashing.is_zip else hashing.num_bytes, ended_at, run, contents)


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

    A second file of the same name keeps its folders in its name. A file that cannot be unpacked is empty. Companion
    files of macOS and Windows are left out.

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
        if method := _odd_compression(packed):
            raise ArchiveError(f"compressed in another way than stored or deflated: {method}")
        for info in packed.infolist():
            file_name = PurePosixPath(normalised_name(info.filename)).name
            if is_folder(info) or not file_name.lower().endswith(endings) or not file_name:
                continue
            if is_companion(info.filename):
                continue
            if file_name in files:  # in another folder of the member: it keeps its whole name, and is counted later
                file_name = shown_name(normalised_name(info.filename))
            try:
                files[file_name] = packed.read(info)
            except READ_ERRORS:
                files[file_name] = b""
    return files


def read_grant_document(member: bytes, stem: str = "") -> tuple[str, bytes]:
    """Name and bytes of the XML document of a member: the only one, or of several the one named as the member.

    Args:
        member: The member, a ZIP.
        stem: Its name without ending, "USD0907292-20210105"; empty if it is not known.

    Raises:
        ArchiveError: There is no such document, or it cannot be read.
    """
    documents = unpack_member(member, ArchivesConfig(), endings=(".xml",))
    named = [name for name in documents if _key_of(name) == stem.upper()]
    if len(documents) != 1 and not named:
        raise ArchiveError(f"{len(documents)} XML documents in the member, expected 1 or one named as the member")
    name = named[0] if named else next(iter(documents))
    xml = documents[name]
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


class _Admission(NamedTuple):
    """Whether a member of the DESIGN tree is kept.

    Attributes:
        reason: Why it is dropped; empty if it is kept.
        detail: One more sentence on the reason; may be empty.
        data: Its bytes, if it is kept.
        num_companions: Files within it that macOS or Windows added, if it is kept.
    """

    reason: str
    detail: str = ""
    data: bytes = b""
    num_companions: int = 0


def _admit(member: Member, keys: set[str], config: ArchivesConfig) -> _Admission:
    """Decide about a member of the DESIGN tree, and read it if its name and size allow.

    Args:
        member: The member.
        keys: Keys of the members kept so far.
        config: Bounds.
    """
    path = PurePosixPath(member.name)
    if not _DESIGN_NAME.fullmatch(path.name):
        if _DESIGN_NAME.fullmatch(f"{path.parent.name}.ZIP"):
            return _Admission("unpacked_member", f"pack the files of each patent into a ZIP, {path.parent.name}.ZIP")
        return _Admission("unexpected_name")
    if _key_of(member.name) in keys:
        return _Admission("duplicate_member")
    if member.num_bytes > config.max_member_bytes:
        return _Admission("member_too_large")
    if member.unreadable:
        return _Admission("unknown_compression", member.unreadable)
    data = member.read()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if _is_beyond_bounds(packed, len(data), config):
                return _Admission("unpacks_beyond_bounds")
            if method := _odd_compression(packed):
                return _Admission("unknown_compression", method)
            num_companions = sum(is_companion(info.filename) for info in packed.infolist())
            if num_companions == len(packed.infolist()):
                return _Admission("empty_member")
            return _Admission("", data=data, num_companions=num_companions)
    except READ_ERRORS:
        return _Admission("broken_member")


def _is_beyond_bounds(packed: zipfile.ZipFile, num_bytes: int, config: ArchivesConfig) -> bool:
    """Whether a member states sizes beyond the bounds; zipfile never unpacks more than is stated."""
    unpacked = sum(info.file_size for info in packed.infolist())
    return (
        len(packed.infolist()) > config.max_entries
        or unpacked > config.max_unpacked_bytes
        or unpacked > num_bytes * config.max_unpacked_ratio
    )


def _odd_compression(packed: zipfile.ZipFile) -> str:
    """How a file is compressed that cannot be unpacked within bounds, as a sentence; empty if there is none."""
    return next(filter(None, map(compression_of, packed.infolist())), "")


def _tree_of(name: str) -> str:
    """The tree that a member is in: "DESIGN", "UTIL", "PLANT", …; "SUPP" for all of the supplementary tree.

    A member that is named as a design is in "DESIGN" whatever its folder, and so are the files of one that was
    unpacked.

    Args:
        name: Name of the member, as `normalised_name` spells it.
    """
    *folders, file_name = name.upper().split("/")
    if any(part.endswith("-SUPP") for part in folders):
        return "SUPP"
    if "DESIGN" in folders or _DESIGN_NAME.fullmatch(file_name):
        return "DESIGN"
    if folders and _DESIGN_NAME.fullmatch(f"{folders[-1]}.ZIP"):
        return "DESIGN"
    return re.sub(r"[^A-Z]", "", folders[1]) or "OTHER" if len(folders) > 1 else "OTHER"


def _is_safe_name(name: str) -> bool:
    """Whether a name, taken as a path, would stay within the folder that it is relative to."""
    return not (name.startswith("/") or ".." in name.split("/") or re.match(r"^[A-Za-z]:", name) or "\0" in name)


def _key_of(name: str) -> str:
    """What tells a member from the others, whatever its folder."""
    return PurePosixPath(name).stem.upper()
