"""Which model is the champion: one that beat the one before it on the same frozen test set, by more than chance.

The folder `models/` holds

    champion.json    the champion, and every decision: who, when, why
    test-set/        the test split that all contenders are measured on, frozen at the first decision
    NAME/            each champion's model, a folder that stock open_clip loads

A refusal is recorded like a promotion.
"""

from __future__ import annotations

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
_RECORD = "champion.json"
_KEPT_APART = {"patents": "patent_number", "families": "family", "images": "image_sha256"}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided about one contender.

    Attributes:
        is_promoted: Whether it became the champion.
        why: In a sentence, with the figures.
        run: Name of its run.
        model: Folder of its model under `models/` where it was promoted; None where it was refused.
        fingerprint: Of its model.
        metric: What decided, such as "retrieval/text_to_image/R@10".
        value: The contender's figure.
        champion: Name of the model it was compared with; None for the first.
        champion_value: That model's figure on the same queries.
        difference: Contender less champion, with "low", "high" (95 %) and "p".
        test_set: Fingerprint of the frozen test set.
        dataset: Name of the dataset it was trained on.
        dataset_fingerprint: Of that dataset.
        num_train_patents: Patents it was trained on.
        who: Who had it decided.
        when: When, ISO 8601 in UTC.
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
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class ModelRegistry:
    """The folder `models/`.

    Args:
        folder: Need not be there yet.

    Raises:
        ChampionError: Its `champion.json` is damaged.
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
                    f"{record} cannot be read ({error}); restore it, or remove it to start anew"
                ) from error

    @property
    def champion(self) -> Decision | None:
        """The decision that made the present champion; None before the first."""
        return next((decision for decision in reversed(self.decisions) if decision.is_promoted), None)

    def model_of(self, decision: Decision) -> Path:
        """Folder of a promoted model. Raises ChampionError where it is gone."""
        folder = self.folder / (decision.model or "")
        if decision.model is None or not folder.is_dir():
            raise ChampionError(f"{folder}: the champion's model is not there; restore it, or remove {_RECORD}")
        return folder

    def freeze_test_set(self, dataset: Dataset) -> Dataset:
        """The frozen test set; at the first call the test split of `dataset` becomes it.

        Raises:
            ChampionError: The dataset has no test split, or the frozen files are not what they were.
        """
        folder = self.folder / "test-set"
        if not folder.is_dir():
            files = [file for file in dataset.files if file.split == TEST_SPLIT]
            if not sum(file.num_rows for file in files):
                raise ChampionError(
                    f"dataset {dataset.name} has no test split to measure on; give its split a test_share"
                )
            aside = self.folder / ".test-set.partial"
            remove(aside)
            aside.mkdir(parents=True)
            for file in files:
                shutil.copyfile(dataset.folder / file.name, aside / file.name)
            entries = [{**asdict(file), "sha256": sha256_of_file(aside / file.name)} for file in files]
            write_json(
                aside / "dataset.json",
                {
                    "name": f"{dataset.name}-frozen",
                    "fingerprint": sha256_of_json(entries),
                    "from": {"name": dataset.name, "fingerprint": dataset.fingerprint},
                    "files": entries,
                },
            )
            aside.replace(folder)
        for file in (read_json(folder / "dataset.json") or {"files": []})["files"]:
            path = folder / file["name"]
            if not path.is_file() or sha256_of_file(path) != file["sha256"]:
                raise ChampionError(
                    f"{path} is not what it was when it was frozen; restore it, or start anew without {folder}"
                )
        return open_dataset(folder)

    def last_word_on(self, fingerprint: str, test_set: Dataset, metric: str) -> Decision | None:
        """The latest decision, where it was on this very contender, test set and metric; None otherwise."""
        decision = self.decisions[-1] if self.decisions else None
        asked = (fingerprint, test_set.fingerprint, metric)
        is_it = decision is not None and (decision.fingerprint, decision.test_set, decision.metric) == asked
        return decision if is_it else None

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
        """Promote a contender or refuse it, and record why.

        Args:
            results: Its evaluation on the frozen test set, with the champion as second model where there is one.
            run_dir: Its run.
            dataset: What it was trained on.
            metric: Path of the deciding figure, a share, as `result_table.find_value` takes it.

        Raises:
            ChampionError: There is no such figure, or it cannot be compared.
        """
        figure = _share(results, metric)
        champion = self.champion
        shared = patents_on_both_sides(dataset, test_set)
        is_promoted, why = _verdict(figure, champion, metric, shared)
        fingerprint = results["model"]["fingerprint"]
        decision = Decision(
            is_promoted=is_promoted,
            why=why,
            run=run_dir.name,
            model=self._keep(run_dir / "model", f"{run_dir.name}-{fingerprint[:8]}") if is_promoted else None,
            fingerprint=fingerprint,
            metric=metric,
            value=figure["model"]["value"],
            champion=champion.run if champion else None,
            champion_value=figure["against"]["value"] if champion else None,
            difference=figure["difference"] if champion else None,
            test_set=test_set.fingerprint,
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint,
            num_train_patents=num_train_patents(dataset),
            who=who,
            when=when,
        )
        self.decisions.append(decision)
        history = [decision.to_dict() for decision in self.decisions]
        present = self.champion
        write_json(self.folder / _RECORD, {"champion": present.to_dict() if present else None, "history": history})
        return decision

    def _keep(self, model: Path, name: str) -> str:
        """Copy a model's folder into `models/`, whole or not at all, and give back its name there."""
        kept, aside = self.folder / name, self.folder / f".{name}.partial"
        if hash_folder(kept) != hash_folder(model):
            remove(aside)
            remove(kept)
            shutil.copytree(model, aside)
            aside.replace(kept)
        return name


