"""Quality measures of captions, as counts.

Every measure is a count together with the count of which it is a share, so that weeks can be added up. Captions are
streamed through once, in bounded memory.

The measures of faithfulness are those of the detectors of `faithfulness`. They have an interval, for which the views of
a patent count once: what a model says of one view, it often says of all views of that patent.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from patentdata.captions import clip_tokens
from patentdata.captions.captioner import Row
from patentdata.captions.faithfulness.detectors import DETECTORS, find_faults
from patentdata.captions.faithfulness.facts import facts_of
from patentdata.store.report import Report

PREFIX = "quality_"  # prefix of these counts in a stage's report

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_NUM_OPENING_WORDS = 3
_NUM_EXAMPLES = 3  # of each kind of unfaithful caption in a report
_MAX_EXAMPLE_CHARS = 80
_Z = 1.959964  # of a 95 % interval
_LONGEST_LOOP_WORDS = 12
_MIN_SENTENCE_WORDS = 4
_MIN_COUNTED = 4  # times that words occur with a rising number until they count as a loop
_MIN_NUMBERS = 14  # numbers alone that do; a clock face has twelve
_NUMBER_WORDS = {
    word: number
    for words in (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen",
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth",
    )
    for number, word in enumerate(words.split(), start=1)
}
_MAX_WORDS = 2_000  # words of a caption that are read; the rest of a broken answer changes no useful measure

# Words for the picture itself. If the title contains one of them, it means the article instead.
_PICTURE = r"(?P<picture>image|picture|drawing|photo(?:graph)?|illustration|sketch|diagram|canvas)"
_GROUND = (
    r"(?P<ground>image|picture|drawing|photo(?:graph)?|illustration|sketch|diagram|canvas|background|backdrop|format|"
    r"aspect ratio|(?:sheet|piece) of paper|page)"
)
_SQUARE = r"(?:square|rectangular|rectangle)"
_DEGREE = r"(?:(?:a|an|the|perfect(?:ly)?|nearly|almost|roughly|simple|large|small|white|plain|mostly)\s+){0,4}"
# What may follow if "square" describes the picture as a whole. Any other noun is a part or a kind of article: "the
# image is a square table".
_END = (
    r"(?:[\s-]+(?:shaped?|format|form|in\s+(?:shape|form|format)|canvas|image|picture|frame))*"
    r"(?=\s*(?:[.,;:!?)\"”]|$|(?:and|with|or|but|while|that|which|showing|containing|featuring|as)\b))"
)
_SAID_OF_PICTURE = re.compile(
    rf"\b(?:the|this)\s+(?:(?:entire|whole|overall)\s+)?{_PICTURE}(?:'s\s+shape)?\s+(?:itself\s+)?"
    rf"(?:is|appears|appears\s+to\s+be|seems\s+to\s+be|has|features|forms|takes)\s+{_DEGREE}{_SQUARE}{_END}"
    rf"|\b(?:shape|outline|form)\s+of\s+(?:the|this)\s+(?:entire\s+|whole\s+)?(?P<shape_of>image|picture|drawing|"
    rf"photo(?:graph)?|illustration|sketch|diagram|canvas)\s+(?:is|appears|appears\s+to\s+be|seems\s+to\s+be)\s+"
    rf"{_DEGREE}{_SQUARE}{_END}"
    rf"|\b{_SQUARE}[\s-]+(?:shaped\s+)?(?:(?:white|black|grey|gray|plain|blank|and|black-and-white)\s+){{0,4}}{_GROUND}\b",
    re.IGNORECASE,
)
_SQUARE_WORD = re.compile(r"\b(?:squares?|rectangular|rectangles?)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure: a count, and the count of which it is a share.

    Attributes:
        name: Name of the count, without the prefix.
        of: Name of the count of which it is a share.
        title: Short title for tables.
        definition: What exactly is counted, in a sentence.
        clusters: Name of the count of independent samples among them, for an interval; None if it has no interval.
    """

    name: str
    of: str
    title: str
    definition: str
    clusters: str | None = None


