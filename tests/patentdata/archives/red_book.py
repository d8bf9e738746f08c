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