def num_train_patents(dataset: Dataset) -> int:
    """Patents in the training split of a dataset."""
    return len(set(read_columns(dataset, lambda split: split == "train", ["patent_number"]).get("patent_number", [])))


def patents_on_both_sides(dataset: Dataset, test_set: Dataset) -> dict[str, int]:
    """What a model trained on `dataset` has seen of a test set: patents, families, images → how many."""
    columns = list(_KEPT_APART.values())
    seen = read_columns(dataset, lambda split: split != TEST_SPLIT, columns)
    asked = read_columns(test_set, lambda split: split == TEST_SPLIT, columns)
    return {
        what: len((set(seen.get(column, [])) & set(asked.get(column, []))) - {None})
        for what, column in _KEPT_APART.items()
    }


def _share(results: Mapping[str, Any], metric: str) -> dict[str, Any]:
    try:
        figure = find_value(results, metric)
    except KeyError as error:
        raise ChampionError(str(error.args[0])) from None
    if figure["unit"] != "share":
        raise ChampionError(
            f"{metric} is no share, where more is better; name one such as retrieval/text_to_image/R@10"
        )
    return figure


def _verdict(
    figure: Mapping[str, Any], champion: Decision | None, metric: str, shared: Mapping[str, int]
) -> tuple[bool, str]:
    """Whether to promote, and why."""
    if shared["patents"] or shared["families"]:
        seen = ", ".join(f"{num:,} {what}" for what, num in shared.items() if num)
        return False, f"it was trained on {seen} of the frozen test set, so its figure there says nothing"
    own = f"{metric} {100 * figure['model']['value']:.1f} %"
    if champion is None:
        return True, f"{own}; there was no champion before it"
    difference = figure["difference"]
    compared = (
        f"{own} against {100 * figure['against']['value']:.1f} % of {champion.run}: difference "
        f"{100 * difference['value']:+.1f}, 95 % {100 * difference['low']:+.1f} to {100 * difference['high']:+.1f}, "
        f"p {difference['p']:.2g}"
    )
    if difference["low"] > 0:
        return True, compared
    return False, f"{compared}; the whole interval must lie above zero"
