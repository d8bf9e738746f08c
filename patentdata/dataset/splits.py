"""Train, validation and test by family, so that no design is learned from a relative of one it is tested on.

Two patents are relatives where
- they were granted on the same day, with numbers close together, and share a title or a name (applicant, assignee or
  inventor): variants of one design are filed and numbered together;
- one goes back to the other's application or patent, or both go back to the same third one, present or not;
- they claim the same foreign priority or the same Hague registration.

Families are built day by day in the order of grant, and what a later day brings never changes an earlier patent:
adding later weeks leaves every split as it was. A family's side is drawn by a seeded hash of the oldest application its
first day knows of, so that a parent found in an older week added afterwards draws the same side. (An older week can
still move a younger patent where it joins what was apart before: leaks are worth more than stability there.)

A patent with relatives on two sides would leak whichever it joined; it is left out with its reason, and so is whoever
descends from it.
"""

from __future__ import annotations

import datetime
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

from patentdata.errors import ConfigError

SPLITS = ("train", "validation", "test")
GRANT_COLUMNS = (  # what `assign_splits` reads of `schemas.GRANTS`
    "patent_number",
    "grant_date",
    "title",
    "application_number",
    "application_date",
    "inventors",
    "applicants",
    "assignees",
    "related",
    "priority_claims",
    "hague_number",
)
RELATIVES_ON_TWO_SIDES = "relatives_on_two_sides"

