"""Builds small weekly archives in memory."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

WEEK = "I20240102"


def packed(files: Mapping[str, bytes], *, stem: str = "USD0900001-20240102") -> bytes:
    """A member ZIP: the files in a folder of its own name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(f"{stem}/{name}"), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def design(number: int = 900001) -> tuple[str, bytes]:
    """Name in the archive and bytes of a design member."""
    stem = f"USD{number:07}-20240102"
    return f"{WEEK}/DESIGN/{stem}.ZIP", packed({f"{stem}.XML": b"<us-patent-grant/>"}, stem=stem)


def tar_of(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar of members; one that is a TarInfo is written as it is, without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zip_of(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A ZIP of members, stored unless another method is given."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def with_method(archive: bytes, method: int, *, of: str) -> bytes:
    """A ZIP whose headers say that one entry is compressed by another method; its data stay as they are."""
    changed = bytearray(archive)
    for signature, method_at, name_at in ((b"PK\x03\x04", 8, 30), (b"PK\x01\x02", 10, 46)):
        at = changed.find(signature)
        while changed[at + name_at : at + name_at + len(of)] != of.encode():
            at = changed.find(signature, at + 1)
        changed[at + method_at : at + method_at + 2] = method.to_bytes(2, "little")
    return bytes(changed)
