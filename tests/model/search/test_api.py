"""The JSON interface, its description, and the gate that asks for a token."""

from __future__ import annotations

import logging
import re

import pytest
from starlette.testclient import TestClient

from model.errors import ConfigError
from model.search.search import open_search
from model.search.serve import ServeConfig, make_app
from tests.model.search.searchable import draw_searchable, write_model

TOKEN = "a-secret-of-this-test"


@pytest.fixture(scope="module")
def search(micro_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    draw_searchable(folder / "designs")
    return open_search(write_model(micro_clip, folder / "model"), folder / "designs")


@pytest.fixture
def client(search):
    with TestClient(make_app(search, ServeConfig()), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def gated(search):
    app = make_app(search, ServeConfig(host="0.0.0.0", token=TOKEN))
    with TestClient(app, base_url="http://searches.example:8321") as client:
        yield client


def test_a_search_by_words_is_the_one_of_the_page(client):
    found = client.get("/api/search", params={"q": "large circle", "k": 3, "owner": "acme", "class": "07"}).json()
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert all(any("Acme" in name for name in hit["owners"]) for hit in found["hits"])
    assert found["query"]["filters"]["classes"] == ["07"] and found["query"]["filters"]["owners"] == ["acme"]


def test_images_are_sent_as_bytes_and_several_with_their_sizes(client, search):
    one, other = search.gallery.jpeg(7), search.gallery.jpeg(20)
    headers = {"Content-Type": "application/octet-stream"}
    answer = client.post("/api/search", params={"k": 2}, content=one, headers=headers)
    found = answer.json()
    assert answer.status_code == 200 and len(found["hits"]) == 2 and len(found["query"]["pictures"]) == 1
    both = client.post(
        "/api/search", params={"k": 2, "sizes": f"{len(one)},{len(other)}"}, content=one + other, headers=headers
    )
    assert len(both.json()["query"]["pictures"]) == 2


def test_a_patent_has_its_views_and_who_cites_it(client, search):
    patent = client.get("/api/patents/usd710000").json()
    assert patent["patent_number"] == "D710000" and len(patent["views"]) == 2
    citing = patent["cited_in_this_dataset_by"]
    assert len(citing) == 20  # every drawn patent cites it, itself included
    row = search.gallery.rows_of("D710000")[0]
    assert client.get(patent["views"][0]["picture"]).content == search.gallery.jpeg(row)


def test_two_patents_are_compared_view_by_view(client, search):
    numbers = [search.gallery.view(row).patent_number for row in (4, 8)]
    found = client.get("/api/compare", params={"a": numbers[0], "b": numbers[1]}).json()
    assert [pair["one"] for pair in found["pairs"]] == [f"{numbers[0]}-1", f"{numbers[0]}-2"]
    others = {f"{numbers[1]}-1", f"{numbers[1]}-2"}
    assert {pair["other"] for pair in found["pairs"]} | set(found["unmatched"]) == others
    mean = sum(pair["score"] for pair in found["pairs"]) / 2
    assert found["score"] == pytest.approx(mean, abs=1e-5)
    alike = client.get("/api/compare", params={"a": numbers[0], "b": numbers[0]}).json()
    assert alike["score"] == pytest.approx(1, abs=1e-5) and not alike["unmatched"]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/api/search", 400, "say what to search for"),
        ("/api/search?q=x&class=D77", 400, "'D77' is not a class"),
        ("/api/patents/D1", 404, "there is no patent 'D1'"),
        ("/api/compare?a=D710000", 400, "give both numbers"),
        ("/api/nothing", 404, "there is no such address"),
    ],
)
def test_an_error_is_one_sentence_as_json(client, path, status, sentence):
    answer = client.get(path)
    assert answer.status_code == status and sentence in answer.json()["error"]
    refused = client.post("/api/search", content=b"x", headers={"Content-Type": "text/plain"})
    assert refused.status_code == 415 and "TIFF, PNG or JPEG" in refused.json()["error"]


def test_openapi_describes_every_address_of_the_interface_and_the_page_shows_it(client):
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/api/search", "/api/patents/{number}", "/api/compare"}
    names = {parameter["name"] for parameter in schema["paths"]["/api/search"]["get"]["parameters"]}
    assert {"q", "not", "patent", "class", "from", "to", "viewpoint", "owner", "min-score", "k", "offset"} <= names
    assert "application/octet-stream" in schema["paths"]["/api/search"]["post"]["requestBody"]["content"]
    page = client.get("/api").text
    assert "<code>POST /api/search</code>" in page and "<code>min-score</code>" in page


def test_the_address_of_a_search_by_images_repeats_it_as_long_as_the_server_runs(client, search):
    headers = {"Content-Type": "image/jpeg"}
    sent = client.post("/picture", params={"k": 3, "class": "07"}, content=search.gallery.jpeg(5), headers=headers)
    again = client.get(sent.headers["X-Address"])
    found = [re.findall(r"/patent\?number=(D\d+)", page.text) for page in (sent, again)]
    assert again.status_code == 200 and found[0] == found[1] and len(found[0]) == 3 and 'value="3"' in again.text
    key = sent.headers["X-Address"].partition("pictures=")[2].partition("&")[0]
    picture = client.get("/asked", params={"pictures": key})
    assert picture.headers["content-type"] == "image/png" and picture.content.startswith(b"\x89PNG")
    assert client.get("/asked", params={"pictures": key, "number": 1}).status_code == 404


def test_a_program_needs_the_token_for_everything_but_the_page_that_asks_for_it(gated):
    for path in ("/", "/api", "/api/search?q=x", "/openapi.json", "/patent?number=D710000", "/picture?view=x"):
        answer = gated.get(path)
        assert answer.status_code == 401 and "D710000" not in answer.text, path
    assert 'type="password"' in gated.get("/").text
    for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer ", TOKEN):
        assert gated.get("/api/search?q=x", headers={"Authorization": wrong}).status_code == 401
    answer = gated.get("/api/search?q=x", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200 and answer.json()["hits"]


def test_a_browser_enters_the_token_once_and_it_is_in_no_address_page_or_log(gated, monkeypatch, caplog):
    monkeypatch.setattr("model.search.access._WAIT_AFTER_WRONG_S", 0)
    caplog.set_level(logging.DEBUG)
    wrong = gated.post("/enter", data={"token": "not-the-token-of-it"})
    assert wrong.status_code == 401 and "This is not the token of this server." in wrong.text
    entered = gated.post("/enter", data={"token": TOKEN})
    assert entered.status_code == 200 and entered.url.path == "/" and "Search designs" in entered.text
    cookie = gated.cookies["designclip_session"]
    assert TOKEN not in cookie and TOKEN not in entered.text and TOKEN not in caplog.text
    (set_cookie,) = entered.history[0].headers.get_list("set-cookie")
    assert "HttpOnly" in set_cookie and "SameSite=strict" in set_cookie
    assert gated.get("/patent?number=D710000").status_code == 200
    assert gated.post("/enter", content=b"token=" + b"x" * 5000).status_code == 413


def test_an_address_that_others_can_reach_is_refused_without_a_token():
    for host in ("0.0.0.0", "192.168.1.5", "::", "searches.example"):
        with pytest.raises(ConfigError, match=r"lets others on the network search; set DESIGNCLIP_TOKEN"):
            ServeConfig(host=host)
    with pytest.raises(ConfigError, match="the token has fewer than 16 characters"):
        ServeConfig(host="0.0.0.0", token="short")
    for host in ("127.0.0.1", "localhost", "::1"):
        assert ServeConfig(host=host).token is None
    assert TOKEN not in repr(ServeConfig(token=TOKEN))
