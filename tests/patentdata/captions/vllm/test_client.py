"""Captions by a model: order, faults, resuming, and what is asked again."""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from patentdata.captions import stage
from patentdata.captions.answers import Texts
from patentdata.captions.captioner import Row
from patentdata.captions.config import CaptionImageConfig, CaptionsConfig, RequestsConfig
from patentdata.captions.stage import caption_views, captions_are_done
from patentdata.captions.vllm import rows
from patentdata.captions.vllm.client import VlmCaptioner
from patentdata.captions.vllm.identity import ModelIdentity
from patentdata.captions.vllm.images import PictureForm
from patentdata.captions.vllm.journal import journal_path
from patentdata.errors import ConfigError, OutputError, SourceError
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import read_provenance
from tests.patentdata.captions.vllm.endpoint import (
    CUT,
    GARBAGE,
    HALF,
    HANGS,
    MODEL,
    NOTHING,
    RESET,
    Asked,
    Endpoint,
    Reply,
    fails,
    says,
    says_error,
)
from tests.patentdata.captions.weeks import (
    ONE_TRY,
    REQUESTS,
    WEEK,
    caption_bytes,
    captions_of,
    drawing,
    vlm_config,
    write_views,
)

pytestmark = pytest.mark.slow

_REPOSITORY = Path(__file__).resolve().parents[4]
_EMPTY = cv2.imencode(".png", np.full((60, 80), 255, np.uint8))[1].tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def quick(**settings: object) -> RequestsConfig:
    values = {name: getattr(REQUESTS, name) for name in REQUESTS.__dataclass_fields__} | settings
    return RequestsConfig(**values)  # type: ignore[arg-type]


def first_time(reply: Reply):
    """A fault at the first question about each picture."""
    return lambda asked: reply if asked.num_before == 0 else None


def reasons_of(rows: list[Row]) -> list[str]:
    return [row["finish_reason"] for row in rows]


def expected_bytes(tmp_path: Path, num_views: int, **settings: object) -> bytes:
    """The captions file of the same week, made without any fault."""
    plain = DataFolder(tmp_path / "plain")
    write_views(plain, num_views)
    with Endpoint() as endpoint:
        caption_views(plain, WEEK, vlm_config(endpoint.url, **settings))
    return caption_bytes(plain)


def test_rows_are_in_the_order_of_the_views_whatever_the_order_of_the_answers(folder):
    write_views(folder, 24)

    def slow_first(asked: Asked) -> None:
        time.sleep(0.3 if endpoint.num_asked <= 2 else 0)

    with Endpoint(slow_first) as endpoint:
        report = caption_views(folder, WEEK, vlm_config(endpoint.url))
        rows = captions_of(folder)
        assert [row["view_id"] for row in rows] == [f"D{900_000 + i // 3}-{i % 3 + 1}" for i in range(24)]
        assert (report.tally("views").num_in, report.tally("views").num_out) == (24, 24)
        assert endpoint.num_asked == 24


def test_the_bytes_do_not_depend_on_the_number_of_requests_in_flight_or_of_endpoints(folder, tmp_path):
    write_views(folder, 20)
    with Endpoint() as one, Endpoint() as two:
        caption_views(folder, WEEK, vlm_config(one.url, two.url, requests=quick(num_in_flight=1)))
        assert one.num_asked and two.num_asked
        assert max(one.most_at_once, two.most_at_once) == 1
    assert caption_bytes(folder) == expected_bytes(tmp_path, 20)


def test_a_finished_week_is_not_asked_about_and_needs_no_endpoint(folder, caplog):
    caplog.set_level(logging.INFO, "patentdata")
    write_views(folder, 6)
    with Endpoint() as endpoint:
        config = vlm_config(endpoint.url, model=MODEL)
        assert not captions_are_done(folder, WEEK, config)
        caption_views(folder, WEEK, config)
        num_asked, before = endpoint.num_asked, caption_bytes(folder)
    assert captions_are_done(folder, WEEK, config)
    assert "skipped" not in caplog.text
    caption_views(folder, WEEK, config)
    assert (endpoint.num_asked, caption_bytes(folder)) == (num_asked, before)
    assert f"{WEEK} captions: skipped, the week is done" in caplog.text


def test_a_row_has_its_prompt_answer_and_model(folder):
    write_views(folder, 1)
    with Endpoint(root="/hub/models--tiny--llava/snapshots/" + "0123456789" * 4) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, model=MODEL))
        asked = endpoint.asked[0]
    (row,) = captions_of(folder)
    assert row["prompt_text"] == asked.text
    assert json.loads(row["answer"]) == {"shape": row["shape"], "function": row["function"]}
    assert row["text"] == f"{row['shape']} {row['function']}"
    assert (row["model"], row["revision"], row["prompt"]) == (MODEL, "0123456789" * 4, "views/1")
    assert (row["captioner"], row["temperature"], row["num_answers"]) == ("vllm", 0.0, 1)
    assert asked.body["response_format"]["json_schema"]["schema"]["required"] == ["shape", "function"]


