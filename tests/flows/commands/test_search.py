"""The command that searches: a table for people, JSON for machines, a page with pictures."""

from __future__ import annotations

import json
import re

import fsspec
import pytest
from PIL import Image

from tests.flows.command_line import run
from tests.model.conftest import MICRO_CLIP
from tests.model.search.searchable import draw_searchable, write_model

pytestmark = pytest.mark.slow


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


def test_words_find_patents_as_a_table_and_as_json_with_the_run_of_the_dataset(designclip, data_dir):
    code, out, err = designclip("search", "-d", data_dir, "a large circle", "-k", 3)
    assert code == 0 and all(word in out for word in ("patent", "title", "class", "score"))
    assert "patents 1 to 3 of 20, from 40 views of 20 patents, under the model designs. Every view is compared." in err
    code, out, _ = designclip("search", "-d", data_dir, "a large circle", "-k", 3, "--json")
    found = json.loads(out)
    assert code == 0 and found["search"] == {"kind": "exact"} and found["num_views"] == 40
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert {"patent_number", "title", "uspc_class", "score", "grant_date"} <= found["hits"][0].keys()


def test_a_run_is_found_by_its_name_in_the_default_data_folder(designclip, data_dir, monkeypatch, tmp_path):
    (tmp_path / "data").symlink_to(data_dir)
    monkeypatch.chdir(tmp_path)
    code, out, _ = designclip("search", "a large circle", "--model", "designs", "--dataset", "designs", "--json")
    assert code == 0 and json.loads(out)["model"]["name"] == "designs"


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


def test_filters_and_pages_narrow_what_is_found(designclip, data_dir):
    arguments = ("search", "-d", data_dir, "circle", "-k", 40, "--json")
    filters = ("--class", "07-01", "--from", "2021", "--to", "2021-06", "--viewpoint", "top")
    hits = json.loads(designclip(*arguments, *filters)[1])["hits"]
    assert hits and all(hit["locarno_class"] == "07-01" for hit in hits)
    assert all("2021-01-01" <= hit["grant_date"] <= "2021-06-30" for hit in hits)
    assert all([view["viewpoint"] for view in hit["views"]] == ["top"] for hit in hits)
    beyond = json.loads(designclip(*arguments, "--offset", 15)[1])
    assert [hit["rank"] for hit in beyond["hits"]] == [16, 17, 18, 19, 20] and beyond["num_found"] == 20


def test_pictures_words_and_words_to_avoid_are_one_search_with_a_page(designclip, data_dir, tmp_path):
    for name, box in (("front.tif", (20, 20, 90, 24)), ("side.tif", (20, 20, 24, 90))):
        image = Image.new("1", (200, 120), 1)
        image.paste(0, box)
        image.save(tmp_path / name, compression="group4")
    page = tmp_path / "found.html"
    pictures = ("--image", tmp_path / "front.tif", "--image", tmp_path / "side.tif")
    words = ("--text", "plate", "--not", "star", "--weight-text", 0.5, "--scoring", "maxsim")
    code, out, err = designclip("search", "-d", data_dir, *pictures, *words, "-k", 4, "--html", page)
    assert code == 0 and "open " in err and "found.html" in err
    assert re.search(r"\d similar|\d maybe|\d unlike", out)
    assert "standard deviations above the average patent" in err and '"similar" from' in err
    assert page.read_text().count('src="data:image/jpeg;base64,') == 8  # two views of each patent
    assert page.read_text().count("The query image") == 2


def test_a_patent_is_a_query_and_its_record_is_repeated(designclip, data_dir, tmp_path):
    record = tmp_path / "kept.html"
    arguments = ("search", "-d", data_dir, "--patent", "D710003", "--scoring", "maxsim", "-k", 3)
    code, out, err = designclip(*arguments, "--json", "--record", record)
    found = json.loads(out)
    assert code == 0, err
    assert "D710003" not in {hit["patent_number"] for hit in found["hits"]}
    code, out, err = designclip("search", "-d", data_dir, "--replay", record, "--json")
    again = json.loads(out)
    assert code == 0, err
    assert again["hits"] == found["hits"] and again["changes"]["new"] == again["changes"]["gone"] == []
    assert "nothing has changed" in designclip("search", "-d", data_dir, "--replay", record)[2]


def test_an_approximate_search_shows_its_measured_recall(designclip, data_dir):
    code, out, _ = designclip("search", "-d", data_dir, "circle", "--approximate-from", 0, "--json")
    found = json.loads(out)["search"]
    assert code == 0 and found["kind"] == "approximate" and set(found["recall_at_20"]) == {"text", "image"}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ((), 2, "give a text, --image or --patent"),
        (("circle", "--text", "star"), 2, "give the words once"),
        (("circle", "--replay", "x.json"), 2, "--replay repeats a record; give no words"),
        (("--replay", "nowhere.json"), 2, "cannot read nowhere.json: No such file or directory"),
        (("circle", "--record", "kept.txt"), 2, "a record is a .json or .html file"),
        (("circle", "--scoring", "median"), 2, "scoring is 'median'; use one of max, mean, maxsim, weighted"),
        (("--patent", "D1"), 2, "there is no patent 'D1' in this dataset"),
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
