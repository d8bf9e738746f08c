"""WebDataset: tar shards as open_clip trains on and clip-benchmark measures on.

    OUT/train/0.tar, 1.tar, …     of each view .jpg, .txt (its caption), .json (its metadata) and .cls (its class);
                                  .claimed.jpg, if there are lines that are not claimed: the view without them
    OUT/train/nshards.txt         number of shards, for clip-benchmark
    OUT/train/sizes.json          views of each shard, for open_clip
    OUT/dataset_type.txt          "retrieval" or "classification", for clip-benchmark
    OUT/classnames.txt            titles of the US classes; a line number is the number in .cls, from 0
    OUT/zeroshot_classification_templates.txt

The JPEG is that of the dataset, byte for byte; a PNG of the same pixels would be larger and no better.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from model.dataset.classes import PROMPTS, USPC
from model.errors import ConfigError
from model.exports.folder import PartReport
from model.exports.formats import Format, Part, parts_of_shards
from model.exports.rows import CLAIMED_IMAGE, IMAGE, DatasetRows, Row, file_stem, json_values

RETRIEVAL, CLASSIFICATION = "retrieval", "classification"
TASKS = (RETRIEVAL, CLASSIFICATION)
_TYPE, _CLASSES, _TEMPLATES = "dataset_type.txt", "classnames.txt", "zeroshot_classification_templates.txt"


class WebDataset(Format):
    """Tar shards of equal numbers of views.

    Args:
        source: The rows of the dataset.
        task: What clip-benchmark measures: "retrieval", for which views without a caption are left out, or
            "classification", for which views without a US class are left out.
        views_a_shard: Number of views in a shard; the last one of a split has fewer.

    Raises:
        ConfigError: A setting cannot be used.
    """

    name: ClassVar[str] = "webdataset"

    def __init__(self, source: DatasetRows, *, task: str = RETRIEVAL, views_a_shard: int = 10_000) -> None:
        super().__init__(source)
        if task not in TASKS:
            raise ConfigError(f"task is {task[:40]!r}; use one of {', '.join(TASKS)}")
        if views_a_shard < 1:
            raise ConfigError(f"views_a_shard is {views_a_shard}; it must be at least 1")
        self._task = task
        self._views_a_shard = views_a_shard

    @property
    def settings(self) -> dict[str, Any]:
        return {"task": self._task, "views_a_shard": self._views_a_shard}

    def parts(self) -> list[Part]:
        return parts_of_shards(self.source, self._views_a_shard, lambda split, number, _: f"{split}/{number}.tar")

    @property
    def final_targets(self) -> tuple[str, ...]:
        notes = [f"{split}/{name}" for split in self.source.splits for name in ("nshards.txt", "sizes.json")]
        return (*notes, _TYPE, _CLASSES, _TEMPLATES)

    def write(self, part: Part, path: Callable[[str], Path], on_view: Callable[[], None]) -> PartReport:
        dropped: Counter[str] = Counter()
        num_out = 0
        (target,) = part.targets
        # The format is one that every reader has; times and owners are left at 0, so that equal views give equal bytes.
        with tarfile.open(path(target), "w", format=tarfile.USTAR_FORMAT) as shard:
            for row in self.rows_of(part, on_view):
                reason = self._reason_to_drop(row)
                if reason:
                    dropped[reason] += 1
                    continue
                num_out += 1
                for name, data in self._members(row):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    shard.addfile(member, io.BytesIO(data))
        return PartReport(num_in=part.num_views, num_out=num_out, dropped=dict(dropped))

    def _reason_to_drop(self, row: Row) -> str | None:
        if self._task == RETRIEVAL:
            return None if (row.get("text") or "").strip() else "no_caption"
        return None if USPC.index_of(row.get("uspc_class")) >= 0 else "no_us_class"

    def _members(self, row: Row) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file of a view."""
        stem = file_stem(row["view_id"])
        yield f"{stem}.jpg", row[IMAGE]
        if row.get(CLAIMED_IMAGE) is not None:
            yield f"{stem}.claimed.jpg", row[CLAIMED_IMAGE]
        text = " ".join((row.get("text") or "").split())  # one line: clip-benchmark takes each line for a caption
        if text:
            yield f"{stem}.txt", text.encode()
        yield f"{stem}.json", json.dumps(json_values(row, self.source.columns), ensure_ascii=False).encode()
        number = USPC.index_of(row.get("uspc_class"))
        if number >= 0:
            yield f"{stem}.cls", str(number).encode()

    def finish(
        self, parts: Mapping[Part, PartReport], written: Callable[[str], Path], path: Callable[[str], Path]
    ) -> None:
        for split in self.source.splits:
            sizes = {
                Path(part.targets[0]).name: report.num_out for part, report in parts.items() if part.split == split
            }
            path(f"{split}/nshards.txt").write_text(f"{len(sizes)}\n")
            path(f"{split}/sizes.json").write_text(json.dumps(sizes, indent=1) + "\n")
        path(_TYPE).write_text(f"{self._task}\n")
        path(_CLASSES).write_text("".join(f"{title}\n" for title in USPC.titles), encoding="utf-8")
        templates = [prompt.replace("{}", "{c}") for prompt in PROMPTS]
        path(_TEMPLATES).write_text("".join(f"{template}\n" for template in templates), encoding="utf-8")

    def advice(self, out: Path) -> str:
        split = self.source.splits[0]
        shards = len([part for part in self.parts() if part.split == split])
        return (
            f'open_clip: --dataset-type webdataset --train-data "{out}/{split}/{{0..{shards - 1}}}.tar"; '
            f"clip-benchmark: --dataset wds/designs --dataset_root {out} --split {self.source.splits[-1]}"
        )
