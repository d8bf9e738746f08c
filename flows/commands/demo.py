"""The demonstration: two drawn weeks, taken to a measured model in a few minutes on two cores."""

from __future__ import annotations

import os
from pathlib import Path

from flows.refresh import RefreshConfig
from flows.weeks import WeeksConfig
from patentdata.specimens import SpecimenConfig, write_week

DEMO_WEEKS = ("I20240102", "I20240109")
_FIRST_NUMBER = 900_001
_PARTLY_CLAIMED = 0.5  # as many real patents say that some of their lines are not claimed


def draw_archives(folder: Path, num_patents: int) -> None:
    """Draw the weekly archives of the demo; the same number of patents gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, week in enumerate(DEMO_WEEKS):
        config = SpecimenConfig(
            num_patents=num_patents,
            first_number=_FIRST_NUMBER + i * num_patents,
            partly_claimed=_PARTLY_CLAIMED,
            workers=len(os.sched_getaffinity(0)),
        )
        write_week(folder, week, config)


def demo_config(folder: Path) -> RefreshConfig:
    """Settings of a refresh from the drawn archives."""
    return RefreshConfig(weeks=WeeksConfig(data_dir=str(folder / "data"), source=str(folder / "archives")))
