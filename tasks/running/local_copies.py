"""Folders of an object store that training, evaluation and search work on: copied to this machine, results put back.

There are two kinds of copies, both in the user's cache. A local copy follows the store: each call brings it up to date,
so it serves for reading datasets, models and the registry, and for adding to what is there. A working folder belongs to
this machine: a run is trained in it, its checkpoints stay in it, and an interrupted run resumes from it.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from model.files import atomic_write, read_json, write_json
from patentdata.errors import OutputError
from patentdata.store.folder import DataFolder
from patentdata.store.hashes import sha256_of

_LOG = logging.getLogger(__name__)

_COPIES, _WORKING = "mirrors", "copies"  # folders of the cache
_NOTE = ".fetched.json"  # name of a file → the store's own mark of what was copied
_STAYS_HERE = "checkpoints"  # of a run: needed to resume it, which happens on this machine
_PUT_LAST = ("training.json", "evaluation.json", "champion.json")  # they mark a folder as done


def local_copy(folder: DataFolder, *parts: str) -> Path:
    """A folder within the data folder as files on this machine: itself, or a copy brought up to date.

    A file that was copied and is no longer on the store is removed from the copy; files that were made here stay. If
    the store has no such folder, there is nothing at the returned path.

    Raises:
        OutputError: The store cannot be read, or this machine's cache cannot be written.
    """
    if folder.is_local:
        return Path(folder.path(*parts))
    return _fetch(folder, _cache(folder, _COPIES, *parts), *parts)


def working_folder(folder: DataFolder, *parts: str) -> Path:
    """The folder in which a run is trained: its own, or this machine's; fetched only if there is none here.

    Raises OutputError like `local_copy`.
    """
    if folder.is_local:
        return Path(folder.path(*parts))
    here = _cache(folder, _WORKING, *parts)
    if here.is_dir() and not (here / _NOTE).is_file():
        _LOG.info("%s is resumed in %s", "/".join(parts), here)
        return here
    _fetch(folder, here, *parts)
    (here / _NOTE).unlink(missing_ok=True)  # from now on it is worked in, and no copy any more
    return here


def find_model(folder: DataFolder, model: str) -> str:
    """The folder of the run under `runs/` that has this name; any other model as it is named.

    Args:
        folder: The data folder; from an object store, the run is copied to this machine.
        model: The name of a run, a folder, `local-dir:FOLDER`, `hf-hub:NAME` or `ARCHITECTURE/TAG`.
    """
    is_plain = model and "/" not in model and ":" not in model
    run = local_copy(folder, "runs", model) if is_plain else None
    return str(run) if run is not None and (run / "model").is_dir() else model


def upload(here: Path, folder: DataFolder, *parts: str) -> None:
    """Put a local copy or a working folder onto the store: what is new or changed, the files that mark it as done last.

    Checkpoints stay on this machine. If the data folder is local, nothing happens.

    Args:
        here: As `local_copy` or `working_folder` returned it.
        folder: The data folder.
        parts: The folder's place within the data folder.

    Raises:
        OutputError: The store cannot be written.
    """
    if folder.is_local:
        return
    names = [path.relative_to(here).as_posix() for path in _files(here)]
    kept = [name for name in names if not name.startswith(f"{_STAYS_HERE}/")]
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
        if (here / _NOTE).is_file():  # a copy that is up to date with what was just written
            folder.fs.invalidate_cache()
            write_json(here / _NOTE, {name: folder.fs.ukey(folder.path(*parts, name)) for name in kept})
    except OSError as error:
        raise OutputError(f"cannot write {folder.url}/{'/'.join(parts)}: {error.strerror or error}") from error


def _fetch(folder: DataFolder, here: Path, *parts: str) -> Path:
    """Bring a copy up to date with the store."""
    there = folder.path(*parts)
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


def _cache(folder: DataFolder, kind: str, *parts: str) -> Path:
    return folder.local_cache_dir(kind).joinpath(*parts)


def _name(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/")


def _files(here: Path) -> list[Path]:
    """Finished files below a folder; names that begin with a dot are locks, notes and leftovers."""
    return sorted(path for path in here.rglob("*") if path.is_file() and not path.name.startswith("."))