MEASURES = (
    Measure(
        name="empty",
        of="views",
        title="without a caption",
        definition="Views whose text is missing or blank; the reasons are counted separately.",
    ),
    Measure(
        name="over_length",
        of="captions",
        title=f"over {clip_tokens.CONTEXT_LENGTH} tokens",
        definition=f"Captions whose whole text is longer than {clip_tokens.CONTEXT_LENGTH} CLIP tokens, start and end "
        "tokens included: CLIP does not read their end.",
    ),
    Measure(
        name="parts_over_length",
        of="with_parts",
        title=f"shape or function over {clip_tokens.CONTEXT_LENGTH} tokens",
        definition="Captions in which shape or function is too long by itself, of those that have such parts.",
    ),
    Measure(
        name="with_title",
        of="titled",
        title="with the full title",
        definition="Captions that contain all words of the patent's title in sequence, ignoring case and punctuation, "
        "of those whose patent has a title.",
    ),
    Measure(
        name="square_words",
        of="captions",
        title="say square or rectangular",
        definition="Captions with the word square, rectangle or rectangular, whatever it describes.",
    ),
    Measure(
        name="canvas_words",
        of="captions",
        title="call the picture square",
        definition="Captions that call the picture square or rectangular: “the image is square”, “the shape of the "
        "image is rectangular”, “a square background”. It does not count if it describes the article or a part (“a "
        "square table”, “the image is a square table”), if the title contains the word for the picture (“picture "
        "frame”), or if a pronoun hides what it describes.",
    ),
    Measure(
        name="looping",
        of="captions",
        title="repeat themselves",
        definition="Captions in which two to twelve words occur three times in a row, or one word four times in a row, "
        "or a sentence of four words or more occurs twice.",
    ),
    Measure(
        name="common_opening",
        of="captions",
        title="share the most common opening",
        definition="Captions that begin with the most common three words of their week.",
    ),
    Measure(
        name="untrimmed",
        of="captions",
        title="begin or end with white space",
        definition="Captions with white space before their first or after their last word.",
    ),
    Measure(
        name="distinct",
        of="patent_captions",
        title="distinct among patents of a class",
        definition="Distinct captions of a US class, ignoring case and white space, of the captions of its patents; "
        "the same caption on several views of one patent counts once. The counts are summed over the classes of a "
        "week. Patents without a class are left out.",
    ),
    *(
        Measure(
            name=f"unfaithful_{detector.name}",
            of=f"judged_{detector.name}",
            title=detector.title,
            definition=detector.definition,
            clusters=f"judged_patents_{detector.name}",
        )
        for detector in DETECTORS
    ),
)


