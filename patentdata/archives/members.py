"""Members of a tar or ZIP archive, read in order.

A tar is read as a stream, from front to back; a ZIP by its directory, which is at its end. The readers of the standard
library take an archive that was cut short for a shorter one, so its end is checked here.

Archives that were packed again by hand spell the names in other ways, wrap the tar in a ZIP, or add files of the
system that packed them. Names are therefore normalised here, once, so that everything after it sees one spelling; and
a tar within a ZIP is read through as if it were the archive.
"""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from patentdata.errors import ArchiveError

_BLOCK = 512
_END_OF_TAR_BYTES = 2 * _BLOCK
_COPY_BYTES = 1 << 20
_LONGEST_ZIP_END_BYTES = 22 + 0xFFFF  # the end record and the longest comment
_MOST_EMPTY_READS = 100
_MOST_INNER_RATIO = 200.0  # of a tar within a ZIP to its packed size; what it holds is packed already
_FREE_INNER_BYTES = 64 << 20  # a small tar, which is mostly padding, may be packed more densely

_METHOD_NAMES = {  # by the specification of ZIP, APPNOTE 4.4.5
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    12: "BZIP2",
    14: "LZMA",
    93: "zstd",
    95: "XZ",
    98: "PPMd",
}
PACKINGS = {
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\0": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
}
"""First bytes of files that are packed in a way that is not read → how, as the end of a sentence."""
_COMPANION_NAMES = (".ds_store", "thumbs.db", "desktop.ini")

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others unpack without a bound on what one call returns
READ_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
        name: Name with folders, as `normalised_name` spells it.
        num_bytes: Size that the archive states.
        is_plain_file: Whether it is neither a folder, a link or a device, nor encrypted.
        is_folder: Whether it is a folder.
        read: Returns the bytes; to be called before the next member is asked for.
        is_streamed: Whether all members before it had to be read to reach it, as in a tar.
        unreadable: Why its bytes cannot be read, as a sentence; empty if they can.
    """

    name: str
    num_bytes: int
    is_plain_file: bool
    is_folder: bool
    read: Callable[[], bytes]
    is_streamed: bool = False
    unreadable: str = ""


def normalised_name(name: str) -> str:
    """A name within an archive with "/" between its folders and without "." or empty parts; a root stays.

    >>> normalised_name(".\\I20240102\\DESIGN//USD0900001-20240102.ZIP"), normalised_name("/a/./b/")
    ('I20240102/DESIGN/USD0900001-20240102.ZIP', '/a/b')
    """
    slashed = name.replace("\\", "/")
    parts = "/".join(part for part in slashed.split("/") if part not in ("", "."))
    return f"/{parts}" if slashed.startswith("/") else parts


def is_companion(name: str) -> bool:
    """Whether a name is that of a file which macOS or Windows adds to what it packs, and nobody published.

    >>> is_companion("__MACOSX/a/b.TIF"), is_companion("a/._b.TIF"), is_companion("a/b.TIF")
    (True, True, False)
    """
    *folders, file_name = normalised_name(name).split("/")
    return "__MACOSX" in folders or file_name.startswith("._") or file_name.lower() in _COMPANION_NAMES


def compression_of(info: zipfile.ZipInfo) -> str:
    """The method by which an entry is compressed, if it cannot be unpacked here, as a sentence; empty if it can.

    >>> info = zipfile.ZipInfo("a"); info.compress_type = 9; compression_of(info)
    'compressed by Deflate64 (method 9); repack it with the method Deflate'
    """
    if info.compress_type in COMPRESSIONS:
        return ""
    name = _METHOD_NAMES.get(info.compress_type, "an unknown way")
    return f"compressed by {name} (method {info.compress_type}); repack it with the method Deflate"


def is_folder(info: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder; `ZipInfo.is_dir` raises for an entry without a name."""
    return info.filename.endswith(("/", "\\"))


