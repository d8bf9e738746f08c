"""Uploading a trained model, or other files, to a repository of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.clip.source import CONFIG_NAME, WEIGHTS_NAME
from model.errors import ArchitectureError, ConfigError, ModelError
from model.files import read_json

_REQUIRED = (CONFIG_NAME, WEIGHTS_NAME, "README.md")


class PushError(ModelError):
    """The hub rejected what was sent; the message quotes its reason."""


def push_model(folder: Path, repository: str, *, is_private: bool = False, is_dry_run: bool = False) -> dict[str, Any]:
    """Upload a model folder; open_clip then loads the model by the name `hf-hub:REPOSITORY`.

    huggingface_hub reads the address of the hub and the token from the environment (HF_ENDPOINT, HF_TOKEN).

    Args:
        folder: Folder of a finished run, or of a model.
        repository: "owner/name"; created if it does not exist.
        is_private: Whether a newly created repository is private.
        is_dry_run: List the files and send nothing; the hub is not contacted.

    Returns:
        repository, files (name → number of bytes), and address, the URL of the commit (None for a dry run).

    Raises:
        ConfigError: The name of the repository is invalid.
        ArchitectureError: The model in the folder is incomplete or missing.
        PushError: The hub cannot be reached or rejects the model.
    """
    check_repository(repository)
    model = folder / "model" if (folder / "model" / CONFIG_NAME).is_file() else folder
    missing = [name for name in _REQUIRED if not (model / name).is_file()]
    if missing:
        raise ArchitectureError(f"{model}: no {', '.join(missing)} there; name a finished run or its model folder")
    files = {path.name: path.stat().st_size for path in sorted(model.iterdir()) if path.is_file()}
    files = {name: size for name, size in files.items() if not name.startswith(".")}
    card = (model / "README.md").read_text(encoding="utf-8") + render_results(read_json(folder / "evaluation.json"))
    files["README.md"] = len(card.encode())
    contents: dict[str, Path | bytes] = {name: model / name for name in files} | {"README.md": card.encode()}
    address = None if is_dry_run else upload(contents, repository, "Model of a designclip run", is_private=is_private)
    return {"repository": repository, "files": files, "address": address}


def check_repository(repository: str) -> None:
    """Raise ConfigError unless the hub accepts the name, by the hub's own rule; a dry run is refused as well."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise ConfigError(
            f"{repository!r} is not a repository name: {reason}; use OWNER/NAME, such as my-team/designclip"
        ) from None
    if "/" not in repository or not repository.isascii():
        raise ConfigError(f"{repository!r} is not a repository name; use OWNER/NAME, such as my-team/designclip")


def render_results(evaluation: dict[str, Any] | None) -> str:
    """The results of an evaluation as Markdown tables for the model card.

    Args:
        evaluation: Content of `evaluation.json`; None gives an empty string.
    """
    if evaluation is None:
        return ""
    dataset = evaluation["dataset"]
    lines = [
        "",
        "## Measured",
        "",
        f"On {dataset['name']}, split {dataset['split']}; intervals over patents, 95 %.",
        "",
    ]
    for task in evaluation["tasks"].values():
        for table in task["tables"].values():
            columns = table["columns"]
            lines += [
                f"### {table['title']}",
                "",
                "| | " + " | ".join(columns) + " |",
                "|---" * (len(columns) + 1) + "|",
            ]
            for name, row in table["figures"].items():
                cells = [_cell(row.get(column), row["unit"]) for column in columns]
                lines.append(f"| {name} | " + " | ".join(cells) + " |")
            lines.append("")
    return "\n".join(lines)


def _cell(value: dict[str, Any] | None, unit: str) -> str:
    if value is None:
        return ""
    scale, sign = (100, " %") if unit == "share" else (1, "")
    low_to_high = f" ({scale * value['low']:.1f}–{scale * value['high']:.1f})" if "low" in value else ""
    return f"{scale * value['value']:.1f}{sign}{low_to_high}"


def upload(
    contents: Mapping[str, Path | bytes],
    repository: str,
    message: str,
    *,
    kind: str = "model",
    is_private: bool = False,
    replaces: re.Pattern[str] | None = None,
) -> str:
    """Send files to a repository in one commit, and return the URL of that commit.

    Large files that the hub has already, from a call that failed, are not sent again.

    Args:
        contents: Path in the repository → a file, or its bytes.
        repository: "owner/name"; created if it does not exist.
        message: Message of the commit.
        kind: "model" or "dataset".
        is_private: Whether a newly created repository is private.
        replaces: Files of the repository whose whole path matches are removed, unless they are sent again.

    Raises:
        PushError: The hub cannot be reached or rejects the files.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfUriError, HFValidationError, HTTPError, LocalTokenNotFoundError

    try:
        hub = HfApi()
        hub.create_repo(repository, private=is_private, exist_ok=True, repo_type=kind)
        there = hub.list_repo_files(repository, repo_type=kind) if replaces is not None else []
        operations: Sequence[Any] = [
            *(CommitOperationAdd(name, content) for name, content in contents.items()),
            *(
                CommitOperationDelete(name)
                for name in there
                if name not in contents and replaces is not None and replaces.fullmatch(name)
            ),
        ]
        commit = hub.create_commit(repository, operations, commit_message=message, repo_type=kind)
    except LocalTokenNotFoundError as error:
        raise PushError("the hub requires a token; set HF_TOKEN, or run `hf auth login`") from error
    except (HTTPError, HFValidationError, HfUriError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PushError(
            f"the hub rejected {repository}: {reason}; check the name, HF_TOKEN and its permissions, or try again later"
        ) from error
    return str(commit.commit_url)
