"""Cost of keeping a week's designs if only the necessary bytes are fetched, against fetching the whole archive.

    python -m bench.archives [--megabytes 3700] [--designs 700] [--container tar|zip]

Serves a specimen week from a portal on the loopback interface: designs of 290 kB first, as in the Red Book, then
utility members, which are generated while they are sent. A child process keeps the DESIGN members, once reading only as
far as necessary and once with `whole`. Prints one JSON line: bytes sent by the server and read by the client, divided
by the bytes up to the end of the designs; seconds; peak memory of the child, and how much of it its imports had taken;
the ratio of the bytes sent.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.patentdata.archives.portal_server import KEY, PortalServer

_WEEK = "I20240102"
_DESIGN_BYTES = 290_000
_FILLER_BYTES = 8 << 20
_PIECE = bytes(range(256)) * 4096  # 1 MiB

_CHILD = """
import json, sys, time
from patentdata.archives.stage import keep_archive
from patentdata.archives.designs import ArchivesConfig
from patentdata.archives.sources import AccessConfig, list_weeks
from patentdata.store.folder import DataFolder
from patentdata.archives.portal import PortalConfig
def peak_mb():  # of this process alone; getrusage includes the memory of the parent at the fork
    lines = open("/proc/self/status").read().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000, 1)
url, data_dir, whole = sys.argv[1], sys.argv[2], sys.argv[3] == "whole"
access = AccessConfig(portal=PortalConfig(url=url))
(week,) = list_weeks("portal", access=access)
folder, started = DataFolder(data_dir), time.perf_counter()
before_mb = peak_mb()
keep_archive(folder, week, ArchivesConfig(whole=whole), access)
seconds = time.perf_counter() - started
note = folder.read_json(folder.path("archives", f"{week.week}.json"))
print(json.dumps({"seconds": round(seconds, 2), "peak_memory_mb": peak_mb(), "memory_before_mb": before_mb,
    "sha256": note["kept"]["sha256"],
    "num_bytes_read": note["complete"]["num_bytes_read"], "read_to": note["complete"]["read_to"]}))
