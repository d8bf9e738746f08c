"""A small dataset, and a model to search it with."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

from safetensors.torch import save_file

from model.clip.loading import find_model, load_clip
from tests.model.dataset.drawings import draw_rows, write_dataset

HOSTILE = "<script>alert(1)</script>"


def draw_searchable(folder: Path) -> Path:
    """16 + 4 patents of two views each, with classes, days and citations; the title of the second is hostile.

    Each patent cites the first patent of the training split and one that is not in the dataset.
    """
    splits = {}
    for seed, (split, num) in enumerate({"train": 16, "test": 4}.items(), 1):
        rows = draw_rows(num, split=split, seed=seed)
        for index, row in enumerate(rows):
            row["grant_date"] = None if index == 0 else datetime.date(2019 + seed, 1 + index % 12, 5)
            row["locarno_class"] = "07-01" if index % 4 < 2 else "06-03"
            row["figure_label"] = f"{1 + index % 2}"
            row["viewpoint"] = ("front", "top")[index % 2]
            row["cited_by_examiner"] = ["D710000", "D999999"]
            row["owners"] = [["Acme, Inc."], ["Blue GmbH", "Acme Works"], ["Jane Doe"], []][index // 2 % 4]
        rows[2]["title"] = rows[3]["title"] = HOSTILE
        rows[3]["view_id"] = f"{rows[3]['patent_number']}-2(a) & ../../x"
        splits[split] = rows
    return write_dataset(folder, splits, name=folder.name)


def write_model(micro_clip: str, folder: Path) -> Path:
    """A model folder with fresh weights, so that features can be stored and reused."""
    folder.mkdir(parents=True)
    shutil.copy(Path(micro_clip.removeprefix("local-dir:")) / "open_clip_config.json", folder)
    clip = load_clip(find_model(micro_clip), load_weights=False)
    save_file(clip.model.state_dict(), folder / "open_clip_model.safetensors")
    return folder
