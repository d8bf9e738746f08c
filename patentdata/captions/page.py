"""The page on which a person judges captions: measures, samples with their pictures, and two prompts side by side.

It is made from the data folder alone, in one pass over captions and views; only the pictures of the shown views are
read. It is one HTML file without external resources and without scripts, so that it can be mailed and archived; equal
data, settings and seed give equal bytes.
"""

from __future__ import annotations

import base64
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from patentdata.captions import clip_tokens, quality
from patentdata.captions.captioned_views import captioned_views, images_of, random_key, rows_of
from patentdata.captions.captioner import Row
from patentdata.captions.faithfulness.detectors import DETECTORS
from patentdata.captions.faithfulness.drawing import (
    DRAWING_DETECTORS,
    DrawingDetector,
    Drawn,
    find_drawing_faults,
)
from patentdata.captions.quality import MEASURES, MostCommon, Quality
from patentdata.errors import ConfigError
from patentdata.pages import page_environment, shortened
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.weeks import Progress, table_path, weeks_of
from patentdata.views.contact_sheets.cards import thumbnail

_NUM_CLASSES = 8  # rows in the table of the classes with the most repeated captions
_MIN_CLASS_CAPTIONS = 20  # captions that a class must have to be in that table
_LONGEST_SHOWN = 6_000  # characters of a text on the page

_REASON_WORDS = {
    "timeout": "no answer in time",
    "server_error": "the server failed",
    "bad_response": "the server's response is not a completion",
    "empty": "the answer is empty",
    "repetition": "the answer repeats itself",
    "refused": "the model refused",
    "unparsable": "the answer cannot be read",
    "missing": "the answer leaves the view out",
    "too_long": "the answer is too long",
    "rejected": "the server rejected the question",
    "broken_image": "the picture cannot be read",
    "no_ink": "the picture is blank",
}


@dataclass(frozen=True, kw_only=True)
class CaptionPageConfig:
    """Settings of the page.

    Attributes:
        num_samples: Number of captions in the random sample, and of pairs of captions compared.
        num_worst: Number of captions shown of each kind of problem.
        seed: Seed of the random sample, which does not depend on which other weeks are on the page.
        picture_px: Longer side of a picture on the page, in pixels.
    """

    num_samples: int = 24
    num_worst: int = 8
    seed: int = 0
    picture_px: int = 220

    def __post_init__(self) -> None:
        for name in ("num_samples", "num_worst"):
            if not 1 <= getattr(self, name) <= 1_000:
                raise ConfigError(f"{name} is {getattr(self, name)}; choose 1 to 1000")
        if not 64 <= self.picture_px <= 1_024:
            raise ConfigError(f"picture_px is {self.picture_px}; choose 64 to 1024")


@dataclass
class Card:
    """One view on the page.

    Attributes:
        week: Its week.
        row: Its caption, with the columns of its view and its grant.
        other: Its caption in the other folder; None if there is none to compare.
        note: Why it is shown.
        picture: Its picture as a data URL; None if it cannot be read.
        width, height: Size of the picture in pixels.
    """

    week: str
    row: Row
    other: Row | None = None
    note: str = ""
    picture: str | None = None
    width: int = 0
    height: int = 0


class LowestCards:
    """The `num` cards of a stream with the lowest keys; of equal keys, the first ones are kept."""

    def __init__(self, num: int) -> None:
        self._num = num
        self._heap: list[tuple[Any, int, Card]] = []
        self._num_seen = 0

    def add(self, key: int, card: Card) -> None:
        self._num_seen += 1
        item = (-key, -self._num_seen, card)
        if len(self._heap) < self._num:
            heapq.heappush(self._heap, item)
        else:
            heapq.heappushpop(self._heap, item)

    def cards(self) -> list[Card]:
        return [card for *_, card in sorted(self._heap, key=lambda item: (-item[0], -item[1]))]


