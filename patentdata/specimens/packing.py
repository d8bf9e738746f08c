"""Weekly archives of specimens: one ZIP for each patent, and all of them in a .tar or .ZIP.

Times, modes and order are fixed, so that equal weeks have equal bytes.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_MTIME = 1_609_459_200  # one fixed moment, so that equal weeks have equal bytes
_ZIP_TIME = (2021, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Member:
    """One member of a weekly archive; it is a symbolic link if `link_to` is given."""

    name: str
    content: bytes = b""
    link_to: str | None = None


class Archive(Protocol):
    """A weekly archive that is being written."""

    def add(self, member: Member) -> None:
        """Append a member."""

    def close(self) -> None:
        """Write what ends the archive; nothing can be added after that."""


def pack_documents(folder: str, files: Iterable[tuple[str, bytes]]) -> bytes:
    """The ZIP of one patent: its files in the given order, in a folder that has the name of the patent."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files:
            path = name if "/" in name else f"{folder}/{name}"
            archive.writestr(_zip_info(path, 0o644), content, compress_type=zipfile.ZIP_DEFLATED, compresslevel=6)
    return out.getvalue()


def _zip_info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _ZIP_TIME)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


class TarArchive:
    """A weekly archive as .tar, written member by member."""

    def __init__(self, path: Path) -> None:
        self._file = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by close()

    def add(self, member: Member) -> None:
        info = tarfile.TarInfo(member.name)
        info.mtime = _MTIME
        info.mode = 0o644
        if member.link_to is not None:
            info.type, info.linkname = tarfile.SYMTYPE, member.link_to
            self._file.addfile(info)
            return
        info.size = len(member.content)
        self._file.addfile(info, io.BytesIO(member.content))

    def close(self) -> None:
        self._file.close()


class ZipArchive:
    """A weekly archive as .ZIP, its members stored without compression as in the published ones."""

    def __init__(self, path: Path) -> None:
        self._file = zipfile.ZipFile(path, "w")

    def add(self, member: Member) -> None:
        if member.link_to is not None:
            self._file.writestr(_zip_info(member.name, 0o120777), member.link_to.encode())
            return
        if member.name in self._file.NameToInfo:  # otherwise zipfile warns, but here the duplicate is intended
            self._file.NameToInfo.pop(member.name)
        self._file.writestr(_zip_info(member.name, 0o644), member.content, compress_type=zipfile.ZIP_STORED)

    def close(self) -> None:
        self._file.close()


def open_archive(path: Path, container: str) -> Archive:
    """An empty archive, "tar" or "zip", ready for members."""
    return TarArchive(path) if container == "tar" else ZipArchive(path)


def decoys(week: str, some_patent_zip: bytes, some_patent: str) -> Iterator[Member]:
    """The other members of a weekly archive: patents of other kinds, and the folder of supplements."""
    date = week[1:]
    for folder, name in (
        ("UTIL0115", f"US11500001-{date}"),
        ("PLANT", f"USPP034001-{date}"),
        ("REISSUE", f"USRE049001-{date}"),
    ):
        document = f'<?xml version="1.0" encoding="UTF-8"?>\n<us-patent-grant file="{name}.XML" country="US"/>\n'
        yield Member(f"{week}/{folder}/{name}.ZIP", pack_documents(name, [(f"{name}.XML", document.encode())]))
    yield Member(f"{week}-SUPP/DESIGN/{some_patent}-SUPP.ZIP", some_patent_zip)