_PAST = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fails(500), id="500"),
        pytest.param(fails(503), id="503"),
        pytest.param(fails(503, retry_after="0"), id="503 with Retry-After"),
        pytest.param(fails(429), id="429"),
        pytest.param(fails(429, retry_after="0"), id="429 with Retry-After"),
        pytest.param(fails(429, retry_after=_PAST), id="429 until a day in the past"),
        pytest.param(fails(429, retry_after="soon"), id="429 with an unreadable Retry-After"),
        pytest.param(GARBAGE, id="garbage"),
        pytest.param(HALF, id="half JSON"),
        pytest.param(NOTHING, id="nothing"),
        pytest.param(CUT, id="cut body"),
        pytest.param(RESET, id="reset"),
    ],
)
def test_a_fault_at_the_first_try_does_not_change_the_bytes(folder, tmp_path, fault):
    write_views(folder, 6)
    with Endpoint(first_time(fault)) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, requests=quick(num_in_flight=3, num_tries=6)))
        assert endpoint.num_asked >= 12
    assert caption_bytes(folder) == expected_bytes(tmp_path, 6)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (fails(500), "server_error"),
        (GARBAGE, "bad_response"),
        (fails(400, "the picture is too large"), "rejected"),
        (says(""), "empty"),
        (says(None), "empty"),
        (says("I'm sorry, I cannot help with that."), "refused"),
        (says("a chair"), "unparsable"),
        (says('{"shape": "A round seat.", "function": 3}'), "unparsable"),
        (says('{"shape": "A leg, a leg, a leg, a leg, a leg.", "function": "To sit."}'), "repetition"),
        (HANGS, "timeout"),
    ],
)
def test_a_view_without_a_usable_answer_has_its_reason_and_the_others_have_captions(folder, fault, reason):
    write_views(folder, 9)
    bad: set[bytes] = set()

    def fault_of_one(asked: Asked) -> Reply | None:
        if not bad:
            bad.add(asked.image)
        return fault if asked.image in bad else None

    with Endpoint(fault_of_one) as endpoint:
        requests = quick(num_tries=2, timeout_s=1.0 if fault is HANGS else 20.0)
        report = caption_views(folder, WEEK, vlm_config(endpoint.url, requests=requests))
    rows = captions_of(folder)
    assert sorted(reasons_of(rows)) == sorted([reason] + ["stop"] * 8)
    assert [row["text"] for row in rows if row["finish_reason"] == reason] == [None]
    assert report.tally("views").dropped == {reason: 1}


@pytest.mark.parametrize(
    ("num_views", "answer", "reason"), [(3, "No image was provided.", "refused"), (12, "a chair", "unparsable")]
)
def test_a_week_in_which_no_answer_is_usable_is_said(folder, caplog, num_views, answer, reason):
    write_views(folder, num_views)
    with Endpoint(lambda _: says(answer)) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, requests=quick(num_tries=1)))
    sentence = f"none of {num_views} views has a caption ({num_views} {reason}); check the model"
    assert f"{WEEK} captions: {sentence}" in caplog.messages


def test_a_week_that_a_model_refuses_from_end_to_end_stays_unfinished_until_the_model_is_in_order(folder, tmp_path):
    write_views(folder, 12)
    is_blind = True
    with Endpoint(lambda _: says("No image was provided.") if is_blind else None) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(num_tries=1))
        with pytest.raises(SourceError) as caught:
            caption_views(folder, WEEK, config)
        assert str(caught.value) == (
            f"{WEEK} captions: none of 12 views has a caption (12 refused); "
            'the last answer was "No image was provided.": '
            "check that the server shows its model the pictures and run again"
        )
        assert not captions_are_done(folder, WEEK, config)
        is_blind = False
        caption_views(folder, WEEK, config)
    assert caption_bytes(folder) == expected_bytes(tmp_path, 12)


def test_views_with_a_broken_image_have_that_reason_and_are_not_asked_about(folder):
    write_views(folder, 3, image=lambda i: [drawing(1), b"\x89PNG\r\n\x1a\nbroken", drawing(1)[:200]][i])
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url))
        assert endpoint.num_asked == 1
    assert reasons_of(captions_of(folder)) == ["stop", "broken_image", "broken_image"]


def test_a_degenerate_answer_is_asked_again_at_another_temperature(folder):
    write_views(folder, 1)
    with Endpoint(first_time(says('{"shape": "and and and and", "function": "x"}'))) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url))
        tries = [(asked.body["temperature"], asked.body.get("seed")) for asked in endpoint.asked]
    (row,) = captions_of(folder)
    assert tries == [(0.0, None), (0.5, 1)]
    assert (row["finish_reason"], row["temperature"], row["num_answers"]) == ("stop", 0.5, 2)


