"""What grants say about their lines, read by the rules, against statements labelled by hand.

    python -m bench.claims [--truth FILE] [--grants FILE OR FOLDER ...] [--errors N]

The truth is one JSON object a patent: `{patent_number, statements: [{text, lines, meaning, is_claimed, figures}],
has_unclaimed_matter}`. The grants are files of any kind that `designclip grants` reads, or folders of such files.

Statements of a patent are paired by their texts, and of several pairs of one text those that agree most. A field counts
as right if a pair agrees in it: its `precision` is the share of the statements that were read, its `recall` the share
of those in the truth. `majority` is the same for the most frequent answer, given to every statement of the truth. The
meanings that the truth has at least five times are frequent. Prints one JSON line; with `--errors`, a table before it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import linear_sum_assignment

from patentdata.grants.loose_files import write_grants

_DATA = Path(os.environ.get("DESIGNCLIP_REAL_DATA", "../shared/data"))
_SUFFIXES = {".xml", ".zip", ".tar", ".gz"}
_FIELDS = ("lines", "meaning", "is_claimed", "figures")
_FEWEST = 5  # statements of a frequent meaning

Statement = dict[str, Any]


class Pair(NamedTuple):
    """A statement of the truth and the one that was read for it; None if the other side has none."""

    patent_number: str
    true: Statement | None
    read: Statement | None


def read_truth(path: Path) -> dict[str, dict[str, Any]]:
    """Patent number → its entry."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return {entry["patent_number"]: entry for entry in map(json.loads, filter(str.strip, lines))}


def read_patents(sources: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Patent number → the statements read from its grant, and `has_unclaimed_matter`."""
    files = [path for source in sources for path in _files_of(source)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "grants.parquet"
        write_grants(files, out)
        table = pq.read_table(out, columns=["patent_number", "claim_scope", "has_unclaimed_matter"])
    return {row["patent_number"]: row for row in table.to_pylist()}


def _files_of(source: Path) -> list[Path]:
    """The file, or the files of grants in a folder and the folders within it."""
    if source.is_file():
        return [source]
    return sorted(path for path in source.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def pair_statements(patent_number: str, true: list[Statement], read: list[Statement]) -> Iterator[Pair]:
    """Every statement of both sides once, paired where their texts overlap so that the pairs agree most."""
    agreement = np.array([[_agreement(one, other) for other in read] for one in true]).reshape(len(true), len(read))
    rows, columns = linear_sum_assignment(agreement, maximize=True)
    paired = {(row, column) for row, column in zip(rows, columns, strict=True) if agreement[row, column] > 0}
    yield from (Pair(patent_number, true[row], read[column]) for row, column in sorted(paired))
    of_true, of_read = {row for row, _ in paired}, {column for _, column in paired}
    yield from (Pair(patent_number, one, None) for row, one in enumerate(true) if row not in of_true)
    yield from (Pair(patent_number, None, other) for column, other in enumerate(read) if column not in of_read)


def _agreement(one: Statement, other: Statement) -> int:
    """0 if the texts share less than half of the words of the shorter one; else 1, and 1 more for each equal field."""
    words, others = set(one["text"].split()), set(other["text"].split())
    if len(words & others) < min(len(words), len(others)) / 2:
        return 0
    return 1 + sum(_agrees(one, other, field) for field in _FIELDS)


def _agrees(one: Statement, other: Statement, field: str) -> bool:
    if field == "figures":
        return set(one["figures"]) == set(other["figures"])
    return bool(one[field] == other[field])


def field_scores(pairs: list[Pair], field: str) -> dict[str, float | str]:
    """Precision, recall and F1 of one field, and the majority answer with its share of the truth."""
    true = [pair.true for pair in pairs if pair.true]
    read = [pair.read for pair in pairs if pair.read]
    right = sum(_agrees(pair.true, pair.read, field) for pair in pairs if pair.true and pair.read)
    answers = Counter(json.dumps(statement[field]) for statement in true)
    [(answer, num_answers)] = answers.most_common(1) or [("null", 0)]
    return {
        **_scores(right, len(read), len(true)),
        "majority": round(num_answers / max(1, len(true)), 4),
        "majority_answer": answer,
    }


def _scores(right: int, num_read: int, num_true: int) -> dict[str, float]:
    return {
        "precision": round(right / max(1, num_read), 4),
        "recall": round(right / max(1, num_true), 4),
        "f1": round(2 * right / max(1, num_read + num_true), 4),
    }


def meaning_scores(pairs: list[Pair]) -> dict[str, dict[str, float]]:
    """Scores of each frequent meaning, the most frequent first."""
    in_truth = Counter(pair.true["meaning"] for pair in pairs if pair.true)
    in_read = Counter(pair.read["meaning"] for pair in pairs if pair.read)
    right = Counter(
        pair.true["meaning"] for pair in pairs if pair.true and pair.read and _agrees(pair.true, pair.read, "meaning")
    )
    return {
        meaning: {"num": num, **_scores(right[meaning], in_read[meaning], num)}
        for meaning, num in in_truth.most_common()
        if num >= _FEWEST
    }


def measure(truth: dict[str, dict[str, Any]], found: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], list[Pair]]:
    """All scores over the patents of the truth that were found, and the pairs of statements."""
    known = [number for number in truth if number in found]
    pairs = [
        pair
        for number in known
        for pair in pair_statements(number, truth[number]["statements"], found[number]["claim_scope"])
    ]
    unclaimed = [truth[number]["has_unclaimed_matter"] for number in known]
    right = sum(truth[number]["has_unclaimed_matter"] == found[number]["has_unclaimed_matter"] for number in known)
    by_meaning = meaning_scores(pairs)
    return {
        "num_patents": len(known),
        "num_patents_missing": len(truth) - len(known),
        "num_statements": sum(pair.true is not None for pair in pairs),
        "num_read": sum(pair.read is not None for pair in pairs),
        "has_unclaimed_matter": round(right / max(1, len(known)), 4),
        "has_unclaimed_matter_majority": round(
            max(unclaimed.count(True), unclaimed.count(False)) / max(1, len(known)), 4
        ),
        **{field: field_scores(pairs, field) for field in _FIELDS},
        "meaning_macro_f1": round(float(np.mean([scores["f1"] for scores in by_meaning.values()] or [0.0])), 4),
        "by_meaning": by_meaning,
    }, pairs


def describe_errors(pairs: list[Pair]) -> Iterator[str]:
    """One paragraph for each pair that does not agree in every field."""
    for pair in pairs:
        if pair.true and pair.read and all(_agrees(pair.true, pair.read, field) for field in _FIELDS):
            continue
        text = (pair.true or pair.read or {})["text"]
        yield f"{pair.patent_number}: {text}\n  truth {_fields_of(pair.true)}\n  read  {_fields_of(pair.read)}"


def _fields_of(statement: Statement | None) -> str:
    return "nothing" if statement is None else ", ".join(f"{field} {statement[field]}" for field in _FIELDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truth", type=Path, default=_DATA / "truth" / "broken_lines_dev.jsonl")
    parser.add_argument("--grants", type=Path, nargs="+", default=[_DATA / "redbook", _DATA / "xml"])
    parser.add_argument("--errors", type=int, default=0, help="number of wrong statements to list")
    arguments = parser.parse_args()
    scores, pairs = measure(read_truth(arguments.truth), read_patents(arguments.grants))
    for error in list(describe_errors(pairs))[: arguments.errors]:
        print(error)
    print(json.dumps({"benchmark": "claims", "reference": "the majority answer", **scores}))


if __name__ == "__main__":
    main()
