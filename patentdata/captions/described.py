"""Captions from a template filled with the grant's own words: title, viewpoint and class.

They need no model, and serve as a baseline: their wording makes clear that nothing in them was seen in the picture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from patentdata import classes
from patentdata.captions import clip_tokens
from patentdata.captions.captioner import Row, cache_key
from patentdata.errors import ConfigError

DESCRIBED_PROMPT = "described/1"  # name and version of the wording below; raise it when a word changes

_WORDING = {  # viewpoint → phrase for the view
    "perspective": "Perspective view of {}",
    "front": "Front view of {}",
    "rear": "Rear view of {}",
    "left": "Left side view of {}",
    "right": "Right side view of {}",
    "top": "Top view of {}",
    "bottom": "Bottom view of {}",
    "side": "Side view of {}",
    "section": "Sectional view of {}",
    "detail": "Detail view of {}",
    "exploded": "Exploded view of {}",
    "in_use": "View of {} in use",
    "other": "View of {}",
    "none": "View of {}",
}
_FRONT_PAGE_WORDING = "Front-page drawing of {}"
_UNNAMED_ARTICLE = "an article"

# Mass nouns, which like plurals take neither "a" nor "an".
_MASS_NOUNS = frozenset(
    [
        "apparel",
        "bedding",
        "cabinetry",
        "carpet",
        "carpeting",
        "ceramic",
        "clothing",
        "cloth",
        "cookware",
        "cutlery",
        "decking",
        "drinkware",
        "edging",
        "equipment",
        "eyewear",
        "fabric",
        "fencing",
        "flatware",
        "flooring",
        "food",
        "footwear",
        "furniture",
        "glassware",
        "hardware",
        "headgear",
        "headwear",
        "hosiery",
        "jewelry",
        "jewellery",
        "knitwear",
        "lace",
        "lighting",
        "luggage",
        "machinery",
        "millwork",
        "molding",
        "neckwear",
        "outerwear",
        "packaging",
        "paneling",
        "paper",
        "pasta",
        "piping",
        "playground",
        "ribbon",
        "roofing",
        "seating",
        "sheeting",
        "siding",
        "signage",
        "silverware",
        "sleepwear",
        "software",
        "stationery",
        "stemware",
        "swimwear",
        "tableware",
        "tape",
        "tile",
        "tiling",
        "tooling",
        "trim",
        "tubing",
        "underwear",
        "upholstery",
        "wallpaper",
        "webbing",
        "wire",
        "yarn",
    ]
)
# Singular nouns that end in "s".
_SINGULARS_IN_S = frozenset(
    ["apparatus", "bus", "canvas", "chassis", "gas", "iris", "lens", "mattress", "plus", "trellis", "truss"]
)
_DETERMINERS = frozenset(["a", "an", "the", "my", "our", "this", "these", "one", "two", "three", "four"])
# What follows one of these only qualifies the head noun: "display screen | with graphical user interface".
_HEAD_ENDS = re.compile(r"[,;:(]|\b(?:with|for|of|having|in|on|to|or|and|from|including|featuring)\b", re.IGNORECASE)
_SPOKEN_WITH_A = re.compile(
    r"(?:eu|ew|one\b|once\b|u[bcfhjkqrst][aeiou]|uni(?!n|m)|usb\b|uv\b|ufo\b|utility)", re.IGNORECASE
)
_SPOKEN_WITH_AN = re.compile(r"(?:[aeiou]|8|1[18](?!\d)|hour|honou?r|heir|honest)", re.IGNORECASE)
_LETTERS_SPOKEN_WITH_AN = "AEFHILMNORSX"


@dataclass(frozen=True, kw_only=True)
class DescribedConfig:
    """Settings of the template captions.

    Attributes:
        max_tokens: Longest text in CLIP tokens, start and end tokens included; longer titles are shortened.
    """

    max_tokens: int = clip_tokens.CONTEXT_LENGTH

    def __post_init__(self) -> None:
        if not 40 <= self.max_tokens <= clip_tokens.CONTEXT_LENGTH:
            raise ConfigError(
                f"max_tokens is {self.max_tokens}; choose 40 (room for viewpoint and class) to "
                f"{clip_tokens.CONTEXT_LENGTH}"
            )


class TemplateCaptioner:
    """Captions from title, viewpoint and class title; the Locarno class is used if the US class is unknown."""

    name = "described"
    needs_images = False
    lines = "all"
    other_fields = None

    def __init__(self, config: DescribedConfig | None = None) -> None:
        self.config = config or DescribedConfig()

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"captioner": self.name, "prompt": DESCRIBED_PROMPT, **asdict(self.config)}

    def caption(self, views: Iterable[Row]) -> Iterator[Row]:
        """See `Captioner`; every view gets a text, which is shortened if "finish_reason" is "length"."""
        for view in views:
            yield self._caption_view(view)

    def _caption_view(self, view: Row) -> Row:
        wording = wording_of(view["viewpoint"], view["viewpoint_direction"], is_front_page=view["is_front_page"])
        class_title = class_title_of(view.get("uspc_class"), view.get("locarno_class"))
        words = (view.get("title") or "").split()
        num_words = min(len(words), self.config.max_tokens)  # a word is one token or more
        texts = describe(" ".join(words[:num_words]), wording, class_title)
        while not clip_tokens.fits(texts.values(), self.config.max_tokens):
            num_words -= 1  # only the title has unbounded length
            texts = describe(" ".join(words[:num_words]), wording, class_title)
        source = json.dumps([DESCRIBED_PROMPT, wording, words, class_title, asdict(self.config)])
        return {
            "view_id": view["view_id"],
            **texts,
            "captioner": self.name,
            "model": None,
            "revision": None,
            "prompt": DESCRIBED_PROMPT,
            "prompt_text": None,
            "answer": None,
            "temperature": None,
            "num_answers": 0,
            "num_tokens": clip_tokens.num_tokens(texts["text"]),
            "finish_reason": "stop" if num_words == len(words) else "length",
            "image_sha256": view["image_sha256"],
            "cache_key": cache_key(view["image_sha256"], source, model=None, sampling={}),
        }


def class_title_of(uspc_class: str | None, locarno_class: str | None) -> str | None:
    """Title of the US class, or else of the Locarno class; None if neither is known.

    >>> class_title_of(None, "06-01")
    'Furnishing'
    """
    title = classes.USPC_TITLES.get(uspc_class or "")
    return title or classes.LOCARNO_TITLES.get((locarno_class or "")[:2])


def wording_of(viewpoint: str, direction: str | None, *, is_front_page: bool) -> str:
    """Phrase for a view, with "{}" for the article.

    >>> wording_of("perspective", "top front", is_front_page=False)
    'Top front perspective view of {}'
    """
    if is_front_page:
        return _FRONT_PAGE_WORDING
    wording = _WORDING.get(viewpoint, _WORDING["other"])
    if viewpoint == "perspective" and direction:
        return f"{direction[:1].upper()}{direction[1:]} {wording[:1].lower()}{wording[1:]}"
    return wording


def describe(title: str, wording: str, class_title: str | None) -> dict[str, str]:
    """The texts of one view: "shape", "function", and both in one sentence, "text".

    >>> describe("Office chair", "Top view of {}", "Furnishings")["text"]
    'Top view of an office chair, classed under furnishings'
    """
    article = with_article(title)
    classed = f", classed under {_spoken(class_title)}" if class_title else ""
    shape = wording.format(article)
    return {
        "text": shape + classed,
        "shape": shape,
        "function": article[:1].upper() + article[1:] + classed,
    }


def _spoken(class_title: str) -> str:
    """A class title as it reads within a sentence: "machines" for "Machines Not Elsewhere Specified"."""
    return re.sub(r",? not elsewhere specified\b", "", class_title.lower()).replace(";", ",")


def with_article(title: str) -> str:
    """A title as it reads in the middle of a sentence, with "a", "an" or no article.

    >>> [with_article(title) for title in ("Chair", "LED lamp", "Pair of earrings", "Earrings", "Footwear", "")]
    ['a chair', 'an LED lamp', 'a pair of earrings', 'earrings', 'footwear', 'an article']
    """
    title = title.strip(" .,;:")
    if not title:
        return _UNNAMED_ARTICLE
    title = title.lower() if title.isupper() and " " in title else _uncapitalised(title)
    first = title.split()[0]
    if first.lower() in _DETERMINERS:
        return title[0].lower() + title[1:]
    if first.isdigit():  # a count
        return title
    head = (_HEAD_ENDS.split(title, maxsplit=1)[0].split() or [first])[-1].lower()
    if head in _MASS_NOUNS or _is_plural(head):
        return title
    return f"{'an' if _is_spoken_with_an(first) else 'a'} {title}"


def _is_plural(noun: str) -> bool:
    return (noun.endswith("s") and not noun.endswith(("ss", "us", "is")) and noun not in _SINGULARS_IN_S) or noun in {
        "men",
        "women",
        "children",
        "feet",
        "teeth",
    }


def _is_spoken_with_an(word: str) -> bool:
    """Whether a word is preceded by "an", going by its sound: "an hour", "a uniform", "an LCD"."""
    is_spelled_out = (word.isupper() and (len(word) == 1 or not re.search("[AEIOUY]", word[1:]))) or word == "LED"
    if is_spelled_out or re.match(r"[A-Z]-", word):  # T-shirt, LCD, USB
        return word[0] in _LETTERS_SPOKEN_WITH_AN
    return bool(_SPOKEN_WITH_AN.match(word)) and not _SPOKEN_WITH_A.match(word)


def _uncapitalised(title: str) -> str:
    """`title` with a lower-case first letter, unless its first word is an acronym or has unusual capitals."""
    first = re.split(r"[\s-]", title, maxsplit=1)[0]
    if len(first) > 1 and first[1:].islower() and first[0].isupper():
        return title[0].lower() + title[1:]
    return title