def test_after_a_long_answer_a_shorter_one_is_asked_for_and_then_it_is_cut_at_a_sentence(folder):
    write_views(folder, 1)
    sentences = [
        "A tall cabinet stands on four tapered legs with rounded feet and a narrow plinth.",
        "Two hinged doors carry vertical fluting, slim bar handles, and brass escutcheons near their inner edges.",
        "Above them runs an open shelf between scrolled brackets, topped by an overhanging moulded cornice.",
        "Both sides are panelled, their lower thirds pierced by oval vents arranged diagonally.",
        "Behind, a plain board closes everything.",
    ]
    long = json.dumps({"shape": " ".join(sentences), "function": "It stores linen."})
    cut_answer = says(long, finish_reason="length")
    with Endpoint(lambda asked: cut_answer) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url))
        assert ["At most 15 words" in asked.text for asked in endpoint.asked] == [False, True, True]
    (row,) = captions_of(folder)
    assert row["finish_reason"] == "length"
    assert row["num_tokens"] <= 77
    assert row["shape"] == " ".join(sentences[:3])
    assert row["text"] == f"{row['shape']} It stores linen."


def test_a_server_without_schema_support_is_asked_with_the_plain_prompt(folder):
    write_views(folder, 4)
    with Endpoint(knows_schemas=False) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, requests=quick(num_in_flight=1)))
        assert endpoint.num_asked == 5  # the first view twice
    rows = captions_of(folder)
    assert reasons_of(rows) == ["stop"] * 4
    assert all("Shape:" in row["prompt_text"] and row["shape"] and row["function"] for row in rows)


@pytest.mark.parametrize(
    ("refusal", "num_asked"),
    [
        (fails(422, "extra fields not permitted"), 5),
        (fails(400, "unknown parameter"), 5),
        (fails(501, "not implemented"), 5),
        (fails(500, "json_schema is not supported"), 5),
        (fails(500, "internal error"), 6),  # it may have been another error, so the schema gets a second chance
        (says_error("Invalid parameter: 'response_format'", code=400), 5),
    ],
)
def test_a_schema_refused_in_any_words_is_left_out_from_then_on(folder, refusal, num_asked):
    write_views(folder, 4)
    with Endpoint(lambda asked: refusal if "response_format" in asked.body else None) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, requests=quick(num_in_flight=1)))
        assert endpoint.num_asked == num_asked
    rows = captions_of(folder)
    assert reasons_of(rows) == ["stop"] * 4
    assert all("Shape:" in row["prompt_text"] for row in rows)


def test_a_schema_refused_while_others_are_in_flight_rejects_no_view(folder):
    write_views(folder, 24)

    def refuse(asked: Asked) -> Reply | None:
        if "response_format" not in asked.body:
            return None
        time.sleep(0.02 * (endpoint.num_asked % 8))  # later than the first plain answers
        return fails(422, "extra fields not permitted")

    with Endpoint(refuse) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url))
    assert reasons_of(captions_of(folder)) == ["stop"] * 24


def test_views_rejected_while_the_first_answers_are_made_do_not_fail_the_week(folder):
    write_views(folder, 8)
    bad: set[bytes] = set()
    have_failed = threading.Event()

    def refuse_two(asked: Asked) -> Reply | None:
        if len(bad) < 2:
            bad.add(asked.image)
        if asked.image not in bad:
            have_failed.wait(20)
            return None
        if asked.num_before == 9:
            have_failed.set()
        return fails(400, "the picture is too large")

    with Endpoint(refuse_two) as endpoint:
        report = caption_views(folder, WEEK, vlm_config(endpoint.url, requests=quick(num_tries=5)))
    assert report.tally("views").dropped == {"rejected": 2}


def test_a_server_that_has_followed_a_schema_is_not_asked_without(folder):
    write_views(folder, 4)
    with Endpoint(lambda asked: fails(422) if endpoint.num_asked == 2 else None) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, requests=quick(num_in_flight=1)))
        assert all("response_format" in asked.body for asked in endpoint.asked)
    assert reasons_of(captions_of(folder)) == ["stop", "rejected", "stop", "stop"]


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/chat/completions", "/v1/chat/completions/"])
def test_the_address_of_an_endpoint_may_have_any_usual_ending(folder, path):
    write_views(folder, 1)
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url.removesuffix("/v1") + path))
        assert endpoint.paths == ["/v1/chat/completions"]


