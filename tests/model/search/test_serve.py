"""The search page, over HTTP and in a real browser."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from PIL import Image

from model.dataset.folder import open_dataset
from model.dataset.images import decode_grey
from model.errors import ConfigError
from model.search.gallery import Gallery
from model.search.record import read_record
from model.search.serve import HOST, ServeConfig, ServeError, bind
from tests.model.browser import Browser
from tests.model.search.searchable import HOSTILE, draw_searchable, write_model

pytestmark = pytest.mark.slow

_REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def folder(micro_clip, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    draw_searchable(folder / "datasets" / "designs")
    write_model(micro_clip, folder / "model")
    return folder


@pytest.fixture(scope="module")
def gallery(folder) -> Gallery:
    return Gallery(open_dataset(folder / "datasets" / "designs"))


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "flows.cli", "serve", "-d", folder, "-m", folder / "model", "--port", "0"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        list(map(str, command)), cwd=_REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if match := re.search(rf"http://{HOST}:(\d+)/", line):
                break
        assert lines and match, "".join(lines)
        yield process, int(match[1])
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="module")
def port(folder) -> Iterator[int]:
    """The port of a real server process."""
    with _served(folder) as (_, port):
        yield port


@pytest.fixture
def browser(tmp_path) -> Iterator[Browser]:
    browser = Browser(tmp_path)
    yield browser
    browser.close()


def ask(port: int, path: str, *, method: str = "GET", body=None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one response."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def post(port: int, data: bytes, query: str = "") -> tuple[int, str]:
    status, _, body = ask(port, f"/picture?{query}", method="POST", body=data, Content_Type="image/png")
    return status, body.decode()


def patent_numbers(page: str) -> list[str]:
    return re.findall(r'<span class="name">(D\d+) ', page)


def test_words_are_searched_without_javascript(port, gallery):
    status, headers, body = ask(port, "/?q=large+circle&k=7")
    page = body.decode()
    assert status == 200 and headers["content-type"] == "text/html; charset=utf-8"
    assert len(patent_numbers(page)) == 7 and "7 patents found" in page
    assert 'value="large circle"' in page
    view = gallery.view(0)
    status, _, body = ask(port, f"/?q=large+circle&class={view.uspc_class}&from=2019-01-01&to=2099-12-31")
    found = patent_numbers(body.decode())
    expected = {gallery.view(row).patent_number for row in range(40) if gallery.view(row).uspc_class == view.uspc_class}
    assert set(found) <= expected and len(found) == len(set(found))


def test_pages_of_results_follow_each_other_by_links(port):
    page = ask(port, "/?q=large+circle&k=8&scoring=mean")[2].decode()
    found = patent_numbers(page)
    while match := re.search(r'rel="next" data-offset="\d+" href="([^"]+)"', page):
        page = ask(port, match[1].replace("&amp;", "&"))[2].decode()
        found += patent_numbers(page)
    assert len(found) == len(set(found)) == 20 and 'rel="prev"' in page
    assert 'value="large circle"' in page and '<option value="mean" selected>' in page


def test_several_images_words_and_words_to_avoid_are_one_search(port, gallery):
    one, other = gallery.jpeg(7), gallery.jpeg(20)
    query = f"k=5&q=star&not=circle&scoring=maxsim&sizes={len(one)},{len(other)}"
    status, part = post(port, one + other, query)
    assert status == 200 and len(patent_numbers(part)) == 5
    assert "standard deviations above the average patent" in part and 'class="verdict ' in part
    for sizes, sentence in (("5,6", "do not add up"), ("x", "are not numbers"), (",".join("1" * 9), "too many")):
        status, part = post(port, one + other, f"sizes={sizes}")
        assert status == 400 and sentence in part, sizes


def test_a_patent_is_a_query_and_a_search_can_be_kept_and_read_again(port, gallery, tmp_path):
    number = gallery.view(3).patent_number
    found = patent_numbers(ask(port, f"/?patent={number.lower()}&k=5")[2].decode().partition('id="found"')[2])
    assert len(found) == 5 and number not in found
    for kind, name in (("html", "kept.html"), ("json", "kept.json")):
        status, headers, body = ask(port, f"/record?patent={number}&k=5&format={kind}")
        assert status == 200 and re.search(rf'filename="search-[\d-]+\.{kind}"', headers["content-disposition"])
        (tmp_path / name).write_bytes(body)
        record = read_record(tmp_path / name)
        assert [hit["patent_number"] for hit in record["hits"]] == found
    picture = gallery.jpeg(7)
    body = ask(port, "/record?k=3&format=json", method="POST", body=picture, Content_Type="image/png")[2]
    assert len(json.loads(body)["query"]["pictures"]) == 1
    assert ask(port, "/record?patent=D1")[0] == 400 and ask(port, "/record")[0] == 400


def test_an_image_finds_the_view_it_shows_if_the_filters_allow_it(port, gallery):
    status, part = post(port, gallery.jpeg(7), "k=5")
    assert status == 200 and len(patent_numbers(part)) == 5 and "<html" not in part
    status, part = post(port, gallery.jpeg(7), "k=5&from=2021-01-01")
    days = re.findall(r"\d{4}-\d\d-\d\d</p>", part)
    assert len(days) == 4 and all(day.startswith("2021") for day in days)


def test_what_was_changed_in_the_query_is_said_above_the_results(port, gallery):
    _, _, body = ask(port, f"/?q={'circle+' * 40}")
    assert "The model reads only the first 14 of 40 words" in body.decode() and patent_numbers(body.decode())
    page = np.zeros((100, 120), np.uint8)
    page[40:44, 30:90] = 255
    status, part = post(port, cv2.imencode(".png", page)[1].tobytes(), "k=5")
    assert status == 200 and len(patent_numbers(part)) == 5
    assert "The image shows light lines on dark paper, so it was inverted." in part


def test_similar_views_are_of_other_patents(port, gallery):
    view = gallery.view(3)
    status, _, body = ask(port, f"/?view={quote(view.view_id)}&k=38")
    assert status == 200 and view.patent_number not in patent_numbers(body.decode().partition('id="found"')[2])


def test_pictures_are_those_of_the_gallery_whatever_characters_the_view_name_has(port, gallery):
    for row in (0, 3, 39):
        status, headers, body = ask(port, f"/picture?view={quote(gallery.view(row).view_id)}")
        assert (status, headers["content-type"], body) == (200, "image/jpeg", gallery.jpeg(row))


def test_a_patent_shows_its_views_and_what_the_examiner_cited(port, gallery):
    number = gallery.view(4).patent_number
    _, _, body = ask(port, f"/patent?number={number}")
    page = body.decode()
    assert page.count('src="/picture?view=') == 3  # two views, and the first view of the cited patent
    assert 'href="/patent?number=D710000"' in page and "<li>D999999</li>" in page
    assert "FIG. 1" in page and "FIG. 2" in page


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/picture?view=../../../../etc/passwd", 404, "There is no such view"),
        ("/picture?view=%2Fetc%2Fpasswd%00", 404, "There is no such view"),
        ("/patent?number=../model", 404, "There is no such patent"),
        ("/patent", 404, "There is no such patent"),
        ("/../pyproject.toml", 404, "There is no such page"),
        ("/compare?a=D710000&b=D1", 404, "There is no patent &#39;D1&#39; in this dataset."),
        ("/compare?a=D710000", 404, "Two patents are compared; give both numbers."),
        ("/?pictures=0123456789abcdef", 400, "The pictures of this address are no longer kept; choose them again."),
        ("/asked?pictures=0123456789abcdef", 404, "There is no such picture."),
        ("/?view=D1-1", 400, "There is no view &#39;D1-1&#39;"),
        ("/?q=x&class=D77", 400, "&#39;D77&#39; is not a class"),
        ("/?q=x&class=" + quote(HOSTILE), 400, "is not a class"),
        ("/?q=x&from=soon", 400, "is not a day"),
        ("/?q=x&offset=-1", 400, "choose 0 to 100000"),
        ("/?q=x&scoring=best", 400, "Scoring is &#39;best&#39;"),
        ("/?q=x&viewpoint=above", 400, "is not a viewpoint of this dataset"),
        ("/?q=x&min-score=high", 400, "is not a least score"),
        ("/?patent=D1", 400, "There is no patent &#39;D1&#39;"),
        ("/?q=x&k=0", 400, "choose 1 to 200"),
        ("/?q=x&k=9999999999999", 400, "choose 1 to 200"),
        ("/?q=x&k=%C2%B2", 400, "choose 1 to 200"),
        ("/?q=%20", 200, "Search designs"),
        ("/?q=%00%FF%ED%A0%80", 200, "found"),
        ("/?q=" + "word+" * 900, 200, "found"),
        ("/?q=" + quote(HOSTILE), 200, "found"),
    ],
)
def test_any_request_is_answered_with_a_page_and_a_sentence(port, path, status, sentence):
    actual_status, _, body = ask(port, path)
    page = body.decode()
    assert actual_status == status and sentence in page
    assert HOSTILE not in page and "Traceback" not in page


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The image cannot be read; choose a TIFF, PNG or JPEG file."),
        (b"GIF89a" + bytes(100), "The image cannot be read"),
        (b"\xff" * 1000, "The image cannot be read"),
    ],
)
def test_a_file_that_is_not_an_image_is_refused_in_one_sentence(port, data, sentence):
    status, part = post(port, data)
    assert status == 400 and sentence in part and 'role="alert"' in part


def test_a_blank_image_is_refused(port):
    stream = io.BytesIO()
    Image.new("L", (40, 40), 255).save(stream, "PNG")
    status, part = post(port, stream.getvalue())
    assert status == 400 and "is blank" in part


def test_a_body_that_is_too_large_is_refused_with_or_without_a_stated_length(port):
    status, _, body = ask(
        port, "/picture", method="POST", body=b"", Content_Type="image/png", Content_Length="99999999"
    )
    assert status == 413 and b"more than 32 MiB; make it smaller" in body
    chunks = (bytes(1 << 20) for _ in range(40))
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", "/picture", chunks, {"Content-Type": "image/png"}, encode_chunked=True)
        assert connection.getresponse().status == 413
    connection.close()
    assert ask(port, "/")[0] == 200


def test_requests_for_other_hosts_are_refused_and_other_pages_cannot_post(port):
    assert ask(port, "/", Host="evil.example")[0] == 400
    assert ask(port, "/", Host=f"localhost:{port}")[0] == 200
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        assert ask(port, "/picture", method="POST", body=b"x", Content_Type=kind)[0] == 415
    _, headers, _ = ask(port, "/", Origin="http://evil.example")
    assert not any(name.startswith("access-control") for name in headers)


def test_every_response_has_a_strict_security_policy(port, gallery):
    for path in ("/", "/?q=x", "/patent?number=D710000", "/nowhere", f"/picture?view={quote(gallery.view(0).view_id)}"):
        _, headers, body = ask(port, path)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        for nonce in re.findall(rb'nonce="([^"]+)"', body):
            assert nonce.decode() in policy
    first, second = (re.search(r"nonce-([^']+)", ask(port, "/")[1]["content-security-policy"])[1] for _ in range(2))
    assert first != second


def test_a_page_loads_nothing_from_other_servers(port):
    for path in ("/?q=x", "/patent?number=D710000"):
        page = ask(port, path)[2].decode()
        assert re.findall(r'(?:src|href|action)="(?!/|#)[^"]*"', page) == []
        assert "url(" not in page and "@import" not in page


def test_in_the_browser_results_lead_from_words_to_a_patent_and_its_citation(port, browser, tmp_path):
    browser.open(f"http://{HOST}:{port}/")
    assert browser.ask("document.activeElement.id") == "q"  # ready to type
    browser.write("large circle")
    browser.press("Enter", "\r")
    browser.wait("document.querySelectorAll('#results > ol > li').length == 20")
    browser.wait("[...document.querySelectorAll('#results a.shown img')].slice(0, 4).every(i => i.naturalWidth > 0)")
    first = browser.ask("document.querySelector('#results a.shown').href")
    for _ in range(30):  # with the keyboard only
        browser.press("Tab")
        if browser.ask("document.activeElement.href") == first:
            break
    browser.press("Enter", "\r")
    browser.wait(f"location.href == '{first}' && document.readyState == 'complete'")
    assert browser.ask("document.querySelector('#cited') !== null")
    browser.screenshot(tmp_path / "patent.png")
    assert np.asarray(Image.open(tmp_path / "patent.png").convert("L")).std() > 5
    browser.ask("document.querySelector('section[aria-labelledby=cited] a.shown').click()")
    browser.wait("location.search == '?number=D710000'")
    assert browser.errors == []
    assert all(address.startswith((f"http://{HOST}:{port}/", "data:", "about:")) for address in browser.requested)


def test_in_the_browser_an_image_is_chosen_dropped_or_refused(port, browser, gallery, tmp_path):
    picture = tmp_path / "view.tif"
    Image.fromarray(decode_grey(gallery.jpeg(9))).save(picture)
    (tmp_path / "text.txt").write_text("not an image")
    browser.open(f"http://{HOST}:{port}/?k=6")
    browser.choose_file("#file", picture)
    browser.wait("document.querySelectorAll('#results > ol > li').length == 6")
    assert browser.ask("document.getElementById('status').textContent") == "6 patents found for the image."
    assert browser.ask("document.activeElement.id") == "found"
    browser.ask(
        "document.getElementById('k').value = 3, document.getElementById('k').dispatchEvent(new Event('change'))"
    )
    browser.wait("document.querySelectorAll('#results > ol > li').length == 3")
    browser.choose_file("#file", tmp_path / "text.txt")
    browser.wait("document.querySelector('#results [role=alert]') !== null")
    assert "This file is not an image" in browser.ask("document.getElementById('results').textContent")
    browser.ask(
        """(async () => {
          const canvas = document.createElement('canvas'); canvas.width = canvas.height = 90;
          const pen = canvas.getContext('2d'); pen.fillStyle = 'white'; pen.fillRect(0, 0, 90, 90);
          pen.fillStyle = 'black'; pen.fillRect(20, 20, 30, 30);
          const blob = await new Promise(done => canvas.toBlob(done, 'image/png'));
          const moved = new DataTransfer(); moved.items.add(new File([blob], 'x.png', {type: 'image/png'}));
          document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: moved, bubbles: true, cancelable: true}));
        })()"""
    )
    browser.wait("document.querySelectorAll('#results > ol > li').length == 3")
    browser.wait("document.querySelector('#previews img').naturalWidth == 90")
    assert browser.errors == []


def test_in_the_browser_the_address_holds_a_search_by_images_and_keys_walk_through_the_results(
    port, browser, gallery, tmp_path
):
    picture = tmp_path / "view.png"
    Image.fromarray(decode_grey(gallery.jpeg(9))).save(picture)
    browser.open(f"http://{HOST}:{port}/?k=6")
    browser.choose_file("#file", picture)
    browser.wait("location.search.includes('pictures=') && location.search.includes('k=6')")
    first = browser.ask("document.querySelector('#results a.shown').href")
    browser.open(browser.ask("location.href"))  # as from a bookmark
    browser.wait("document.querySelectorAll('#results > ol > li').length == 6")
    assert browser.ask("document.querySelector('#results a.shown').href") == first
    browser.wait("document.querySelector('#results .asked img').naturalWidth > 0")
    browser.ask("document.activeElement.blur()")
    for key, index in (("j", 0), ("j", 1), ("k", 0)):
        browser.press(key, key)
        assert browser.ask(f"document.querySelectorAll('#results a.shown')[{index}] === document.activeElement"), key
    browser.press("/", "/")
    assert browser.ask("document.activeElement.id") == "q"
    assert browser.errors == []


def test_two_patents_are_shown_side_by_side(port, browser, gallery):
    one, other = gallery.view(4).patent_number, gallery.view(8).patent_number
    browser.open(f"http://{HOST}:{port}/patent?number={one}")
    browser.ask(f"document.getElementById('b').value = '{other}'; document.querySelector('main form').submit()")
    browser.wait(f"location.search == '?a={one}&b={other}' && document.readyState == 'complete'")
    browser.wait("document.querySelectorAll('[aria-labelledby=pairs] img').length == 4")
    assert browser.ask("document.title") == f"{one} and {other}"
    assert browser.ask("document.querySelectorAll('[aria-labelledby=facts] tr').length") == 7
    assert browser.errors == []


def test_a_screen_reader_finds_labels_roles_and_names(port, browser):
    browser.open(f"http://{HOST}:{port}/?q=circle&k=3")
    elements = browser.accessible_elements()
    roles = {role for role, _ in elements}
    assert {"search", "main", "heading", "list", "status", "searchbox", "combobox", "textbox", "button"} <= roles
    for role in ("searchbox", "combobox", "textbox", "button", "link", "image", "spinbutton", "Date"):
        assert all(name for found, name in elements if found == role), role
    assert ("searchbox", "What it looks like or what it is for") in elements
    assert ("combobox", "US class") in elements and ("combobox", "Score of a patent") in elements
    assert sum(role == "image" for role, _ in elements) == 3
    ids = browser.ask("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids)) and browser.ask("document.documentElement.lang") == "en"


def test_without_scripts_words_are_searched_and_the_image_field_stays_hidden(port, tmp_path):
    browser = Browser(tmp_path, scripts=False)
    try:
        browser.open(f"http://{HOST}:{port}/?q=circle&k=3")
        assert browser.ask("document.querySelectorAll('#results > ol > li').length") == 3
        assert browser.ask("document.getElementById('file-field').hidden")
    finally:
        browser.close()


def test_the_server_stops_on_ctrl_c_without_an_error_and_releases_its_port(folder):
    with _served(folder) as (process, port):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert "error" not in process.stderr.read()
        bind(port).close()


def test_a_port_in_use_is_reported_in_one_sentence():
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServeError, match=f"port {port} is in use; stop the process using it, or choose another"):
            bind(port)


def test_invalid_settings_are_refused():
    for values, sentence in (
        ({"port": 70_000}, "port is 70000"),
        ({"num_results": 0}, "num_results is 0"),
        ({"max_upload_mb": 900}, "max_upload_mb is 900"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            ServeConfig(**values)
