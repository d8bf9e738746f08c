"""The card of a dataset on the hub: what is in it, where it comes from, and what it is not good for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from model.dataset.classes import USPC
from model.errors import DatasetError
from model.exports.rows import DatasetRows
from model.files import read_json

LICENCE = "us-patents"
LICENCE_LINK = "https://www.uspto.gov/terms-use-uspto-websites"
_LICENCE_SENTENCE = (
    "Text and drawings of US patents are published by the United States Patent and Trademark Office and are in general "
    "not subject to copyright restrictions; a patent may carry a notice under 37 CFR 1.71(d) and (e)."
)
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_NUM_CLASSES = 12
_LIMITS = (
    "Captions are generated. They are true of most views and not of all; `captioner` names what made each.",
    "Figure labels are read from the drawings, and viewpoints are those that the grants declare; both can be wrong or "
    "missing (null).",
    "Classes are those on the grant. They follow the office's practice at the time, and their frequencies differ by "
    "orders of magnitude.",
    "A drawing may show more than is claimed: what is drawn in broken lines is usually not part of the design.",
    "Images are scaled down and padded to a square, so fine lines are lost and sizes are not comparable between views.",
    "Patents name people and companies: `owners` has those on the grant, as printed. They may not own it any more.",
)


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What the card and the Croissant metadata say.

    Attributes:
        repository: "owner/name".
        licence: An identifier of the hub, or `LICENCE`.
        newest: Day of the newest grant, ISO 8601; empty if no day is known.
        columns: Columns in order with their types, the images last.
        descriptions: Column → what it is.
        sizes: Split → number of views, and bytes of its shards.
        manifest: Content of `dataset.json`.
    """

    repository: str
    licence: str
    newest: str
    columns: Mapping[str, pa.DataType]
    descriptions: Mapping[str, str]
    sizes: Mapping[str, tuple[int, int]]
    manifest: Mapping[str, Any]

    @property
    def title(self) -> str:
        """The name of the dataset, as a title."""
        return f"US design patents: {self.manifest['name']}"

    @property
    def num_views(self) -> int:
        return sum(num for num, _ in self.sizes.values())

    @property
    def summary(self) -> str:
        """The dataset in one sentence."""
        weeks = sorted(week for week in self.manifest.get("weeks", ()))
        span = f", granted in {len(weeks):,} weeks from {_day(weeks[0])} to {_day(weeks[-1])}" if weeks else ""
        return f"{self.num_views:,} captioned views of US design patents{span}, divided by patent family."

    @property
    def licence_link(self) -> str:
        return LICENCE_LINK if self.licence == LICENCE else f"https://choosealicense.com/licenses/{self.licence}/"


def describe(
    source: DatasetRows, repository: str, licence: str, sizes: Mapping[str, tuple[int, int]], newest: str
) -> DatasetFacts:
    """The facts of a dataset. Raises DatasetError if its `dataset.json` cannot be read."""
    manifest = read_json(source.dataset.folder / "dataset.json")
    if manifest is None:
        raise DatasetError(f"{source.dataset.folder}: no readable dataset.json there; build the dataset again")
    return DatasetFacts(
        repository=repository,
        licence=licence,
        newest=newest,
        columns={item.name: item.type for item in source.schema},
        descriptions=source.descriptions,
        sizes=sizes,
        manifest=manifest,
    )


def render_card(facts: DatasetFacts) -> str:
    """The card: front matter that the hub reads, then Markdown."""
    sections = [
        f"# {facts.title}",
        facts.summary,
        _sizes(facts),
        _loading(facts),
        "## Licence",
        _LICENCE_SENTENCE if facts.licence == LICENCE else f"[{facts.licence}]({facts.licence_link})",
        _fields(facts),
        "## How it is divided",
        str(facts.manifest.get("split_rule", "The splits are those of the dataset.")),
        *(f"- {note}" for note in facts.manifest.get("notes", ())),
        _limits(facts),
        _making(facts),
    ]
    return f"---\n{_front_matter(facts)}\n---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(facts: DatasetFacts) -> str:
    from huggingface_hub import DatasetCardData

    is_patents = facts.licence == LICENCE
    named_licence: Any = {"license_name": LICENCE, "license_link": LICENCE_LINK} if is_patents else {}
    size = next((name for limit, name in _SIZES if facts.num_views < limit), "1M<n<10M")
    num_bytes = sum(num for _, num in facts.sizes.values())
    splits = [{"name": split, "num_bytes": bytes_, "num_examples": num} for split, (num, bytes_) in facts.sizes.items()]
    data_files = [{"split": split, "path": f"data/{split}-*"} for split in facts.sizes]
    data = DatasetCardData(
        pretty_name=facts.title,
        language="en",
        license="other" if is_patents else facts.licence,
        **named_licence,
        task_categories=["image-to-text", "image-feature-extraction", "zero-shot-image-classification"],
        size_categories=size,
        tags=["design-patents", "line-drawings", "clip"],
        configs=[{"config_name": "default", "data_files": data_files}],
        dataset_info={
            "features": [{"name": name, **_yaml_type(kind)} for name, kind in facts.columns.items()],
            "splits": splits,
            "download_size": num_bytes,
            "dataset_size": num_bytes,
        },
    )
    return str(data.to_yaml())


