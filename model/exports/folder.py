"""The folder of an export: parts that appear whole, a journal by which a stopped export resumes, and a seal.

An export of a million views takes hours and is written where people keep their own files. So each part is written in a
hidden folder and renamed when it is whole, and an export that was stopped resumes with the first part that is missing.
Nothing is removed but files that an export wrote: a folder with other files is refused, and so is a file that was
changed after it was written.

    OUT/export.json     what was exported from which dataset; written last, so that it marks an export as done
    OUT/SHA256SUMS      every other file with its hash, for `sha256sum --check SHA256SUMS`
    OUT/.export/        plan, journal and unfinished parts; removed at the end
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.errors import ModelError
from model.files import atomic_write, exclusive_lock, read_json, remove, sha256_of_file, sha256_of_json, write_json

NOTE, SUMS = "export.json", "SHA256SUMS"
SCRATCH = ".export"
_PLAN, _JOURNAL, _STAGING = "plan.json", "journal", "staging"

_LOG = logging.getLogger(__name__)


class ExportError(ModelError):
    """A folder cannot take an export; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """What became of the views of one part.

    Attributes:
        num_in: Number of views that were read.
        num_out: Number of views that were written.
        dropped: Reason → number of views that were left out.
        values: What the end of the export needs to know of this part, as JSON values.
    """

    num_in: int
    num_out: int
    dropped: dict[str, int] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.num_in == self.num_out + sum(self.dropped.values()), "every view is written or counted"