@dataclass(frozen=True)
class Share:
    """A count and the count of which it is a share; `value` is None if the latter is 0.

    Attributes:
        num, of: The two counts.
        num_clusters: Number of independent samples among `of`, for an interval; None if it has no interval.
    """

    num: int
    of: int
    num_clusters: int | None = None

    @property
    def value(self) -> float | None:
        return self.num / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of Wilson, as if each cluster were one sample; None if it has no interval.

        >>> [round(end, 3) for end in Share(10, 100, num_clusters=50).interval or ()]
        [0.043, 0.214]
        """
        if self.value is None or not self.num_clusters:
            return None
        z2, num = _Z**2, min(self.of, self.num_clusters)
        centre = (self.value + z2 / (2 * num)) / (1 + z2 / num)
        half = _Z / (1 + z2 / num) * math.sqrt(self.value * (1 - self.value) / num + z2 / (4 * num**2))
        return max(0.0, centre - half), min(1.0, centre + half)


class MostCommon:
    """The most common texts of a stream, in bounded memory (Misra and Gries).

    Counts are exact up to `capacity` distinct texts; beyond that they are too low by at most `num_missed`, which is at
    most 1 / `capacity` of the stream.
    """

    def __init__(self, capacity: int = 2_000) -> None:
        self.capacity = capacity
        self.num_missed = 0
        self._nums: Counter[str] = Counter()

    def add(self, text: str, num: int = 1) -> None:
        self._nums[text] += num
        if len(self._nums) > 2 * self.capacity:
            self._prune()

    def update(self, other: MostCommon) -> None:
        """Add the texts of another stream."""
        self._nums.update(other._nums)
        self.num_missed += other.num_missed
        if len(self._nums) > 2 * self.capacity:
            self._prune()

    def top(self, num: int) -> list[tuple[str, int]]:
        """The `num` most common texts with their counts; texts with equal counts in alphabetical order."""
        return sorted(self._nums.items(), key=lambda pair: (-pair[1], pair[0]))[:num]

    def _prune(self) -> None:
        least = self.top(self.capacity + 1)[-1][1]
        self.num_missed += least
        self._nums = Counter({text: num - least for text, num in self._nums.items() if num > least})


class DistinctInClass:
    """How many captions of the patents of a class are distinct, for all classes.

    Exact up to `capacity` distinct captions. Beyond that only captions with a hash below a threshold are kept, and the
    threshold is halved whenever they are too many. The same captions are thus kept in every week, and the shares are
    estimates on a random sample.
    """

    def __init__(self, capacity: int = 250_000) -> None:
        self.capacity = capacity
        self._below = 1 << 64
        self._patents: dict[int, tuple[str, int]] = {}  # hash of class and caption → class, number of patents
        self._patent = ""
        self._of_patent: set[int] = set()

    def add(self, patent_number: str, uspc_class: str, text: str) -> None:
        """Count a caption; the views of a patent come one after another."""
        if patent_number != self._patent:
            self._patent, self._of_patent = patent_number, set()
        key = _hash64(uspc_class, normalised(text))
        if key in self._of_patent or key >= self._below:
            return
        self._of_patent.add(key)
        self._patents[key] = (uspc_class, self._patents.get(key, ("", 0))[1] + 1)
        self._shrink()

    def update(self, other: DistinctInClass) -> None:
        """Add the captions of other patents."""
        self._below = min(self._below, other._below)
        for key, (uspc_class, num) in other._patents.items():
            self._patents[key] = (uspc_class, self._patents.get(key, ("", 0))[1] + num)
        self._drop_above()
        self._shrink()

    @property
    def is_estimate(self) -> bool:
        return self._below < 1 << 64

    def share(self) -> Share:
        """Distinct captions of all captions of patents; both counts are scaled up if they are estimates."""
        scale = (1 << 64) / self._below
        num_pairs = sum(num for _, num in self._patents.values())
        return Share(round(len(self._patents) * scale), round(num_pairs * scale))

    def by_class(self) -> dict[str, Share]:
        """The share of each class; the counts are not scaled up."""
        distinct, pairs = Counter[str](), Counter[str]()
        for uspc_class, num in self._patents.values():
            distinct[uspc_class] += 1
            pairs[uspc_class] += num
        return {uspc_class: Share(distinct[uspc_class], pairs[uspc_class]) for uspc_class in sorted(pairs)}

    def _shrink(self) -> None:
        while len(self._patents) > self.capacity:
            self._below //= 2
            self._drop_above()

    def _drop_above(self) -> None:
        self._patents = {key: entry for key, entry in self._patents.items() if key < self._below}


@dataclass
class Quality:
    """Measures of a stream of captions.

    Attributes:
        nums: Name of each count → its value: the counts of `MEASURES`, and "tokens", the sum of the lengths.
        reasons: Why views have no caption → number of views.
        openings: The first words of the captions.
        distinct: The distinct captions by class.

    >>> quality = Quality()
    >>> quality.add({"text": "The image is square.", "num_tokens": 7}, patent_number="D1", title="Chair")
    >>> quality.shares()["canvas_words"]
    Share(num=1, of=1)
    """

    nums: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    openings: MostCommon = field(default_factory=MostCommon)
    distinct: DistinctInClass = field(default_factory=DistinctInClass)
    _last_judged: dict[str, str] = field(default_factory=dict, repr=False)  # detector → patent that it judged last

    def add(
        self,
        caption: Row,
        *,
        patent_number: str,
        title: str | None = None,
        uspc_class: str | None = None,
        faults: Mapping[str, str] | None = None,
    ) -> None:
        """Count one row of `schemas.CAPTIONS`; the rows of a patent must be consecutive.

        Args:
            caption: The row.
            patent_number, title, uspc_class: Of its patent.
            faults: What `find_faults` says of it.
        """
        self.nums["views"] += 1
        text = caption["text"]
        if not (text and text.strip()):
            self.nums["empty"] += 1
            self.reasons[caption.get("finish_reason") or "unknown"] += 1
            return
        self.nums["captions"] += 1
        self.nums["tokens"] += _num_tokens(caption)
        for name in faults_of(caption, title):
            self.nums[name] += 1
        self.nums["titled"] += bool(_words(title))
        self.nums["with_parts"] += any(caption.get(part) for part in ("shape", "function"))
        self.nums["square_words"] += bool(_SQUARE_WORD.search(text))
        self.openings.add(opening_of(text))
        if uspc_class:
            self.distinct.add(patent_number, uspc_class, text)
        for name, words in (faults or {}).items():
            self.nums[f"judged_{name}"] += 1
            self.nums[f"unfaithful_{name}"] += bool(words)
            self.nums[f"judged_patents_{name}"] += self._last_judged.get(name) != patent_number
            self._last_judged[name] = patent_number

    def update(self, other: Quality) -> None:
        """Add the measures of other patents."""
        self.nums.update(other.nums)
        self.reasons.update(other.reasons)
        self.openings.update(other.openings)
        self.distinct.update(other.distinct)

    def counts(self) -> dict[str, int]:
        """Every count, for a report; the counts of several weeks may be added up by name."""
        distinct = self.distinct.share()
        opening = self.openings.top(1)
        derived = {
            "common_opening": opening[0][1] if opening else 0,
            "distinct": distinct.num,
            "patent_captions": distinct.of,
        }
        names = {"views", "captions", "tokens"}
        names.update(name for item in MEASURES for name in (item.name, item.of, item.clusters) if name)
        return {name: derived.get(name, self.nums[name]) for name in sorted(names)}

    def shares(self) -> dict[str, Share]:
        """Name of each measure → its share."""
        return shares_of(self.counts())

    @property
    def mean_num_tokens(self) -> float | None:
        """Mean length of the captions in CLIP tokens, start and end tokens included; None without captions."""
        return self.nums["tokens"] / self.nums["captions"] if self.nums["captions"] else None


def count_quality(captions: Iterable[tuple[Row, Row]], report: Report) -> Iterator[Row]:
    """Pass caption rows through unchanged, and add the counts of their quality to `report` after the last.

    Args:
        captions: Rows of `schemas.CAPTIONS`, each with its view, a row with the columns named in `captioner`; the views
            of a patent must be consecutive.
        report: Gets one count for each of `Quality.counts`, with `PREFIX`, and a few examples of unfaithful captions.
    """
    quality = Quality()
    for caption, view in captions:
        faults = faults_against_grant(caption, view)
        quality.add(
            caption,
            patent_number=view["patent_number"],
            title=view.get("title"),
            uspc_class=view.get("uspc_class"),
            faults=faults,
        )
        for name, words in faults.items():
            if words and len(examples := report.examples.setdefault(f"{PREFIX}unfaithful_{name}", [])) < _NUM_EXAMPLES:
                examples.append(f"{caption['view_id']}: {words[:_MAX_EXAMPLE_CHARS]}")
        yield caption
    report.examples = {name: examples for name, examples in report.examples.items() if examples}
    for name, num in quality.counts().items():
        report.count(PREFIX + name, num)


def faults_against_grant(caption: Row, view: Row) -> dict[str, str]:
    """What `find_faults` says of a caption, by the facts of its view; empty if it has no text."""
    text = caption["text"]
    return find_faults(text, facts_of(view, caption)) if text and text.strip() else {}


def counts_in(reports: Iterable[Report]) -> dict[str, int]:
    """The sums of the quality counts in reports of the captions stage; empty if none was measured."""
    sums: Counter[str] = Counter()
    for report in reports:
        for name, num in report.counts.items():
            if report.stage == "captions" and name.startswith(PREFIX):
                sums[name.removeprefix(PREFIX)] += num
    return dict(sums)


def examples_in(reports: Iterable[Report]) -> dict[str, str]:
    """Name of each measure → its first example in reports of the captions stage."""
    found: dict[str, str] = {}
    for report in reports:
        for name, examples in report.examples.items():
            if report.stage == "captions" and examples:
                found.setdefault(name.removeprefix(PREFIX), examples[0])
    return found


def shares_of(counts: Mapping[str, int]) -> dict[str, Share]:
    """Name of each measure → its share, from the counts of one week or the sums over several."""
    return {
        item.name: Share(
            counts.get(item.name, 0),
            counts.get(item.of, 0),
            counts.get(item.clusters, 0) if item.clusters is not None else None,
        )
        for item in MEASURES
    }


def in_percent(share: Share) -> str:
    """A share in words, with its interval if it has one.

    >>> in_percent(Share(1, 8)), in_percent(Share(10, 100, num_clusters=50)), in_percent(Share(0, 0))
    ('12.5 %', '10.0 % (4.3–21.4)', '–')
    """
    if share.value is None:
        return "–"
    interval = share.interval
    ends = "" if interval is None else f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"
    return f"{100 * share.value:.1f} %{ends}"


def faults_of(caption: Row, title: str | None) -> list[str]:
    """Names of the measures that count a caption (one with a text), except those that compare it with others."""
    text = caption["text"]
    parts = [caption[part] for part in ("shape", "function") if caption.get(part)]
    found = {
        "over_length": _num_tokens(caption) > clip_tokens.CONTEXT_LENGTH,
        "parts_over_length": not clip_tokens.fits(parts),
        "with_title": holds_title(text, title),
        "canvas_words": calls_picture_square(text, title),
        "looping": repeats_itself(text),
        "untrimmed": text != text.strip(),
    }
    return [name for name, is_so in found.items() if is_so]


def normalised(text: str) -> str:
    """A caption in the form in which equal ones are recognised: lower case, single blanks."""
    return " ".join(text.lower().split())


def opening_of(text: str) -> str:
    """The first three words of a caption, or fewer if it has fewer.

    >>> opening_of(" The image shows a chair.")
    'the image shows'
    """
    return " ".join(_words(text[:400])[:_NUM_OPENING_WORDS])


def holds_title(text: str, title: str | None) -> bool:
    """Whether a caption contains all words of a title in sequence; False for an empty title.

    >>> holds_title("This is a LAMP, with shade.", "Lamp with shade")
    True
    """
    words = _words(title)
    return bool(words) and f" {' '.join(words)} " in f" {' '.join(_words(text))} "


def calls_picture_square(text: str, title: str | None = None) -> bool:
    """Whether a caption calls the picture, rather than the article, square or rectangular.

    >>> calls_picture_square("The image is a square."), calls_picture_square("The image is a square table.")
    (True, False)
    """
    if not _SQUARE_WORD.search(text):
        return False
    words_of_title = set(_words(title))
    for match in _SAID_OF_PICTURE.finditer(" ".join(text.split())):
        subject = match["picture"] or match["shape_of"] or match["ground"]
        if not words_of_title.intersection(_words(subject)):
            return True
    return False


def repeats_itself(text: str) -> bool:
    """Whether two to twelve words occur three times in a row, one word four times, or a whole sentence twice.

    Words that differ only in a rising number are the same words if they occur four times.

    >>> repeats_itself("a chair with a back, with a back, with a back")
    True
    >>> repeats_itself("leg 1, leg 2, leg 3, leg 4"), repeats_itself("a leg 12 inches long, a leg 10 inches long")
    (True, False)
    """
    sentences = [tuple(_words(part)) for part in re.split(r"[.!?]+(?:\s|$)", text)]
    long = [sentence for sentence in sentences if len(sentence) >= _MIN_SENTENCE_WORDS]
    if len(set(long)) < len(long):
        return True
    words = _words(text)
    return _has_loop(words) or _counts_upwards(words)


def _has_loop(words: list[str]) -> bool:
    """Whether two to twelve words occur three times in a row, or one word four times."""
    for length in range(1, min(_LONGEST_LOOP_WORDS, len(words) // 3) + 1):
        num_wanted = length * (3 if length == 1 else 2)  # consecutive words that equal the word `length` before them
        num_equal = 0
        for index in range(length, len(words)):
            num_equal = num_equal + 1 if words[index] == words[index - length] else 0
            if num_equal >= num_wanted:
                return True
    return False


def _counts_upwards(words: list[str]) -> bool:
    """Whether up to twelve words, a number among them, occur four times in a row, each time with a higher number."""
    numbers = [number_of(word) for word in words]
    for length in range(1, min(_LONGEST_LOOP_WORDS, len(words) // _MIN_COUNTED) + 1):
        num_wanted = length * (_MIN_COUNTED - 1)
        num_equal = num_higher = 0  # consecutive words like those `length` before them, and numbers among these
        for word, number, before, number_before in zip(words[length:], numbers[length:], words, numbers, strict=False):
            is_higher = number is not None and number_before is not None and number > number_before
            if not is_higher and word != before:
                num_equal = num_higher = 0
                continue
            num_equal += 1
            num_higher += is_higher
            has_words = num_equal > num_higher
            if num_equal >= (num_wanted if has_words else _MIN_NUMBERS) and num_higher >= _MIN_COUNTED - 1:
                return True
    return False


def number_of(word: str) -> int | None:
    """The number that a word is: 3 for "3", "3rd", "three" and "third"; None if it is none."""
    if word in _NUMBER_WORDS:
        return _NUMBER_WORDS[word]
    digits = re.fullmatch(r"([0-9]{1,9})(?:st|nd|rd|th)?", word)
    return int(digits[1]) if digits else None


def _num_tokens(caption: Row) -> int:
    """Length of a caption in CLIP tokens, as the row has it or else counted."""
    num = caption.get("num_tokens")
    return clip_tokens.num_tokens(caption["text"]) if num is None else num


def _words(text: str | None) -> list[str]:
    return _WORD.findall((text or "").lower())[:_MAX_WORDS]


def _hash64(*parts: str) -> int:
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).digest())
