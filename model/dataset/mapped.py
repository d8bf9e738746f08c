"""Splits of datasets as files in the user's cache, mapped into memory.

Parquet has no fast random access to single rows. Therefore the first use of a large split writes its columns again as
one Arrow file; every later use maps that file, which takes no time and no memory of its own, and all processes of a
run share the pages.
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

VERSION = 1  # raised when equal splits would give another file
_SPACE_FACTOR = 1.05  # free space required, as a multiple of the data
_UNUSED_AFTER_S = 30 * 24 * 3600.0

_LOG = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Folder of the mapped files: below DESIGNCLIP_CACHE if that is set, else in the user's cache folder."""
    return Path(os.environ.get("DESIGNCLIP_CACHE") or platformdirs.user_cache_dir("designclip")) / "splits"


def mapped_table(
    name: str, read: Callable[[], Iterable[pa.Table]], *, schema: pa.Schema, num_bytes: int
) -> pa.Table | None:
    """A table over a mapped file of the cache, which is written first if it does not exist.

    Processes that need the same file wait until the first has written it. Files that were not used for 30 days are
    removed when another one is written.

    Args:
        name: Key of the content; equal names mean equal content.
        read: Gives the parts of the table, each of `schema`; not called if the file exists.
        schema: Schema of the table.
        num_bytes: Approximate size of the file.

    Returns:
        The table; None if the cache cannot be written or has too little space.
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
            _remove_unused(folder)
            free = shutil.disk_usage(folder).free
            if free < num_bytes * _SPACE_FACTOR:
                _LOG.warning(
                    "%s has %.1f GB free, and %.1f GB are needed: the images are kept in memory instead; "
                    "set DESIGNCLIP_CACHE to a larger folder",
                    *(folder, free / 1e9, num_bytes * _SPACE_FACTOR / 1e9),
                )
                return None
            _LOG.info("%s: the split is written to the cache, to be mapped from now on", path.name)
            with atomic_write(path) as temporary, pa.ipc.new_file(str(temporary), schema) as writer:
                for part in read():
                    writer.write_table(part)
            return _map(path)
    except OSError as error:
        _LOG.warning("%s cannot be written (%s): the images are kept in memory instead", folder, error)
        return None


def _map(path: Path) -> pa.Table | None:
    """The table in a file; None if the file is absent or damaged."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except (OSError, pa.ArrowInvalid):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # marks it as used
    return table


def _remove_unused(folder: Path) -> None:
    """Remove files that were last used long ago; a process that has one mapped can still read it."""
    for path in folder.glob("*.arrow"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _UNUSED_AFTER_S:
                path.unlink()
                _LOG.info("%s: removed from the cache, not used for 30 days", path.name)
