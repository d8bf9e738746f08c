"""Folders of an object store that training works on: copied to this machine, and put back when they are done.

Copies lie in the user's cache, so a run that was interrupted goes on, on the machine where it began.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from model.files import atomic_write, read_json, write_json
from patentdata.errors import ConfigError, OutputError
from patentdata.store.folder import DataFolder
from patentdata.store.hashes import sha256_of

_NOTE = ".fetched.json"  # name of a file → the store's own mark of what was copied
_STAYS_HERE = "checkpoints"  # of a run: wanted by whoever goes on with it, which is this machine
_PUT_LAST = ("training.json", "evaluation.json")  # they mark a folder as done


def local_copy(folder: DataFolder, *parts: str) -> Path:
    """A folder within the data folder as files of this machine: itself, or a copy brought up to date.

    A copy loses what was copied and is on the store no longer; files that were made here stay. Nothing is at the path
    where the store has no such folder.

    Raises:
        OutputError: The store cannot be read, or this machine's cache cannot be written.
    """
    if folder.is_local:
        return Path(folder.path(*parts))
    here, there = _here(folder, *parts), folder.path(*parts)
    try:
        folder.fs.invalidate_cache()
        offered = {_name(path, there): path for path in folder.fs.find(there)}
        marks = {name: folder.fs.ukey(path) for name, path in offered.items()}
        known = read_json(here / _NOTE) or {}
        for name in known.keys() - offered.keys():
            (here / name).unlink(missing_ok=True)
            del known[name]
        for name, path in offered.items():
            if known.get(name) == marks[name] and (here / name).is_file():
                continue
            with atomic_write(here / name) as aside:
                folder.fs.get_file(path, str(aside))
            known[name] = marks[name]
            write_json(here / _NOTE, known)
    except OSError as error:
        raise OutputError(f"cannot copy {folder.url}/{'/'.join(parts)} to {here}: {error.strerror or error}") from error
    return here


def working_folder(folder: DataFolder, *parts: str) -> Path:
    """Where a run works: its folder, or this machine's copy; the store's own is fetched only where there is no copy.

    Raises OutputError as `copied` does.
    """
    if folder.is_local:
        return Path(folder.path(*parts))
    here = _here(folder, *parts)
    return here if here.is_dir() and not (here / _NOTE).is_file() else _released(local_copy(folder, *parts))


def upload(folder: DataFolder, *parts: str) -> None:
    """Put a working folder onto the store: what is new or other there, the files that mark it as done at the end.

    Checkpoints stay on this machine. Nothing happens where the data folder is local.

    Raises:
        OutputError: The store cannot be written.
    """
    if folder.is_local:
        return
    here = _here(folder, *parts)
    names = [path.relative_to(here).as_posix() for path in _files(here)]
    kept = sorted(
        (name for name in names if not name.startswith(f"{_STAYS_HERE}/")), key=lambda name: (name in _PUT_LAST, name)
    )
    try:
        folder.fs.invalidate_cache()
        there = {_name(path, folder.path(*parts)): path for path in folder.fs.find(folder.path(*parts))}
        for name in sorted(kept, key=lambda name: (name in _PUT_LAST, name)):
            local = str(here / name)
            if name in there and folder.sha256(there[name]) == sha256_of(LocalFileSystem(), local):
                continue
            with (here / name).open("rb") as source, folder.writing(folder.path(*parts, name)) as file:
                shutil.copyfileobj(source, file)
        for name in there.keys() - set(kept):
            folder.remove(there[name])
    except OSError as error:
        raise OutputError(f"cannot write {folder.url}/{'/'.join(parts)}: {error.strerror or error}") from error


def _here(folder: DataFolder, *parts: str) -> Path:
    return folder.local_cache_dir("copies").joinpath(*parts)


def _released(here: Path) -> Path:
    """A copy that from now on is worked in, and no copy any more."""
    (here / _NOTE).unlink(missing_ok=True)
    return here


def _name(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/")


def _files(here: Path) -> list[Path]:
    """Finished files below a folder; names that begin with a dot are locks, notes and leftovers."""
    return sorted(path for path in here.rglob("*") if path.is_file() and not path.name.startswith("."))


def local_dir(folder: DataFolder, *parts: str) -> Path:
    """A folder within the data folder as a path; raises ConfigError where it is not on this machine."""
    if not folder.is_local:
        raise ConfigError(f"{folder.url} is not on this machine; copy its datasets, runs and models to a local folder")
    return Path(folder.path(*parts))
