"""A second model that judges a sample of captions by their pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from patentdata.captions.config import CaptionsConfig
from patentdata.captions.faithfulness.judge import JudgeConfig, Judgement, Stratum, judge_captions
from patentdata.captions.quality import Share
from patentdata.captions.stage import caption_views
from patentdata.errors import ConfigError
from patentdata.store.folder import DataFolder
from tests.patentdata.captions.vllm.endpoint import Asked, Endpoint, Reply, says
from tests.patentdata.captions.weeks import WEEK, caption_bytes, captions_of, vlm_config, write_views


def stratum(num_captions: int, *, true: int = 0, false: int = 0) -> Stratum:
    verdicts = {"true": true, "false": false, "cannot tell": 0}
    return Stratum(num_captions=num_captions, verdicts=verdicts, reasons={}, num_patents=true + false, examples=[])


def test_the_agreement_is_that_of_all_captions_and_not_of_the_sample():
    judgement = Judgement(model="j", found=stratum(10, true=2, false=8), not_found=stratum(90, true=5, false=5))
    assert judgement.agreement == pytest.approx((10 * 0.8 + 90 * 0.5) / 100)
    assert judgement.found.false == Share(8, 10, num_clusters=10)
    assert Judgement(model="j", found=stratum(0), not_found=stratum(4, true=3, false=1)).agreement == 0.75
    assert Judgement(model="j", found=stratum(3), not_found=stratum(4, true=4)).agreement is None


def test_a_sample_has_at_least_one_caption():
    with pytest.raises(ConfigError, match="num_samples is 0; choose 1 to 100000"):
        JudgeConfig(num_samples=0)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


def every_third_is_red(asked: Asked) -> Reply:
    colour = "red" if "FIG. 3" in asked.text else "round"
    return says(json.dumps({"shape": f"A {colour} seat {asked.image[-20]} on legs.", "function": "To sit on."}))


def judge_of(asked: Asked) -> Reply:
    """Calls what is red false, and cannot tell of one caption in between."""
    verdict = "false" if " red " in asked.text else "true"
    return says(json.dumps({"verdict": verdict, "reason": "The drawing shows it."}))


@pytest.mark.slow
def test_a_judge_is_asked_with_picture_and_caption_about_a_sample_of_both_strata(folder):
    write_views(folder, 30)
    with Endpoint(every_third_is_red) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url))
    before = caption_bytes(folder)
    with Endpoint(judge_of, model="second/model") as endpoint:
        config = vlm_config(endpoint.url, model="second/model")
        judgement = judge_captions(folder, [], config, JudgeConfig(num_samples=4))
        again = judge_captions(folder, [WEEK], config, JudgeConfig(num_samples=4))
        assert endpoint.num_asked == 16
        captions = {row["text"] for row in captions_of(folder)}
        assert all(any(f"“{text}”" in asked.text for text in captions) for asked in endpoint.asked)
        assert all(asked.image.startswith(b"\x89PNG") for asked in endpoint.asked)
    assert judgement == again
    assert (judgement.found.num_captions, judgement.not_found.num_captions) == (10, 20)
    assert judgement.found.verdicts == {"true": 0, "false": 4, "cannot tell": 0}
    assert judgement.not_found.verdicts == {"true": 4, "false": 0, "cannot tell": 0}
    assert judgement.agreement == 1
    assert judgement.found.examples[0]["reason"] == "The drawing shows it."
    assert json.loads(json.dumps(judgement.to_dict()))["found"]["false"]["num"] == 4
    assert caption_bytes(folder) == before


@pytest.mark.slow
def test_captions_without_a_verdict_are_counted_by_reason(folder):
    write_views(folder, 6)
    with Endpoint(every_third_is_red) as endpoint:
        caption_views(folder, WEEK, vlm_config(endpoint.url))

    def unsure(asked: Asked) -> Reply:
        if " red " in asked.text:
            return says("I'm sorry, I cannot see the drawing.")
        return says(json.dumps({"verdict": "cannot tell", "reason": "The part is hidden."}))

    with Endpoint(unsure) as endpoint:
        judgement = judge_captions(folder, [WEEK], vlm_config(endpoint.url), JudgeConfig(num_samples=9))
    assert judgement.found.reasons == {"refused": 2}
    assert judgement.not_found.verdicts["cannot tell"] == 4
    assert judgement.agreement is None and judgement.not_found.false.value is None


def test_without_captions_or_an_endpoint_there_is_nothing_to_judge(folder):
    with pytest.raises(ConfigError, match="contains no captions; run the captions stage first"):
        judge_captions(folder, [], vlm_config("http://127.0.0.1:9/v1"), JudgeConfig())
    with pytest.raises(ConfigError, match="no endpoint serves second/model; name one"):
        judge_captions(folder, [], CaptionsConfig(captioner="vllm", model="second/model"), JudgeConfig())