def read_members(source: HashingSource, name: str) -> Iterator[Member]:
    """The members of an archive in order; its first bytes decide how it is read.

    Args:
        source: The archive.
        name: What to call it in messages.

    Raises:
        ArchiveError: Not an archive, or one that is damaged or cut short; the latter may show only at the end.
    """
    head = source.peek(_BLOCK)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        source.is_zip = True
        yield from _zip_members(source, name)
    elif is_tar(head):
        yield from _tar_members(source, name)
    elif not head:
        raise ArchiveError(f"{name} is empty; fetch it again")
    elif head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise ArchiveError(f"{name} is a web page, not an archive; the address or the key was wrong, fetch it again")
    elif packing := next((packing for start, packing in PACKINGS.items() if head.startswith(start)), None):
        raise ArchiveError(f"{name} is {packing}; unpack it, then run again")
    elif not any(head) and len(head) == _BLOCK:
        yield from _tar_members(source, name)
    else:
        raise ArchiveError(f"{name} is neither a tar nor a ZIP; fetch it again")


def _tar_members(source: HashingSource, name: str, *, is_inner: bool = False) -> Iterator[Member]:
    """The members of a tar, and those of a tar within it; one that is `is_inner` itself is not looked into further."""
    try:
        with tarfile.open(fileobj=source, mode="r|", bufsize=64 * _BLOCK) as archive:  # type: ignore[call-overload]
            for info in archive:
                inner = None if is_inner else _inner_tar(archive, info)
                if inner is not None:
                    yield from _tar_members(inner, f"{name}!{shown_name(normalised_name(info.name))}", is_inner=True)
                    continue
                yield Member(
                    name=normalised_name(info.name),
                    num_bytes=info.size,
                    is_plain_file=info.isreg(),
                    is_folder=info.isdir(),
                    read=functools.partial(_read_exactly, archive, info, name),
                    is_streamed=True,
                )
                archive.members = []  # type: ignore[attr-defined] # else every header is remembered
    except READ_ERRORS as error:
        raise ArchiveError(f"{name} is cut short or damaged ({error}); fetch it again") from error
    source.drain()
    # tarfile silently ends at a header it cannot read, so the bytes after its last position are checked here
    if source.end_of_data > archive.offset:
        raise ArchiveError(f"{name} is damaged at byte {archive.offset}; fetch it again")
    if source.num_bytes < archive.offset + _END_OF_TAR_BYTES:
        raise ArchiveError(f"{name} is cut short: it lacks the end mark of a tar; fetch it again")


def _inner_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> HashingSource | None:
    """A tar within a tar, to be read through as a stream; None if the member is not named as one."""
    if not info.isreg() or not info.name.lower().endswith(".tar") or is_companion(info.name):
        return None
    return HashingSource(archive.extractfile(info))  # type: ignore[arg-type]


