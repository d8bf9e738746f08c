"""How often the viewpoint and the object read from a figure's sentence are the ones people tagged there.

    python -m bench.viewpoints [PATH/viewpoints/train.txt] [--errors N]

The reference is hand-set BIO tags: OBJECT, and ASPECT for the words that name the viewpoint. A description counts
where its first ASPECT names one of the viewpoints. The rules were written with the first half in view, and `held_out`
is the second half. `chance` is the share of the commonest viewpoint. `references_read` counts the irregular figure
references of 2020 beside it that give labels. Prints one JSON line.
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

# What the tagged words mean, tested in this order; independent of the rules that are measured.
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
class Described:
    """One tagged description: its text, and the words tagged in it."""

    text: str
    aspects: tuple[str, ...]
    objects: tuple[str, ...]


def read_descriptions(text: str) -> Iterator[Described]:
    """The descriptions of a BIO file: a token and its tag a line, a blank line after each."""
    for block in text.split("\n\n"):
        lines = [line.rsplit(" ", 1) for line in block.splitlines() if " " in line]
        spans: list[tuple[str, list[str]]] = []
        for token, tag in lines:
            if tag.startswith("B-"):
                spans.append((tag[2:], [token]))
            elif tag.startswith("I-") and spans:
                spans[-1][1].append(token)
        if lines:
            yield Described(
                text=_printed(token for token, _ in lines),
                aspects=tuple(_printed(words) for name, words in spans if name == "ASPECT"),
                objects=tuple(_printed(words) for name, words in spans if name == "OBJECT"),
            )


def _printed(tokens: Iterator[str] | list[str]) -> str:
    """Tokens joined the way print has them: "FIG. 1", "top, front"."""
    text = re.sub(r"\s+([.,;:)])", r"\1", " ".join(tokens))
    return re.sub(r"([(/])\s+|\s+(?=/)", r"\1", text).replace(" - ", "-")


def meaning_of(aspect: str) -> str | None:
    """The viewpoint that the tagged words name; None where they name none of the list."""
    return next((name for name, pattern in _MEANINGS if re.search(pattern, aspect, re.IGNORECASE)), None)


def measure(described: list[Described]) -> tuple[dict[str, float | int], list[str]]:
    """Shares of right viewpoints and objects, and one line for each miss."""
    right, num_objects, right_objects, misses = 0, 0, 0, []
    expected = Counter()
    for item in described:
        figures, _ = describe_figures([item.text], title="", num_figures=1)
        figure = figures[0] if figures else {"viewpoint": "no figure", "object": None}
        wanted = meaning_of(item.aspects[0])
        expected[wanted] += 1
        if figure["viewpoint"] == wanted:
            right += 1
        else:
            misses.append(f"viewpoint {figure['viewpoint']} for {wanted} ({item.aspects[0]}): {item.text}")
        if item.objects:
            num_objects += 1
            found = (figure["object"] or "").lower()
            if found in {name.lower() for name in item.objects}:
                right_objects += 1
            else:
                misses.append(f"object {figure['object']!r} for {item.objects}: {item.text}")
    return {
        "num_descriptions": len(described),
        "viewpoint_accuracy": round(right / max(1, len(described)), 4),
        "chance": round(max(expected.values(), default=0) / max(1, len(described)), 4),
        "num_objects": num_objects,
        "object_accuracy": round(right_objects / max(1, num_objects), 4),
    }, misses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=_DEFAULT)
    parser.add_argument("--errors", type=int, default=0, help="list this many misses of the first half")
    arguments = parser.parse_args()
    tagged = [
        item
        for item in read_descriptions(arguments.path.read_text(encoding="cp1252"))
        if item.aspects and meaning_of(item.aspects[0])
    ]
    half = len(tagged) // 2
    started = time.perf_counter()
    first, misses = measure(tagged[:half])
    held_out, _ = measure(tagged[half:])
    seconds = time.perf_counter() - started
    both, _ = measure(tagged)
    for miss in misses[: arguments.errors]:
        print(miss)
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
