"""Detectors of captions that contradict the grant, or say what a line drawing cannot show.

None of them sees the picture. Each compares the words of a caption with facts that are known without a second model, so
the rates cost no GPU and mean the same in every week. What a detector finds is nearly always wrong; what it does not
find may still be wrong: it reads only the patterns below. `bench.faithfulness` measures each on captions written by
hand, and `docs/captions.md` has its precision and recall.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from patentdata.captions.faithfulness import vocabulary
from patentdata.captions.faithfulness.facts import Facts

_MAX_CHARS = 4_000  # of a caption that are read
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_LETTERS_OR_DIGITS = re.compile(r"[a-zà-ÿ]+|[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Detector:
    """One kind of unfaithful statement.

    Attributes:
        name: Name of the kind.
        title: Short title for tables.
        definition: What exactly is counted, in a sentence, and of which captions it is a share.
        find: Takes a caption and the facts of its view. Returns the words that are wrong, "" if nothing is, or None if
            the caption says nothing that could be judged.
        triggers: Words in lower case without one of which `find` finds nothing, so that most captions cost no search;
            None if it has to look at every caption.
        without_triggers: What it returns for a caption without them.
    """

    name: str
    title: str
    definition: str
    find: Callable[[str, Facts], str | None]
    triggers: frozenset[str] | None = None
    without_triggers: str | None = None

    def judge(self, text: str, words: frozenset[str], facts: Facts) -> str | None:
        """What `find` returns; `words` are those of the caption in lower case."""
        if self.triggers is not None and self.triggers.isdisjoint(words):
            return self.without_triggers
        return self.find(text, facts)


def find_faults(text: str, facts: Facts) -> dict[str, str]:
    """Name of each detector that could judge a caption → the words that are wrong, or "" if nothing is.

    >>> find_faults("A red lamp, seen from above.", Facts(title="Chair", viewpoint="front"))["colour"]
    'red'
    """
    line = " ".join(text[:_MAX_CHARS].split())
    said = frozenset(_LETTERS_OR_DIGITS.findall(line.lower()))
    found = ((detector.name, detector.judge(line, said, facts)) for detector in DETECTORS)
    return {name: words for name, words in found if words is not None}


_ENDS = ("", "s", "es")  # of nouns


def _words_in(*patterns: str) -> frozenset[str]:
    """The words in patterns of the vocabulary."""
    words = (word for pattern in patterns for word in _LETTERS_OR_DIGITS.findall(pattern.lower()))
    return frozenset(word for word in words if len(word) > 1)


# The viewpoint.

_SIDES = {
    "front": "front", "frontal": "front", "head-on": "front", "rear": "rear", "back": "rear", "behind": "rear",
    "top": "top", "above": "top", "overhead": "top", "top-down": "top", "plan": "top", "bird's-eye": "top",
    "bottom": "bottom", "below": "bottom", "underneath": "bottom", "beneath": "bottom", "underside": "bottom",
    "left": "left", "right": "right", "side": "side", "lateral": "side", "profile": "side", "end": "side",
    "perspective": "perspective", "isometric": "perspective", "three-quarter": "perspective", "angle": "perspective",
    "angled": "perspective", "oblique": "perspective",
    "cross-section": "section", "cross-sectional": "section", "sectional": "section", "exploded": "exploded",
}  # fmt: skip
_SIDE = "|".join(sorted((re.escape(side) for side in _SIDES), key=len, reverse=True))
_SIDES_SAID = rf"(?:{_SIDE})(?:(?: and |, )(?:slightly )?(?:the )?(?:{_SIDE}))*"
_SAID_VIEW = re.compile(
    # "a left side view", "a top plan view", "in side elevation", "a bird's-eye view"
    rf"\b(?P<named>(?:{_SIDE})(?:(?:[ ,-]+(?:and )?|-hand )(?:{_SIDE}))*)(?:-hand)? "
    r"(?:(?:plan|elevational|perspective) )?(?:view|elevation|profile)\b"
    # "seen from above", "viewed straight from the front", "a view from behind"
    r"|\b(?:seen|viewed|shown|depicted|drawn|pictured|looking|view|photographed)\b[^.,;]{0,24}?\b(?:from|at) "
    rf"(?:slightly |directly |straight )?(?:the |its |an? )?(?P<from>{_SIDES_SAID})\b"
    # "From the top, …", "In profile, …", "a cross-section of", "head-on"
    rf"|(?:^|[.;] )from (?:the )?(?P<began>{_SIDE})\b(?=,)"
    r"|\bin (?P<alone>profile|cross-section)\b|\b(?P<cut>cross-section) of\b|\b(?P<bare>head-on|bird's-eye)\b"
    r"|\b(?P<drawn>perspective|isometric|three-quarter) (?:of|drawing|rendering)\b",
    re.IGNORECASE,
)
_VIEW_TRIGGERS = frozenset(
    [
        *("view", "elevation", "profile", "seen", "viewed", "shown", "depicted", "drawn", "pictured", "looking"),
        *("photographed", "from", "perspective", "isometric", "quarter", "cross", "section", "head", "bird", "drawing"),
    ]
)
# Declared viewpoint → the ways to say it.
_SAME_VIEW = {
    "front": {"front"},
    "rear": {"rear"},
    "left": {"left", "side"},
    "right": {"right", "side"},
    "side": {"side", "left", "right"},
    "top": {"top"},
    "bottom": {"bottom"},
}
_OPPOSITE = {"front": "rear", "rear": "front", "left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def _find_viewpoint(text: str, facts: Facts) -> str | None:
    """A viewpoint that is said and is not the one declared."""
    matches = [match for match in _SAID_VIEW.finditer(text.replace("’", "'")) if match.group().strip()]
    said = {_SIDES[side.lower()] for match in matches for side in re.findall(_SIDE, _said_in(match), re.IGNORECASE)}
    if not said or facts.viewpoint not in (*_SAME_VIEW, "perspective"):
        return None
    if facts.viewpoint == "perspective":
        declared = set((facts.direction or "").split())
        # Only a side that is turned away cannot be seen; any other may be in view.
        is_wrong = not said & {"perspective", *declared} and (
            bool(said & {_OPPOSITE[side] for side in declared if side in _OPPOSITE}) or said <= {"section", "exploded"}
        )
    else:
        is_wrong = not said & _SAME_VIEW[facts.viewpoint]
    return matches[0].group().strip(" .;") if is_wrong else ""


def _said_in(match: re.Match[str]) -> str:
    return next(words for words in match.groups() if words)


# The article.

_PHRASE_END = (
    r"(?=\s+(?:with|having|has|have|that|which|whose|who|of|on|in|for|from|and|or|is|are|was|made|joined|used|to|at|by|"
    r"below|above|over|under|around|near|next|between|beside|inside|without|resembling|shaped|standing|sitting|parked|"
    r"leaning|lying|placed|mounted|among|behind|against|into|through|painted|consisting|comprising|featuring)\b|[.,;:]|$)"
)
_NAMED_ARTICLE = re.compile(  # within a look-ahead, since "This object is a …" has two subjects that overlap
    r"(?=(?:(?:^|[.;] )|\b(?:image|picture|drawing|figure) (?:shows|depicts|is) |"
    r"\b(?:this|it|article|object|design) is |\b(?:used|serves?|acts?|functions?) as |\bresembles )"
    r"(?:an?|the|this) (?:pair of |set of |type of |kind of |image of an? )?"
    rf"(?P<phrase>[a-z][a-z'’-]*(?: [a-z][a-z'’-]*){{0,4}}?){_PHRASE_END})",
    re.IGNORECASE,
)
_TITLE_HEAD = re.compile(r"^(.*?)(?:\b(?:with|for|of|having|including|and|or)\b|[,;:(]|$)")


def _find_article(text: str, facts: Facts) -> str | None:
    """An article that the caption names as its subject, and that is called otherwise in the title."""
    title = _joined(facts.title.lower())
    head = _TITLE_HEAD.match(title)
    declared = _last_article(_WORD.findall(head[1] if head else title))
    if declared is None:
        return None
    is_judged = False
    for match in _NAMED_ARTICLE.finditer(_joined(text)):
        named = _last_article(_WORD.findall(match["phrase"].lower()))
        if named is None or named in vocabulary.GENERAL_ARTICLES:
            continue
        is_judged = True
        is_same = bool(vocabulary.ARTICLES[named] & vocabulary.ARTICLES[declared])
        if not is_same and not {named, f"{named}s"} & facts.grant_words:
            return match["phrase"]
    return "" if is_judged else None


def _joined(text: str) -> str:
    """`text` with compound names of articles as one word."""
    for compound, word in vocabulary.COMPOUNDS.items():
        text = re.sub(compound, word, text, flags=re.IGNORECASE)
    return text


def _last_article(words: list[str]) -> str | None:
    """The article that a noun phrase names, which is its last word, in the singular; None if it is not a known one."""
    if not words:
        return None
    for word in (words[-1], words[-1].removesuffix("s"), words[-1].removesuffix("es")):
        if word in vocabulary.ARTICLES:
            return word
    return None


# What a line drawing cannot show.

_COLOUR = re.compile(
    rf"(?<!\bto )\b(?P<colour>{vocabulary.COLOURS})\b(?!-?(?:light|shaped|house|board|bird|berry)\b)|"
    rf"\b(?P<neutral>{vocabulary.NEUTRAL_COLOURS})[- ]colou?red\b|"
    rf"\b(?:painted|coloured|colored|dyed|colou?r is|in) (?P<painted>{vocabulary.NEUTRAL_COLOURS})\b(?! and white)|"
    rf"\b(?P<paired>{vocabulary.NEUTRAL_COLOURS}) (?:and|with) (?:{vocabulary.COLOURS})\b",
    re.IGNORECASE,
)
_FRUIT = re.compile(
    r"\b(?:an|the|squeez\w+|peel\w+|juic\w+|of) oranges?(?=[.,;]|$)|\bgolf green|\boranges\b", re.IGNORECASE
)


def _find_colour(text: str, facts: Facts) -> str | None:
    """A colour that the grant does not name."""
    for match in _COLOUR.finditer(_FRUIT.sub(" ", text)):
        colour = next(words for words in match.groups() if words)
        if colour.lower() not in facts.grant_words:
            return match.group()
    return ""


_NOT_OF_IT = r"(?![- ](?:like|look|grain|effect|style|shaped|textured|pattern|colou?red))"
_MATERIAL = re.compile(
    # "made of glass", "a ring of gold", "in leather"
    rf"\b(?:made (?:out )?of|made from|of(?: woven| solid| polished| brushed)?|in) (?P<made>{vocabulary.MATERIALS})\b"
    rf"{_NOT_OF_IT}|"
    # "is plastic"
    rf"\b(?:is|are|appears|appear|be) (?P<said>{vocabulary.MATERIALS})\b{_NOT_OF_IT}|"
    # "a wooden table": with the noun; "a large stone" may be a part
    rf"\b(?P<adjective>{vocabulary.MATERIALS}){_NOT_OF_IT} "
    r"(?!(?:each|in|on|at|with|and|or|that|which|is|are|has|of|to|for|from|by|words?|into|as)\b)\w+",
    re.IGNORECASE,
)
_NAMED_WITH_MATERIAL = re.compile(rf"\b(?:{vocabulary.NAMES_WITH_MATERIALS})\b", re.IGNORECASE)
# What an article is for: "for cutting wood", "holds sheets of paper", "used to find metal"
_USE = re.compile(
    r"\b(?:for|to) (?:\w+ing|\w+) (?:(?:a|an|the|sheets of|pieces of|rolls? of|small|large|thin) )*"
    rf"(?:{vocabulary.MATERIALS})\b|"
    r"\b(?:cut|cuts|cutting|drill\w*|saw\w*|shred\w*|crush\w*|scor\w+|hold|holds|holding|clean\w*|store\w*|find\w*|open\w*)"
    rf" (?:(?:a|an|the|sheets of|pieces of|rolls? of) )*(?:{vocabulary.MATERIALS})\b",
    re.IGNORECASE,
)
_GLASS = re.compile(
    r"\b(?:a|an|the|this|stemmed|drinking|tall|wide) glass(?= (?:with|has|is|on|whose|that)|[.,;])|\bglasses\b",
    re.IGNORECASE,
)


def _find_material(text: str, facts: Facts) -> str | None:
    """A material that the grant does not name."""
    rest = text
    for pattern in (_NAMED_WITH_MATERIAL, _USE, _GLASS):
        rest = pattern.sub(" ", rest)
    for match in _MATERIAL.finditer(rest):
        material = next(words for words in match.groups() if words).lower()
        if not {material, material.removesuffix("en")} & facts.grant_words:
            return match.group()
    return ""


_BRAND = re.compile(
    rf"\b(?P<always>{vocabulary.BRANDS})\b|(?<=[a-z,] )(?P<capital>{vocabulary.CAPITALISED_BRANDS})(?![a-z])",
    re.IGNORECASE,
)


def _find_brand(text: str, facts: Facts) -> str | None:
    """The name of a maker, product or character that the grant does not name."""
    for match in _BRAND.finditer(text):
        is_brand = match["always"] or (match["capital"][0].isupper() and not _is_river(text, match))
        if is_brand and not set(match.group().lower().split()) <= facts.grant_words:
            return match.group()
    return ""


def _is_river(text: str, match: re.Match[str]) -> bool:
    """Whether a name is that of the river: "the Amazon"."""
    return match.group() == "Amazon" and text[: match.start()].lower().endswith("the ")


_SCENERY = re.compile(
    # It stands on, hangs from or leans against something.
    r"\b(?:sitting|sits|standing|stands|resting|rests|placed|lying|lies|set|displayed|parked|positioned|hanging|hangs|"
    r"leaning|leans|floating|floats) (?:on|upon|in|against|from|next to|beside) (?:an?|the|its) "
    rf"(?:\w+ )?(?:\w+ )?(?:{vocabulary.SURFACES}|{vocabulary.ROOMS})\b|"
    rf"^(?:an?|the) [\w-]+(?: [\w-]+)? (?:on|in) (?:an?|the) (?:\w+ )?(?:{vocabulary.SURFACES}|{vocabulary.ROOMS})\b|"
    rf"\bin (?:an?|the) (?:\w+ )?(?:{vocabulary.ROOMS})\b|"
    # Somebody is there.
    rf"^an? (?:\w+ )?{vocabulary.LIMBS} (?:with|wearing|holding)\b|"
    rf"\b(?:an?|the) (?:\w+ )?(?:{vocabulary.PEOPLE}) (?:is|are|holds?|holding|wears?|wearing|sits?|sitting|"
    r"carries|carrying|stands|standing|using|lying|pushing|pushes|riding|pulling)\b|"
    # There is a landscape, a background or a shadow.
    rf"\b(?:among|surrounded by|in front of|behind it|under) (?:an? |the )?(?:\w+ )?(?:{vocabulary.LANDSCAPE})\b|"
    r"\bin the (?:background|distance)\b|\bcasts? an? (?:\w+ )?shadow\b|\bcasting an? (?:\w+ )?shadow\b",
    re.IGNORECASE,
)
_SCENERY_TRIGGERS = _words_in(
    vocabulary.SURFACES, vocabulary.ROOMS, vocabulary.PEOPLE, vocabulary.LIMBS, vocabulary.LANDSCAPE
) | {"mountain", "cloud", "background", "distance", "shadow"}
# It may be used there: "to be placed on a table", "for use in a garden".
_INTENT = re.compile(
    r"\b(?:to be|can be|may be|designed to|meant to|intended to|used|use|worn|fits|for|where|in which|that|which)\b"
    r"[^.;]*",
    re.IGNORECASE,
)


def _find_scenery(text: str, facts: Facts) -> str | None:
    """Surroundings, people or shadows, which the drawing of an article alone does not show."""
    if facts.viewpoint == "in_use" or "environment" in facts.grant_words:
        return None
    if _SCENERY_TRIGGERS.isdisjoint(_LETTERS_OR_DIGITS.findall(text.lower())):
        return ""
    match = _SCENERY.search(_INTENT.sub(" ", text))
    return match.group() if match else ""


# Counts.

_NUMBERS = {
    word: number
    for number, words in enumerate(
        ("", "one single", "two pair double dual twin", "three triple", "four", "five", "six", "seven", "eight", "nine")
    )
    for word in words.split()
} | {"ten": 10, "eleven": 11, "twelve": 12}
_COUNTED = re.compile(
    rf"\b(?P<number>{'|'.join(_NUMBERS)}|[1-9][0-9]?)(?P<join>-| of |[ ])(?P<words>[a-z]+(?: [a-z]+){{0,2}})",
    re.IGNORECASE,
)
_NO_NOUN = frozenset(
    [
        *("with", "of", "and", "or", "that", "which", "are", "is", "on", "in", "at", "by", "for", "from", "to", "the"),
        *("a", "an", "each", "between", "below", "above", "over", "under", "around", "near", "visible", "into", "its"),
        *("as", "has", "have", "not", "side", "sides"),
    ]
)
_IRREGULAR = {
    "feet": "foot",
    "teeth": "tooth",
    "shelves": "shelf",
    "knives": "knife",
    "leaves": "leaf",
    "wheeled": "wheel",
}


def _find_count(text: str, facts: Facts) -> str | None:
    """A number of parts above the one that the grant names. Parts may be hidden, so fewer is not wrong."""
    declared: dict[str, int] = {}
    for number, nouns, _ in _counts_in(facts.grant_text):
        for noun in nouns:
            declared[noun] = max(number, declared.get(noun, 0))
    is_judged = False
    for number, nouns, words in _counts_in(text.lower()) if declared else ():
        for noun in nouns:
            is_judged = is_judged or noun in declared
            if number > declared.get(noun, number):
                return words
    return "" if is_judged else None


def _counts_in(text: str) -> Iterator[tuple[int, list[str], str]]:
    """Each number with the nouns that it may count, in the singular, and the words of both."""
    for match in _COUNTED.finditer(text):
        number = _NUMBERS.get(match["number"].lower()) or int(match["number"])
        words = match["words"].lower().split()
        stop = next((index for index, word in enumerate(words) if word in _NO_NOUN), len(words))
        nouns = [_singular(word) for word in (words[:1] if match["join"] == "-" else words[:stop])]
        if nouns:
            yield number, nouns, match.group()


def _singular(noun: str) -> str:
    """A noun without its ending: "leg" for "legs" and "legged"."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("ed") and len(noun) > 4:
        stem = noun[:-2]
        return stem[:-1] if stem[-1] == stem[-2] else stem
    if noun.endswith(("ches", "shes", "xes", "sses")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") else noun


# Broken lines.

_BROKEN_LINES = re.compile(
    r"(?<!\blike a )\b(?:broken|dashed|dotted|phantom|dash-dot|dot-dash)[- ](?:lines?|outlines?|strokes?|contours?)\b|"
    r"\blines? (?:is|are) (?:broken|dashed|dotted)\b",
    re.IGNORECASE,
)
_CLAIMED = re.compile(
    r"(?<!not )(?<!un)\b(?:is|are) (?:a )?(?:part of the|claimed)\b|\bforms? part of the\b", re.IGNORECASE
)
_DISCLAIMED = re.compile(r"\b(?:no part|not (?:a )?part|not claimed|unclaimed|illustrative|environment\w*|forms? no)\b")


def _find_broken_lines(text: str, facts: Facts) -> str | None:
    """Broken lines of which the grant says nothing, or that are called claimed although it disclaims them."""
    mention = _BROKEN_LINES.search(text)
    if mention is None:
        return None
    if not facts.broken_lines:
        return mention.group()
    claim = _CLAIMED.search(text)
    if claim and _DISCLAIMED.search(facts.broken_lines):
        return claim.group()
    return ""


# The prompt.

_MIN_CONTENT_WORDS = {4: 2, 3: 3}  # length of a run → words in it that are neither common nor known from the view
_FUNCTION_WORDS = frozenset(
    [
        *("a", "an", "the", "and", "or", "of", "on", "in", "at", "to", "for", "from", "by", "with", "as", "is", "are"),
        *("be", "it", "its", "this", "that", "which", "what", "so", "can", "has", "have", "one", "two", "view", "fig"),
    ]
)


def _find_prompt(text: str, facts: Facts) -> str | None:
    """Four words of the question in a row, two of them not of view or title, or three, none of them the grant's."""
    if facts.prompt_text is None:
        return None
    asked, said = f" {' '.join(_words(facts.prompt_text))} ", _words(text)
    known = {*_FUNCTION_WORDS, *_SIDES, *_words(facts.title)}
    for length, num_wanted in _MIN_CONTENT_WORDS.items():
        for start in range(len(said) - length + 1):
            run = said[start : start + length]
            if sum(word not in known for word in run) >= num_wanted and f" {' '.join(run)} " in asked:
                return " ".join(run)
        known |= facts.grant_words
    return ""


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


DETECTORS = (
    Detector(
        name="viewpoint",
        title="another viewpoint than declared",
        definition="Captions that name a viewpoint other than the one that the grant declares for the figure, of those "
        "that name one for a flat or perspective view.",
        find=_find_viewpoint,
        triggers=_VIEW_TRIGGERS,
    ),
    Detector(
        name="article",
        title="another article than the title's",
        definition="Captions whose subject is an article of another kind than the title's, of those in which both are "
        "among the known articles.",
        find=_find_article,
        triggers=frozenset(
            word + end for word in _words_in(*vocabulary.ARTICLES, *vocabulary.COMPOUNDS) for end in _ENDS
        ),
    ),
    Detector(
        name="colour",
        title="a colour",
        definition="Captions that name a colour, which a line drawing does not show, unless the grant names it too.",
        find=_find_colour,
        triggers=_words_in(vocabulary.COLOURS, vocabulary.NEUTRAL_COLOURS) | {"gray", "grey"},
        without_triggers="",
    ),
    Detector(
        name="material",
        title="a material",
        definition="Captions that name a material of the article, which a line drawing does not show, and which the "
        "grant does not name.",
        find=_find_material,
        triggers=_words_in(vocabulary.MATERIALS)
        | {"fiber", "fibre", "fiberglass", "fibreglass", "aluminum", "aluminium"},
        without_triggers="",
    ),
    Detector(
        name="brand",
        title="a brand",
        definition="Captions that name a maker, product or character that the grant does not name.",
        find=_find_brand,
        triggers=_words_in(vocabulary.BRANDS, vocabulary.CAPITALISED_BRANDS) | vocabulary.OTHER_BRAND_WORDS,
        without_triggers="",
    ),
    Detector(
        name="scenery",
        title="surroundings",
        definition="Captions that tell of surroundings, people or shadows, of those of figures that do not show the "
        "article in use.",
        find=_find_scenery,
    ),
    Detector(
        name="count",
        title="more parts than the grant counts",
        definition="Captions with a higher number of some part than title and description of the grant name, of those "
        "that count a part that the grant counts.",
        find=_find_count,
        triggers=frozenset([*_NUMBERS, *map(str, range(1, 100))]),
    ),
    Detector(
        name="broken",
        title="broken lines that the grant does not have",
        definition="Captions that speak of broken lines without a statement on them in the grant, or call them claimed "
        "against it, of those that speak of broken lines.",
        find=_find_broken_lines,
        triggers=frozenset(["broken", "dashed", "dotted", "phantom", "dash"]),
    ),
    Detector(
        name="prompt",
        title="words of the prompt",
        definition="Captions with four consecutive words of the question, two of which are not words of the title or "
        "the viewpoint, or with three that are not words of the grant, of those by a model.",
        find=_find_prompt,
    ),
)
