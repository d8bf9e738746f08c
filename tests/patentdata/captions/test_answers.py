"""Answers of models (read strictly, cleaned, shortened to fit), and the settings of captions."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patentdata.captions import clip_tokens
from patentdata.captions.answers import (
    LASTING_REASONS,
    UnusableAnswerError,
    clean,
    read_answer,
    shorten,
    without_canvas_talk,
)
from patentdata.captions.config import CaptionImageConfig, CaptionsConfig, SamplingConfig
from patentdata.captions.prompts import load_prompt
from patentdata.errors import ConfigError

VIEWS, IMPACT = load_prompt("views"), load_prompt("impact")
MAX_SHAPE_CHARS = VIEWS.fields["shape"].max_chars


def answer(shape: str = "A round seat on four legs.", function: str = "To sit on.") -> str:
    return json.dumps({"shape": shape, "function": function})


@pytest.mark.parametrize(
    "raw",
    [
        answer(),
        f"```json\n{answer()}\n```",
        "Shape: A round seat on four legs.\nFunction: To sit on.",
        "**Shape:** A round seat on four legs\n\n**Function:** To sit on",
        answer(" a round seat\non four\u200b legs\x00", '"to sit on."'),
        answer("The image shows a round seat on four legs on a white background. The image is square."),
        f"Here is the JSON you asked for:\n```json\n{answer()}\n```\nLet me know if it helps {{:",
        f"{answer()}\nThis is a stool, {{as one sees}}.",
        f"{answer()}\n{answer('Another seat.', 'To stand on.')}",
        f"[{answer()}]",
        "{'shape': 'A round seat on four legs.', 'function': \"To sit on.\"}",
        '{"shape": "A round seat on four legs.", "function": "To sit on.",}',
        '{"shape": "A round seat\non four legs.",\n"function": "To sit\ron."}',
        f"<think>A chair? {{No}}, a stool.</think>\n{answer()}",
        f"A stool.</think>{answer()}",
        f"[THINK]A stool.[/THINK]{answer()}",
        f"◁think▷A stool.◁/think▷{answer()}",
        f"<|channel|>analysis<|message|>A stool.<|end|><|channel|>final<|message|>{answer()}",
        f"<think>{'A stool. ' * 2000}</think><answer>Shape: A round seat on four legs. Function: To sit on.</answer>",
    ],
)
def test_an_answer_in_any_usable_form_gives_clean_texts(raw):
    texts = read_answer(raw, VIEWS)
    assert (texts.shape, texts.function) == ("A round seat on four legs.", "To sit on.")
    assert texts.text == "A round seat on four legs. To sit on."


@pytest.mark.parametrize(
    "raw",
    [
        "- **Shape**: A round seat on four legs.\n- **Function**: To sit on.",
        "1. Shape: A round seat on four legs.\n2. Function: To sit on.",
        '{"Shape": "A round seat on four legs.", "FUNCTION": "To sit on."}',
        'In the form {shape}: {"shape": "A round seat on four legs.", "function": "To sit on."}',
    ],
    ids=["bullets", "numbers", "capitals", "braces before"],
)
def test_an_answer_in_a_form_near_the_one_asked_for_is_read(raw):
    texts = read_answer(raw, VIEWS)
    assert (texts.shape, texts.function) == ("A round seat on four legs.", "To sit on.")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        (answer(shape="…"), "empty"),
        (answer(shape="The image is in black and white."), "empty"),
        ("{}", "unparsable"),
        ('{"shape": "A seat."', "unparsable"),
        ('{"shape": "A seat.", "function": "To sit.", "colour": "red"}', "unparsable"),
        ("[" * 100_000, "unparsable"),
        ("A seat for sitting.", "unparsable"),
        ('{"shape": A seat, "function": To sit on}', "unparsable"),
        ("{'shape': 'A seat.', 'function': 'To \\x41 on.'}", "unparsable"),
        ("{'shape': 'A seat.', 'function': ['To sit on.'],}", "unparsable"),
        ("<think>It is a stool, or a", "too_long"),
        (f"<think>It is a stool.</think><thinking>Or {answer()}", "too_long"),
        ("<think>It is a stool.</think>", "empty"),
        ("No image was provided.", "refused"),
        ("Shape: No image has been provided.\nFunction: Unknown.", "refused"),
        (answer(shape="The image is not visible."), "refused"),
        (answer(function="Please upload the drawing so that I can help."), "refused"),
        (answer(shape="I don't see any image in your message."), "refused"),
        (answer(shape="A chair with leg 1, leg 2, leg 3, leg 4, leg 5."), "repetition"),
        (answer(shape="A seat 🪑🪑🏽 🪑 🪑🪑🪑 🪑"), "repetition"),
        (answer(shape="A seat -–-–-–-–- and legs."), "repetition"),
        (answer(shape="A seat - - - - - - - - and legs."), "repetition"),
        (answer(shape="One sentence of at most 25 words on what is visible."), "repetition"),
        (answer(function="Front view of a chair, from a United States design patent."), "repetition"),
        (answer(function="What the article is used for."), "repetition"),
        ("I'm sorry, but I cannot describe this.", "refused"),
        (answer(function="As an AI, I do not know."), "refused"),
        (answer(shape="a a a a a a a a"), "repetition"),
        (answer(shape="Zzzzzzzzzzzzzzz seat"), "repetition"),
        (answer(shape="To sit on."), "repetition"),
        (answer(shape="wide " + "panelled " * 2 + "x" * MAX_SHAPE_CHARS), "too_long"),
    ],
)
def test_an_answer_that_is_not_a_caption_has_a_reason(raw, reason):
    with pytest.raises(UnusableAnswerError) as error:
        read_answer(raw, VIEWS)
    assert error.value.reason == reason


@pytest.mark.parametrize(
    "shape",
    [
        "A drawer with number and place of the handles like a desk's.",
        "A sign with the words “No parking”, and no image on it.",
        "A tray with three visible dividers and an outline like a fan.",
        "A ball-and-claw foot – carved, gilded – with 3 toes, 4 rings, and 12 petals.",
    ],
)
def test_a_caption_with_words_of_the_prompt_or_a_few_signs_is_usable(shape):
    assert read_answer(answer(shape), VIEWS).shape == shape


def test_a_free_answer_that_echoes_its_question_or_only_thinks_is_unusable():
    for raw, reason in [
        ("This is the image of Chair. What is the shape of the image?", "repetition"),
        ("<think>A chair, I think. It has", "too_long"),
        ("No image was provided.", "refused"),
        ("There is no image to describe.", "refused"),
        ("The image appears to be blank.", "refused"),
        ("Image not found.", "refused"),
        (answer(), "unparsable"),
        ("{'shape': 'A seat'", "unparsable"),
        (f"[{answer()}]", "unparsable"),
    ]:
        with pytest.raises(UnusableAnswerError) as error:
            read_answer(raw, IMPACT)
        assert error.value.reason == reason


def test_an_answer_is_read_in_time_proportional_to_its_length():
    for unit in ("<think>", "{'", '{"a": ', "{" + " " * 9, '{"a": "b", ', "\\", "- a ", "<|channel|>final"):
        started = time.process_time()
        with pytest.raises(UnusableAnswerError):
            read_answer(unit * (1_000_000 // len(unit)), VIEWS)
        assert time.process_time() - started < 1, unit


def test_a_text_cut_at_the_token_limit_loses_its_incomplete_end():
    cut = '{"shape": "A round seat. Four straight legs with a'
    with pytest.raises(UnusableAnswerError) as error:
        read_answer(cut, VIEWS, is_cut=True)
    assert (error.value.reason, error.value.shortened) == ("too_long", None)
    with pytest.raises(UnusableAnswerError) as error:
        read_answer('{"shape": "A round seat.", "function": "To sit. To rest with the', VIEWS, is_cut=True)
    shortened = error.value.shortened
    assert shortened is not None
    assert (shortened.text, shortened.is_shortened) == ("A round seat. To sit.", True)


def test_a_free_answer_keeps_its_length_and_loses_its_white_space():
    text = read_answer(" This is a chair. It is square.</s>", IMPACT).text
    assert text == "This is a chair. It is square."


@pytest.mark.parametrize("max_tokens", [5, 9, 20, 77])
def test_a_shortened_text_fits_and_ends_as_a_sentence(max_tokens):
    text = "A tall cabinet with two doors, " + "ornamented by fluted panels and a carved cornice, " * 12 + "on feet."
    shortened = shorten(text, max_tokens)
    assert clip_tokens.num_tokens(shortened) <= max_tokens
    assert shortened.endswith(".")
    assert not shortened.endswith((" a.", " and.", " by.", ",."))


_SENTENCES = st.lists(
    st.one_of(
        st.text(max_size=60), st.sampled_from(["A round lid.", "The image is square.", "legs, legs, legs", "</s>"])
    ),
    max_size=12,
).map(" ".join)


@given(shape=_SENTENCES, function=_SENTENCES, frame=st.sampled_from(["json", "cut", "plain", "neither"]))
@settings(max_examples=300, deadline=None)
def test_any_answer_is_a_caption_that_clip_can_read_or_has_a_reason(shape, function, frame):
    given_answer = {
        "json": answer(shape, function),
        "cut": answer(shape, function)[:-9],
        "plain": f"Shape: {shape}\nFunction: {function}",
        "neither": shape + function,
    }[frame]
    try:
        texts = read_answer(given_answer, VIEWS, is_cut=frame == "cut")
    except UnusableAnswerError as error:
        assert error.reason in LASTING_REASONS
        if error.shortened is None:
            return
        texts = error.shortened
    assert texts.shape and texts.function
    for text in (texts.text, texts.shape, texts.function):
        assert clip_tokens.num_tokens(text) <= 77
        assert text == text.strip() and text.isprintable()


def test_a_single_word_that_is_too_long_is_shortened():
    assert clip_tokens.num_tokens(shorten("qx" * 4000, 77)) <= 77


def test_unicode_is_composed_and_invisible_characters_are_removed():
    assert clean("Cafe\u0301 \ufffdta\u200bble\u2028\u202e x") == "Café table x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("This is a square table.", "This is a square table."),
        ("A line drawing of a lamp against a white background.", "A lamp."),
        ("A canvas bag. The canvas is white.", "A canvas bag."),
        ("A lamp with a dome", "A lamp with a dome."),
    ],
)
def test_remarks_about_the_picture_are_removed_and_the_article_stays(text, expected):
    assert without_canvas_talk(text) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"captioner": "seen"}, 'choose "described"'),
        ({"prompt": "poem"}, "choose one of views, impact"),
        ({"captioner": "vllm"}, "name the model to serve"),
        ({"endpoints": ("gpu:8000",)}, "name one such as http://localhost:8000/v1"),
        ({"endpoints": "http://x"}, "give a list"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_with_a_remedy(settings, message):
    with pytest.raises(ConfigError, match=message):
        CaptionsConfig(**settings)


def test_the_message_about_an_unusable_address_does_not_show_its_password():
    with pytest.raises(ConfigError) as error:
        CaptionsConfig(endpoints=("ftp://user:hush@host/v1",))
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "round"}, "image mode is 'round'; choose"),
        ({"size_px": 9}, "image size is 9 px; choose 28 to 2048"),
        ({"max_pixels": 100}, "max_pixels is 100; choose 3,136"),
        ({"mode": "square", "max_pixels": 10_000}, 'max_pixels belongs to the image mode "aspect"'),
        ({"mode": "aspect", "size_px": 336}, 'size_px belongs to the image mode "square"'),
        ({"margin_share": 0.5}, "margin_share is 0.5"),
    ],
)
def test_settings_of_the_picture_that_cannot_be_used_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        CaptionImageConfig(**settings)


def test_a_temperature_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="temperature is 3"):
        SamplingConfig(retry_temperatures=(3,))
