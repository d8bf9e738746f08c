"""The image and the compose file, as far as they can be judged without running them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

_REPOSITORY = Path(__file__).parents[1]
_COMPOSE = yaml.safe_load((_REPOSITORY / "compose.yaml").read_text())
_DEPLOYMENTS = yaml.safe_load((_REPOSITORY / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize(
    ("linter", "file"), [("hadolint", "Dockerfile"), ("compose-lint", "compose.yaml")], ids=["image", "compose"]
)
def test_linters_find_nothing_grave(linter, file):
    program = shutil.which(linter, path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip(f"{linter} is not installed on this kind of machine")
    found = subprocess.run([program, file], cwd=_REPOSITORY, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_what_the_image_copies_is_there_and_passes_the_ignore_file():
    copied = re.findall(r"^COPY (.+) \S+$", (_REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    names = {name.rstrip("/") for line in copied for name in line.split()}
    kept = {line[1:] for line in (_REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert names == kept and all((_REPOSITORY / name).exists() for name in names)


def test_every_pool_of_the_deployments_has_a_worker_and_is_made():
    pools = {deployment["work_pool"]["name"] for deployment in _DEPLOYMENTS}
    services = _COMPOSE["services"]
    assert pools == {
        service["entrypoint"][-1]
        for service in services.values()
        if service.get("entrypoint", [])[:3] == ["prefect", "worker", "start"]
    }
    assert all(f"work-pool create {pool} --type process" in services["deploy"]["command"][0] for pool in pools)


def test_services_name_volumes_and_services_that_are_declared():
    services, volumes = _COMPOSE["services"], set(_COMPOSE["volumes"])
    for service in services.values():
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= volumes
        assert set(service.get("depends_on", {})) <= set(services)


def test_no_password_or_key_stands_in_the_compose_file():
    for service in _COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|URL", name) and "://" not in str(value):
                assert str(value).startswith("${"), name
    assert "127.0.0.1:4200:4200" in _COMPOSE["services"]["server"]["ports"]
