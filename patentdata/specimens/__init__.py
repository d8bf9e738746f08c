"""Specimens: synthetic design patents, drawn for the demo, the tests and the benchmarks.

Real weeks are large, and nobody knows where exactly their figures are. A week of specimens is small and drawn from a
seed. It is laid out, labelled, described and packed as the patent office publishes its weeks, and comes with the truth
that real weeks lack: the box of each figure and of each label.

    >>> from pathlib import Path
    >>> from patentdata.specimens import SpecimenConfig, write_week
    >>> write_week(Path("weeks"), "I20240102", SpecimenConfig(num_patents=24))  # doctest: +SKIP
    PosixPath('weeks/I20240102.tar')
"""

from patentdata.specimens.config import DAMAGE, HAZARDS, SpecimenConfig
from patentdata.specimens.design import SpecimenPatent, draw_patent
from patentdata.specimens.photographs.week import write_photographs
from patentdata.specimens.week import write_week

__all__ = ["DAMAGE", "HAZARDS", "SpecimenConfig", "SpecimenPatent", "draw_patent", "write_photographs", "write_week"]
