"""Where a model comes from, as far as its name and local files say.

Nothing here loads a model or imports torch, so finished work can be recognised quickly.
"""

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
    """An open_clip model name and, for a bare architecture, its weights.

    Attributes:
        name: "ViT-B-32", "local-dir:FOLDER" or "hf-hub:NAME".
        pretrained: Tag or weights file; None for fresh weights, and for names that include their weights.
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
        """Folder of the training run that made a local model; None if there is none."""
        if self.folder is None:
            return None
        folder = self.folder.resolve()
        return folder.parent if folder.name == "model" and (folder / CONFIG_NAME).is_file() else None

    @property
    def label(self) -> str:
        """A display name; without a path, so that equal models give equal pages."""
        if self.folder is not None:
            return (self.run_dir or self.folder.resolve()).name
        return f"{self.name}/{Path(self.pretrained).name}" if self.pretrained else self.name


def find_prefixed_or_local(model: str | Path) -> ModelSource | None:
    """The source named by a prefix or a folder; None for "ARCHITECTURE/TAG", which only open_clip can resolve.

    Args:
        model: As for `model.clip.loading.find_model`.

    Raises:
        ArchitectureError: The folder exists, but there is no model in it.
    """
    name = str(model)
    if name.startswith((_LOCAL_DIR, _HF_HUB)):
        return ModelSource(name)
    for folder in (Path(name), Path(name) / "model"):
        if (folder / CONFIG_NAME).is_file():
            return ModelSource(f"{_LOCAL_DIR}{folder}")
    if Path(name).is_dir():
        raise ArchitectureError(f"{name}: no {CONFIG_NAME} in this folder or its model/; name a finished run or model")
    return None


def require_config(folder: Path) -> None:
    """Raise ArchitectureError unless open_clip can load the folder."""
    if not (folder / CONFIG_NAME).is_file():
        raise ArchitectureError(f"{folder}: no {CONFIG_NAME} there; name a folder that open_clip can load")


def fingerprint_source(source: ModelSource) -> str | None:
    """SHA-256 over a model's local files, without loading it; None if it has no local file.

    Local files are model folders, weights files, and the descriptions of this project's own architectures, since those
    may change.

    Raises:
        ArchitectureError: open_clip cannot load the folder.
    """
    if source.folder is not None:
        require_config(source.folder)
        weights = (path for path in source.folder.iterdir() if path.suffix in _WEIGHTS_SUFFIXES)
        files = [source.folder / CONFIG_NAME, *sorted(weights)]
    else:
        paths = [ARCHITECTURES_DIR / f"{source.name}.json", Path(source.pretrained or "")]
        files = [path for path in paths if path.is_file()]
    return sha256_of_json([[path.name, sha256_of_file(path)] for path in files]) if files else None
