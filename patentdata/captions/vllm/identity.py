"""Which model makes a caption: a name and a revision that two different models never share.

Both are part of every cache key, so captions of one model are never taken for those of another that happens to have the
same folder name or hub name. A hub model is identified by its commit, a local folder by a hash of its files.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fsspec.implementations.local import LocalFileSystem

from patentdata.captions.config import CaptionsConfig
from patentdata.captions.vllm.images import PictureForm
from patentdata.captions.vllm.processors import picture_form, read_processor
from patentdata.store.hashes import sha256_of

if TYPE_CHECKING:
    from patentdata.captions.vllm.endpoints import ServedModel

_SNAPSHOT = re.compile(r"models--([^/]+)/snapshots/([0-9a-f]{40})/?\Z")


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """The identity of a model, part of a caption's cache key.

    Attributes:
        name: Hub name, or the name of the model's folder.
        revision: Hub revision, or "sha256:…" over the files of a folder; None if it cannot be determined.
        picture: The form of the picture that the model is shown.
    """

    name: str
    revision: str | None
    picture: PictureForm


def identity_of(
    config: CaptionsConfig, served: ServedModel | None = None, *, is_served_here: bool = False
) -> ModelIdentity | None:
    """The model that `config` names, or else the served one; None if neither is known.

    Args:
        config: Settings.
        served: The model that the endpoints report; needed if `config` names no model, and to find the revision.
        is_served_here: Whether a managed server serves it, so that its hub cache is the one of this machine.
    """
    if config.model is None and served is None:
        return None
    model = config.model or (served.root if served else "")
    folder = folder_of(model, config.revision, is_served_here)
    name, revision = model, config.revision
    if Path(model).is_dir():
        name, revision = Path(model).resolve().name, fingerprint_of(Path(model))
    # A path within the hub cache gives the commit, and the hub name if it is the model itself.
    for path in (str(folder or ""), served.root if served else "", model):
        if found := _SNAPSHOT.search(path):
            if path == model:
                name = found[1].replace("--", "/")
            revision = config.revision or found[2]
            break
    picture = picture_form(config.image, read_processor(folder) if folder is not None else None)
    return ModelIdentity(name=name, revision=revision, picture=picture)


def fingerprint_of(model_folder: Path) -> str:
    """SHA-256 over names and contents of a model's files except hidden ones; cached until a file changes."""
    files = LocalFileSystem()
    parts = [
        (path.relative_to(model_folder).as_posix(), sha256_of(files, str(path.resolve())))
        for path in sorted(model_folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(model_folder).parts)
    ]
    return f"sha256:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


def folder_of(model: str, revision: str | None, is_served_here: bool) -> Path | None:
    """Folder with the model's files on this machine; None if they are not here."""
    if Path(model).is_dir():
        return Path(model)
    if not is_served_here:
        return None
    import huggingface_hub

    try:
        found = huggingface_hub.try_to_load_from_cache(model, "config.json", revision=revision)
    except huggingface_hub.errors.HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None
