"""A trained model on its way to a repository of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.errors import ArchitectureError, ModelError
from model.source import CONFIG_NAME, WEIGHTS_NAME

_NEEDED = (CONFIG_NAME, WEIGHTS_NAME, "README.md")


class PushError(ModelError):
    """The hub does not take a model; the message says what it said."""


def push_model(folder: Path, repository: str, *, is_private: bool = False, is_dry_run: bool = False) -> dict[str, Any]:
    """Upload a model folder; whoever names `hf-hub:REPOSITORY` to open_clip then gets the model.

    The address of the hub and the token are read from the environment by huggingface_hub (HF_ENDPOINT, HF_TOKEN).

    Args:
        folder: Of a finished run, or of a model itself.
        repository: "owner/name"; made where there is none.
        is_private: Whether a new repository is.
        is_dry_run: List the files and send nothing; the hub is not asked.

    Returns:
        repository, files (name → bytes), and the address of the commit; None for a dry run.

    Raises:
        ArchitectureError: There is no whole model in the folder.
        PushError: The hub cannot be reached or refuses.
    """
    model = folder / "model" if (folder / "model" / CONFIG_NAME).is_file() else folder
    missing = [name for name in _NEEDED if not (model / name).is_file()]
    if missing:
        raise ArchitectureError(f"{model}: no {', '.join(missing)} there; name a finished run or its model folder")
    files = {path.name: path.stat().st_size for path in sorted(model.iterdir()) if path.is_file()}
    files = {name: size for name, size in files.items() if not name.startswith(".")}
    address = None if is_dry_run else _upload(model, repository, list(files), is_private=is_private)
    return {"repository": repository, "files": files, "address": address}


def _upload(model: Path, repository: str, names: list[str], *, is_private: bool) -> str:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    try:
        hub = HfApi()
        hub.create_repo(repository, private=is_private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repository, folder_path=str(model), allow_patterns=names, commit_message="Model of a designclip run"
        )
    except LocalTokenNotFoundError as error:
        raise PushError("the hub wants a token; set HF_TOKEN, or run `hf auth login`") from error
    except (HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PushError(
            f"the hub does not take {repository}: {reason}; check the name, HF_TOKEN and its rights, or try later"
        ) from error
    return str(commit.commit_url)
