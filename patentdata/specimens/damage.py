"""Kinds of damage, by name: what a pipeline meets if archives and patents are not as they should be."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from patentdata.errors import ConfigError
from patentdata.specimens.config import DAMAGE, SpecimenConfig
from patentdata.specimens.design import SpecimenPatent
from patentdata.specimens.drawing.tiff import with_tag
from patentdata.specimens.packing import Member, pack_documents

_BOMB_BYTES = 64 * 2**20  # what the bomb unpacks to; a thousand times what it takes
_ARCHIVE_KINDS = ("truncated_archive", "html_archive", "empty_archive")
_IMAGE_WIDTH, _IMAGE_LENGTH = 256, 257


class Damaged(NamedTuple):
    """A note of what was damaged: the kind, the patent (None for the archive as a whole), the member and a sentence."""

    damage: str
    patent: str | None
    member: str | None
    detail: str


@dataclass(frozen=True)
class _Case:
    """A patent that is to be damaged before it goes into the archive."""

    patent: SpecimenPatent
    member: Member
    week: str

    @property
    def files(self) -> list[tuple[str, bytes]]:
        """Name and content of every file of the patent."""
        return self.patent.files()

    @property
    def sheet(self) -> str:
        """Name of the first sheet after the front-page drawing."""
        return list(self.patent.sheets)[1]

    def repacked(self, files: list[tuple[str, bytes]]) -> list[Member]:
        """The member with these files."""
        return [replace(self.member, content=pack_documents(self.patent.name, files))]

    def with_file(self, name: str, content: bytes) -> list[Member]:
        """The member with other content of one file."""
        return self.repacked([(n, content if n == name else c) for n, c in self.files])

    def with_xml(self, change: Callable[[bytes], bytes]) -> list[Member]:
        """The member with a changed grant."""
        return self.with_file(f"{self.patent.name}.XML", change(self.patent.xml))


def damage_plan(config: SpecimenConfig) -> dict[int, str]:
    """Number of a patent → its kind of damage: the last patents of the week, one kind each.

    Raises:
        ConfigError: There are fewer patents than kinds of damage to patents.
    """
    kinds = [kind for kind in config.damage if kind not in _ARCHIVE_KINDS]
    if len(kinds) > config.num_patents:
        raise ConfigError(f"{len(kinds)} kinds of damage need as many patents; num_patents is {config.num_patents}")
    last = config.first_number + config.num_patents - 1
    return {last - index: kind for index, kind in enumerate(kinds)}


def damaged_members(kind: str, patent: SpecimenPatent, member: Member, week: str) -> tuple[list[Member], Damaged]:
    """The members that the archive gets instead of `member`, and a note of what is wrong with them."""
    case = _Case(patent, member, week)
    return _DAMAGE[kind](case), Damaged(kind, f"D{patent.number}", member.name, DAMAGE[kind])


def damage_archive(path: Path, config: SpecimenConfig) -> list[Damaged]:
    """Damage the finished archive as a whole if that was asked for, and return a note for each kind of damage."""
    notes = []
    for kind in _ARCHIVE_KINDS:
        if kind not in config.damage:
            continue
        content = path.read_bytes()
        if kind == "truncated_archive":
            path.write_bytes(content[: len(content) * 2 // 3])
        elif kind == "html_archive":
            path.write_bytes(_HTML)
        elif path.suffix == ".tar":
            path.write_bytes(bytes(10_240))  # the end mark of a tar and nothing before it
        else:
            empty = io.BytesIO()
            zipfile.ZipFile(empty, "w").close()
            path.write_bytes(empty.getvalue())
        notes.append(Damaged(kind, None, path.name, DAMAGE[kind]))
    return notes


_HTML = b"<!DOCTYPE html>\n<html><head><title>Bulk data</title></head><body><div id=root></div></body></html>\n"


def _broken_member(case: _Case) -> list[Member]:
    content = bytearray(case.member.content)
    noise = np.random.default_rng(case.patent.number).integers(0, 256, len(content), dtype=np.uint8)
    content[20:] = noise[20:].tobytes()
    return [replace(case.member, content=bytes(content))]


def _zip_bomb(case: _Case) -> list[Member]:
    name = f"{case.patent.name}-D00099.TIF"
    return case.repacked([*case.files, (name, bytes(_BOMB_BYTES))])


def _with_copy(name: str) -> Callable[[_Case], list[Member]]:
    """Damage that adds a copy of the member under another name."""
    return lambda case: [case.member, Member(name.format(week=case.week, name=case.patent.name), case.member.content)]


def _symlink(case: _Case) -> list[Member]:
    return [Member(case.member.name, link_to="/etc/passwd")]


def _huge_tiff(case: _Case) -> list[Member]:
    tiff = case.patent.sheets[case.sheet]
    return case.with_file(case.sheet, with_tag(with_tag(tiff, _IMAGE_WIDTH, 65_000), _IMAGE_LENGTH, 65_000))


def _broken_tiff(case: _Case) -> list[Member]:
    # The directory is behind the strip, so a file that is cut short is not an image at all.
    tiff = case.patent.sheets[case.sheet]
    return case.with_file(case.sheet, tiff[: struct.unpack_from("<I", tiff, 4)[0] // 2 + 8])


def _extra_sheet(case: _Case) -> list[Member]:
    last = len(case.patent.sheets)
    return case.repacked([*case.files, (f"{case.patent.name}-D{last:05d}.TIF", case.patent.sheets[case.sheet])])


def _external_entity(xml: bytes) -> bytes:
    xml = xml.replace(b" [ ]>", b' [ <!ENTITY file SYSTEM "file:///etc/passwd"> ]>', 1)
    return re.sub(rb"(<claim-text>)", rb"\1&file;", xml, count=1)


def _entity_bomb(xml: bytes) -> bytes:
    levels = [b'<!ENTITY e0 "lol lol lol lol lol lol lol lol lol lol">']
    levels += [b'<!ENTITY e%d "%s">' % (k, b"&e%d;" % (k - 1) * 10) for k in range(1, 10)]
    xml = xml.replace(b" [ ]>", b" [ " + b"\n".join(levels) + b" ]>", 1)
    return re.sub(rb"(<claim-text>)", rb"\1&e9;", xml, count=1)


def _wrong_size(xml: bytes) -> bytes:
    return re.sub(rb'(he|wi)="([0-9.]+)mm"', lambda m: b'%s="%.2fmm"' % (m[1], float(m[2]) * 1.25 + 5), xml)


_DAMAGE: dict[str, Callable[[_Case], list[Member]]] = {
    "truncated_member": lambda case: [
        replace(case.member, content=case.member.content[: len(case.member.content) // 2])
    ],
    "broken_member": _broken_member,
    "zip_bomb": _zip_bomb,
    "traversal_name": _with_copy("{week}/DESIGN/../../../{name}.ZIP"),
    "absolute_name": _with_copy("/tmp/{name}.ZIP"),  # noqa: S108 - a name inside an archive, written to nowhere
    "symlink_member": _symlink,
    "duplicate_member": lambda case: [case.member, case.member],
    "broken_tiff": _broken_tiff,
    "huge_tiff": _huge_tiff,
    "missing_sheet": lambda case: case.repacked([(n, c) for n, c in case.files if n != case.sheet]),
    "extra_sheet": _extra_sheet,
    "missing_xml": lambda case: case.repacked([(n, c) for n, c in case.files if not n.endswith(".XML")]),
    "broken_xml": lambda case: case.with_xml(lambda xml: xml[: len(xml) // 2]),
    "external_entity": lambda case: case.with_xml(_external_entity),
    "entity_bomb": lambda case: case.with_xml(_entity_bomb),
    "missing_title": lambda case: case.with_xml(
        lambda xml: re.sub(rb"<invention-title.*?</invention-title>\n", b"", xml)
    ),
    "wrong_size": lambda case: case.with_xml(_wrong_size),
}