def test_impact_asks_one_question_and_keeps_the_answer_whole(folder):
    write_views(folder, 1)
    long = " ".join(f"Word{i} is here." for i in range(60))
    with Endpoint(lambda asked: says(f" {long}")) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, prompt="impact"))
        text = "This is the image of Chair. What is the shape of the image?What is the functionality of Chair?"
        assert [(asked.text, "response_format" in asked.body) for asked in endpoint.asked] == [(text, False)]
    (row,) = captions_of(folder)
    assert (row["text"], row["shape"], row["function"], row["finish_reason"]) == (long, None, None, "stop")
    assert row["num_tokens"] > 77


_LEGS = """
name = "legs/1"
text = "How many legs has {{ article }}?"
[fields.shape]
[fields.legs]
type = "integer"
"""


def test_the_fields_of_a_prompt_of_ones_own_become_a_column_and_survive_a_failed_run(folder, tmp_path):
    write_views(folder, 12)
    prompt = tmp_path / "legs.toml"
    prompt.write_text(_LEGS)

    def legs(asked: Asked) -> Reply:
        if is_failing and endpoint.num_asked > 6:
            return fails(500)
        return says(json.dumps({"shape": "It stands on legs.", "legs": asked.image[-20] % 8}))

    with Endpoint(legs) as endpoint:
        config = vlm_config(endpoint.url, prompt=str(prompt), requests=quick(num_in_flight=1, max_lost_in_a_row=2))
        is_failing = True
        with pytest.raises(SourceError):
            caption_views(folder, WEEK, config)
        is_failing = False
        num_before = endpoint.num_asked
        caption_views(folder, WEEK, config)
        assert endpoint.num_asked - num_before < 12
        assert captions_are_done(folder, WEEK, config)
        prompt.write_text(_LEGS.replace("How many", "Count the"))
        assert not captions_are_done(folder, WEEK, config)
    rows = captions_of(folder)
    assert [list(row).index("fields") for row in rows] == [4] * 12
    assert {row["fields"]["legs"] for row in rows} <= set(range(8)) and len({row["fields"]["legs"] for row in rows}) > 1
    assert {row["text"] for row in rows} == {"It stands on legs."}
    assert {row["prompt"] for row in rows} == {f"legs/1@{hashlib.sha256(_LEGS.encode()).hexdigest()[:16]}"}
    assert rows[0]["prompt_text"].startswith("How many legs has a chair?")


def test_a_changed_prompt_asks_everything_again(folder):
    write_views(folder, 5)
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url))
        caption_views(folder, WEEK, vlm_config(endpoint.url, prompt="impact"))
        assert endpoint.num_asked == 10


def test_after_another_split_only_changed_views_are_asked_about(folder):
    write_views(folder, 12)
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url))
        write_views(folder, 12, image=lambda i: drawing(i + 100 if i in (3, 7) else i))
        caption_views(folder, WEEK, vlm_config(endpoint.url))
        assert endpoint.num_asked == 14
    assert not journal_path(folder, WEEK).exists()


def test_two_models_with_one_name_share_no_captions(folder, tmp_path):
    write_views(folder, 3)
    for weights in ("one", "two"):
        model = tmp_path / weights / "llava"
        model.mkdir(parents=True)
        (model / "weights").write_text(weights)
        with Endpoint(model="llava", root=str(model)) as endpoint:
            caption_views(folder, WEEK, vlm_config(endpoint.url, model=str(model)))
            assert endpoint.num_asked == 3
    rows = captions_of(folder)
    assert {row["model"] for row in rows} == {"llava"}
    assert all(row["revision"].startswith("sha256:") for row in rows)


def test_a_picture_has_the_size_that_the_folder_of_the_model_specifies(folder, tmp_path):
    model = tmp_path / "llava"
    model.mkdir()
    (model / "preprocessor_config.json").write_text('{"crop_size": {"height": 56, "width": 56}}')
    write_views(folder, 1)
    with Endpoint(model=str(model)) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, model=str(model)))
        assert endpoint.asked[0].image[16:24] == bytes([0, 0, 0, 56, 0, 0, 0, 56])


def test_a_server_of_another_model_is_refused(folder):
    write_views(folder, 3)
    with Endpoint(model="other/model") as endpoint, pytest.raises(SourceError, match=r"serves other/model, not tiny"):
        caption_views(folder, WEEK, vlm_config(endpoint.url, model=MODEL))
    assert endpoint.num_asked == 0


def test_without_an_endpoint_the_error_asks_for_one(folder):
    write_views(folder, 3)
    with pytest.raises(ConfigError, match="no endpoint serves tiny/llava; name one"):
        caption_views(folder, WEEK, CaptionsConfig(captioner="vllm", model=MODEL))


