"""Accuracy of the viewpoint and the object read from a figure's sentence, against tags set by people.

    python -m bench.viewpoints [PATH/viewpoints/train.txt] [--errors N]

The reference is BIO tags set by hand: OBJECT, and ASPECT for the words that name the viewpoint. A description counts if
its first ASPECT names one of the viewpoints. The rules were written with the first half of the descriptions in view;
`held_out` is the second half. `chance` is the share of the most frequent viewpoint. `references_read` counts the
irregular figure references of 2020, in the same data folder, from which labels are read. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from patentdata.grants.figure_descriptions import describe_figures
from patentdata.grants.references import expand_references

_DEFAULT = Path(os.environ.get("DESIGNCLIP_REAL_DATA", "../shared/data")) / "viewpoints" / "train.txt"

# The viewpoint that tagged words mean, tested in this order; independent of the rules that are measured.
_MEANINGS = (
    ("section", r"section"),
    ("exploded", r"explod"),
    ("in_use", r"environment|in[ -]use"),
    ("detail", r"detail|partial|fragment|zoom|close"),
    ("perspective", r"perspective|prospective|isometric|axonometric"),
    ("left", r"left"),
    ("right", r"right"),
    ("rear", r"rear|back"),
    ("front", r"front"),
    ("bottom", r"bottom|lower|underside"),
    ("top", r"top|upper|overhead|plan"),
    ("side", r"side|elevation|profile|\bend\b"),
    ("detail", r"enlarge|magnif"),
)


@dataclass(frozen=True, kw_only=True)
class TaggedDescription:
    """One tagged description: its text, and the words tagged as aspects and objects."""

    text: str
    aspects: tuple[str, ...]
    objects: tuple[str, ...]


def read_descriptions(text: str) -> Iterator[TaggedDescription]:
    """The descriptions of a BIO file: one token and its tag per line, a blank line after each description."""
    for block in text.split("\n\n"):
        lines = [line.rsplit(" ", 1) for line in block.splitlines() if " " in line]
        spans: list[tuple[str, list[str]]] = []
        for token, tag in lines:
            if tag.startswith("B-"):
                spans.append((tag[2:], [token]))
            elif tag.startswith("I-") and spans:
                spans[-1][1].append(token)
        if lines:
            yield TaggedDescription(
                text=_printed(token for token, _ in lines),
                aspects=tuple(_printed(words) for name, words in spans if name == "ASPECT"),
                objects=tuple(_printed(words) for name, words in spans if name == "OBJECT"),
            )


def _printed(tokens: Iterator[str] | list[str]) -> str:
    """Tokens joined with the spaces of printed text: "FIG. 1", "top, front"."""
    text = re.sub(r"\s+([.,;:)])", r"\1", " ".join(tokens))
    return re.sub(r"([(/])\s+|\s+(?=/)", r"\1", text).replace(" - ", "-")


def meaning_of(aspect: str) -> str | None:
    """The viewpoint that the tagged words name; None if they do not name one of the list."""
    return next((name for name, pattern in _MEANINGS if re.search(pattern, aspect, re.IGNORECASE)), None)


def measure(descriptions: list[TaggedDescription]) -> tuple[dict[str, float | int], list[str]]:
    """Accuracy of viewpoints and objects, and one line for each error."""
    right, num_objects, right_objects, errors = 0, 0, 0, []
    expected = Counter()
    for item in descriptions:
        figures, _ = describe_figures([item.text], title="", num_figures=1)
        figure = figures[0] if figures else {"viewpoint": "no figure", "object": None}
        wanted = meaning_of(item.aspects[0])
        expected[wanted] += 1
        if figure["viewpoint"] == wanted:
            right += 1
        else:
            errors.append(f"viewpoint {figure['viewpoint']} for {wanted} ({item.aspects[0]}): {item.text}")
        if item.objects:
            num_objects += 1
            found = (figure["object"] or "").lower()
            if found in {name.lower() for name in item.objects}:
                right_objects += 1
            else:
                errors.append(f"object {figure['object']!r} for {item.objects}: {item.text}")
    return {
        "num_descriptions": len(descriptions),
        "viewpoint_accuracy": round(right / max(1, len(descriptions)), 4),
        "chance": round(max(expected.values(), default=0) / max(1, len(descriptions)), 4),
        "num_objects": num_objects,
        "object_accuracy": round(right_objects / max(1, num_objects), 4),
    }, errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", default=_DEFAULT)
    parser.add_argument("--errors", type=int, default=0, help="number of errors of the first half to list")
    arguments = parser.parse_args()
    tagged = [
        item
        for item in read_descriptions(arguments.path.read_text(encoding="cp1252"))
        if item.aspects and meaning_of(item.aspects[0])
    ]
    # The rules may have been fitted to the first half only.
    half = len(tagged) // 2
    started = time.perf_counter()
    first, errors = measure(tagged[:half])
    held_out, _ = measure(tagged[half:])
    seconds = time.perf_counter() - started
    both, _ = measure(tagged)
    for error in errors[: arguments.errors]:
        print(error)
    references = arguments.path.parent.parent / "figure_references.txt"
    lines = references.read_text(encoding="utf-8").splitlines() if references.exists() else []
    result = {
        "benchmark": "viewpoints",
        "reference": "ASPECT and OBJECT tags set by hand",
        **both,
        "first_half": first,
        "held_out": held_out,
        "num_references": len(lines),
        "references_read": sum(bool(expand_references(line.split(":", 1)[1])) for line in lines),
        "descriptions_per_s": round(len(tagged) / seconds),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
