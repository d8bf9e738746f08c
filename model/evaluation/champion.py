"""Which model is the champion: the latest one that was significantly better than the champion before it.

The folder `models/` contains

    champion.json    the champion, and every decision: who, when, why
    test-set/        the test split that all challengers are measured on, frozen at the first decision
    NAME/            each champion's model, a folder that stock open_clip loads

The test set is frozen because the dataset grows every week, and values measured on different test sets cannot be
compared. A challenger is promoted only if the whole 95 % interval of the difference is above zero, so that random
differences between retrainings do not replace the champion. A refusal is recorded like a promotion.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.dataset.columns import read_columns
from model.dataset.folder import Dataset, open_dataset
from model.errors import ChampionError
from model.evaluation.measures.result_table import find_value
from model.files import hash_folder, read_json, remove, sha256_of_file, sha256_of_json, write_json

TEST_SPLIT = "test"
_LOG = logging.getLogger(__name__)
_RECORD = "champion.json"
_OVERLAP_COLUMNS = {"patents": "patent_number", "families": "family", "images": "image_sha256"}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The decision about one challenger.

    Attributes:
        is_promoted: Whether the challenger became the champion.
        why: The reason in a sentence, with the values.
        run: Name of the challenger's run.
        model: Folder of the challenger's model under `models/`; None if it was refused.
        fingerprint: Fingerprint of the challenger's model.
        metric: Path of the deciding value, such as "retrieval/text_to_image/R@10".
        value: The challenger's value.
        champion: Run of the champion it was compared with; None for the first challenger.
        champion_value: The champion's value on the same queries.
        difference: The challenger's value minus the champion's, with "low", "high" (95 %) and "p".
        test_set: Fingerprint of the frozen test set.
        dataset: Name of the dataset that the challenger was trained on.
        dataset_fingerprint: Fingerprint of that dataset.
        num_train_patents: Number of patents that the challenger was trained on.
        who: User who ran the decision.
        when: Time of the decision, ISO 8601 in UTC.
    """

    is_promoted: bool
    why: str
    run: str
    model: str | None
    fingerprint: str
    metric: str
    value: float
    champion: str | None
    champion_value: float | None
    difference: dict[str, float] | None
    test_set: str
    dataset: str
    dataset_fingerprint: str
    num_train_patents: int
    who: str
    when: str

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Decision:
        """A decision from an entry of `champion.json`. Raises TypeError if a field is missing or unknown."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The decision as `champion.json` stores it."""
        return asdict(self)


