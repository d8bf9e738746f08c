"""The command that searches: a table for people, JSON for machines, a page with pictures."""

from __future__ import annotations

import json

import fsspec
import pytest
from PIL import Image

from tests.flows.command_line import run
from tests.model.conftest import MICRO_CLIP
from tests.model.search.searchable import draw_searchable, write_model


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    draw_searchable(folder / "datasets" / "designs")
    architecture = tmp_path_factory.mktemp("architecture")
    (architecture / "open_clip_config.json").write_text(json.dumps(MICRO_CLIP))
    write_model(f"local-dir:{architecture}", folder / "runs" / "designs" / "model")
    return folder


@pytest.fixture
def designclip(monkeypatch, capfd):
    return lambda *arguments: run(monkeypatch, capfd, *arguments)


def test_words_find_views_as_a_table_and_as_json_with_the_run_of_the_dataset(designclip, data_dir):
    code, out, err = designclip("search", "-d", data_dir, "a large circle", "-k", 3)
    assert code == 0 and all(word in out for word in ("patent", "title", "class", "score"))
    assert "3 of 40 views, under the model designs. Every view is compared." in err
    code, out, _ = designclip("search", "-d", data_dir, "a large circle", "-k", 3, "--json")
    found = json.loads(out)
    assert code == 0 and found["search"] == {"kind": "exact"} and found["num_views"] == 40
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert {"patent_number", "title", "uspc_class", "score", "grant_date"} <= found["hits"][0].keys()


def test_a_run_is_found_by_its_name_in_the_default_data_folder(designclip, data_dir, monkeypatch, tmp_path):
    (tmp_path / "data").symlink_to(data_dir)
    monkeypatch.chdir(tmp_path)
    code, out, _ = designclip("search", "a large circle", "--model", "designs", "--dataset", "designs", "--json")
    assert code == 0 and json.loads(out)["model"] == "designs"


@pytest.mark.slow
def test_a_dataset_and_a_run_on_an_object_store_are_searched(designclip, data_dir):
    store = fsspec.filesystem("memory")
    store.put(str(data_dir), "/search-bucket", recursive=True)
    arguments = ("a large circle", "-k", 3, "--json")
    here = json.loads(designclip("search", "-d", data_dir, *arguments)[1])
    for model in ((), ("--model", "designs")):
        code, out, err = designclip("search", "-d", "memory://search-bucket", *arguments, *model)
        assert code == 0, err
        assert json.loads(out)["hits"] == here["hits"]


def test_filters_and_once_narrow_what_is_found(designclip, data_dir):
    arguments = ("search", "-d", data_dir, "circle", "-k", 40, "--json")
    hits = json.loads(designclip(*arguments, "--class", "07-01", "--from", "2021", "--to", "2021-06")[1])["hits"]
    assert hits and all(hit["locarno_class"] == "07-01" for hit in hits)
    assert all("2021-01-01" <= hit["grant_date"] <= "2021-06-30" for hit in hits)
    once = json.loads(designclip(*arguments, "--once")[1])["hits"]
    assert len({hit["patent_number"] for hit in once}) == len(once) == 20


def test_a_picture_finds_views_and_the_page_shows_pictures(designclip, data_dir, tmp_path):
    image = Image.new("1", (200, 120), 1)
    image.paste(0, (20, 20, 90, 24))
    image.save(tmp_path / "sheet.tif", compression="group4")
    page = tmp_path / "found.html"
    code, _, err = designclip("search", "-d", data_dir, "--image", tmp_path / "sheet.tif", "-k", 4, "--html", page)
    assert code == 0 and "open " in err and "found.html" in err
    assert page.read_text().count('src="data:image/jpeg;base64,') == 4


def test_an_approximate_search_shows_its_measured_recall(designclip, data_dir):
    code, out, _ = designclip("search", "-d", data_dir, "circle", "--approximate-from", 0, "--json")
    found = json.loads(out)["search"]
    assert code == 0 and found["kind"] == "approximate" and set(found["recall_at_20"]) == {"text", "image"}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 2, "give a text or --image, one of the two"),
        (("circle", "--image", "x.png"), 2, "give a text or --image, one of the two"),
        (("  ",), 2, "the query is empty; describe what to search for"),
        (("circle", "--class", "D77"), 2, "'D77' is not a class; name one such as D7 (US) or 07-01 (Locarno)"),
        (("circle", "--from", "soon"), 2, "'soon' is not a day; write 2021-03-31, 2021-03 or 2021"),
        (("circle", "-k", "0"), 2, "k is 0; choose 1 to 1000"),
        (("--image", "nowhere.png"), 2, "cannot read nowhere.png: No such file or directory"),
        (("circle", "--dataset", "none"), 1, "no such dataset folder; build the dataset first"),
        (("circle", "--model", "ViT-B-33/openai"), 1, "open_clip knows no architecture 'ViT-B-33'"),
    ],
)
def test_a_question_that_cannot_be_answered_is_one_sentence(designclip, data_dir, arguments, code, sentence):
    was, out, err = designclip("search", "-d", data_dir, *arguments)
    assert (was, out) == (code, "") and sentence in err


def test_a_port_in_use_ends_serve_before_any_work(designclip, data_dir):
    from model.search.serve import bind

    with bind(0) as holder:
        holder.listen()
        port = holder.getsockname()[1]
        code, _, err = designclip("serve", "-d", data_dir, "-m", "nowhere", "--port", port)
    assert code == 1 and f"port {port} is in use; stop the process using it, or choose another" in err