def test_if_one_of_two_endpoints_fails_the_other_answers_everything(folder, tmp_path, caplog):
    caplog.set_level(logging.INFO, "patentdata")
    write_views(folder, 30)
    with Endpoint() as good, Endpoint(lambda asked: fails(500)) as bad:
        caption_views(folder, WEEK, vlm_config(bad.url, good.url))
        assert bad.num_asked > 0
        assert good.num_asked == 30
    assert f"{bad.url.removesuffix('/v1')} is paused: it answers with status 500" in caplog.text
    assert caption_bytes(folder) == expected_bytes(tmp_path, 30)


def test_the_endpoint_with_fewer_requests_in_flight_is_asked(folder):
    write_views(folder, 40)
    with Endpoint(delay_s=0.4) as slow, Endpoint() as fast:
        caption_views(folder, WEEK, vlm_config(slow.url, fast.url, requests=quick(num_in_flight=4)))
        assert fast.num_asked > 2 * slow.num_asked > 0


def test_an_endpoint_that_dies_is_paused_and_asked_again_when_it_is_back(folder, tmp_path):
    write_views(folder, 60)

    def stop_and_start_the_other(asked: Asked) -> None:
        if steady.num_asked == 15:
            threading.Thread(target=fragile.stop).start()
        if steady.num_asked == 30 and fragile._server is None:
            num_before.append(fragile.num_asked)
            fragile.start()
        time.sleep(0.02)

    num_before: list[int] = []
    with Endpoint(stop_and_start_the_other) as steady, Endpoint(delay_s=0.02) as fragile:
        caption_views(folder, WEEK, vlm_config(steady.url, fragile.url, requests=quick(num_in_flight=1)))
        assert num_before and fragile.num_asked > num_before[0]
    assert caption_bytes(folder) == expected_bytes(tmp_path, 60)


def test_an_endpoint_that_is_down_at_the_start_does_not_stop_the_week(folder):
    write_views(folder, 6)
    absent = Endpoint()
    absent.stop()
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, vlm_config(absent.url, endpoint.url))
    assert reasons_of(captions_of(folder)) == ["stop"] * 6


def test_the_week_fails_after_an_outage_of_all_endpoints_and_resumes_in_the_next_run(folder, tmp_path):
    write_views(folder, 20)

    stopping = threading.Lock()

    def dies(asked: Asked) -> Reply | None:
        if endpoint.num_asked < 8:
            return None
        if stopping.acquire(blocking=False):
            threading.Thread(target=endpoint.stop).start()
        return RESET  # or the rest of the week might be answered before it has stopped

    with Endpoint(dies) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(num_in_flight=2, max_outage_s=0.5))
        with pytest.raises(
            SourceError, match=r"no endpoint answers for 0.5 s .*start a server, or wait, and run again"
        ):
            caption_views(folder, WEEK, config)
        num_done = len(journal_path(folder, WEEK).read_text().splitlines())
        assert num_done >= 6
        endpoint.on_question, endpoint.num_asked = lambda asked: None, 0
        endpoint.start()
        caption_views(folder, WEEK, config)
        assert endpoint.num_asked == 20 - num_done
    assert caption_bytes(folder) == expected_bytes(tmp_path, 20)


def in_an_hour() -> str:
    return email.utils.format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize("retry_after", [lambda: "3600", in_an_hour], ids=["seconds", "date"])
def test_a_pause_longer_than_the_longest_outage_is_reported_and_not_waited_for(folder, tmp_path, retry_after):
    write_views(folder, 12)
    with Endpoint(lambda asked: fails(429, retry_after=retry_after()) if endpoint.num_asked > 5 else None) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(num_in_flight=1, max_outage_s=900))
        busy = r"no endpoint answers for 900 s \(last: http://127.0.0.1:\d+ is busy \(status 429\) "
        with pytest.raises(
            SourceError, match=busy + r"and asks to wait 3[56]\d\d s\); captions finished so far are kept"
        ):
            caption_views(folder, WEEK, config)
        assert endpoint.num_asked == 6
        endpoint.on_question, endpoint.num_asked = lambda asked: None, 0
        caption_views(folder, WEEK, config)
        assert endpoint.num_asked == 7
    assert caption_bytes(folder) == expected_bytes(tmp_path, 12)


@pytest.mark.parametrize("retry_after", [None, "0"])
def test_an_endpoint_that_stays_busy_is_not_flooded_and_fails_the_week(folder, retry_after):
    write_views(folder, 4)
    with Endpoint(lambda asked: fails(429, retry_after=retry_after)) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(max_outage_s=0.5))
        with pytest.raises(SourceError, match=r"no endpoint answers for 0.5 s \(last: .* is busy \(status 429\)\);"):
            caption_views(folder, WEEK, config)
        assert endpoint.num_asked < 200
    assert folder.names("captions") == []