def _read_exactly(archive: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> bytes:
    """The bytes of a tar's member; fewer than its header states are an error."""
    try:
        return archive.extractfile(info).read()  # type: ignore[union-attr]
    except READ_ERRORS as error:
        raise ArchiveError(f"{name} is cut short within {shown_name(info.name)}; fetch it again") from error


def _zip_members(source: HashingSource, name: str) -> Iterator[Member]:
    try:
        with zipfile.ZipFile(source.seekable_file()) as archive:
            if not _is_whole_zip(source.seekable_file(), archive):
                raise ArchiveError(f"{name} is cut short: it lacks the directory at its end; fetch it again")
            for info in archive.infolist():
                if _is_inner_tar(archive, info):
                    yield from _inner_members(archive, info, name)
                    continue
                mode = info.external_attr >> 16
                is_special = bool(mode) and (mode & 0o170000) not in (0, 0o100000, 0o040000)
                yield Member(
                    name=normalised_name(info.filename),
                    num_bytes=info.file_size,
                    is_plain_file=not is_special and not is_folder(info) and not info.flag_bits & 0x1,
                    is_folder=is_folder(info),
                    read=functools.partial(_read_or_empty, archive, info),
                    unreadable=compression_of(info),
                )
    except READ_ERRORS as error:
        raise ArchiveError(f"{name} is cut short or damaged ({error}); fetch it again") from error


def _is_inner_tar(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    """Whether an entry of a ZIP is a tar that can be read through as a stream, by its name, size and first bytes."""
    if not info.filename.lower().endswith(".tar") or is_companion(info.filename):
        return False
    if info.compress_type not in COMPRESSIONS or info.flag_bits & 0x1:
        return False
    if info.file_size > max(info.compress_size * _MOST_INNER_RATIO, _FREE_INNER_BYTES):
        return False
    with archive.open(info) as file:
        return is_tar(file.read(_BLOCK))


def _inner_members(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Iterator[Member]:
    """The members of a tar within a ZIP, of which nothing is written anywhere."""
    with archive.open(info) as file:
        inner_name = f"{name}!{shown_name(normalised_name(info.filename))}"
        yield from _tar_members(HashingSource(file), inner_name, is_inner=True)  # type: ignore[arg-type]


def _is_whole_zip(file: BinaryIO, archive: zipfile.ZipFile) -> bool:
    """Whether the directory found is the file's own: zipfile also accepts that of a ZIP stored in it near a cut."""
    num_bytes = file.seek(0, io.SEEK_END)
    file.seek(max(num_bytes - _LONGEST_ZIP_END_BYTES, 0))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    comment_bytes = int.from_bytes(tail[at + 20 : at + 22], "little")
    starts = min((info.header_offset for info in archive.infolist()), default=0)
    return at >= 0 and at + 22 + comment_bytes == len(tail) and starts == 0


def _read_or_empty(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a ZIP's member; empty, and so dropped as broken, if they cannot be unpacked or are damaged."""
    if info.compress_type not in COMPRESSIONS:
        return b""
    try:
        return archive.read(info)
    except READ_ERRORS:
        return b""


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a tar, also one from before the "ustar" mark."""
    if head[257:262] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def shown_name(name: str) -> str:
    """A name from outside as it may appear in a message: one line, bounded."""
    return name.encode("ascii", "backslashreplace").decode().replace("\n", "\\n")[:200]


class HashingSource(io.RawIOBase):
    """An archive that is read once from front to back, and hashed while it is read.

    Args:
        file: The archive.

    Attributes:
        num_bytes: Bytes read so far.
        is_zip: Whether it is a ZIP, which is not read through this stream but by `seekable_file`.
        end_of_data: Position after the last byte read that is not zero.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._ahead = b""
        self.num_bytes = 0
        self.is_zip = False
        self.end_of_data = 0
        self._num_empty = 0  # reads that returned nothing, in a row

    def readable(self) -> bool:
        return True

    def peek(self, num_bytes: int) -> bytes:
        """The first bytes, which are read again by `read`."""
        while len(self._ahead) < num_bytes and (chunk := self._file.read(num_bytes - len(self._ahead))):
            self._ahead += chunk
        return self._ahead

    def read(self, num_bytes: int = -1) -> bytes:
        if self._ahead:
            data, self._ahead = self._ahead[:num_bytes], self._ahead[num_bytes:]
        else:
            data = self._file.read(num_bytes)
        # tarfile skips a member of 2^80 bytes in steps of 32 KiB, also after the end of the file
        self._num_empty = 0 if data else self._num_empty + 1
        if self._num_empty > _MOST_EMPTY_READS:
            raise EOFError("a member is longer than the file")
        self._digest.update(data)
        if content := data.rstrip(b"\0"):
            self.end_of_data = self.num_bytes + len(content)
        self.num_bytes += len(data)
        return data

    def drain(self) -> None:
        """Read the rest, for the hash."""
        while self.read(_COPY_BYTES):
            pass

    def seekable_file(self) -> BinaryIO:
        """The file itself, for zipfile, which starts at the end."""
        return self._file

    def finish(self) -> str:
        """Hash of the whole archive, hexadecimal; a ZIP, which was read out of order, is read once more for it."""
        if self._ahead:
            self._file.seek(0)
            self._ahead = b""
        self.drain()
        return self._digest.hexdigest()
