"""What each detector of unfaithful captions finds, and what it leaves alone; `bench.faithfulness` measures them."""

from __future__ import annotations

import random
import time

import pytest

from patentdata.captions.faithfulness.detectors import DETECTORS, find_faults
from patentdata.captions.faithfulness.facts import Facts, facts_of
from patentdata.captions.prompts import load_prompt

VIEW = {
    "title": "Chair",
    "viewpoint": "front",
    "viewpoint_direction": None,
    "is_front_page": False,
    "description": "FIG. 1 is a front view of a three-legged chair;",
    "other_paragraphs": ["The broken lines show a cushion and form no part of the claimed design."],
    "uspc_class": "D6",
}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("viewpoint", "Seen from above, a round seat.", "Seen from above"),
        ("viewpoint", "A front view of a seat on legs.", ""),
        ("viewpoint", "A seat with a curved front.", None),
        ("article", "A table lamp with a shade.", "table lamp"),
        ("article", "A stool without a back.", ""),
        ("article", "A seat on legs.", None),
        ("colour", "The seat is red.", "red"),
        ("colour", "The seat is round.", ""),
        ("material", "A seat on wooden legs.", "wooden legs"),
        ("material", "A seat on legs.", ""),
        ("brand", "A chair with the Disney castle on its back.", "Disney"),
        ("scenery", "It is a chair standing on a lawn.", "standing on a lawn"),
        ("scenery", "A chair for a lawn.", ""),
        ("count", "A seat on four legs.", "four legs"),
        ("count", "A seat on two legs.", ""),
        ("count", "A seat with four slats.", None),
        ("broken", "The cushion in broken lines is part of the claimed design.", "is part of the"),
        ("broken", "The cushion is drawn in broken lines.", ""),
        ("broken", "A chair with a cushion.", None),
        ("prompt", "Plain, concrete words on a chair.", "plain concrete words"),
        ("prompt", "A front view of a chair.", ""),
    ],
)
def test_a_detector_quotes_what_is_wrong_and_says_nothing_of_what_it_cannot_judge(name, text, words):
    facts = facts_of(VIEW, {"prompt_text": load_prompt("views").ask(VIEW).text})
    assert find_faults(text, facts).get(name) == words


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("A red lens.", Facts(title="Traffic signal", statements="The top lens is red.")),
        ("A wooden bench.", Facts(title="Wood bench")),
        ("A Lego brick.", Facts(title="Display for Lego bricks")),
        ("Four legs.", Facts(title="Table", description="FIG. 1 shows a table with four legs;")),
        ("The legs are in broken lines.", Facts(title="Table", description="the legs shown in broken lines")),
        ("A lamp on a table.", Facts(title="Lamp", viewpoint="in_use")),
        ("From the top, a disc.", Facts(title="Lid", viewpoint="perspective", direction="top front")),
    ],
)
def test_what_the_grant_says_itself_is_not_a_fault(text, facts):
    assert not [name for name, words in find_faults(text, facts).items() if words]


def test_a_view_without_facts_can_be_judged_by_its_words_alone():
    facts = facts_of({"title": None, "viewpoint": None, "other_paragraphs": None}, {})
    assert find_faults("A red table lamp seen from above.", facts) == {
        "colour": "red",
        "material": "",
        "brand": "",
        "scenery": "",
    }


def test_a_detector_needs_time_in_proportion_to_the_length_of_a_caption():
    facts = facts_of(VIEW, {"prompt_text": "word " * 3_000})
    words = [
        "a",
        "the",
        "seen",
        "from",
        "on",
        "of",
        "red",
        "three",
        "standing",
        "is",
        "wooden",
        "used",
        "as",
        ",",
        "to",
    ]
    chosen = random.Random(0).choices(words, k=50_000)
    for text in (" ".join(chosen), "a " * 50_000, "seen from the " * 20_000, "three " * 40_000, "x" * 200_000):
        started = time.process_time()
        find_faults(text, facts)
        assert time.process_time() - started < 1, text[:20]


def test_every_detector_has_a_definition_and_a_name_of_its_own():
    assert len({detector.name for detector in DETECTORS}) == len(DETECTORS) == 9
    assert all(detector.definition.endswith(".") for detector in DETECTORS)