def test_an_endpoint_that_asks_for_a_long_pause_has_it_while_another_answers(folder, tmp_path):
    write_views(folder, 20)
    with Endpoint(lambda asked: fails(503, retry_after=in_an_hour())) as busy, Endpoint() as idle:
        caption_views(folder, WEEK, vlm_config(busy.url, idle.url, requests=quick(num_in_flight=2)))
        assert 1 <= busy.num_asked <= 2
        assert idle.num_asked == 20
    assert caption_bytes(folder) == expected_bytes(tmp_path, 20)


def test_a_pause_that_an_endpoint_asks_for_is_kept(folder):
    write_views(folder, 2)
    asked_at: list[float] = []

    def busy_once(asked: Asked) -> Reply | None:
        asked_at.append(time.monotonic())
        return fails(429, retry_after="2") if len(asked_at) == 1 else None

    with Endpoint(busy_once) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, requests=quick(num_in_flight=1)))
    assert asked_at[1] - asked_at[0] >= 1.9
    assert reasons_of(captions_of(folder)) == ["stop"] * 2


def test_endpoints_that_answer_nothing_usable_fail_the_week(folder):
    write_views(folder, 12)
    with Endpoint(lambda asked: GARBAGE) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(num_tries=2, max_lost_in_a_row=5))
        with pytest.raises(SourceError, match=r"5 consecutive views got no usable answer \(last: bad_response\)"):
            caption_views(folder, WEEK, config)
    assert folder.names("captions") == []


_NO_TEMPLATE = "default chat template is no longer allowed, so you must provide a chat template"


@pytest.mark.parametrize("num_views", [1, 40])
@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (fails(400, _NO_TEMPLATE), _NO_TEMPLATE),
        (Reply(status=413, body=b"<html><h1>413 Request\n Too Large</h1></html>"), "413 Request Too Large"),
        (
            Reply(status=422, body=b'{"detail": [{"loc": ["body"], "msg": "Input should be text"}]}'),
            "Input should be text",
        ),
        (says_error("The model reads no images"), "The model reads no images"),
        (says_error("No credit is left", code=402), "No credit is left"),
    ],
    ids=["400", "413", "422", "200", "200 with a code"],
)
def test_a_server_that_refuses_everything_fails_the_week_in_its_own_words(folder, refusal, words, num_views):
    write_views(folder, num_views)
    with Endpoint(lambda asked: refusal) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(num_in_flight=128))
        with pytest.raises(SourceError, match=f': "{words}".*; captions finished so far are kept: .* and run again'):
            caption_views(folder, WEEK, config)
        assert endpoint.num_asked < 40  # with a schema and without
        assert folder.names("captions") == []
        endpoint.on_question = lambda asked: None
        assert caption_views(folder, WEEK, config).tally("views").num_out == num_views


def test_if_one_of_two_endpoints_refuses_everything_the_other_answers_everything(folder, tmp_path, caplog):
    write_views(folder, 40)
    with Endpoint(lambda asked: fails(400, _NO_TEMPLATE)) as bad, Endpoint(delay_s=0.02) as good:
        requests = quick(num_in_flight=2, num_tries=8)
        caption_views(folder, WEEK, vlm_config(bad.url, good.url, requests=requests))
        assert good.num_asked == 40
    address = bad.url.removesuffix("/v1")
    assert f'{address} is not asked any more: it answers with status 400: "{_NO_TEMPLATE}"' in caplog.text
    assert caption_bytes(folder) == expected_bytes(tmp_path, 40)


def test_a_server_that_begins_to_refuse_everything_fails_the_week(folder, caplog):
    write_views(folder, 40)
    with Endpoint(lambda asked: fails(400, _NO_TEMPLATE) if endpoint.num_asked > 6 else None) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(num_in_flight=2, max_lost_in_a_row=10))
        with pytest.raises(SourceError, match=rf'10 consecutive views .*\(last: rejected: "{_NO_TEMPLATE}"\)'):
            caption_views(folder, WEEK, config)
    assert caplog.text.count(_NO_TEMPLATE) == 1  # not once for each view
    assert folder.names("captions") == []


def test_an_unfinished_week_ends_even_if_the_views_that_were_left_are_rejected(folder):
    write_views(folder, 6)
    with Endpoint(lambda asked: fails(429, retry_after="3600") if endpoint.num_asked > 4 else None) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(num_in_flight=1, max_outage_s=900))
        with pytest.raises(SourceError, match="asks to wait"):
            caption_views(folder, WEEK, config)
        endpoint.on_question = lambda asked: fails(400, "the picture is too large")
        report = caption_views(folder, WEEK, config)
    assert report.tally("views").dropped == {"rejected": 2}


