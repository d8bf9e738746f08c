"""The page on which a person judges captions: measures, samples with their pictures, and two prompts side by side.

It is made from the data folder alone, in one pass over captions and views; pictures are read of the shown views alone.
It is one HTML file without outside resources and without script; equal data, settings and seed give equal bytes.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from patentdata.captions import clip_tokens, quality
from patentdata.captions.captioner import GRANT_COLUMNS, VIEW_COLUMNS, Row
from patentdata.captions.quality import MEASURES, Commonest, Quality
from patentdata.errors import ConfigError, OutputError
from patentdata.pages import page_environment, shortened
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.weeks import state_of, table_path, weeks_of
from patentdata.views.contact_sheets.cards import thumbnail

_ROWS_A_BATCH = 1_024
_NUM_CLASSES = 8  # in the table of the classes with the most repeated captions
_MIN_CLASS_CAPTIONS = 20
_LONGEST_SHOWN = 6_000  # characters of a text on the page

_REASON_WORDS = {
    "timeout": "no answer in time",
    "server_error": "the server failed",
    "bad_response": "the server's response is none",
    "empty": "the answer is empty",
    "repetition": "the answer repeats itself",
    "refused": "the model refused",
    "unparsable": "the answer cannot be read",
    "too_long": "the answer is too long",
    "rejected": "the server rejected the question",
    "broken_image": "the picture cannot be read",
    "no_ink": "the picture is blank",
}


@dataclass(frozen=True, kw_only=True)
class CaptionPageConfig:
    """Settings of the page.

    Attributes:
        num_samples: Captions drawn by chance, and pairs of the two prompts.
        num_worst: Captions shown of each kind to look at.
        seed: Of the draw; equal seeds draw equal views, whichever weeks are beside theirs.
        picture_px: Longer side of a picture on the page.
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
    """One view on the page with its caption, and with that of the other folder where there is one."""

    week: str
    row: Row
    other: Row | None = None
    note: str = ""
    picture: str | None = None
    width: int = 0
    height: int = 0


class Lowest:
    """The few cards with the lowest keys of a stream; equal keys keep the one that came first."""

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


class Repeated:
    """Captions that several patents share, each with one view for all, in bounded memory."""

    def __init__(self, capacity: int = 1_000) -> None:
        self._commonest = Commonest(capacity)
        self._examples: dict[str, Card] = {}
        self._patent = ""
        self._of_patent: set[str] = set()

    def add(self, text: str, card: Card) -> None:
        """Count the caption of a view; the views of a patent come one after another."""
        number = card.row["patent_number"]
        if number != self._patent:
            self._patent, self._of_patent = number, set()
        if text in self._of_patent:
            return
        self._of_patent.add(text)
        self._commonest.add(text)
        self._examples.setdefault(text, card)
        if len(self._examples) > 4 * self._commonest.capacity:
            kept = {text for text, _ in self._commonest.top(self._commonest.capacity)}
            self._examples = {text: card for text, card in self._examples.items() if text in kept}

    def cards(self, num: int) -> list[Card]:
        """One card for each of the captions that most patents share, the commonest first."""
        found = []
        for text, num_patents in self._commonest.top(num):
            card = self._examples.get(text)
            if num_patents > 1 and card is not None:
                found.append(Card(card.week, card.row, note=f"the same caption for {num_patents:,} patents"))
        return found


