"""Specimens: design patents that nobody filed, drawn for the demo, the tests and the benchmarks.

A week of them is laid out, lettered, described and packed as the office publishes its weeks, and comes with the truth
that real weeks lack: where each figure and each label stands.

    >>> from pathlib import Path
    >>> from patentdata.specimens import SpecimenConfig, write_week
    >>> write_week(Path("weeks"), "I20240102", SpecimenConfig(num_patents=24))  # doctest: +SKIP
    PosixPath('weeks/I20240102.tar')
"""

from patentdata.specimens.config import DAMAGE, HAZARDS, SpecimenConfig
from patentdata.specimens.design import SpecimenPatent, draw_patent
from patentdata.specimens.week import write_week

__all__ = ["DAMAGE", "HAZARDS", "SpecimenConfig", "SpecimenPatent", "draw_patent", "write_week"]
