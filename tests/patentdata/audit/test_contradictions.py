"""Captions that contradict the grant."""

import pytest

from patentdata.audit.contradictions import find_contradictions

VIEW = {
    "title": "Chair",
    "viewpoint": "front",
    "viewpoint_direction": None,
    "uspc_class": "D6",
    "locarno_class": "06-01",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Front view of a chair, classed under furnishings", {}),
        ("Rear view of a chair", {"viewpoint": "front"}),
        ("This is a bottle with a handle, seen from the front.", {"article": "Chair"}),
        ("A chair that is classed under lighting.", {"class": "Furnishing / Furnishings"}),
        ("A chair that belongs to the class of Musical Instruments.", {"class": "Furnishing / Furnishings"}),
        ("A chair that belongs to the class of Furnishing.", {}),
        ("A chair next to its lighting.", {}),
        (None, {}),
    ],
)
def test_a_contradiction_says_what_the_grant_declares(text, expected):
    found = find_contradictions(7, VIEW | {"text": text})
    assert {one.kind: one.declared for one in found} == expected


def test_words_that_the_grant_uses_itself_are_not_wrong():
    text = "This is a bottle with a handle."
    assert [found.kind for found in find_contradictions(0, VIEW | {"text": text})] == ["article"]
    view = VIEW | {"text": text, "description": "FIG. 1 is a front view of a chair for a bottle"}
    assert not list(find_contradictions(0, view))
