"""All views of a patent in one question: rows, reasons, resuming and what is asked again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from patentdata.captions.config import CaptionImageConfig, CaptionsConfig, RequestsConfig
from patentdata.captions.stage import caption_views, captions_are_done
from patentdata.captions.vllm.journal import journal_path
from patentdata.errors import SourceError
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import read_provenance
from tests.patentdata.captions.vllm.endpoint import Asked, Endpoint, Reply, fails, says
from tests.patentdata.captions.weeks import ONE_TRY, WEEK, caption_bytes, captions_of, drawing, vlm_config, write_views

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def patent_config(*urls: str, **settings: object) -> CaptionsConfig:
    return vlm_config(*urls, **({"prompt": "patent", "views_per_question": "patent"} | settings))


def test_a_patent_is_asked_about_once_and_each_view_has_its_own_row(folder):
    write_views(folder, 11)  # three patents of three views, and one of two
    with Endpoint() as endpoint:
        config = patent_config(endpoint.url)
        report = caption_views(folder, WEEK, config)
        assert captions_are_done(folder, WEEK, config)
        assert endpoint.num_asked == 4
        assert Counter(len(asked.images) for asked in endpoint.asked) == {3: 3, 2: 1}
        first = next(asked for asked in endpoint.asked if len(asked.images) == 3)
        assert first.labels == ["FIG. 1", "FIG. 2", "FIG. 3"]
        assert first.body["max_tokens"] == 3 * config.sampling.max_tokens
    rows = captions_of(folder)
    assert [row["view_id"] for row in rows] == [f"D{900_000 + i // 3}-{i % 3 + 1}" for i in range(11)]
    assert (report.tally("views").num_in, report.tally("views").num_out) == (11, 11)
    assert len({row["shape"] for row in rows}) == 11
    assert len({row["function"] for row in rows}) == 4, "what is common is said once for a patent"
    assert len({row["cache_key"] for row in rows}) == 11
    assert rows[0]["prompt_text"].startswith("3 drawings of a chair, from a United States design patent")


def test_the_bytes_do_not_depend_on_the_number_of_requests_in_flight(folder, tmp_path):
    other = DataFolder(tmp_path / "other")
    with Endpoint() as endpoint:
        for where, num in ((folder, 1), (other, 8)):
            write_views(where, 20)
            requests = RequestsConfig(num_in_flight=num, num_image_workers=1)
            caption_views(where, WEEK, patent_config(endpoint.url, requests=requests))
    assert caption_bytes(folder) == caption_bytes(other)


def test_a_long_patent_is_divided_and_its_rows_stay_in_the_order_of_the_views(folder):
    write_views(folder, 6)
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, patent_config(endpoint.url, max_views_per_question=2))
        assert sorted(len(asked.images) for asked in endpoint.asked) == [1, 1, 2, 2]
        several = patent_config(endpoint.url, max_pixels_per_question=2 * 100**2, image=CaptionImageConfig(size_px=100))
        caption_views(folder, WEEK, several)
        assert sorted(len(asked.images) for asked in endpoint.asked[4:]) == [1, 1, 2, 2]
    rows = captions_of(folder)
    assert [row["view_id"] for row in rows] == [f"D{900_000 + i // 3}-{i % 3 + 1}" for i in range(6)]
    made = read_provenance(folder, folder.path("captions", f"{WEEK}.parquet"))
    assert made is not None and made["config"]["views_per_question"] == 2


def test_a_view_that_an_answer_leaves_out_has_its_reason_and_the_others_their_captions(folder):
    write_views(folder, 6)

    def without_the_second(asked: Asked) -> Reply:
        views = {label: {"shape": f"A shape like {label}."} for label in asked.labels if label != "FIG. 2"}
        return says(json.dumps({"function": "To sit on.", "views": views}))

    with Endpoint(without_the_second) as endpoint:
        report = caption_views(folder, WEEK, patent_config(endpoint.url, sampling=ONE_TRY))
    assert [row["finish_reason"] for row in captions_of(folder)] == ["stop", "missing", "stop"] * 2
    assert report.tally("views").dropped == {"missing": 2}


def test_only_the_views_without_a_caption_take_the_next_answer(folder):
    write_views(folder, 3)

    def better_at_the_second(asked: Asked) -> Reply:
        shapes = {label: {"shape": f"Try {asked.num_before + 1} of {label}."} for label in asked.labels}
        if asked.num_before == 0:
            shapes["FIG. 3"] = {"shape": "legs legs legs legs legs"}
        return says(json.dumps({"function": "To sit on.", "views": shapes}))

    with Endpoint(better_at_the_second) as endpoint:
        caption_views(folder, WEEK, patent_config(endpoint.url))
    rows = captions_of(folder)
    assert [row["shape"] for row in rows] == ["Try 1 of FIG. 1.", "Try 1 of FIG. 2.", "Try 2 of FIG. 3."]
    assert [row["num_answers"] for row in rows] == [1, 1, 2]


def test_a_broken_picture_is_left_out_of_the_question_and_has_its_reason(folder):
    write_views(folder, 3, image=lambda i: b"" if i == 1 else drawing(i))
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, patent_config(endpoint.url))
        (asked,) = endpoint.asked
        assert asked.labels == ["FIG. 1", "FIG. 3"] and len(asked.images) == 2
        assert asked.text.startswith("2 drawings of a chair")
    assert [row["finish_reason"] for row in captions_of(folder)] == ["stop", "broken_image", "stop"]


def test_an_interrupted_week_resumes_with_the_same_bytes_and_asks_about_no_finished_patent(folder, tmp_path):
    write_views(folder, 24)
    plain = DataFolder(tmp_path / "plain")
    write_views(plain, 24)
    with Endpoint() as endpoint:
        caption_views(plain, WEEK, patent_config(endpoint.url))
    requests = RequestsConfig(num_in_flight=1, num_tries=1, max_lost_in_a_row=3, num_image_workers=1)
    with (
        Endpoint(lambda asked: fails(500) if endpoint.num_asked > 3 else None) as endpoint,
        pytest.raises(SourceError),
    ):
        caption_views(folder, WEEK, patent_config(endpoint.url, requests=requests))
    # One of the rows of a patent is lost, as if the program had been killed while it wrote them.
    journal = journal_path(folder, WEEK)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 9
    journal.write_bytes(b"".join(lines[:-1]))
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, patent_config(endpoint.url))
        assert endpoint.num_asked == 6  # five patents without an answer, and the one of the lost row
    assert caption_bytes(folder) == caption_bytes(plain)


def test_another_split_of_one_view_asks_about_its_patent_alone(folder):
    write_views(folder, 9)
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, patent_config(endpoint.url))
        write_views(folder, 9, image=lambda i: drawing(99 if i == 4 else i))
        caption_views(folder, WEEK, patent_config(endpoint.url))
        assert endpoint.num_asked == 3 + 1


def test_a_server_without_schema_support_is_asked_for_json_in_words(folder):
    write_views(folder, 3)

    def in_words(asked: Asked) -> Reply | None:
        if "response_format" in asked.body:
            return None
        views = {f"FIG. {number}": {"shape": f"Shape number {number}."} for number in (1, 2, 3)}
        return says(f"Here it is: {json.dumps({'views': views, 'function': 'To sit on.'})}")

    with Endpoint(in_words, knows_schemas=False) as endpoint:
        caption_views(folder, WEEK, patent_config(endpoint.url))
    assert [row["text"] for row in captions_of(folder)] == [f"Shape number {n}. To sit on." for n in (1, 2, 3)]
