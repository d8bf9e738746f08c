"""A run under Prefect that could not reach its server says so before it starts."""

import http.server
import threading

import pytest

from flows.commands.options import run_flow
from flows.preflight.prefect_server import proxy_of_loopback, require_prefect_server
from patentdata.errors import ConfigError


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def answering(request):
    """Address of a server that answers every request with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_a_server_that_does_not_answer_is_named_without_its_password_before_the_flow_runs(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://me:secret@127.0.0.1:9/api")
    sentence = (
        r"no Prefect server answers at http://127\.0\.0\.1:9/api \(ConnectionError\); start it with prefect server"
    )
    with pytest.raises(ConfigError, match=sentence):
        run_flow(None, None, prefect=True)


@pytest.mark.parametrize("answering", [502, 407], indirect=True)
def test_a_proxy_that_answers_in_place_of_the_server_is_no_server(monkeypatch, answering):
    monkeypatch.setenv("PREFECT_API_URL", answering)
    with pytest.raises(ConfigError, match=r"no Prefect server answers at .* \(status \d+\)"):
        require_prefect_server()


@pytest.mark.parametrize("answering", [200, 401], indirect=True)
def test_a_server_that_answers_is_enough_even_if_it_asks_for_a_password(monkeypatch, answering):
    monkeypatch.setenv("PREFECT_API_URL", answering)
    require_prefect_server()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "all_proxy"])
def test_a_proxy_that_catches_requests_to_this_machine_is_named_with_what_to_set(monkeypatch, variable):
    monkeypatch.setattr("flows.preflight.prefect_server.prefect_url", lambda: None)
    monkeypatch.setenv(variable, "http://me:secret@10.0.0.1:3128")
    with pytest.raises(
        ConfigError, match=r"the proxy http://10\.0\.0\.1:3128 catches .*; set NO_PROXY=127\.0\.0\.1,localhost"
    ):
        require_prefect_server()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    require_prefect_server()


def test_a_proxy_for_other_schemes_catches_nothing(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://10.0.0.1:3128")
    assert proxy_of_loopback() is None
