"""Settings of the stage dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from patentdata.dataset.near_duplicates.search import NearDuplicateConfig
from patentdata.dataset.selection import SelectionConfig
from patentdata.dataset.splits import SplitConfig
from patentdata.errors import ConfigError
from patentdata.views.square_images import TrainingImageConfig

VERSION = 4  # raised when equal inputs would give other bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """What is frozen, and how.

    Attributes:
        name: Folder of the dataset within `datasets/`, by which a training run refers to it.
        image: How views become training images.
        split: How patents are divided.
        selection: Which views are good enough.
        near_duplicates: Which views are nearly the same drawing, and whether they are left out.
    """

    name: str = "designs"
    image: TrainingImageConfig = field(default_factory=TrainingImageConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    near_duplicates: NearDuplicateConfig = field(default_factory=NearDuplicateConfig)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"dataset name {self.name!r} cannot be a folder; use letters, digits, dots, dashes and underscores"
            )