_MIN_DIGITS = 5  # shorter application numbers are slips, and would make relatives of strangers
_TITLE_ARTICLE = re.compile(r"\b(?:an?|the)\b", re.IGNORECASE)
_BARRED = -1  # stands for a family in the index of keys: whoever holds the key is left out


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How patents are divided.

    Attributes:
        kind: "random" draws families by a seeded hash; "temporal" goes by the day of grant.
        seed: Another seed draws other families.
        validation_share: Share of families for validation, in [0, 1).
        test_share: Share of families for test, in [0, 1).
        validation_from: Temporal: first day of validation; without it there is none.
        test_from: Temporal: first day of test.
        max_number_gap: Patents of one day whose numbers differ by at most this are neighbours.
    """

    kind: Literal["random", "temporal"] = "random"
    seed: int = 0
    validation_share: float = 0.05
    test_share: float = 0.10
    validation_from: datetime.date | None = None
    test_from: datetime.date | None = None
    max_number_gap: int = 10

    def __post_init__(self) -> None:
        if self.kind not in ("random", "temporal"):
            raise ConfigError(f'kind of split is {self.kind!r}; choose "random" or "temporal"')
        shares = (self.validation_share, self.test_share)
        if not all(0 <= share < 1 for share in shares) or sum(shares) >= 1:
            raise ConfigError(
                f"validation_share {self.validation_share} and test_share {self.test_share} leave nothing to train on; "
                "choose shares from 0 that add up to less than 1"
            )
        if self.max_number_gap < 0:
            raise ConfigError(f"max_number_gap is {self.max_number_gap}; choose 0 (no neighbours) or more")
        if self.kind == "temporal" and self.test_from is None:
            raise ConfigError("a temporal split needs test_from, the first day of the test set, such as 2022-01-01")
        if self.kind == "random" and (self.test_from or self.validation_from):
            raise ConfigError('test_from and validation_from belong to kind "temporal"; leave them out or change kind')
        if self.validation_from and self.test_from and self.validation_from >= self.test_from:
            raise ConfigError(f"validation_from {self.validation_from} must lie before test_from {self.test_from}")


class Assignment(NamedTuple):
    """Where one patent went."""

    patent_number: str
    family: str  # number of the family's first patent
    split: str | None  # None where it is left out
    reason: str = ""  # why it is left out


class _Patent(NamedTuple):
    """What tells relatives, in small: strings are hashed to 64 bits."""

    day: int
    number: int
    patent_number: str
    title: int | None
    names: tuple[int, ...]
    keys: tuple[int, ...]  # applications, patents and priorities it holds or goes back to
    anchor: tuple[str, str]  # the oldest of its applications: day and key


class _Family(NamedTuple):
    name: str
    split: str


def assign_splits(grants: Iterable[Mapping[str, Any]], config: SplitConfig) -> list[Assignment]:
    """Divide patents by family.

    Args:
        grants: Rows with `GRANT_COLUMNS`, in any order. A number that occurs again is taken once, at its first grant.
        config: How to divide.

    Returns:
        One entry a patent, by day of grant, then number.

    A split that is still empty when it should hold one family (after the tenth, at a share of 10 %) takes the next new
    family, so that small data sets can be tested on; this looks at earlier families only, and moves no later one.
    """
    # Sorted backwards, the first grant of a number comes last and is the one the dict keeps.
    patents = sorted({patent.patent_number: patent for patent in sorted(map(_digest, grants), reverse=True)}.values())
    register = _Register(config)
    assignments: list[Assignment] = []
    for _, of_day in groupby(patents, key=lambda patent: patent.day):
        for group in _relatives_of_one_day(list(of_day), config.max_number_gap):
            assignments.extend(register.place(group))
    order = {patent.patent_number: position for position, patent in enumerate(patents)}
    return sorted(assignments, key=lambda assignment: order[assignment.patent_number])


class _Register:
    """Families so far, and which keys lead to them."""

    def __init__(self, config: SplitConfig) -> None:
        self._config = config
        self._families: list[_Family] = []
        self._num_families = dict.fromkeys(SPLITS, 0)
        self._family_of: dict[int, int] = {}  # key → index of the family, or _BARRED

    def place(self, group: list[_Patent]) -> Iterator[Assignment]:
        """Place relatives of one day, in order of number: with their earliest family, or in a new one."""
        family = self._family_for(group)
        split = self._families[family].split
        for patent in group:
            known = {self._family_of[key] for key in patent.keys if key in self._family_of}
            is_torn = any(other == _BARRED or self._families[other].split != split for other in known)
            for key in patent.keys:
                self._family_of.setdefault(key, _BARRED if is_torn else family)
            yield Assignment(
                patent.patent_number,
                self._families[family].name,
                None if is_torn else split,
                RELATIVES_ON_TWO_SIDES if is_torn else "",
            )

    def _family_for(self, group: list[_Patent]) -> int:
        known = sorted({self._family_of.get(key, _BARRED) for patent in group for key in patent.keys} - {_BARRED})
        if self._config.kind == "temporal":
            split = _split_of_day(group[0].day, self._config)
            known = [family for family in known if self._families[family].split == split]
        if known:
            return known[0]
        if self._config.kind == "random":
            split = self._draw(min(patent.anchor for patent in group)[1])
        self._families.append(_Family(group[0].patent_number, split))
        self._num_families[split] += 1
        return len(self._families) - 1

    def _draw(self, anchor: str) -> str:
        shares = {"test": self._config.test_share, "validation": self._config.validation_share}
        for split, share in shares.items():
            if share and not self._num_families[split] and len(self._families) >= math.ceil(1 / share):
                return split
        drawn = hashlib.sha256(f"{self._config.seed}:{anchor}".encode()).digest()
        position = int.from_bytes(drawn[:8], "big") / 2**64
        if position < shares["test"]:
            return "test"
        return "validation" if position < shares["test"] + shares["validation"] else "train"


def _split_of_day(day: int, config: SplitConfig) -> str:
    if config.test_from and day >= config.test_from.toordinal():
        return "test"
    if config.validation_from and day >= config.validation_from.toordinal():
        return "validation"
    return "train"


def _relatives_of_one_day(patents: list[_Patent], max_number_gap: int) -> Iterator[list[_Patent]]:
    """Patents of one day grouped by kinship; groups by their lowest number, patents by number."""
    leader = list(range(len(patents)))  # a forest: each patent points towards the first of its group

    def first_of(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    last_with: dict[tuple[str, int], int] = {}  # a mark → the last patent that bore it
    for index, patent in enumerate(patents):
        marks = [("name", name) for name in patent.names]
        marks += [("title", patent.title)] if patent.title is not None else []
        marks += [("key", key) for key in patent.keys]
        for mark in marks:
            other = last_with.get(mark)
            last_with[mark] = index
            if other is None or (mark[0] != "key" and patent.number - patents[other].number > max_number_gap):
                continue
            one, two = sorted((first_of(other), first_of(index)))
            leader[two] = one
    groups: dict[int, list[_Patent]] = {}
    for index, patent in enumerate(patents):
        groups.setdefault(first_of(index), []).append(patent)
    yield from groups.values()


def _digest(grant: Mapping[str, Any]) -> _Patent:
    number = grant["patent_number"]
    ancestry = list(_ancestry(grant))
    patents = {number, *(related["patent_number"] for related in grant["related"] or ())} - {None, ""}
    names = {
        _hash(name)
        for column in ("inventors", "applicants", "assignees")
        for name in map(_alphanumeric, grant[column] or ())
        if name
    }
    title = _alphanumeric(_TITLE_ARTICLE.sub(" ", grant["title"] or ""))
    return _Patent(
        day=grant["grant_date"].toordinal(),
        number=int(_digits(number) or 0),
        patent_number=number,
        title=_hash(title) if title else None,
        names=tuple(sorted(names)),
        keys=tuple(sorted({_hash(f"patent {other}") for other in patents} | {_hash(key) for _, key in ancestry})),
        anchor=min(ancestry, default=(_iso(None), f"patent {number}")),
    )


def _ancestry(grant: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The applications that a grant goes back to, its own among them: day as YYYYMMDD, and a key."""
    applications = [(grant["application_date"], grant["application_number"])]
    applications += [(related["date"], related["application_number"]) for related in grant["related"] or ()]
    for date, number in applications:
        digits = _digits(number or "")
        if len(digits) >= _MIN_DIGITS:
            yield _iso(date), f"application {digits}"
    for claim in grant["priority_claims"] or ():
        number, country, date = claim["number"] or "", claim["country"], _iso(claim["date"])
        if country == "EM":  # designs of one multiple registration differ after the dash
            number = number.partition("-")[0]
        if number := _alphanumeric(number):
            yield date, f"priority {country} {number} {date}"
    if grant["hague_number"]:
        yield _iso(grant["application_date"]), f"hague {_alphanumeric(grant['hague_number'])}"


def _iso(date: datetime.date | str | None) -> str:
    """A day as YYYYMMDD, whichever form it has; last in order where it is unknown."""
    return (date if isinstance(date, str) else date.strftime("%Y%m%d")) if date else "99999999"


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _alphanumeric(text: str | None) -> str:
    return re.sub(r"[\W_]", "", (text or "").casefold())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
