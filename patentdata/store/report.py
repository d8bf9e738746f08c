"""What one stage did: how much came in, how much went out, and why the rest did not.

A `Report` holds one `Tally` for each unit that the stage counts ("members", "grants", "sheets", "figures", …). In each,
`num_in == num_out + sum(dropped)`. `Report.check` raises if that does not hold, and is called whenever a file is
written, so that nothing can be lost silently.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from patentdata.errors import ReconciliationError


class Drop(NamedTuple):
    """One thing that was left out.

    Attributes:
        reason: The reason, a word_in_snake_case; drops are counted by it.
        subject: What was left out: a patent number, a member, "D907292 sheet 3".
        detail: One more sentence, if there is more to say.
    """

    reason: str
    subject: str
    detail: str = ""


@dataclass
class Tally:
    """How many of one unit came in, went out and were left out.

    Attributes:
        num_in: How many came in.
        num_out: How many went out.
        drops: Those left out because of a flaw, each with its name and reason.
        left_out: Reason → how many were left out because they were never wanted.
    """

    num_in: int = 0
    num_out: int = 0
    drops: list[Drop] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: str, num: int = 1) -> None:
        """Count what was never wanted, such as the utility patents of a week, by its reason alone."""
        self.left_out[reason] = self.left_out.get(reason, 0) + num

    def drop(self, reason: str, subject: str, detail: str = "") -> None:
        """Leave one out, with its name and reason."""
        self.drops.append(Drop(reason, subject, detail))

    @property
    def dropped(self) -> dict[str, int]:
        """Reason → how many were left out, in alphabetical order."""
        return dict(sorted((Counter(drop.reason for drop in self.drops) + Counter(self.left_out)).items()))

    @property
    def is_balanced(self) -> bool:
        """Whether all that came in either went out or was left out."""
        return self.num_in == self.num_out + len(self.drops) + sum(self.left_out.values())


@dataclass
class Report:
    """What one stage did with one week, or with one dataset.

    Attributes:
        stage: Name of the stage, such as "views".
        name: The week ("I20210105") or the dataset.
        tallies: Unit → `Tally`; the first one is the stage's main unit.
        counts: Other counts, such as "flag_two_labels", which are not part of the balance.
        examples: Name of a count → a few of the things that it counts, in words.
    """

    stage: str
    name: str = ""
    tallies: dict[str, Tally] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def tally(self, unit: str) -> Tally:
        """The tally of a unit, which the first call creates."""
        return self.tallies.setdefault(unit, Tally())

    def count(self, what: str, num: int = 1) -> None:
        """Add `num` to a count that is not part of the balance."""
        self.counts[what] = self.counts.get(what, 0) + num

    def check(self) -> None:
        """Raise ReconciliationError unless the tallies of all units balance."""
        for unit, tally in self.tallies.items():
            if not tally.is_balanced:
                raise ReconciliationError(
                    f"{self.stage} {self.name}: {tally.num_in} {unit} came in, but {tally.num_out} went out and "
                    f"{sum(tally.dropped.values())} were left out ({tally.dropped}); please report this as a bug"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in a fixed order, for JSON."""
        examples = {"examples": dict(sorted(self.examples.items()))} if self.examples else {}
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
            **examples,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Report:
        """The report of which `to_dict` returned these values."""
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
            examples=dict(values.get("examples", {})),
        )
