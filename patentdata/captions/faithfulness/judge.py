"""A second model that looks at the picture and says whether a caption is true, for a sample of captions.

The detectors read words and see no picture; a judge sees it, costs a request each, and errs in its own way. So it is
asked about a sample, in two strata: captions in which the detectors find something wrong, and captions in which they do
not. How often it calls either false says what the detectors are worth, and what they miss. A judge that made the
captions itself agrees with itself: name another model.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from patentdata.captions import quality
from patentdata.captions.captioned_views import captioned_views, images_of, random_key
from patentdata.captions.captioner import GRANT_COLUMNS, VIEW_COLUMNS, Row
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.quality import Share
from patentdata.errors import ConfigError
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import weeks_of

PROMPT = "judge"
VERDICTS = ("true", "false", "cannot tell")
_NUM_EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """Which captions are judged.

    Attributes:
        num_samples: Most captions of each of the two strata.
        seed: Seed of the sample, which does not depend on the other weeks.
    """

    num_samples: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.num_samples <= 100_000:
            raise ConfigError(f"num_samples is {self.num_samples}; choose 1 to 100000")


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """The verdicts on the captions of one stratum.

    Attributes:
        num_captions: Captions of the stratum, judged or not.
        verdicts: Verdict → number of sampled captions.
        reasons: Why a sampled caption has no verdict → number of them.
        num_patents: Patents of the captions with a verdict of true or false.
        examples: A few captions that the judge calls false: view, caption and the judge's sentence.
    """

    num_captions: int
    verdicts: dict[str, int]
    reasons: dict[str, int]
    num_patents: int
    examples: list[dict[str, str]]

    @property
    def false(self) -> Share:
        """The captions that the judge calls false, of those that it calls true or false."""
        num = self.verdicts["false"]
        return Share(num, num + self.verdicts["true"], self.num_patents)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a judge says of captions in which the detectors find something wrong, and of the others.

    Attributes:
        model: The judge.
        found: The captions in which a detector finds something.
        not_found: The others.
    """

    model: str
    found: Stratum
    not_found: Stratum

    @property
    def agreement(self) -> float | None:
        """Estimated share of all captions on which judge and detectors agree; None without a verdict in a stratum."""
        total = self.found.num_captions + self.not_found.num_captions
        agreed = 0.0
        for stratum, is_found in ((self.found, True), (self.not_found, False)):
            if not stratum.num_captions:
                continue
            false = stratum.false.value
            if false is None:
                return None
            agreed += stratum.num_captions * (false if is_found else 1 - false)
        return agreed / total if total else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        strata = {}
        for name, stratum in (("found", self.found), ("not_found", self.not_found)):
            false = {"num": stratum.false.num, "of": stratum.false.of, "interval": stratum.false.interval}
            strata[name] = {**dataclasses.asdict(stratum), "false": false}
        return {"model": self.model, "agreement": self.agreement, **strata}


def judge_captions(
    folder: DataFolder,
    weeks: Sequence[str],
    config: CaptionsConfig,
    sample: JudgeConfig,
    *,
    endpoints: tuple[str, ...] = (),
) -> Judgement:
    """Ask a second model about a sample of the captions of some weeks.

    Args:
        folder: The data folder; nothing is written to it.
        weeks: Weeks such as "I20210105"; empty takes every week that has captions.
        config: Settings of the judge: its model, endpoints, picture and sampling; the prompt is `PROMPT`.
        sample: Which captions are judged.
        endpoints: Addresses of a managed server, in addition to those of `config`.

    Raises:
        ConfigError: There is no caption, or no endpoint.
        OutputError: The captions, views or grants of a week are missing or damaged.
        SourceError: No endpoint answers, or one serves another model.
    """
    from patentdata.captions.vllm.client import VlmCaptioner, ask_served
    from patentdata.captions.vllm.identity import identity_of

    config = dataclasses.replace(config, captioner="vllm", prompt=PROMPT, views_per_question=1)
    urls = (*config.endpoints, *endpoints)
    if not urls:
        raise ConfigError(f"no endpoint serves {config.model}; name one, such as http://localhost:8000/v1")
    chosen, nums = _choose(folder, sorted(set(weeks)) or weeks_of(folder, "captions"), sample)
    if not any(chosen.values()):
        raise ConfigError(f"{folder.url} contains no captions; run the captions stage first")
    model = identity_of(config, ask_served(config, urls), is_served_here=not config.endpoints)
    assert model is not None, "a served model has a name"
    captioner = VlmCaptioner(config, model, urls)
    sampled = [row for rows in chosen.values() for row in rows]
    answers = captioner.caption(_with_images(folder, sampled))
    strata = {
        is_found: _stratum(nums[is_found], rows, list(itertools.islice(answers, len(rows))))
        for is_found, rows in chosen.items()
    }
    next(answers, None)  # ends the captioner's work
    return Judgement(model=model.name, found=strata[True], not_found=strata[False])


def _choose(
    folder: DataFolder, weeks: Sequence[str], sample: JudgeConfig
) -> tuple[dict[bool, list[Row]], Counter[bool]]:
    """Whether a detector finds something → the sampled captions with their views; and the number of all of these."""
    nums: Counter[bool] = Counter()
    heaps: dict[bool, list[tuple[int, str, str, Row]]] = {True: [], False: []}
    for week in weeks:
        for row in captioned_views(folder, week):
            if not (row["text"] or "").strip():
                continue
            is_found = any(quality.faults_against_grant(row, row).values())
            nums[is_found] += 1
            item = (-random_key(sample.seed, row["view_id"]), row["view_id"], week, row | {"week": week})
            heap = heaps[is_found]
            if len(heap) < sample.num_samples:
                heapq.heappush(heap, item)
            else:
                heapq.heappushpop(heap, item)
    return {is_found: [row for *_, row in sorted(heap, reverse=True)] for is_found, heap in heaps.items()}, nums


def _with_images(folder: DataFolder, rows: Sequence[Row]) -> Iterator[Row]:
    """The views of captions, with their images and the captions as a variable of the question."""
    images = {
        (week, view_id): png
        for week in sorted({row["week"] for row in rows})
        for view_id, png in images_of(folder, week, {row["view_id"] for row in rows if row["week"] == week})
    }
    for row in rows:
        columns = {name: row.get(name) for name in (*VIEW_COLUMNS, *GRANT_COLUMNS)}
        yield {**columns, "caption": row["text"], "image": images.get((row["week"], row["view_id"]))}


def _stratum(num_captions: int, sampled: Sequence[Row], answers: Sequence[Row]) -> Stratum:
    """The verdicts on the sampled captions of a stratum; `answers` are the rows that the judge gave."""
    verdicts, reasons = Counter(dict.fromkeys(VERDICTS, 0)), Counter[str]()
    patents: set[str] = set()
    examples: list[dict[str, str]] = []
    for row, answer in zip(sampled, answers, strict=True):
        if answer["fields"] is None:
            reasons[answer["finish_reason"]] += 1
            continue
        verdict = answer["fields"]["verdict"]
        verdicts[verdict] += 1
        if verdict != "cannot tell":
            patents.add(row["patent_number"])
        if verdict == "false" and len(examples) < _NUM_EXAMPLES:
            examples.append({"view_id": row["view_id"], "caption": row["text"], "reason": answer["text"]})
    return Stratum(
        num_captions=num_captions,
        verdicts=dict(verdicts),
        reasons=dict(sorted(reasons.items())),
        num_patents=len(patents),
        examples=examples,
    )