class RepeatedCaptions:
    """Captions that several patents share, each with one view as an example, in bounded memory."""

    def __init__(self, capacity: int = 1_000) -> None:
        self._most_common = MostCommon(capacity)
        self._examples: dict[str, Card] = {}
        self._patent = ""
        self._of_patent: set[str] = set()

    def add(self, text: str, card: Card) -> None:
        """Count the caption of a view; the views of a patent must be consecutive."""
        number = card.row["patent_number"]
        if number != self._patent:
            self._patent, self._of_patent = number, set()
        if text in self._of_patent:
            return
        self._of_patent.add(text)
        self._most_common.add(text)
        self._examples.setdefault(text, card)
        if len(self._examples) > 4 * self._most_common.capacity:
            kept = {text for text, _ in self._most_common.top(self._most_common.capacity)}
            self._examples = {text: card for text, card in self._examples.items() if text in kept}

    def cards(self, num: int) -> list[Card]:
        """One card for each of the captions that most patents share, the most common first."""
        found = []
        for text, num_patents in self._most_common.top(num):
            card = self._examples.get(text)
            if num_patents > 1 and card is not None:
                found.append(Card(card.week, card.row, note=f"the same caption for {num_patents:,} patents"))
        return found


@dataclass
class PageContent:
    """What one pass over the captions keeps for the page.

    Attributes:
        config: Settings of the page.
        drawn: Patent number → what was drawn, for patents of specimens.
        by_source: (captioner, model, prompt) → measures of its captions.
        by_week: Week → its counts, for the weeks that are complete.
        total: Measures of all weeks that are complete.
        drawing: Counts of the captions that were compared with what was drawn.
        pair: Measures of the two folders' captions, over the views that both captioned.
        pair_sources: How the captions of each folder in `pair` were made → their number.
        num_unpaired: Views of this folder whose picture the other folder did not caption.
    """

    config: CaptionPageConfig
    drawn: Mapping[str, Drawn] = field(default_factory=dict)
    by_source: dict[tuple[str, str, str], Quality] = field(default_factory=dict)
    by_week: dict[str, dict[str, int]] = field(default_factory=dict)
    total: Quality = field(default_factory=Quality)
    drawing: Quality = field(default_factory=Quality)
    pair: tuple[Quality, Quality] = field(default_factory=lambda: (Quality(), Quality()))
    pair_sources: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    num_unpaired: int = 0

    def __post_init__(self) -> None:
        num = self.config.num_worst
        self.samples, self.pairs = LowestCards(self.config.num_samples), LowestCards(self.config.num_samples)
        self.longest, self.looping, self.canvas = LowestCards(num), LowestCards(num), LowestCards(num)
        self.unfaithful = {detector.name: LowestCards(num) for detector in DETECTORS}
        self.against_drawing = {detector.name: LowestCards(num) for detector in DRAWING_DETECTORS}
        self.without: dict[str, LowestCards] = {}
        self.repeated = RepeatedCaptions()
        self._week = Quality()

    def add(self, card: Card) -> None:
        """Measure the caption of a view of the current week, and keep it for the sections it may be shown in."""
        row = card.row
        source = (row["captioner"], row["model"] or "", row["prompt"])
        faults, drawing_faults = quality.faults_against_grant(row, row), self._faults_against_drawing(row)
        self.drawing.add(row, patent_number=row["patent_number"], faults=drawing_faults)
        for measures in (self.by_source.setdefault(source, Quality()), self._week):
            _measure(measures, row, row, faults)
        key = random_key(self.config.seed, row["view_id"])
        text = row["text"]
        if not (text and text.strip()):
            reason = row["finish_reason"] or "unknown"
            self.without.setdefault(reason, LowestCards(max(1, self.config.num_worst // 2))).add(key, card)
            return
        self.samples.add(key, card)
        if row["num_tokens"] > clip_tokens.CONTEXT_LENGTH:
            self.longest.add(-row["num_tokens"], card)
        if quality.repeats_itself(text):
            self.looping.add(key, card)
        if quality.calls_picture_square(text, row["title"]):
            self.canvas.add(key, card)
        self.repeated.add(quality.normalised(text), card)
        for detector in DETECTORS:
            if words := faults.get(detector.name):
                note = f"{detector.title}: “{shortened(words)}”"
                self.unfaithful[detector.name].add(key, Card(card.week, row, note=note))
        for item in DRAWING_DETECTORS:
            if words := drawing_faults.get(item.name):
                note = f"{item.title}: “{shortened(words)}”"
                self.against_drawing[item.name].add(key, Card(card.week, row, note=note))

    def _faults_against_drawing(self, row: Row) -> dict[str, str]:
        """What the detectors that know the drawing say of a caption; empty if it is not known."""
        drawn, text = self.drawn.get(row["patent_number"]), row["text"]
        if drawn is None or not (text and text.strip()):
            return {}
        return find_drawing_faults(text, drawn, row["viewpoint"] or "none")

    def drawing_shares(self) -> list[tuple[DrawingDetector, quality.Share]]:
        """Each detector that knows the drawing with the share of captions that contradict it."""
        nums = self.drawing.nums
        return [
            (
                detector,
                quality.Share(
                    nums[f"unfaithful_{detector.name}"],
                    nums[f"judged_{detector.name}"],
                    nums[f"judged_patents_{detector.name}"],
                ),
            )
            for detector in DRAWING_DETECTORS
        ]

    def add_pair(self, card: Card) -> None:
        """Measure both captions of a view, or count it as unpaired if the other folder has none."""
        if card.other is None:
            self.num_unpaired += 1
            return
        for measures, sources, caption in zip(self.pair, self.pair_sources, (card.row, card.other), strict=True):
            _measure(measures, caption, card.row, quality.faults_against_grant(caption, card.row))
            sources[_source_name(caption)] += 1
        self.pairs.add(random_key(self.config.seed, card.row["view_id"]), card)

    def end_week(self, week: str) -> None:
        """Add the measures of the current week to the total; of the week itself, only the counts are kept."""
        self.by_week[week] = self._week.counts()
        self.total.update(self._week)
        self._week = Quality()

    def sections(self) -> list[tuple[str, str, str, list[Card]]]:
        """Id, title, a sentence, and the cards of each section except the pairs."""
        without = [card for _, lowest in sorted(self.without.items()) for card in lowest.cards()]
        unfaithful = [card for lowest in self.unfaithful.values() for card in lowest.cards()]
        against_drawing = [card for lowest in self.against_drawing.values() for card in lowest.cards()]
        return [
            ("samples", "Random sample", "", self.samples.cards()),
            ("without", "Without a caption", "Examples of each reason.", without),
            ("unfaithful", "Against the grant", "Examples of what each detector finds.", unfaithful),
            *(
                [("drawing", "Against the drawing", "Examples of what was not drawn.", against_drawing)]
                if self.drawn
                else []
            ),
            ("looping", "Repeat themselves", "", self.looping.cards()),
            ("repeated", "Shared by several patents", "", self.repeated.cards(self.config.num_worst)),
            ("canvas", "Call the picture square", "", self.canvas.cards()),
            ("longest", "Longest", "The part that CLIP does not read is struck out.", self.longest.cards()),
        ]


def write_caption_report(
    folder: DataFolder,
    weeks: Sequence[str],
    out: Path,
    *,
    config: CaptionPageConfig,
    compare: DataFolder | None = None,
    drawn: Mapping[str, Drawn] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write one page about the captions of some weeks; memory use does not grow with their number.

    Args:
        folder: The data folder.
        weeks: Weeks such as "I20210105"; empty takes every week that has captions.
        out: The HTML file, which is written atomically.
        config: Settings.
        compare: Another data folder in which the same views were captioned another way. Views are paired if both
            identifier and picture are the same.
        drawn: Patent number → what was drawn, for weeks of specimens; see `faithfulness.drawing.read_drawn`.
        progress: Called with the number of weeks read and the number of all weeks.

    Returns:
        Path and size of the file, the weeks, each measure as "num" and "of", the mean length, and the reasons of
        missing captions; with `drawn` also "drawing", the captions that contradict it; with `compare` also "compared":
        the measures of both over the views that both captioned.

    Raises:
        ConfigError: There is no week to show, `out` is a folder, or the folders have no captioned view in common.
        OutputError: Captions of a week are missing, damaged or older than its views, or `out` cannot be written.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; name an HTML file")
    weeks = sorted(set(weeks)) or weeks_of(folder, "captions")
    if not weeks:
        raise ConfigError(f"{folder.url} contains no captions; run the captions stage first")
    content = PageContent(config, drawn or {})
    _read_into(content, folder, weeks, compare, progress)
    if compare and not content.pair[0].nums["views"]:
        raise ConfigError(
            f"{compare.url} captions none of the same views; caption a copy of this folder's archives, grants and views"
        )
    sections, pairs = content.sections(), content.pairs.cards()
    _add_pictures(folder, [card for *_, cards in sections for card in cards] + pairs, config)
    target = DataFolder(out.resolve().parent)
    with target.writing(target.path(out.name)) as file:
        for part in _render(weeks, content, sections, pairs, compared=compare is not None):
            file.write(part.encode("utf-8", "replace"))
        num_bytes = file.tell()
    summary = {"page": str(out), "num_bytes": num_bytes, "weeks": list(weeks), **_summary_of(content.total)}
    if drawn is not None:
        summary["drawing"] = {item.name: _share_as_json(share) for item, share in content.drawing_shares()}
    if compare:
        summary["compared"] = {
            "num_unpaired": content.num_unpaired,
            "here": _summary_of(content.pair[0]),
            "there": _summary_of(content.pair[1]),
        }
    return summary


def _read_into(
    content: PageContent,
    folder: DataFolder,
    weeks: Sequence[str],
    compare: DataFolder | None,
    progress: Progress | None,
) -> None:
    """One pass over the captions of the weeks, each paired with that of the other folder if one is given."""
    for num_done, week in enumerate(weeks, 1):
        others = _captions_by_view(compare, week) if compare else None
        for card in (Card(week, row) for row in captioned_views(folder, week)):
            content.add(card)
            if others is not None:
                other = others.get(card.row["view_id"])
                is_same = other is not None and other["image_sha256"] == card.row["image_sha256"]
                content.add_pair(Card(week, card.row, other if is_same else None))
        content.end_week(week)
        if progress is not None:
            progress(num_done, len(weeks))


def split_at_context(text: str) -> tuple[str, str]:
    """The part of a text that CLIP reads, in whole words, and the rest.

    >>> split_at_context("A chair.")
    ('A chair.', '')
    """
    if clip_tokens.fits([text]):
        return text, ""
    words = text.split()
    low, high = 0, min(len(words), clip_tokens.CONTEXT_LENGTH)  # a word is one token or more
    while low < high:
        middle = (low + high + 1) // 2
        if clip_tokens.fits([" ".join(words[:middle])]):
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low]), " ".join(words[low:])


def _measure(measures: Quality, caption: Row, view: Row, faults: Mapping[str, str]) -> None:
    measures.add(
        caption,
        patent_number=view["patent_number"],
        title=view["title"],
        uspc_class=view["uspc_class"],
        faults=faults,
    )


def _summary_of(measures: Quality) -> dict[str, Any]:
    """Measures as JSON values."""
    return {
        "num_views": measures.nums["views"],
        "num_captions": measures.nums["captions"],
        "mean_num_tokens": measures.mean_num_tokens,
        "measures": {name: _share_as_json(share) for name, share in measures.shares().items()},
        "reasons": dict(sorted(measures.reasons.items())),
    }


def _share_as_json(share: quality.Share) -> dict[str, Any]:
    """A share as JSON values; "interval" only if it has one."""
    values: dict[str, Any] = {"num": share.num, "of": share.of}
    return values if share.interval is None else values | {"interval": [round(end, 4) for end in share.interval]}


def _source_name(caption: Row) -> str:
    """How a caption was made: captioner, prompt and model, as shown on the page."""
    parts = [caption["captioner"], caption["prompt"] if caption["prompt"] != caption["captioner"] else None]
    return " · ".join(part for part in (*parts, caption["model"]) if part)


def _captions_by_view(folder: DataFolder, week: str) -> dict[str, Row]:
    """view_id → caption, of a week; empty if the folder has no captions of it."""
    path = table_path(folder, "captions", week)
    if not folder.exists(path):
        return {}
    with open_table(folder, path) as table:
        return {row["view_id"]: row for row in rows_of(table)}


def _add_pictures(folder: DataFolder, cards: list[Card], config: CaptionPageConfig) -> None:
    """Put the pictures into the cards; one that cannot be read stays None."""
    for week in sorted({card.week for card in cards}):
        of_week = [card for card in cards if card.week == week]
        pictures = _pictures(folder, week, {card.row["view_id"] for card in of_week}, config.picture_px)
        for card in of_week:
            card.picture, card.width, card.height = pictures.get(card.row["view_id"], (None, 0, 0))


def _pictures(folder: DataFolder, week: str, view_ids: set[str], side_px: int) -> dict[str, tuple[str, int, int]]:
    """view_id → its picture as a data URL, width and height."""
    found = {}
    for name, png in images_of(folder, week, view_ids):
        image = cv2.imdecode(np.frombuffer(png or b"\0", np.uint8), cv2.IMREAD_GRAYSCALE)
        if image is not None:
            found[name] = _picture(image, side_px)
    return found


def _picture(image: np.ndarray, side_px: int) -> tuple[str, int, int]:
    """A grey picture (H×W uint8) scaled to `side_px` on its longer side: data URL, width and height in pixels."""
    scale = side_px / max(image.shape)
    height, width = (max(1, round(scale * side)) for side in image.shape)
    png = thumbnail(image, width, height)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}", width, height


def _render(
    weeks: Sequence[str],
    content: PageContent,
    sections: list[tuple[str, str, str, list[Card]]],
    pairs: list[Card],
    *,
    compared: bool,
) -> Iterator[str]:
    """The HTML of the page, in parts."""
    environment = page_environment(Path(__file__).parent)
    environment.filters["percent"] = quality.in_percent
    environment.filters["bounded"] = lambda text: shortened(text, _LONGEST_SHOWN)
    environment.filters["split_at_context"] = lambda text: split_at_context(shortened(text, _LONGEST_SHOWN))
    total = content.total
    # Everything that the template shows; its names are the ones used in page.html.
    yield from environment.get_template("page.html").generate(
        title=f"{weeks[0]}" if len(weeks) == 1 else f"{len(weeks)} weeks, {weeks[0]} to {weeks[-1]}",
        weeks=weeks,
        limit=clip_tokens.CONTEXT_LENGTH,
        measures=MEASURES,
        total=total,
        drawing=content.drawing_shares() if content.drawn else [],
        openings=total.openings.top(5),
        classes=repetitive_classes(total),
        by_source=[
            (_source_name({"captioner": captioner, "prompt": prompt, "model": model}), measures)
            for (captioner, model, prompt), measures in sorted(content.by_source.items())
        ],
        by_week=[(week, counts, quality.shares_of(counts)) for week, counts in content.by_week.items()],
        compared=compared,
        pair_columns=[
            (f"{sources.most_common(1)[0][0]}{' and others' if len(sources) > 1 else ''}", measures)
            for sources, measures in zip(content.pair_sources, content.pair, strict=True)
            if sources
        ],
        num_unpaired=content.num_unpaired,
        pairs=pairs,
        sections=sections,
        reason_words=_REASON_WORDS,
        source_name=_source_name,
        config=content.config,
    )


def repetitive_classes(total: Quality) -> list[tuple[str, quality.Share]]:
    """The classes with the lowest share of distinct captions, of those with enough captions and some shared ones."""
    shares = [
        (name, share)
        for name, share in total.distinct.by_class().items()
        if share.num < share.of and share.of >= _MIN_CLASS_CAPTIONS
    ]
    return sorted(shares, key=lambda pair: (pair[1].value or 0, pair[0]))[:_NUM_CLASSES]
