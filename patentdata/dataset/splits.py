"""Train, validation and test splits by family, so that no test design has a relative in the training set.

Two patents are relatives if
- they were granted on the same day, with numbers close together, and share a title or a name (applicant, assignee or
  inventor): variants of one design are filed and numbered together;
- one goes back to the other's application or patent, or both go back to the same third one, whether it is in the data
  or not;
- they claim the same foreign priority or the same Hague registration.

Families are built day by day in the order of grant, and a later day never changes an earlier patent: adding later weeks
leaves every split as it was. The split of a family is drawn by a seeded hash of the oldest application that its first
day mentions, so that a parent found in an older week, added afterwards, draws the same split. (An older week can still
move a younger patent if it connects families that were separate before: avoiding the leak takes precedence there.)

A patent with relatives in two splits would leak whichever it joined. It is left out with its reason, and so are its
descendants.
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

_MIN_DIGITS = 5  # shorter application numbers are misprints, and would relate patents that have nothing in common
_TITLE_ARTICLE = re.compile(r"\b(?:an?|the)\b", re.IGNORECASE)
_EXCLUDED = -1  # instead of a family in the index of keys: patents with that key are left out


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How patents are divided.

    Attributes:
        kind: "random" divides families by a seeded hash; "temporal" divides by the day of grant.
        seed: Seed of the hash.
        validation_share: Share of families for validation, in [0, 1).
        test_share: Share of families for test, in [0, 1).
        validation_from: For "temporal": first day of validation; None for no validation set.
        test_from: For "temporal": first day of test.
        max_number_gap: Patents of one day are neighbours if their numbers differ by at most this.
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
            raise ConfigError(f"validation_from {self.validation_from} must be before test_from {self.test_from}")


class Assignment(NamedTuple):
    """The split that a patent belongs to.

    Attributes:
        patent_number: Its number.
        family: Number of the first patent of its family.
        split: Its split; None if it is left out.
        reason: Why it is left out; "" if it is not.
    """

    patent_number: str
    family: str
    split: str | None
    reason: str = ""


class _Patent(NamedTuple):
    """What is needed to find relatives, in little memory: texts are hashed to 64 bits.

    Attributes:
        day: Day of grant, as an ordinal.
        number: Digits of its number.
        patent_number: Its number.
        title: Hash of its title; None without a title.
        names: Hashes of its inventors, applicants and assignees.
        keys: Hashes of the applications, patents and priorities that it is or goes back to.
        anchor: The oldest of its applications: day as YYYYMMDD, and key.
    """

    day: int
    number: int
    patent_number: str
    title: int | None
    names: tuple[int, ...]
    keys: tuple[int, ...]
    anchor: tuple[str, str]


class _Family(NamedTuple):
    """A family: the number of its first patent, and its split."""

    name: str
    split: str


def assign_splits(grants: Iterable[Mapping[str, Any]], config: SplitConfig) -> list[Assignment]:
    """Divide patents by family.

    Args:
        grants: Rows with `GRANT_COLUMNS`, in any order. A number that occurs more than once counts at its first grant.
        config: How to divide.

    Returns:
        One assignment for each patent, by day of grant, then number.

    A split that is still empty when its share amounts to one family (after the tenth, at a share of 10 %) takes the
    next new family, so that small data sets have a test set. This depends on earlier families only, and so moves no
    patent when weeks are added.
    """
    # In reverse order the first grant of a number comes last, and is the one that the dict keeps.
    patents = sorted({patent.patent_number: patent for patent in sorted(map(_digest, grants), reverse=True)}.values())
    register = _Register(config)
    assignments: list[Assignment] = []
    for _, of_day in groupby(patents, key=lambda patent: patent.day):
        for group in _relatives_of_one_day(list(of_day), config.max_number_gap):
            assignments.extend(register.assign(group))
    order = {patent.patent_number: position for position, patent in enumerate(patents)}
    return sorted(assignments, key=lambda assignment: order[assignment.patent_number])


class _Register:
    """The families so far, and the keys by which relatives find them."""

    def __init__(self, config: SplitConfig) -> None:
        self._config = config
        self._families: list[_Family] = []
        self._num_families = dict.fromkeys(SPLITS, 0)
        self._family_of: dict[int, int] = {}  # key → index of the family, or _EXCLUDED

    def assign(self, group: list[_Patent]) -> Iterator[Assignment]:
        """Assign relatives of one day, in order of number, to their earliest family or to a new one."""
        family = self._family_for(group)
        split = self._families[family].split
        for patent in group:
            known = {self._family_of[key] for key in patent.keys if key in self._family_of}
            is_excluded = any(other == _EXCLUDED or self._families[other].split != split for other in known)
            for key in patent.keys:
                self._family_of.setdefault(key, _EXCLUDED if is_excluded else family)
            yield Assignment(
                patent.patent_number,
                self._families[family].name,
                None if is_excluded else split,
                RELATIVES_ON_TWO_SIDES if is_excluded else "",
            )

    def _family_for(self, group: list[_Patent]) -> int:
        """Index of the earliest family that the group is related to, or of a new one."""
        known = sorted({self._family_of.get(key, _EXCLUDED) for patent in group for key in patent.keys} - {_EXCLUDED})
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
        """The split of a new family: one that is still empty though its turn has come, or else by the anchor's hash."""
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
    """Patents of one day grouped by relation; groups by their lowest number, patents by number."""
    leader = list(range(len(patents)))  # a disjoint-set forest: each patent points towards the first of its group

    def first_of(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    # Join each patent with the last one before it that shares a trait: names and titles count among neighbours only.
    last_with: dict[tuple[str, int], int] = {}  # trait → index of the last patent that has it
    for index, patent in enumerate(patents):
        traits = [("name", name) for name in patent.names]
        traits += [("title", patent.title)] if patent.title is not None else []
        traits += [("key", key) for key in patent.keys]
        for trait in traits:
            other = last_with.get(trait)
            last_with[trait] = index
            if other is None or (trait[0] != "key" and patent.number - patents[other].number > max_number_gap):
                continue
            one, two = sorted((first_of(other), first_of(index)))
            leader[two] = one
    groups: dict[int, list[_Patent]] = {}
    for index, patent in enumerate(patents):
        groups.setdefault(first_of(index), []).append(patent)
    yield from groups.values()


def _digest(grant: Mapping[str, Any]) -> _Patent:
    """What is needed of a grant (`GRANT_COLUMNS`) to find its relatives."""
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
    """The applications, priorities and registrations that a grant is or goes back to: day as YYYYMMDD, and a key."""
    applications = [(grant["application_date"], grant["application_number"])]
    applications += [(related["date"], related["application_number"]) for related in grant["related"] or ()]
    for date, number in applications:
        digits = _digits(number or "")
        if len(digits) >= _MIN_DIGITS:
            yield _iso(date), f"application {digits}"
    for claim in grant["priority_claims"] or ():
        number, country, date = claim["number"] or "", claim["country"], _iso(claim["date"])
        if country == "EM":  # the designs of a multiple registration differ only after the dash
            number = number.partition("-")[0]
        if number := _alphanumeric(number):
            yield date, f"priority {country} {number} {date}"
    if grant["hague_number"]:
        yield _iso(grant["application_date"]), f"hague {_alphanumeric(grant['hague_number'])}"


def _iso(date: datetime.date | str | None) -> str:
    """A day as YYYYMMDD, whichever form it has; "99999999" if it is unknown, so that it sorts last."""
    return (date if isinstance(date, str) else date.strftime("%Y%m%d")) if date else "99999999"


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _alphanumeric(text: str | None) -> str:
    return re.sub(r"[\W_]", "", (text or "").casefold())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