def _yaml_type(kind: pa.DataType) -> dict[str, str]:
    """The type of a column in the front matter."""
    if pa.types.is_binary(kind):
        return {"dtype": "image"}
    if pa.types.is_list(kind):
        return {"list": dtype_of(kind.value_type)}
    return {"dtype": dtype_of(kind)}


def dtype_of(kind: pa.DataType) -> str:
    """The name of a type in the library `datasets`."""
    return {"double": "float64", "float": "float32", "date32[day]": "date32"}.get(str(kind), str(kind))


def _sizes(facts: DatasetFacts) -> str:
    patents = facts.manifest.get("num_patents", {})
    families = facts.manifest.get("num_families", {})
    lines = ["## Sizes", "", "| split | views | patents | families | MB |", "|---|---:|---:|---:|---:|"]
    for split, (num_views, num_bytes) in facts.sizes.items():
        counts = (patents.get(split), families.get(split))
        shown = " | ".join("" if count is None else f"{count:,}" for count in counts)
        lines.append(f"| {split} | {num_views:,} | {shown} | {num_bytes / 1e6:,.1f} |")
    by_class = facts.manifest.get("counts", {}).get("uspc_class", {}).get("train", {})
    frequent = sorted(by_class.items(), key=lambda item: (-item[1], item[0]))[:_NUM_CLASSES]
    if frequent:
        named = ", ".join(f"{code} {_class_title(code)} ({num:,})".replace("  ", " ") for code, num in frequent)
        lines += ["", f"Most frequent US classes of the training views: {named}."]
    return "\n".join(lines)


def _class_title(code: str) -> str:
    index = USPC.index_of(code)
    return USPC.titles[index] if index >= 0 else ""


def _loading(facts: DatasetFacts) -> str:
    split = next(iter(facts.sizes))
    return "\n".join(
        [
            "## Use",
            "",
            "```python",
            "import datasets",
            "",
            f'views = datasets.load_dataset("{facts.repository}", split="{split}")',
            'views[0]["image"], views[0]["text"]',
            "```",
        ]
    )


def _fields(facts: DatasetFacts) -> str:
    lines = ["## Fields", "", "| field | type | content |", "|---|---|---|"]
    for name, kind in facts.columns.items():
        shown = "image" if pa.types.is_binary(kind) else str(kind).replace("item: ", "").replace("element: ", "")
        content = facts.descriptions.get(name, "").replace("|", "\\|")
        lines.append(f"| `{name}` | {shown} | {content} |")
    return "\n".join(lines)


def _limits(facts: DatasetFacts) -> str:
    lines = ["## Known limits", "", *(f"- {limit}" for limit in _LIMITS)]
    for unit, dropped in facts.manifest.get("dropped", {}).items():
        reasons = ", ".join(f"{num:,} {reason}" for reason, num in dropped.items())
        if reasons:
            lines.append(f"- {unit.capitalize()} that were left out, by reason: {reasons}.")
    return "\n".join(lines)


def _making(facts: DatasetFacts) -> str:
    lines = [
        "## How it was made",
        "",
        "By designclip, from the weekly archives of the USPTO: grants are parsed, drawing sheets are split into views, "
        "views are captioned, selected, and divided by family. Equal inputs and settings give equal bytes.",
        "",
        f"- Fingerprint of the dataset: `{facts.manifest['fingerprint']}`",
    ]
    if made := facts.manifest.get("made"):
        lines.append(
            f"- Version of the stage: {made.get('version')}; hash of its settings: `{made.get('config_sha256')}`"
        )
    lines.append("- `SHA256SUMS` has the hash of every file, `export.json` what this copy was made from.")
    return "\n".join(lines)


def _day(week: str) -> str:
    """The day of a week by its name.

    >>> _day("I20210105")
    '2021-01-05'
    """
    digits = week.lstrip("I")[:8]
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}" if len(digits) == 8 else week