def test_answers_of_an_earlier_version_are_reused_if_they_are_read_the_same(folder, monkeypatch):
    write_views(folder, 6)
    long = json.dumps({"shape": "A seat. It has many parts, such as legs.", "function": "To sit. To re"})
    answers = iter([None, says('A "seat".'), says(long, finish_reason="length")])
    with Endpoint(lambda asked: next(answers, None)) as endpoint:
        config = vlm_config(endpoint.url, sampling=ONE_TRY, requests=quick(num_in_flight=1))
        with monkeypatch.context() as earlier:
            earlier.setattr(stage, "_CAPTIONS_VERSION", 2)
            read = rows.read_answer
            earlier.setattr(  # takes what is no caption for one
                rows,
                "read_answer",
                lambda answer, *rest, **cut: (
                    Texts(text="No.", shape="No.", function="No.") if '"seat"' in answer else read(answer, *rest, **cut)
                ),
            )
            caption_views(folder, WEEK, config)
        before = captions_of(folder)
        endpoint.num_asked = 0
        caption_views(folder, WEEK, config)
        assert endpoint.num_asked == 1
    after = captions_of(folder)
    assert reasons_of(after) == ["stop", "stop", "length", "stop", "stop", "stop"]
    assert [new for old, new in zip(before, after, strict=True) if new != old] == [after[1]]


@pytest.mark.parametrize("failure", [fails(500), fails(400, "the picture is too large")], ids=["500", "400"])
def test_views_that_a_server_failed_are_asked_again_only_on_demand(folder, failure):
    write_views(folder, 6)
    failing: list[bytes] = []

    def fail_the_first_image(asked: Asked) -> Reply | None:
        failing[:] = failing or [asked.image]
        return failure if asked.image == failing[0] else None

    with Endpoint(fail_the_first_image) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(num_tries=2))
        caption_views(folder, WEEK, config)
        before = caption_bytes(folder)
        endpoint.on_question, endpoint.num_asked = lambda asked: None, 0
        caption_views(folder, WEEK, config)
        assert (caption_bytes(folder), endpoint.num_asked) == (before, 0)
        again = vlm_config(endpoint.url, requests=quick(num_tries=2), retry_failed=True)
        caption_views(folder, WEEK, again)
        assert (reasons_of(captions_of(folder)), endpoint.num_asked) == (["stop"] * 6, 1)


_CHILD = """
import sys
from patentdata.store.folder import DataFolder
from patentdata.captions.stage import caption_views
from tests.patentdata.captions.weeks import WEEK, vlm_config
if __name__ == "__main__":
    caption_views(DataFolder(sys.argv[1]), WEEK, vlm_config(*sys.argv[2:]))
"""


def start_child(folder: DataFolder, *urls: str) -> subprocess.Popen[bytes]:
    script = Path(folder.root).parent / "child.py"
    script.write_text(_CHILD)
    environment = os.environ | {"PYTHONPATH": str(_REPOSITORY)}
    return subprocess.Popen([sys.executable, str(script), folder.root, *urls], env=environment)


def test_a_killed_run_resumes_with_the_same_bytes_and_asks_no_finished_view_again(folder, tmp_path):
    write_views(folder, 60)
    with Endpoint(delay_s=0.02) as endpoint:
        child = start_child(folder, endpoint.url)
        while endpoint.num_asked < 30 and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert not folder.names("captions")
        with journal_path(folder, WEEK).open("ab") as journal:
            journal.write(b'{"view_id": "D900000-1", "text": "cut')  # as a power failure may leave it
        num_done = len(journal_path(folder, WEEK).read_bytes().splitlines()) - 1
        assert num_done > 0
        endpoint.num_asked = 0
        caption_views(folder, WEEK, vlm_config(endpoint.url))
        assert endpoint.num_asked == 60 - num_done
    assert caption_bytes(folder) == expected_bytes(tmp_path, 60)
    assert not journal_path(folder, WEEK).exists()


def test_of_two_concurrent_runs_one_asks_and_the_other_waits(folder):
    write_views(folder, 30)
    with Endpoint(delay_s=0.05) as endpoint:
        child = start_child(folder, endpoint.url)
        while not endpoint.num_asked and child.poll() is None:
            time.sleep(0.01)
        report = caption_views(folder, WEEK, vlm_config(endpoint.url))
        assert child.wait() == 0
        assert endpoint.num_asked == 30
    assert report.tally("views").num_out == 30