class ExportFolder:
    """A folder that one export is written to.

    Args:
        path: The folder; it is made if it does not exist.
        made: What the export is made from, as JSON values: equal values mean equal files.
        targets: Every file and folder that the export will have, relative to `path`.

    Use it within `opened`.
    """

    def __init__(self, path: Path, made: dict[str, Any], targets: Sequence[str]) -> None:
        self.path = path
        self._made = made
        self._targets = sorted(targets)
        self._scratch = path / SCRATCH

    @contextlib.contextmanager
    def opened(self, *, replace: bool = False) -> Iterator[dict[str, Any] | None]:
        """Lock the folder and prepare it; yields the note of the finished export if there is nothing to do.

        Args:
            replace: Remove the files of another export, or of this one if they were changed since.

        Raises:
            ExportError: The folder has files of others or of another export, or cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with exclusive_lock(self.path):
                yield self._prepare(replace)
        except OSError as error:
            raise ExportError(f"cannot write {self.path}: {error.strerror or error}") from error

    def report_of(self, part: str) -> PartReport | None:
        """The report of a part that is whole; None if it has to be written."""
        entry = read_json(self._journal(part))
        return None if entry is None else PartReport(**entry["report"])

    @contextlib.contextmanager
    def writing(self, part: str, targets: Sequence[str]) -> Iterator[_PartWriter]:
        """Write a part in a hidden folder; its targets appear if the block ends without an error.

        Args:
            part: Name of the part.
            targets: Files and folders of the part, relative to the export; names below `SCRATCH` are for `finish`.
        """
        staging = self._scratch / _STAGING
        remove(staging)
        staging.mkdir(parents=True)
        writer = _PartWriter(staging)
        try:
            yield writer
            assert writer.report is not None, "a part says what became of its views"
            files = _hashes(staging)
            os.sync()  # once a part: the many small files of a part are on the disk before any has its name
            for target in targets:
                self._move(staging / target, self.path / target)
            write_json(self._journal(part), {"report": vars(writer.report), "files": files})
        finally:
            remove(staging)

    def target(self, target: str) -> Path:
        """Where a target of a part that is whole is."""
        return self.path / target

    def seal(self, parts: Sequence[str], values: dict[str, Any]) -> dict[str, Any]:
        """Write the list of hashes and the note, which make the export done; returns the note.

        Args:
            parts: All parts of the export.
            values: What the note says in addition to what the export is made from.
        """
        files: dict[str, dict[str, Any]] = {}
        for part in parts:
            files |= read_json(self._journal(part))["files"]  # type: ignore[index]
        files = {name: file for name, file in sorted(files.items()) if not name.startswith(f"{SCRATCH}/")}
        with atomic_write(self.path / SUMS) as partial:
            partial.write_text("".join(f"{file['sha256']}  {name}\n" for name, file in files.items()), encoding="utf-8")
        note = {
            **self._made,
            **values,
            "num_files": len(files),
            "num_bytes": sum(file["num_bytes"] for file in files.values()),
            "sha256sums": sha256_of_file(self.path / SUMS),
        }
        note = {"fingerprint": sha256_of_json(note), **note}
        write_json(self.path / NOTE, note)
        remove(self._scratch)
        return note

    def _prepare(self, replace: bool) -> dict[str, Any] | None:
        note, plan = read_note(self.path), read_json(self._scratch / _PLAN)
        if note is not None:
            listed = _read_sums(self.path)
            self._refuse_others({NOTE, SUMS, *listed})
            if self._is_finished(note, listed, replace):
                _LOG.info("export %s: skipped, it is done", self.path)
                return note
            (self.path / NOTE).unlink()  # from here on the export is not done
            if replace:
                self._remove(listed)
        elif plan is not None:
            self._refuse_others({SUMS, *plan["targets"]})
            if plan["made"] == self._made:
                _LOG.info("export %s: resumed", self.path)
                return None
            self._refuse_another(plan["made"], replace)
            self._remove(name for entry in self._entries() for name in entry["files"])
            remove(self._scratch)
            self._refuse_others(set())
        else:
            self._refuse_others(set())
        remove(self._scratch)
        write_json(self._scratch / _PLAN, {"made": self._made, "targets": self._targets})
        return None

    def _is_finished(self, note: dict[str, Any], listed: dict[str, str], replace: bool) -> bool:
        """Whether a sealed export is this one and intact. Raises ExportError if it may not be written again."""
        if any(note.get(name) != value for name, value in self._made.items()):
            self._refuse_another(note, replace)
            return False
        if not listed or sha256_of_file(self.path / SUMS) != note["sha256sums"]:
            return False
        missing = [name for name in listed if not (self.path / name).is_file()]
        changed = [
            name
            for name, sha256 in listed.items()
            if name not in missing and sha256_of_file(self.path / name) != sha256
        ]
        if changed and not replace:
            raise ExportError(
                f"{self.path / changed[0]} was changed after it was exported; move it away, or add --replace to write "
                "it again"
            )
        return not missing and not changed

    def _refuse_another(self, made: dict[str, Any], replace: bool) -> None:
        if not replace:
            raise ExportError(
                f"{self.path} holds an export to {made.get('format')} of another dataset, version or setting (dataset "
                f"{made.get('dataset')}, {str(made.get('dataset_fingerprint'))[:12]}); name another folder, or add "
                "--replace to remove its files"
            )

    def _refuse_others(self, own: set[str]) -> None:
        """Raise ExportError if there is a file that is neither one of `own` nor below one of them."""
        for folder, folders, names in os.walk(self.path):
            relative = Path(folder).relative_to(self.path)
            folders[:] = sorted(name for name in folders if (relative / name).as_posix() != SCRATCH)
            for name in sorted(names):
                file = (relative / name).as_posix()
                if file not in own and not any(parent.as_posix() in own for parent in Path(file).parents):
                    raise ExportError(
                        f"{self.path / file} was not written by this export; move it away, or name another folder"
                    )

    def _remove(self, names: Any) -> None:
        """Remove files of an export, and the folders that are empty then."""
        folders = set()
        for name in [*names, SUMS]:
            (self.path / name).unlink(missing_ok=True)
            folders |= set(Path(name).parents) - {Path()}
        for folder in sorted(folders, key=lambda path: -len(path.parts)):
            with contextlib.suppress(OSError):
                (self.path / folder).rmdir()

    def _move(self, staged: Path, target: Path) -> None:
        """Rename a staged file or folder to its target, which an export that was killed may have left."""
        if target.is_dir():
            extra = {path.relative_to(target) for path in target.rglob("*")} - {
                path.relative_to(staged) for path in staged.rglob("*")
            }
            if extra:
                raise ExportError(
                    f"{target / min(extra)} was not written by this export; move it away, or name another folder"
                )
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(target)

    def _journal(self, part: str) -> Path:
        return self._scratch / _JOURNAL / f"{part}.json"

    def _entries(self) -> list[dict[str, Any]]:
        paths = sorted((self._scratch / _JOURNAL).glob("*.json"))
        return [entry for path in paths if (entry := read_json(path)) is not None]


class _PartWriter:
    """Where a part is written.

    Attributes:
        folder: Folder in which the targets are made.
        report: Set by whoever writes the part, before the block ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.report: PartReport | None = None

    def path(self, target: str) -> Path:
        """Path for a file of the part; its folder exists."""
        path = self.folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def read_note(folder: Path) -> dict[str, Any] | None:
    """The content of `export.json`; None if it is missing or was changed after it was written."""
    note = read_json(folder / NOTE)
    if note is None or note.pop("fingerprint", None) != (fingerprint := sha256_of_json(note)):
        return None
    return {"fingerprint": fingerprint, **note}


def _read_sums(folder: Path) -> dict[str, str]:
    """File → SHA-256 from the list of hashes; empty if there is none."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


def _hashes(staging: Path) -> dict[str, dict[str, Any]]:
    """File below a folder → its size and SHA-256."""
    return {
        path.relative_to(staging).as_posix(): {"num_bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
        for path in sorted(staging.rglob("*"))
        if path.is_file()
    }
