"""Splits of datasets as files of the user's cache, mapped into memory.

A Parquet file cannot be read row by row at random. The first use of a large split writes its columns once more as one
Arrow file; every later use maps that file, which takes no time and no memory of its own, and all processes of a run
share the pages.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import platformdirs
import pyarrow as pa

from model.files import atomic_write, exclusive_lock

VERSION = 1  # counts up when equal splits would give another file
_ROOM = 1.05  # free space asked for, as a multiple of the data
_FORGOTTEN_AFTER_S = 30 * 24 * 3600.0

_logger = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Where the files lie: below DESIGNCLIP_CACHE, or the user's cache folder."""
    return Path(os.environ.get("DESIGNCLIP_CACHE") or platformdirs.user_cache_dir("designclip")) / "splits"


def mapped_table(
    name: str, read: Callable[[], Iterable[pa.Table]], *, schema: pa.Schema, num_bytes: int
) -> pa.Table | None:
    """A table over a mapped file of the cache; written first where it is not there yet.

    Processes that ask for the same one wait for the first to write it. Files that nobody has used for 30 days are
    removed when another is written.

    Args:
        name: Stands for the content, and for nothing else.
        read: Gives the parts of the table, of `schema` each; not called where the file is there.
        schema: Of the table.
        num_bytes: What the file will roughly take.

    Returns:
        The table; None where the cache cannot be written or has too little room.
    """
    folder = cache_dir()
    path = folder / f"{name}-v{VERSION}.arrow"
    table = _map(path)
    if table is not None:
        return table
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder):
            table = _map(path)
            if table is not None:
                return table
            _forget(folder)
            free = shutil.disk_usage(folder).free
            if free < num_bytes * _ROOM:
                _logger.warning(
                    "%s has %.1f GB free, and %.1f GB are wanted: the images are held in memory instead; "
                    "name a larger folder in DESIGNCLIP_CACHE",
                    *(folder, free / 1e9, num_bytes * _ROOM / 1e9),
                )
                return None
            with atomic_write(path) as aside, pa.ipc.new_file(str(aside), schema) as writer:
                for part in read():
                    writer.write_table(part)
            return _map(path)
    except OSError as error:
        _logger.warning("%s cannot be written (%s): the images are held in memory instead", folder, error)
        return None


def _map(path: Path) -> pa.Table | None:
    """The table that a file holds; None where it is absent or damaged."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # it has been used
    return table


def _forget(folder: Path) -> None:
    """Remove the files that were last used long ago; who still has one mapped keeps it."""
    for path in folder.glob("*.arrow"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_S:
                path.unlink()
