"""Damage, each kind by name: what a pipeline meets when archives and patents are not as they should be."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from patentdata.specimens.config import SpecimenConfig
from patentdata.specimens.design import SpecimenPatent
from patentdata.specimens.packing import Member


class Damaged(NamedTuple):
    """What was done, and to which patent (None: to the archive as a whole)."""

    damage: str
    patent: str | None
    member: str | None
    detail: str


def damage_plan(config: SpecimenConfig) -> dict[int, list[str]]:
    return {}


def damaged_members(
    kind: str, patent: SpecimenPatent, members: list[Member], week: str
) -> tuple[list[Member], Damaged]:
    raise NotImplementedError(kind)


def damage_archive(path: Path, config: SpecimenConfig) -> list[Damaged]:
    return []
