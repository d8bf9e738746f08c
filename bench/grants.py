"""Speed at which grants become rows, against only parsing the same bytes in the same run.

    python -m bench.grants [FOLDER OF REAL PATENTS] [--rounds N]

The reference is `lxml.etree.fromstring` over every design document of the folder; v2.5 documents, which do not parse
without their entities, are excluded from both. The two take turns, and the processor time of the best round counts. For
`ratio`, the caches of recurring symbols and sentences are emptied before each round; `ratio_warm` is what a stage
reaches after its first weeks. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lxml import etree

from patentdata import classes
from patentdata.grants import references, st36, viewpoints
from patentdata.grants.claim_scope import clauses, lines, things
from patentdata.grants.documents import document_kind, split_documents
from patentdata.grants.parsing import parse_grant

_DEFAULT = Path(os.environ.get("DESIGNCLIP_REAL_DATA", "../shared/data"))


def design_documents(folder: Path) -> Iterator[bytes]:
    """Every design document under `redbook`, `xml/single` and `xml/weekly`."""
    for path in sorted((folder / "redbook").iterdir()):
        for name, member in _members(path):
            if "/DESIGN/" in name and "-SUPP" not in name:
                with zipfile.ZipFile(io.BytesIO(member)) as inner:
                    yield from (inner.read(entry) for entry in inner.namelist() if entry.upper().endswith(".XML"))
    for path in sorted((folder / "xml").glob("*/*.xml")):
        with path.open("rb") as stream:
            yield from (data for _, data in split_documents(stream) if document_kind(data) == "design")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each member of a tar or ZIP archive."""
    if path.suffix.lower() == ".tar":
        with tarfile.open(path) as archive:
            for entry in archive:
                if (stream := archive.extractfile(entry)) is not None:
                    yield entry.name, stream.read()
    else:
        with zipfile.ZipFile(path) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())


def clear_caches() -> None:
    """Empty the caches of recurring symbols and sentences, so that no round benefits from the previous one."""
    for module in (classes, references, st36, viewpoints, clauses, lines, things):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def seconds_of(work: Callable[[bytes], object], documents: list[bytes]) -> float:
    """Seconds of processor time that `work` takes for all documents."""
    started = time.process_time()
    for document in documents:
        work(document)
    return time.process_time() - started


def _parse(document: bytes) -> object:
    return parse_grant(document, source_archive="bench", source_member="document")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=_DEFAULT)
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    documents = [data for data in design_documents(arguments.folder) if b"<PATDOC" not in data[:4096]]
    bare: list[float] = []
    cold: list[float] = []
    warm: list[float] = []
    for _ in range(arguments.rounds):
        bare.append(seconds_of(etree.fromstring, documents))
        clear_caches()
        cold.append(seconds_of(_parse, documents))
        warm.append(seconds_of(_parse, documents))
    result = {
        "benchmark": "grants",
        "reference": "lxml.etree.fromstring",
        "num_documents": len(documents),
        "num_bytes": sum(map(len, documents)),
        "ratio": round(min(cold) / min(bare), 2),
        "ratio_warm": round(min(warm) / min(bare), 2),
        "ratio_allowed": 4.0,
        "patents_per_s": round(len(documents) / min(cold)),
        "ms_per_patent": round(1000 * min(cold) / len(documents), 3),
        "reference_ms_per_patent": round(1000 * min(bare) / len(documents), 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
