"""Where a model comes from, as far as names and files tell; nothing here loads one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model.errors import ArchitectureError
from model.files import sha256_of_file, sha256_of_json

ARCHITECTURES_DIR = Path(__file__).parent / "architectures"
WEIGHTS_NAME = "open_clip_model.safetensors"
CONFIG_NAME = "open_clip_config.json"
_LOCAL_DIR = "local-dir:"
_HF_HUB = "hf-hub:"
_WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".pth")


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from: an open_clip name and, for a bare architecture, its weights.

    Attributes:
        name: "ViT-B-32", "local-dir:FOLDER" or "hf-hub:NAME".
        pretrained: Tag or weights file; None for fresh weights, and for names that carry their own.
    """

    name: str
    pretrained: str | None = None

    @property
    def folder(self) -> Path | None:
        """The folder of a local model; None for any other."""
        return Path(self.name.removeprefix(_LOCAL_DIR)) if self.name.startswith(_LOCAL_DIR) else None

    @property
    def is_on_hub(self) -> bool:
        return self.name.startswith(_HF_HUB)

    @property
    def run_dir(self) -> Path | None:
        """The training run that a local model belongs to; None where it belongs to none."""
        if self.folder is None:
            return None
        folder = self.folder.resolve()
        return folder.parent if folder.name == "model" and (folder / CONFIG_NAME).is_file() else None

    @property
    def label(self) -> str:
        """A name for people; holds no path, so that equal models give equal pages."""
        if self.folder is not None:
            return (self.run_dir or self.folder.resolve()).name
        return f"{self.name}/{Path(self.pretrained).name}" if self.pretrained else self.name


def find_prefixed_or_local(model: str | Path) -> ModelSource | None:
    """The source that a prefix or a folder names; None for what only open_clip can tell, "ARCHITECTURE/TAG".

    Args:
        model: As for `model.clip.source.find_model`.

    Raises:
        ArchitectureError: There is a folder of that name, but no model in it.
    """
    name = str(model)
    if name.startswith((_LOCAL_DIR, _HF_HUB)):
        return ModelSource(name)
    for folder in (Path(name), Path(name) / "model"):
        if (folder / CONFIG_NAME).is_file():
            return ModelSource(f"{_LOCAL_DIR}{folder}")
    if Path(name).is_dir():
        raise ArchitectureError(f"{name}: neither it nor its model/ holds {CONFIG_NAME}; name a finished run or model")
    return None


def require_config(folder: Path) -> None:
    """Raise `ArchitectureError` where a folder is not one that open_clip can load."""
    if not (folder / CONFIG_NAME).is_file():
        raise ArchitectureError(f"{folder}: no {CONFIG_NAME} there; name a folder that open_clip can load")


def fingerprint_source(source: ModelSource) -> str | None:
    """SHA-256 that stands for a model's local files, without loading it; None where none of it is a local file.

    Beside folders and weights files, an architecture of this project is such a file: its description may change.

    Raises:
        ArchitectureError: The folder is not one that open_clip can load.
    """
    if source.folder is not None:
        require_config(source.folder)
        weights = (path for path in source.folder.iterdir() if path.suffix in _WEIGHTS_SUFFIXES)
        files = [source.folder / CONFIG_NAME, *sorted(weights)]
    else:
        paths = [ARCHITECTURES_DIR / f"{source.name}.json", Path(source.pretrained or "")]
        files = [path for path in paths if path.is_file()]
    return sha256_of_json([[path.name, sha256_of_file(path)] for path in files]) if files else None