def test_the_number_of_pictures_in_memory_is_bounded(folder):
    num_read = 0

    def views():
        nonlocal num_read
        for i in range(300):
            num_read += 1
            yield {
                "view_id": f"D1-{i}",
                "image": drawing(i),
                "image_sha256": str(i),
                "title": "Chair",
                "viewpoint": "front",
                "viewpoint_direction": None,
                "is_front_page": False,
            }

    release = threading.Event()
    with Endpoint(lambda asked: release.wait(30) and None) as endpoint:
        config = vlm_config(endpoint.url, requests=quick(num_in_flight=4))
        captioner = VlmCaptioner(
            config,
            ModelIdentity(name=MODEL, revision=None, picture=PictureForm(size_px=56, margin_share=0.04)),
            config.endpoints,
        )
        rows: list[Row] = []
        thread = threading.Thread(target=lambda: rows.extend(captioner.caption(views())))
        thread.start()
        while endpoint.num_asked < 4:
            time.sleep(0.01)
        time.sleep(0.3)
        assert num_read <= 4 + 32 + 1
        release.set()
        thread.join()
    assert (len(rows), endpoint.most_at_once) == (300, 4)
    assert captioner.most_images_held <= 4 + 32


def test_keys_and_passwords_are_in_no_log_error_or_file(folder, caplog, monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "hush-key")
    caplog.set_level(logging.DEBUG)
    write_views(folder, 4)
    with Endpoint(first_time(fails(500))) as endpoint:
        secret_url = endpoint.url.replace("://", "://someone:hush-password@")
        caption_views(folder, WEEK, vlm_config(secret_url, endpoint.url.replace("127.0.0.1", "localhost")))
        sent = {asked.headers["Authorization"].split()[0] for asked in endpoint.asked}
        assert sent <= {"Basic", "Bearer"} and "Basic" in sent
    with pytest.raises(SourceError) as gone:
        caption_views(folder, WEEK, vlm_config(secret_url, prompt="impact", requests=quick(max_outage_s=0.2)))
    messages = caplog.text + str(gone.value) + repr(vlm_config(secret_url))
    provenance = json.dumps(read_provenance(folder, folder.path("captions", f"{WEEK}.parquet")))
    assert "hush" not in messages + provenance + str(captions_of(folder))


def test_a_refused_key_is_an_error_at_once(folder):
    write_views(folder, 4)
    with (
        Endpoint(lambda asked: fails(401)) as endpoint,
        pytest.raises(SourceError, match=r"refuses the key \(status 401\); set it in VLLM_API_KEY or OPENAI_API_KEY"),
    ):
        caption_views(folder, WEEK, vlm_config(endpoint.url))


def test_progress_is_reported(folder):
    write_views(folder, 40)
    reports: list[tuple[int, int]] = []
    with Endpoint() as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url), progress=lambda *numbers: reports.append(numbers))
    assert reports == [(16, 40), (32, 40), (40, 40)]


def test_a_journal_that_cannot_be_written_is_an_output_error(folder):
    write_views(folder, 4)
    Path(folder.path("captions", f".{WEEK}.journal")).mkdir(parents=True)
    with Endpoint() as endpoint, pytest.raises(OutputError, match=r"cannot write .*journal"):
        stage.caption_views(folder, WEEK, vlm_config(endpoint.url, sampling=ONE_TRY))


def _said(meaning: str, is_claimed: bool, figures: tuple[str, ...] = ()) -> dict[str, object]:
    return {"lines": "broken", "meaning": meaning, "is_claimed": is_claimed, "figures": list(figures), "text": ""}


def test_a_model_is_shown_the_claimed_lines_and_told_what_is_left_out(folder, tmp_path):
    """The first view has unclaimed lines, the second claims its stitching, of the third nothing is claimed."""
    write_views(
        folder,
        3,
        claimed=lambda number: (drawing(9), drawing(9), _EMPTY)[number],
        claim_scope=[_said("environment", False, ("1", "3")), _said("stitching", True, ("2",))],
    )
    prompt = tmp_path / "claimed.toml"
    prompt.write_text(
        'name = "claimed/1"\ntext = "Say what you see{% if claimed_only %}, without {{ unclaimed }}{% endif %}."'
    )
    settings = {"prompt": str(prompt), "model": MODEL, "requests": quick(num_in_flight=1)}
    asked: list[Asked] = []
    with Endpoint(asked.append) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url, **settings))
        whole = [one.image for one in asked]
        asked.clear()
        claimed = vlm_config(endpoint.url, image=CaptionImageConfig(lines="claimed"), **settings)
        assert not captions_are_done(folder, WEEK, claimed)
        report = caption_views(folder, WEEK, claimed)
        assert captions_are_done(folder, WEEK, claimed)
    assert [one.image == image for one, image in zip(asked, whole, strict=True)] == [False, True, True]
    assert [one.text.partition(".")[0] for one in asked] == [
        "Say what you see, without its surroundings",
        "Say what you see",
        "Say what you see",
    ]
    rows = captions_of(folder)
    assert report.tally("views").num_out == 3 and len({row["cache_key"] for row in rows}) == 3
    assert rows[0]["image_sha256"] == hashlib.sha256(drawing(0)).hexdigest()  # a caption is of the view