class ModelRegistry:
    """The folder `models/`.

    Args:
        folder: It does not have to exist yet.

    Raises:
        ChampionError: `champion.json` is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.decisions: list[Decision] = []
        record = folder / _RECORD
        if record.exists():
            try:
                self.decisions = [Decision.from_dict(values) for values in (read_json(record) or {})["history"]]
            except (KeyError, TypeError) as error:
                raise ChampionError(
                    f"{record} cannot be read ({error}); restore it, or remove it to start again"
                ) from error

    @property
    def champion(self) -> Decision | None:
        """The decision that promoted the current champion; None if no model was promoted yet."""
        return next((decision for decision in reversed(self.decisions) if decision.is_promoted), None)

    def model_of(self, decision: Decision) -> Path:
        """Folder of a promoted model. Raises ChampionError if it does not exist."""
        folder = self.folder / (decision.model or "")
        if decision.model is None or not folder.is_dir():
            raise ChampionError(f"{folder}: the champion's model is missing; restore it, or remove {_RECORD}")
        return folder

    def freeze_test_set(self, dataset: Dataset) -> Dataset:
        """The frozen test set. The first call freezes the test split of `dataset`.

        Raises:
            ChampionError: The dataset has no test split, or a frozen file has changed.
        """
        folder = self.folder / "test-set"
        if not folder.is_dir():
            self._copy_test_split(dataset, folder)
            _LOG.info("test split of dataset %s frozen as the test set of all challengers", dataset.name)
        for file in (read_json(folder / "dataset.json") or {"files": []})["files"]:
            path = folder / file["name"]
            if not path.is_file() or sha256_of_file(path) != file["sha256"]:
                raise ChampionError(
                    f"{path} has changed since it was frozen; restore it, or remove {folder} to freeze another test set"
                )
        return open_dataset(folder)

    def _copy_test_split(self, dataset: Dataset, folder: Path) -> None:
        """Write the test split of a dataset as a dataset of its own, all of it or nothing."""
        files = [file for file in dataset.files if file.split == TEST_SPLIT]
        if not sum(file.num_rows for file in files):
            raise ChampionError(f"dataset {dataset.name} has no test split to measure on; give its split a test_share")
        partial = self.folder / ".test-set.partial"
        remove(partial)
        partial.mkdir(parents=True)
        for file in files:
            shutil.copyfile(dataset.folder / file.name, partial / file.name)
        entries = [{**asdict(file), "sha256": sha256_of_file(partial / file.name)} for file in files]
        write_json(
            partial / "dataset.json",
            {
                "name": f"{dataset.name}-frozen",
                "fingerprint": sha256_of_json(entries),
                "from": {"name": dataset.name, "fingerprint": dataset.fingerprint},
                "files": entries,
            },
        )
        partial.replace(folder)

    def last_decision_on(self, fingerprint: str, test_set: Dataset, metric: str) -> Decision | None:
        """The latest decision if it was about this model, test set and metric; None otherwise."""
        decision = self.decisions[-1] if self.decisions else None
        subject = (fingerprint, test_set.fingerprint, metric)
        is_same = decision is not None and (decision.fingerprint, decision.test_set, decision.metric) == subject
        return decision if is_same else None

    def decide(
        self,
        results: Mapping[str, Any],
        *,
        run_dir: Path,
        dataset: Dataset,
        test_set: Dataset,
        metric: str,
        who: str,
        when: str,
    ) -> Decision:
        """Promote or refuse a challenger, and record why.

        Args:
            results: Evaluation of the challenger on the frozen test set, with the champion, if any, as second model.
            run_dir: The challenger's run.
            dataset: The dataset that the challenger was trained on.
            test_set: The frozen test set.
            metric: Path of the deciding value, a share, in the form of `result_table.find_value`.
            who: User who runs the decision.
            when: Time, ISO 8601 in UTC.

        Raises:
            ChampionError: The evaluation has no such value, or it is not a share.
        """
        values = _find_share(results, metric)
        champion = self.champion
        overlap = count_overlap(dataset, test_set)
        is_promoted, why = _judge(values, champion, metric, overlap)
        fingerprint = results["model"]["fingerprint"]
        decision = Decision(
            is_promoted=is_promoted,
            why=why,
            run=run_dir.name,
            model=self._keep(run_dir / "model", f"{run_dir.name}-{fingerprint[:8]}") if is_promoted else None,
            fingerprint=fingerprint,
            metric=metric,
            value=values["model"]["value"],
            champion=champion.run if champion else None,
            champion_value=values["against"]["value"] if champion else None,
            difference=values["difference"] if champion else None,
            test_set=test_set.fingerprint,
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint,
            num_train_patents=num_train_patents(dataset),
            who=who,
            when=when,
        )
        self._record(decision)
        _LOG.info("%s %s: %s", decision.run, "promoted" if is_promoted else "refused", why)
        return decision

    def _record(self, decision: Decision) -> None:
        self.decisions.append(decision)
        history = [earlier.to_dict() for earlier in self.decisions]
        champion = self.champion
        write_json(self.folder / _RECORD, {"champion": champion.to_dict() if champion else None, "history": history})

    def _keep(self, model: Path, name: str) -> str:
        """Copy a model's folder into `models/`, all of it or nothing, and return its name there."""
        kept, partial = self.folder / name, self.folder / f".{name}.partial"
        if hash_folder(kept) != hash_folder(model):
            remove(partial)
            remove(kept)
            shutil.copytree(model, partial)
            partial.replace(kept)
        return name


def num_train_patents(dataset: Dataset) -> int:
    """Number of patents in the training split of a dataset."""
    return len(set(read_columns(dataset, lambda split: split == "train", ["patent_number"]).get("patent_number", [])))


def count_overlap(dataset: Dataset, test_set: Dataset) -> dict[str, int]:
    """How many patents, families and images of a test set are in the training or validation split of a dataset."""
    columns = list(_OVERLAP_COLUMNS.values())
    trained_on = read_columns(dataset, lambda split: split != TEST_SPLIT, columns)
    tested_on = read_columns(test_set, lambda split: split == TEST_SPLIT, columns)
    return {
        name: len((set(trained_on.get(column, [])) & set(tested_on.get(column, []))) - {None})
        for name, column in _OVERLAP_COLUMNS.items()
    }


def _find_share(results: Mapping[str, Any], metric: str) -> dict[str, Any]:
    try:
        values = find_value(results, metric)
    except KeyError as error:
        raise ChampionError(str(error.args[0])) from None
    if values["unit"] != "share":
        raise ChampionError(f"{metric} is not a share; name one, such as retrieval/text_to_image/R@10")
    return values


def _judge(
    values: Mapping[str, Any], champion: Decision | None, metric: str, overlap: Mapping[str, int]
) -> tuple[bool, str]:
    """Whether to promote, and why. The sentence is stored in `champion.json`."""
    if overlap["patents"] or overlap["families"]:
        seen = ", ".join(f"{num:,} {name}" for name, num in overlap.items() if num)
        return False, f"it was trained on {seen} of the frozen test set, so its figure there says nothing"
    own = f"{metric} {100 * values['model']['value']:.1f} %"
    if champion is None:
        return True, f"{own}; there was no champion before it"
    difference = values["difference"]
    compared = (
        f"{own} against {100 * values['against']['value']:.1f} % of {champion.run}: difference "
        f"{100 * difference['value']:+.1f}, 95 % {100 * difference['low']:+.1f} to {100 * difference['high']:+.1f}, "
        f"p {difference['p']:.2g}"
    )
    if difference["low"] > 0:
        return True, compared
    return False, f"{compared}; the whole interval must lie above zero"