"""


class SpecimenWeek:
    """A weekly archive of which only the designs and the headers are in memory.

    Attributes:
        num_bytes: Size of the archive in bytes.
        end_of_designs: Position in bytes of the end of the last design.
    """

    def __init__(self, parts: list[bytes | int], end_of_designs: int) -> None:
        self._parts = parts  # bytes, or a number of bytes of filler
        self.num_bytes = sum(part if isinstance(part, int) else len(part) for part in parts)
        self.end_of_designs = end_of_designs

    def pieces(self, first: int) -> Iterator[bytes]:
        """The bytes from position `first` on, in pieces."""
        at = 0
        for part in self._parts:
            size = part if isinstance(part, int) else len(part)
            skip = max(first - at, 0)
            at += size
            if skip >= size:
                continue
            if isinstance(part, bytes):
                yield part[skip:]
                continue
            left = size - skip
            start = skip % len(_PIECE)
            while left:
                piece = _PIECE[start : start + left]
                yield piece
                left, start = left - len(piece), 0


def draw_week(num_designs: int, num_bytes: int, container: str) -> SpecimenWeek:
    """A week of about `num_bytes` bytes in a "tar" or "zip" container."""
    members = list(_designs(num_designs))
    num_fillers = max((num_bytes - num_designs * _DESIGN_BYTES) // _FILLER_BYTES, 1)
    fillers = [f"{_WEEK}/UTIL{i // 100:04}/US{11_000_000 + i}-20240102.ZIP" for i in range(num_fillers)]
    return _as_tar(members, fillers) if container == "tar" else _as_zip(members, fillers)


def _designs(num: int) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(0)
    for number in range(900_001, 900_001 + num):
        stem = f"USD{number:07}-20240102"
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as packed:
            packed.writestr(zipfile.ZipInfo(f"{stem}/{stem}.XML"), b"<us-patent-grant/>")
            packed.writestr(zipfile.ZipInfo(f"{stem}/{stem}-D00001.TIF"), rng.randbytes(_DESIGN_BYTES))
        yield f"{_WEEK}/DESIGN/{stem}.ZIP", out.getvalue()


def _as_tar(members: list[tuple[str, bytes]], fillers: list[str]) -> SpecimenWeek:
    parts: list[bytes | int] = []
    for name, data in members:
        parts += [_tar_header(name, len(data)), data, bytes(-len(data) % 512)]
    end = sum(len(part) for part in parts if isinstance(part, bytes))
    for name in fillers:
        parts += [_tar_header(name, _FILLER_BYTES), _FILLER_BYTES]
    return SpecimenWeek([*parts, bytes(10_240)], end)


def _tar_header(name: str, num_bytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = num_bytes
    return info.tobuf(tarfile.USTAR_FORMAT)


def _as_zip(members: list[tuple[str, bytes]], fillers: list[str]) -> SpecimenWeek:
    """An uncompressed ZIP; zipfile writes its directory to a file that does not store the fillers."""
    filler_crc = 0
    for _ in range(_FILLER_BYTES // len(_PIECE)):
        filler_crc = zlib.crc32(_PIECE, filler_crc)
    sink = _SparseSink()
    end = 0
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
        end = sink.tell()
        for name in fillers:
            info = zipfile.ZipInfo(name)
            info.header_offset, info.CRC = sink.tell(), filler_crc
            info.file_size = info.compress_size = _FILLER_BYTES
            sink.write(info.FileHeader(zip64=False))
            sink.skip(_FILLER_BYTES)
            archive.filelist.append(info)
            archive.NameToInfo[name] = info
            archive.start_dir = sink.tell()
    return SpecimenWeek(sink.parts, end)


class _SparseSink(io.RawIOBase):
    """A file that is written in order and keeps only the length of the fillers."""

    def __init__(self) -> None:
        self.parts: list[bytes | int] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        self._at += len(data)
        return len(data)

    def skip(self, num_bytes: int) -> None:
        self.parts.append(num_bytes)
        self._at += num_bytes

    def tell(self) -> int:
        return self._at


def measure(week: SpecimenWeek, container: str) -> dict[str, Any]:
    """Keep the week twice, each time in its own process."""
    runs = {}
    with tempfile.TemporaryDirectory() as temporary, PortalServer({f"{_WEEK}.{container}": week}) as server:
        for how in ("needed", "whole"):
            server.num_bytes_sent = 0
            environment = os.environ | {"ODP_API_KEY": KEY, "DESIGNCLIP_CACHE": str(Path(temporary) / "cache")}
            child = subprocess.run(
                [sys.executable, "-c", _CHILD, server.url, str(Path(temporary) / how), how],
                stdout=subprocess.PIPE,
                env=environment,
                check=True,
            )
            runs[how] = json.loads(child.stdout) | {"bytes_sent": server.num_bytes_sent}
    needed, whole = runs["needed"], runs["whole"]
    assert needed.pop("sha256") == whole.pop("sha256"), "the kept bytes differ"
    return {
        "container": container,
        "num_bytes": week.num_bytes,
        "end_of_designs": week.end_of_designs,
        "read_over_end_of_designs": round((needed["num_bytes_read"] or needed["bytes_sent"]) / week.end_of_designs, 4),
        "sent_over_end_of_designs": round(needed["bytes_sent"] / week.end_of_designs, 4),
        "needed": needed,
        "whole": whole,
        "ratio": round(needed["bytes_sent"] / whole["bytes_sent"], 4),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=3_700)
    parser.add_argument("--designs", type=int, default=700)
    parser.add_argument("--container", choices=("tar", "zip"), default="tar")
    options = parser.parse_args()
    week = draw_week(options.designs, options.megabytes * 1_000_000, options.container)
    print(json.dumps({"bench": "archives", **measure(week, options.container)}))
