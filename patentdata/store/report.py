"""The account of one stage: what came in, what went out, and why the rest did not.

A `Report` holds one `Tally` for each unit the stage counts ("members", "grants", "sheets", "figures", …). In each,
`num_in == num_out + sum(dropped)`; `Report.check` raises where that does not hold, and runs whenever a file is written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from patentdata.errors import ReconciliationError


class Drop(NamedTuple):
    """One thing left out."""

    reason: str  # a word_in_snake_case, counted
    subject: str  # which one: a patent number, a member, "D907292 sheet 3"
    detail: str = ""  # one sentence more, where there is more to say


@dataclass
class Tally:
    """In, out and left out of one unit, each drop by name and reason."""

    num_in: int = 0
    num_out: int = 0
    drops: list[Drop] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str, num: int = 1) -> None:
        """Count what was never wanted, such as the utility patents of a week: a reason without a name."""
        self.left_out[reason] = self.left_out.get(reason, 0) + num

    def drop(self, reason: str, subject: str, detail: str = "") -> None:
        """Leave one out, with its reason."""
        self.drops.append(Drop(reason, subject, detail))

    @property
    def dropped(self) -> dict[str, int]:
        """Number left out by reason, in alphabetical order."""
        return dict(sorted((Counter(drop.reason for drop in self.drops) + Counter(self.left_out)).items()))

    @property
    def is_balanced(self) -> bool:
        return self.num_in == self.num_out + len(self.drops) + sum(self.left_out.values())


@dataclass
class Report:
    """What one stage did with one week, or one build.

    Attributes:
        stage: The word of the stage, such as "views".
        name: The week ("I20210105") or the build.
        tallies: Unit → `Tally`; the first one is the stage's main unit.
        counts: Anything else worth a number, such as "flag_two_labels"; not part of the balance.
    """

    stage: str
    name: str = ""
    tallies: dict[str, Tally] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def tally(self, unit: str) -> Tally:
        """The tally of `unit`, made at the first call."""
        return self.tallies.setdefault(unit, Tally())

    def count(self, what: str, num: int = 1) -> None:
        """Add `num` to a count that is not part of the balance."""
        self.counts[what] = self.counts.get(what, 0) + num

    def check(self) -> None:
        """Raise `ReconciliationError` unless every unit is either out or dropped."""
        for unit, tally in self.tallies.items():
            if not tally.is_balanced:
                raise ReconciliationError(
                    f"{self.stage} {self.name}: {tally.num_in} {unit} came in, but {tally.num_out} went out and "
                    f"{sum(tally.dropped.values())} were left out ({tally.dropped}); please report this as a bug"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in a fixed order, for JSON."""
        return {
            "stage": self.stage,
            "name": self.name,
            "tallies": {
                unit: {
                    "num_in": tally.num_in,
                    "num_out": tally.num_out,
                    "dropped": tally.dropped,
                    "drops": [list(drop) for drop in tally.drops],
                    "left_out": dict(sorted(tally.left_out.items())),
                }
                for unit, tally in self.tallies.items()
            },
            "counts": dict(sorted(self.counts.items())),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Report:
        """The inverse of `to_dict`."""
        return cls(
            stage=values["stage"],
            name=values["name"],
            tallies={
                unit: Tally(
                    tally["num_in"], tally["num_out"], [Drop(*drop) for drop in tally["drops"]], dict(tally["left_out"])
                )
                for unit, tally in values["tallies"].items()
            },
            counts=dict(values["counts"]),
        )
