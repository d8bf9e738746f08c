"""Precision and recall of the detectors of unfaithful captions, on captions written by hand.

    python -m bench.faithfulness [--errors N]

The reference is two lists: each line is a caption with what is known of its view, and the faults that a person finds in
it. The detectors were fitted to the captions of `faithfulness.txt`, and not changed for those of
`faithfulness_held_out.txt`. Every detector judges every caption. Prints one JSON line.

`faithfulness_drawn.txt` has captions of drawn articles, with what was drawn, for the detectors that compare captions
with the drawing of specimens. They were written before these detectors; the first measurement is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

from patentdata.captions.faithfulness.detectors import DETECTORS, find_faults
from patentdata.captions.faithfulness.drawing import DRAWING_DETECTORS, Drawn, find_drawing_faults
from patentdata.captions.faithfulness.facts import Facts, facts_of
from patentdata.captions.prompts import load_prompt

FITTED, HELD_OUT, DRAWN = (Path(__file__).with_name(f"faithfulness{end}.txt") for end in ("", "_held_out", "_drawn"))


@dataclass(frozen=True)
class JudgedCaption:
    """One caption of the list: its text, the facts of its view, and the names of its faults."""

    text: str
    facts: Facts
    faults: frozenset[str]


def read_captions(path: Path) -> list[JudgedCaption]:
    """The captions of a list; its head says what the parts of a line are."""
    lines = path.read_text().splitlines()
    return [_read_line(line) for line in lines if line and not line.startswith("#")]


def _read_line(line: str) -> JudgedCaption:
    faults, title, viewpoint, grant, text = (part.strip() for part in line.split("|"))
    name, _, direction = viewpoint.partition(":")
    view = {
        "title": title,
        "viewpoint": name,
        "viewpoint_direction": direction or None,
        "is_front_page": False,
        "description": grant if grant.startswith("FIG.") else None,
        "other_paragraphs": [] if grant.startswith("FIG.") else [grant],
    }
    facts = facts_of(view, {"prompt_text": load_prompt("views").ask(view).text})
    return JudgedCaption(text, facts, frozenset(faults.split("+")) - {"-"})


@dataclass(frozen=True)
class DrawnCaption:
    """One caption of a drawn article: its text, what was drawn, the viewpoint, and the names of its faults."""

    text: str
    drawn: Drawn
    viewpoint: str
    faults: frozenset[str]

    @property
    def found(self) -> dict[str, str]:
        """Name of each detector that finds a fault → the words."""
        found = find_drawing_faults(self.text, self.drawn, self.viewpoint)
        return {name: words for name, words in found.items() if words}


def read_drawn_captions(path: Path) -> list[DrawnCaption]:
    """The captions of a list of drawn articles; its head says what the parts of a line are."""
    captions = []
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            continue
        faults, shape, parts, viewpoint, text = (part.strip() for part in line.split("|"))
        counts = {kind: int(num) for kind, num in (part.split() for part in parts.split(","))}
        captions.append(DrawnCaption(text, Drawn(shape, counts), viewpoint, frozenset(faults.split("+")) - {"-"}))
    return captions


def measure_drawn(captions: list[DrawnCaption]) -> dict[str, dict[str, float | int]]:
    """As `measure`, of the detectors that compare with the drawing."""
    names = [detector.name for detector in DRAWING_DETECTORS]
    return _scores(names, [item.faults for item in captions], [set(item.found) for item in captions])


def measure(captions: list[JudgedCaption]) -> dict[str, dict[str, float | int]]:
    """Detector → number of captions with its fault, precision and recall; also over all of them."""
    found = [{name for name, words in find_faults(item.text, item.facts).items() if words} for item in captions]
    return _scores([detector.name for detector in DETECTORS], [item.faults for item in captions], found)


def _scores(
    names: list[str], wanted_of: list[frozenset[str]], found: list[set[str]]
) -> dict[str, dict[str, float | int]]:
    """Name of a detector, and "all" → number of captions with its fault, precision and recall."""
    measured = {}
    for name in (*names, "all"):
        wanted = [faults if name == "all" else faults & {name} for faults in wanted_of]
        said = [faults if name == "all" else faults & {name} for faults in found]
        num_right = sum(len(one & other) for one, other in zip(wanted, said, strict=True))
        num_said, num_wanted = sum(map(len, said)), sum(map(len, wanted))
        measured[name] = {
            "num": num_wanted,
            "precision": round(num_right / num_said, 3) if num_said else 0.0,
            "recall": round(num_right / num_wanted, 3) if num_wanted else 0.0,
        }
    return measured


def errors_of(captions: list[JudgedCaption]) -> list[str]:
    """One line for each fault that is missed or found in vain."""
    errors = []
    for item in captions:
        found = {name: words for name, words in find_faults(item.text, item.facts).items() if words}
        errors += [f"missed {name}: {item.text}" for name in sorted(item.faults - found.keys())]
        errors += [
            f"wrongly {name} ({words}): {item.facts.title} | {item.text}"
            for name, words in found.items()
            if name not in item.faults
        ]
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", type=int, default=0, help="number of errors of the fitted captions to list")
    arguments = parser.parse_args()
    fitted, held_out = read_captions(FITTED), read_captions(HELD_OUT)
    drawn = read_drawn_captions(DRAWN)
    for error in errors_of(fitted)[: arguments.errors]:
        print(error)
    started = time.process_time()
    first = measure(fitted)
    seconds = time.process_time() - started
    result = {
        "bench": "faithfulness",
        "reference": "faults found by a person",
        "num_captions": [len(fitted), len(held_out)],
        "fitted": first,
        "held_out": measure(held_out),
        "num_drawn_captions": len(drawn),
        "drawn": measure_drawn(drawn),
        "ms_a_caption": round(1000 * seconds / len(fitted), 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
