"""A week of specimens, written as one weekly archive next to a file with the truth about its sheets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from patentdata.specimens.config import SpecimenConfig
from patentdata.specimens.damage import Damaged, damage_archive, damage_plan, damaged_members
from patentdata.specimens.design import SpecimenPatent, draw_patent
from patentdata.specimens.packing import Member, decoys, open_archive, pack_documents

_EXTENSIONS = {"tar": ".tar", "zip": ".ZIP"}


def write_week(folder: Path, week: str, config: SpecimenConfig, *, container: str = "tar", truth: bool = True) -> Path:
    """Draw a week and write it as `folder/I20240102.tar` (or `.ZIP`); its bytes depend on `week` and `config` only.

    The same folder gets `I20240102.truth.jsonl`, one line a sheet in the format of the hand-made truth of real sheets,
    `I20240102.drawn.jsonl`, one line a patent with the shape and the parts that were drawn, and, if damage was asked
    for, `I20240102.damage.json`: what was damaged, and how.

    Args:
        folder: Folder of the archive, made if it does not exist.
        week: "I" and the date of issue, such as "I20240102".
        config: Settings of the week.
        container: "tar" or "zip".
        truth: Whether to keep the files with the truth.

    Returns:
        The path of the archive.
    """
    if container not in _EXTENSIONS:
        raise ValueError(f'container is {container!r}; give "tar" or "zip"')
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (week + _EXTENSIONS[container])
    plan = damage_plan(config)
    done: list[Damaged] = []
    truth_path, drawn_path = folder / f"{week}.truth.jsonl", folder / f"{week}.drawn.jsonl"
    archive = open_archive(path, container)
    # Each patent becomes one member; damage replaces the member by those that the damaged patent has.
    with truth_path.open("w", encoding="utf-8") as truth_file, drawn_path.open("w", encoding="utf-8") as drawn_file:
        first: tuple[str, bytes] | None = None
        for patent in _drawn(week[1:], config):
            for row in patent.truth:
                truth_file.write(json.dumps(row) + "\n")
            drawn = {"patent_number": f"D{patent.number}", **asdict(patent.drawn)}
            drawn_file.write(json.dumps(drawn) + "\n")
            packed = pack_documents(patent.name, patent.files())
            members = [Member(f"{week}/DESIGN/{patent.name}.ZIP", packed)]
            if patent.number in plan:
                members, note = damaged_members(plan[patent.number], patent, members[0], week)
                done.append(note)
            for member in members:
                archive.add(member)
            first = first or (patent.name, packed)
        for member in decoys(week, first[1], first[0]) if first else ():
            archive.add(member)
    archive.close()
    # Damage to the archive as a whole comes after it is complete.
    done += damage_archive(path, config)
    if not truth:
        truth_path.unlink()
        drawn_path.unlink()
    if done:
        notes = [note._asdict() for note in done]
        (folder / f"{week}.damage.json").write_text(json.dumps(notes, indent=1) + "\n", encoding="utf-8")
    return path


def _drawn(date: str, config: SpecimenConfig) -> Iterator[SpecimenPatent]:
    """The week's patents in order of number; only a few are in memory at a time."""
    numbers = range(config.first_number, config.first_number + config.num_patents)
    draw = partial(_draw, date=date, config=config)
    if config.workers == 1:
        yield from map(draw, numbers)
        return
    batch = 8 * config.workers
    with ProcessPoolExecutor(config.workers) as pool:
        for start in range(0, len(numbers), batch):  # in batches, so that finished patents do not pile up
            yield from pool.map(draw, numbers[start : start + batch])


def _draw(number: int, date: str, config: SpecimenConfig) -> SpecimenPatent:
    return draw_patent(number, date=date, config=config)