@dataclass
class Gathered:
    """What one pass over the captions keeps for the page.

    Attributes:
        by_made: (captioner, model, prompt) → its measures.
        by_week: Week → its counts, once it is ended.
        total: Measures of all weeks that are ended.
        pair: Measures of both folders' captions, over the views that both captioned.
        num_unpaired: Views of this folder whose picture the other folder did not caption.
    """

    config: CaptionPageConfig
    by_made: dict[tuple[str, str, str], Quality] = field(default_factory=dict)
    by_week: dict[str, dict[str, int]] = field(default_factory=dict)
    total: Quality = field(default_factory=Quality)
    pair: tuple[Quality, Quality] = field(default_factory=lambda: (Quality(), Quality()))
    pair_made: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    num_unpaired: int = 0

    def __post_init__(self) -> None:
        num = self.config.num_worst
        self.samples, self.pairs = Lowest(self.config.num_samples), Lowest(self.config.num_samples)
        self.longest, self.looping, self.canvas = Lowest(num), Lowest(num), Lowest(num)
        self.without: dict[str, Lowest] = {}
        self.repeated = Repeated()
        self._week = Quality()

    def add(self, card: Card) -> None:
        row = card.row
        made = (row["captioner"], row["model"] or "", row["prompt"])
        for measured in (self.by_made.setdefault(made, Quality()), self._week):
            _measure(measured, row, row)
        draw = _draw(self.config.seed, row["view_id"])
        text = row["text"]
        if not (text and text.strip()):
            reason = row["finish_reason"] or "unknown"
            self.without.setdefault(reason, Lowest(max(1, self.config.num_worst // 2))).add(draw, card)
            return
        self.samples.add(draw, card)
        if row["num_tokens"] > clip_tokens.CONTEXT_LENGTH:
            self.longest.add(-row["num_tokens"], card)
        if quality.repeats_itself(text):
            self.looping.add(draw, card)
        if quality.calls_picture_square(text, row["title"]):
            self.canvas.add(draw, card)
        self.repeated.add(quality.normalised(text), card)

    def add_pair(self, card: Card) -> None:
        if card.other is None:
            self.num_unpaired += 1
            return
        for measured, made, caption in zip(self.pair, self.pair_made, (card.row, card.other), strict=True):
            _measure(measured, caption, card.row)
            made[_made_words(caption)] += 1
        self.pairs.add(_draw(self.config.seed, card.row["view_id"]), card)

    def end_week(self, week: str) -> None:
        """Put the measures of a week to the others; of the week itself, only counts are kept."""
        self.by_week[week] = self._week.counts()
        self.total.update(self._week)
        self._week = Quality()

    def sections(self) -> list[tuple[str, str, str, list[Card]]]:
        """Id, title, a sentence, and the cards of each section but the pairs."""
        without = [card for _, lowest in sorted(self.without.items()) for card in lowest.cards()]
        return [
            ("samples", "Drawn by chance", "", self.samples.cards()),
            ("without", "Without a caption", "Some of each reason.", without),
            ("looping", "Repeating themselves", "", self.looping.cards()),
            ("repeated", "Said of many patents", "", self.repeated.cards(self.config.num_worst)),
            ("canvas", "Calling the picture square", "", self.canvas.cards()),
            ("longest", "Longest", "What CLIP does not read is struck out.", self.longest.cards()),
        ]


def write_caption_report(
    folder: DataFolder,
    weeks: Sequence[str],
    out: Path,
    *,
    config: CaptionPageConfig,
    compare: DataFolder | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write one page about the captions of some weeks; memory does not grow with their number.

    Args:
        folder: The data folder.
        weeks: Such as "I20210105"; empty takes every week that has captions.
        out: The HTML file; it appears whole or not at all.
        config: Settings.
        compare: Another data folder in which the same views were captioned another way. Views belong together where
            identifier and picture are the same.
        progress: Called with the number of weeks read and of all to read.

    Returns:
        The file and its bytes, the weeks, each measure as count and whole, the mean length, reasons of missing
        captions; with `compare` also "compared": the measures of both over the views that both captioned.

    Raises:
        ConfigError: No week to show, `out` is a folder, or the two folders have no captioned view in common.
        OutputError: Captions of a week are missing, damaged or older than its views, or `out` cannot be written.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; name an HTML file")
    weeks = sorted(set(weeks)) or weeks_of(folder, "captions")
    if not weeks:
        raise ConfigError(f"{folder.url} holds no captions; run the captions stage first")
    gathered = Gathered(config)
    for num_done, week in enumerate(weeks, 1):
        others = _captions_elsewhere(compare, week) if compare else None
        for card in _cards_of(folder, week):
            gathered.add(card)
            if others is not None:
                other = others.get(card.row["view_id"])
                is_same = other is not None and other["image_sha256"] == card.row["image_sha256"]
                gathered.add_pair(Card(week, card.row, other if is_same else None))
        gathered.end_week(week)
        if progress is not None:
            progress(num_done, len(weeks))
    if compare and not gathered.pair[0].nums["views"]:
        raise ConfigError(
            f"{compare.url} captions none of the same views; caption a copy of this folder's archives, grants and views"
        )
    sections, pairs = gathered.sections(), gathered.pairs.cards()
    _add_pictures(folder, [card for *_, cards in sections for card in cards] + pairs, config)
    target = DataFolder(out.resolve().parent)
    with target.writing(target.path(out.name)) as file:
        for part in _render(weeks, gathered, sections, pairs, compared=compare is not None):
            file.write(part.encode("utf-8", "replace"))
        num_bytes = file.tell()
    summary = {"page": str(out), "num_bytes": num_bytes, "weeks": list(weeks), **_plain(gathered.total)}
    if compare:
        summary["compared"] = {
            "num_unpaired": gathered.num_unpaired,
            "here": _plain(gathered.pair[0]),
            "there": _plain(gathered.pair[1]),
        }
    return summary


def kept_and_lost(text: str) -> tuple[str, str]:
    """What CLIP reads of a text, in whole words, and what it does not.

    >>> kept_and_lost("A chair.")
    ('A chair.', '')
    """
    if clip_tokens.fits([text]):
        return text, ""
    words = text.split()
    low, high = 0, min(len(words), clip_tokens.CONTEXT_LENGTH)  # a word is a token or more
    while low < high:
        middle = (low + high + 1) // 2
        if clip_tokens.fits([" ".join(words[:middle])]):
            low = middle
        else:
            high = middle - 1
    return " ".join(words[:low]), " ".join(words[low:])


def _measure(measured: Quality, caption: Row, view: Row) -> None:
    measured.add(caption, patent_number=view["patent_number"], title=view["title"], uspc_class=view["uspc_class"])


def _plain(measured: Quality) -> dict[str, Any]:
    return {
        "num_views": measured.nums["views"],
        "num_captions": measured.nums["captions"],
        "mean_num_tokens": measured.mean_num_tokens,
        "measures": {name: asdict(share) for name, share in measured.shares().items()},
        "reasons": dict(sorted(measured.reasons.items())),
    }


def _draw(seed: int, view_id: str) -> int:
    """A number for a view that chance and the seed alone decide."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{view_id}".encode(), digest_size=8).digest())


def _made_words(caption: Row) -> str:
    """What made a caption, for people."""
    parts = [caption["captioner"], caption["prompt"] if caption["prompt"] != caption["captioner"] else None]
    return " · ".join(part for part in (*parts, caption["model"]) if part)


def _cards_of(folder: DataFolder, week: str) -> Iterator[Card]:
    """Every caption of a week with what is known of its view and patent, in order."""
    state, _ = state_of(folder, "captions", week)
    if state != "done":
        raise OutputError(f"the captions of {week} are {state}; run the captions stage on {folder.url} first")
    with open_table(folder, table_path(folder, "grants", week)) as table:
        columns = ["patent_number", *GRANT_COLUMNS]
        grants = {row["patent_number"]: row for row in table.read(columns=columns).to_pylist()}
    with (
        open_table(folder, table_path(folder, "captions", week)) as captions,
        open_table(folder, table_path(folder, "views", week)) as views,
    ):
        for caption, view in zip(_rows(captions), _rows(views, list(VIEW_COLUMNS)), strict=True):
            if caption["view_id"] != view["view_id"]:
                raise OutputError(f"{week}: captions and views differ in order; run the captions stage again")
            yield Card(week, {**grants.get(view["patent_number"], dict.fromkeys(GRANT_COLUMNS)), **view, **caption})


def _captions_elsewhere(folder: DataFolder, week: str) -> dict[str, Row]:
    path = table_path(folder, "captions", week)
    if not folder.exists(path):
        return {}
    with open_table(folder, path) as table:
        return {row["view_id"]: row for row in _rows(table)}


def _rows(table: Any, columns: Sequence[str] | None = None) -> Iterator[Row]:
    for batch in table.iter_batches(batch_size=_ROWS_A_BATCH, columns=columns):
        yield from batch.to_pylist()


def _add_pictures(folder: DataFolder, cards: list[Card], config: CaptionPageConfig) -> None:
    """Put the pictures into the cards; a picture that cannot be read stays away."""
    for week in sorted({card.week for card in cards}):
        of_week = [card for card in cards if card.week == week]
        pictures = _pictures(folder, week, {card.row["view_id"] for card in of_week}, config.picture_px)
        for card in of_week:
            card.picture, card.width, card.height = pictures.get(card.row["view_id"], (None, 0, 0))


def _pictures(folder: DataFolder, week: str, view_ids: set[str], side_px: int) -> dict[str, tuple[str, int, int]]:
    """View → its picture as a data address, with width and height; row groups without a wanted view are not read."""
    found = {}
    with open_table(folder, table_path(folder, "views", week)) as table:
        for group in range(table.num_row_groups):
            names = table.read_row_group(group, columns=["view_id"]).column(0).to_pylist()
            places = [place for place, name in enumerate(names) if name in view_ids]
            if not places:
                continue
            images = table.read_row_group(group, columns=["image"]).column(0).take(pa.array(places)).to_pylist()
            for place, png in zip(places, images, strict=True):
                image = cv2.imdecode(np.frombuffer(png or b"\0", np.uint8), cv2.IMREAD_GRAYSCALE)
                if image is not None:
                    found[names[place]] = _picture(image, side_px)
    return found


def _picture(image: np.ndarray, side_px: int) -> tuple[str, int, int]:
    scale = side_px / max(image.shape)
    height, width = (max(1, round(scale * side)) for side in image.shape)
    png = thumbnail(image, width, height)
    return f"data:image/png;base64,{base64.b64encode(png).decode()}", width, height


def _render(
    weeks: Sequence[str],
    gathered: Gathered,
    sections: list[tuple[str, str, str, list[Card]]],
    pairs: list[Card],
    *,
    compared: bool,
) -> Iterator[str]:
    environment = page_environment(Path(__file__).parent)
    environment.filters["percent"] = lambda share: "–" if share.value is None else f"{100 * share.value:.1f} %"
    environment.filters["bounded"] = lambda text: shortened(text, _LONGEST_SHOWN)
    environment.filters["kept_and_lost"] = lambda text: kept_and_lost(shortened(text, _LONGEST_SHOWN))
    total = gathered.total
    yield from environment.get_template("page.html").generate(
        title=f"{weeks[0]}" if len(weeks) == 1 else f"{len(weeks)} weeks, {weeks[0]} to {weeks[-1]}",
        weeks=weeks,
        limit=clip_tokens.CONTEXT_LENGTH,
        measures=MEASURES,
        total=total,
        openings=total.openings.top(5),
        classes=_repetitive_classes(total),
        by_made=[
            (" · ".join(part for part in (captioner, prompt if prompt != captioner else "", model) if part), measured)
            for (captioner, model, prompt), measured in sorted(gathered.by_made.items())
        ],
        by_week=[(week, counts, quality.shares_of(counts)) for week, counts in gathered.by_week.items()],
        compared=compared,
        pair_columns=[
            (f"{made.most_common(1)[0][0]}{' and others' if len(made) > 1 else ''}", measured)
            for made, measured in zip(gathered.pair_made, gathered.pair, strict=True)
            if made
        ],
        num_unpaired=gathered.num_unpaired,
        pairs=pairs,
        sections=sections,
        reason_words=_REASON_WORDS,
        made_words=_made_words,
        config=gathered.config,
    )


def _repetitive_classes(total: Quality) -> list[tuple[str, quality.Share]]:
    """The classes whose patents share captions most, of those that share any and have enough captions to tell."""
    shares = [
        (name, share)
        for name, share in total.distinct.by_class().items()
        if share.num < share.of and share.of >= _MIN_CLASS_CAPTIONS
    ]
    return sorted(shares, key=lambda pair: (pair[1].value or 0, pair[0]))[:_NUM_CLASSES]
