"""Members of a tar or ZIP archive, read in order.

A tar is read as a stream, from front to back; a ZIP by its directory, which is at its end. The readers of the standard
library take an archive that was cut short for a shorter one, so its end is checked here.
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
        name: Name with folders, as the archive spells it.
        num_bytes: Size that the archive states.
        is_plain_file: Whether it is neither a folder, a link or a device, nor encrypted.
        is_folder: Whether it is a folder.
        read: Returns the bytes; to be called before the next member is asked for.
        is_streamed: Whether all members before it had to be read to reach it, as in a tar.
    """

    name: str
    num_bytes: int
    is_plain_file: bool
    is_folder: bool
    read: Callable[[], bytes]
    is_streamed: bool = False


def is_folder(info: zipfile.ZipInfo) -> bool:
    """Whether an entry is a folder; `ZipInfo.is_dir` raises for an entry without a name."""
    return info.filename.endswith("/")


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
    elif head[257:262] == b"ustar" or _is_old_tar(head):
        yield from _tar_members(source, name)
    elif not head:
        raise ArchiveError(f"{name} is empty; fetch it again")
    elif head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise ArchiveError(f"{name} is a web page, not an archive; the address or the key was wrong, fetch it again")
    elif head[:2] in (b"\x1f\x8b", b"BZ"):
        raise ArchiveError(f"{name} is a compressed tar; unpack it with gunzip or bunzip2, then run again")
    elif not any(head) and len(head) == _BLOCK:
        yield from _tar_members(source, name)
    else:
        raise ArchiveError(f"{name} is neither a tar nor a ZIP; fetch it again")


def _tar_members(source: HashingSource, name: str) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=source, mode="r|", bufsize=64 * _BLOCK) as archive:  # type: ignore[call-overload]
            for info in archive:
                yield Member(
                    name=info.name,
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
                mode = info.external_attr >> 16
                is_special = bool(mode) and (mode & 0o170000) not in (0, 0o100000, 0o040000)
                yield Member(
                    name=info.filename,
                    num_bytes=info.file_size,
                    is_plain_file=not is_special and not is_folder(info) and not info.flag_bits & 0x1,
                    is_folder=is_folder(info),
                    read=functools.partial(_read_or_empty, archive, info),
                )
    except READ_ERRORS as error:
        raise ArchiveError(f"{name} is cut short or damaged ({error}); fetch it again") from error


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


def _is_old_tar(head: bytes) -> bool:
    """Whether a file begins with a header of a tar from before the "ustar" mark."""
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
