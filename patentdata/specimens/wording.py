"""The words of specimens: figure descriptions, claims, people and firms, as real grants word them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PERSPECTIVES = {
    "front": (35.0, 25.0), "top front": (30.0, 38.0), "front right": (55.0, 22.0), "front left": (-40.0, 24.0),
    "top rear": (145.0, 35.0), "rear": (215.0, 24.0), "bottom": (35.0, -35.0), "bottom rear": (150.0, -32.0),
    "top, front and right side": (42.0, 30.0), "": (38.0, 28.0),
}  # fmt: skip

_PHRASES = {
    "front": ("front view", "front elevational view", "front elevation view", "front side view"),
    "rear": ("rear view", "rear elevational view", "back view", "back elevational view"),
    "left": ("left side view", "left side elevational view", "left view", "left elevational view"),
    "right": ("right side view", "right side elevational view", "right view", "right elevational view"),
    "top": ("top view", "top plan view", "top plan view"),
    "bottom": ("bottom view", "bottom plan view", "bottom plan view"),
    "exploded": ("exploded view", "exploded perspective view"),
    "section": ("cross-sectional view", "sectional view"),
    "detail": ("enlarged view of a portion", "enlarged partial view"),
    "in_use": ("perspective view shown in use", "environmental view"),
}

FIRST_NAMES = (
    "Anna", "Wei", "James", "Hiroshi", "Maria", "Jürgen", "Sofía", "Erik", "Yuna", "Priya", "Thomas", "Chloé", "Olga",
    "Daniel", "Mehmet", "Laura", "Zoltán", "Emily", "Björn", "Ngozi", "Carlos", "Ingrid", "Michael", "Łukasz",
)  # fmt: skip
LAST_NAMES = (
    "Müller", "Chen", "Smith", "Tanaka", "García", "Åström", "Kim", "Özdemir", "Rossi", "Patel", "Nguyen", "Dubois",
    "Novák", "Johnson", "Sørensen", "Ivanova", "O'Brien", "Weiß", "Okafor", "Li", "Schmidt", "Walker", "Nowak", "Sato",
)  # fmt: skip
FIRMS = (
    "Northfield Design LLC", "Aurora Home Products, Inc.", "Kestrel & Sons Ltd.", "Brückner GmbH",
    "Lumen Works Co., Ltd.",
    "Pacific Outfitters, Inc.", "Atelier Fontaine S.A.S.", "Hanil Industries Co., Ltd.", "Cobalt Tools Corporation",
    "Ostermann AG", "Greenleaf Goods LLC", "Shenzhen Bright Future Technology Co., Ltd.", "Minato Seisakusho K.K.",
    "Harbor & Pine, Inc.", "Orion Mobility Inc.", "Svensson Möbler AB", "Delta Care Products LLC",
    "Ridgeline Gear, Inc.",
)  # fmt: skip
AGENTS = (
    "Fairbanks & Lowe LLP",
    "Hollis IP Law, P.C.",
    "Marten Grey LLP",
    "Quill Patent Group",
    "Dunmore & Hale, P.L.L.C.",
)
PLACES = (("Portland", "OR", "US"), ("Chicago", "IL", "US"), ("Austin", "TX", "US"), ("Stuttgart", "", "DE"),
          ("Lyon", "", "FR"), ("Seoul", "", "KR"), ("Tokyo", "", "JP"), ("Shenzhen", "", "CN"), ("Malmö", "", "SE"),
          ("Milan", "", "IT"), ("Taipei", "", "TW"), ("London", "", "GB"))  # fmt: skip
EXAMINERS = (
    ("Hart", "Susan"),
    ("Delgado", "Ramon"),
    ("Prewitt", "Anne K."),
    ("Lindqvist", "Karl"),
    ("Moss", "Terence"),
)


class Person(NamedTuple):
    """A natural person.

    Attributes:
        last: Last name.
        first: First name.
        place: City, state (empty outside the US) and country of residence.
    """

    last: str
    first: str
    place: tuple[str, str, str]


def draw_people(rng: np.random.Generator) -> list[Person]:
    """One to four inventors."""
    return [
        Person(_pick(rng, LAST_NAMES), _pick(rng, FIRST_NAMES), PLACES[rng.integers(len(PLACES))])
        for _ in range(int(rng.choice([1, 1, 1, 2, 2, 3, 4])))
    ]


def noun_phrase(title: str) -> str:
    """The title as a noun phrase within a sentence: "a mobile phone", "eyeglasses"."""
    words = title[0].lower() + title[1:]
    if words.endswith("s") and not words.endswith("ss"):
        return words
    return ("an " if words[0] in "aeiou" else "a ") + words


def viewpoint_words(viewpoint: str, direction: str, rng: np.random.Generator) -> str:
    """A viewpoint in the words of grants, without "a" or "an": "top front perspective view"."""
    if viewpoint == "perspective":
        word = rng.choice(["perspective view", "perspective view", "isometric view"])
        return f"{direction} {word}".strip()
    return _pick(rng, _PHRASES[viewpoint])


def first_sentence(words: str, title: str, num_inventors: int, rng: np.random.Generator) -> str:
    """What the first description says after its label."""
    owner = "our" if num_inventors > 1 else "my"
    thing = noun_phrase(title)
    tails = (f"of {thing} showing {owner} new design", f"of {thing}, showing {owner} new design", f"of {thing}",
             f"of an ornamental design for {thing}", f"of {thing} in accordance with {owner} new design",
             f"of a first embodiment of {thing}")  # fmt: skip
    return f"{_article(words)} {words} {_pick(rng, tails)}"


def further_sentence(words: str, mirror: str | None, rng: np.random.Generator) -> str:
    """What a later description says after its label; `mirror` names the opposite side if that is a mirror image."""
    text = f"{_article(words)} {words} {_pick(rng, ('thereof', 'thereof', 'thereof', 'of the same'))}"
    return f"{text}, the {mirror} side being a mirror image" if mirror else text


def claim_text(title: str, rng: np.random.Generator) -> str:
    """The one claim."""
    start = _pick(rng, ("The", "The", "The", "I claim the", "We claim the"))
    return f"{start} ornamental design for {noun_phrase(title)}, as shown and described."


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"


def _pick(rng: np.random.Generator, options: tuple) -> str:
    return options[int(rng.integers(len(options)))]
