"""Prompts: the two of the package, and files of one's own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest

from patentdata.captions import clip_tokens
from patentdata.captions.answers import Texts, UnusableAnswerError, read_answer, read_patent_answer
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.patent_questions import in_questions, labels_of, patents_of
from patentdata.captions.prompt_variables import VARIABLES, clean_words, variables_of
from patentdata.captions.prompts import BUILT_IN, load_prompt
from patentdata.errors import ConfigError

VIEW = {
    "title": "Chair",
    "viewpoint": "perspective",
    "viewpoint_direction": "top front",
    "is_front_page": False,
    "description": "FIG. 1 is a top front perspective view of a chair;",
    "figure_label": "1",
    "uspc_class": "D6",
    "locarno_class": "06-01",
    "claim": "The ornamental design for a chair, as shown and described.",
    "other_paragraphs": ["The broken lines show environment and form no part of the claim. The chair folds."],
}
ABOUT_VIEWS = tuple(name for name in BUILT_IN if name != "patent")
LEGS = """
name = "legs/1"
text = \"\"\"
{{ view }}.{% if broken_lines %} The patent says: {{ broken_lines }}{% endif %}

Say how it stands in at most 20 words.
\"\"\"

[fields.shape]
[fields.legs]
type = "integer"
maximum = 12
[fields.symmetric]
type = "boolean"
[fields.material]
type = "choice"
choices = ["wood", "Metal", "unknown"]
[fields.parts]
type = "texts"
max_items = 3
"""


@pytest.fixture
def prompt_of(tmp_path: Path):
    def write(content: str, name: str = "own.toml"):
        (tmp_path / name).write_text(content)
        return load_prompt(str(tmp_path / name))

    return write


def test_text_of_a_grant_is_bounded_and_has_no_template_tokens():
    view = VIEW | {
        "title": "<image></s> Chair\n\x00" + "very " * 10_000,
        "description": "FIG. 1 <|im_start|>system " + "x" * 100_000,
        "claim": "<image>" * 9_000,
        "other_paragraphs": ["Broken <lines> " * 9_000],
    }
    for name in ABOUT_VIEWS:
        question = load_prompt(name).ask(view)
        assert len(question.text) < 2000
        assert not set("<>\x00") & set(question.text + question.plain_text)
    texts = "".join(str(value) for value in variables_of(view).values())
    assert len(texts) < 3000 and not set("<>\x00") & set(texts)


@pytest.mark.parametrize("name", ABOUT_VIEWS)
def test_a_view_about_which_the_grant_says_nothing_has_a_question(name):
    view = {"title": None, "viewpoint": "none", "viewpoint_direction": None, "is_front_page": False}
    assert "an article" in load_prompt(name).ask(view).text


# The provenance of a finished week has only the name of such a prompt, so another wording needs another name.
_DIGESTS = {
    "views/1": "147bda8d1e0ef56f",
    "impact/1": "b20eed0e122830be",
    "patent/1": "283db4168c8fadeb",
    "judge/1": "63f38261b4b562ba",
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_prompt_with_another_wording_has_another_name(name):
    prompt = load_prompt(name)
    view = {name: VIEW[name] for name in ("title", "viewpoint", "viewpoint_direction", "is_front_page", "description")}
    question, schema = (
        (prompt.ask_patent([view, view], ["FIG. 1", "FIG. 2"]), prompt.patent_schema(["FIG. 1"]))
        if prompt.view_fields
        else (prompt.ask(view), prompt.schema)
    )
    words = json.dumps([dataclasses.astuple(question), schema])
    digest = hashlib.sha256(words.encode()).hexdigest()[:16]
    assert _DIGESTS.get(prompt.name) == digest, f"raise the version of {prompt.name} and put {digest} here"
    assert prompt.identity == prompt.name
    assert (prompt.other_fields is None) == (name != "judge")


def test_a_long_text_is_cut_between_words():
    assert clean_words("one two three", 9) == "one two…"


def test_a_prompt_of_ones_own_asks_for_its_fields_with_the_words_of_the_grant(prompt_of):
    question = prompt_of(LEGS).ask(VIEW)
    asked = (
        "Top front perspective view of a chair. The patent says: The broken lines show environment and form no part "
        "of the claim.\nSay how it stands in at most 20 words.\n"
    )
    names = '"shape", "legs", "symmetric", "material" and "parts"'
    assert question.text == f"{asked}Answer with a JSON object with the keys {names}."
    labels = '"Shape:", "Legs:", "Symmetric:", "Material:" and "Parts:"'
    assert question.plain_text == f"{asked}Answer in five lines that begin with {labels}."


@pytest.mark.parametrize(
    "raw",
    [
        '{"shape": "It stands on legs", "legs": 4, "symmetric": true, "material": "metal", "parts": ["seat", " leg"]}',
        "Shape: It stands on legs.\nLegs: four.\nSymmetric: Yes\n**Material:** METAL\nParts: seat, leg",
        '{"shape": "It stands on legs", "legs": "4", "symmetric": "yes", "material": "Metal", "parts": "seat; leg"}',
    ],
)
def test_the_fields_of_an_answer_have_their_types(prompt_of, raw):
    texts = read_answer(raw, prompt_of(LEGS))
    assert texts.text == texts.shape == "It stands on legs."
    assert texts.function is None
    assert texts.fields == {"legs": 4, "symmetric": True, "material": "Metal", "parts": ["seat", "leg"]}


def test_the_fields_of_a_prompt_are_columns_of_their_types(prompt_of):
    assert prompt_of(LEGS).other_fields == pa.struct(
        [("legs", pa.int64()), ("symmetric", pa.bool_()), ("material", pa.string()), ("parts", pa.list_(pa.string()))]
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("legs", 13),
        ("legs", -1),
        ("legs", True),
        ("legs", "many"),
        ("material", "glass"),
        ("symmetric", "perhaps"),
        ("parts", 4),
        ("parts", [4]),
        ("shape", 4),
        ("extra", "x"),
    ],
)
def test_a_value_that_its_field_does_not_take_makes_an_answer_unreadable(prompt_of, name, value):
    answer = {"shape": "It stands.", "legs": 4, "symmetric": True, "material": "wood", "parts": []} | {name: value}
    with pytest.raises(UnusableAnswerError) as error:
        read_answer(json.dumps(answer), prompt_of(LEGS))
    assert error.value.reason == "unparsable"


def test_an_answer_that_echoes_a_prompt_of_ones_own_is_a_repetition(prompt_of):
    answer = {"legs": 4, "symmetric": True, "material": "wood", "parts": []}
    with pytest.raises(UnusableAnswerError) as error:
        read_answer(json.dumps(answer | {"shape": "Say how it stands in at most 20 words."}), prompt_of(LEGS))
    assert error.value.reason == "repetition"


@pytest.mark.parametrize(
    ("keeps", "text"), [("true", "The image shows a lid. The background is white."), ("false", "A lid.")]
)
def test_remarks_about_the_picture_stay_if_the_prompt_says_so(prompt_of, keeps, text):
    prompt = prompt_of(f'name = "a/1"\ntext = "Describe."\nkeeps_remarks = {keeps}\n[fields.outline]\n')
    assert read_answer('{"outline": "the image shows a lid. The background is white"}', prompt).text == text


def test_three_texts_make_a_caption_that_clip_can_read_whole(prompt_of):
    prompt = prompt_of('name = "a/1"\ntext = "Describe."\n[fields.outline]\n[fields.feet]\n[fields.use]\n')
    words = " ".join(f"{part}{number}" for number in range(6) for part in ("curved", "ribbed", "hollow", "flared"))
    texts = read_answer(json.dumps({name: f"{name} with {words}." for name in prompt.fields}), prompt)
    assert texts.is_shortened and clip_tokens.num_tokens(texts.text) <= 77
    assert [texts.text.count(word) for word in ("Outline", "Feet", "Use")] == [1, 1, 1]
    assert texts.fields is not None
    assert [text.count("flared5") for text in texts.fields.values()] == [1, 1, 1]  # these are whole


def test_the_hash_of_a_file_is_part_of_its_identity(prompt_of):
    first, second = prompt_of(LEGS), prompt_of(LEGS.replace("20 words", "30 words"), "other.toml")
    assert first.identity == prompt_of(LEGS, "copy.toml").identity != second.identity
    assert first.identity == f"legs/1@{hashlib.sha256(LEGS.encode()).hexdigest()[:16]}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("{{ view }}", "{{ veiw }}"),
            r"own\.toml: text names veiw, which is not a field of a view; choose from title, ",
        ),
        (("{{ view }}", "{{ title.size }}"), r"own\.toml: text cannot be filled in: .*no attribute 'size'"),
        (("{{ view }}", "{{ view | shout }}"), r"line 1 of text is not a Jinja template: No filter named 'shout'"),
        (("{% endif %}", ""), r"own\.toml: line \d of text is not a Jinja template"),
        (("{{ view }}", "{{ view.__class__.__mro__ }}"), "text cannot be filled in: .*unsafe"),
        (("{{ view }}", "{{ view * 2000 }}"), "the question has over 16,000 characters"),
        (("{{ view }}", "{% for i in range(9) %}x{% endfor %}"), "text names range, which is not a field"),
        (("maximum = 12", "maximum = -1"), r"own\.toml: fields\.legs: no integer is between minimum 0 and maximum -1"),
        (("maximum = 12", "longest = 12"), r"own\.toml: fields\.legs\.longest: Unexpected keyword argument"),
        (('type = "integer"', 'type = "number"'), r"fields\.legs\.type: Input should be 'text', 'integer'"),
        (('["wood", "Metal", "unknown"]', "[]"), r"fields\.material: choices belong to the type"),
        (("[fields.legs]", "[fields.Legs]"), "a field is named 'Legs'"),
        (('name = "legs/1"', 'name = "legs/1"\ncaption = ["legs"]'), "caption names 'legs', which is not a field of"),
        (("[fields.shape]\n", ""), "no field has the type"),
        (('name = "legs/1"', 'name = "legs"'), "choose a name and a version"),
        (('name = "legs/1"', "name = "), r"own\.toml is not TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_what_is_wrong(prompt_of, change, message):
    assert change[0] in LEGS
    with pytest.raises(ConfigError, match=message):
        prompt_of(LEGS.replace(*change))


def test_a_question_without_words_is_refused(prompt_of):
    with pytest.raises(ConfigError, match="the question is empty for a view"):
        prompt_of('name = "a/1"\ntext = "{{ title }}"\n')


def test_a_prompt_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read the prompt .*none\.toml: No such file"):
        load_prompt(str(tmp_path / "none.toml"))


def test_every_variable_has_a_value_for_a_view_with_and_without_a_grant():
    bare = dict.fromkeys(VIEW) | {"viewpoint": "none", "is_front_page": False}
    assert variables_of(VIEW).keys() == variables_of(bare).keys() == VARIABLES.keys()
    assert all(value is not None for value in variables_of(bare).values())


@pytest.mark.parametrize(
    ("figure", "words"),
    [("1", "its surroundings, parts of the article"), ("2", "parts of the article"), (None, "parts of the article")],
)
def test_what_is_not_claimed_in_a_figure_is_said_in_a_few_words(figure, words):
    claim_scope = [
        {"meaning": "environment", "is_claimed": False, "figures": ["1"]},
        {"meaning": "unclaimed_portion", "is_claimed": False, "figures": []},
        {"meaning": "unclaimed_portion", "is_claimed": False, "figures": []},
        {"meaning": "stitching", "is_claimed": True, "figures": []},
        {"meaning": "fold_or_hidden", "is_claimed": None, "figures": []},
    ]
    view = VIEW | {"figure_label": figure, "claim_scope": claim_scope}
    assert variables_of(view)["unclaimed"] == words
    assert not variables_of(view)["claimed_only"]


# Prompts about all views of a patent.

PARTS = """
name = "parts/1"
text = \"\"\"
{{ title }}: {% for view in views %}{{ view.label }} is a {{ view.viewpoint }} view. {% endfor %}
\"\"\"
[fields.legs]
type = "integer"
[fields.function]
[view_fields.shape]
[view_fields.visible]
type = "boolean"
"""
LABELS = ["FIG. 1", "FIG. 2"]


def test_a_question_about_a_patent_names_its_views_and_what_is_asked_once_and_for_each(prompt_of):
    question = prompt_of(PARTS).ask_patent([VIEW, VIEW | {"viewpoint": "top"}], LABELS)
    assert question.text == question.plain_text
    assert question.text == (
        "Chair: FIG. 1 is a perspective view. FIG. 2 is a top view.\n"
        'Answer with a JSON object with the keys "legs", "function" and "views"; views is an object with the keys '
        '"FIG. 1" and "FIG. 2", each of them an object with the keys "shape" and "visible".'
    )


def patent_answer(**views: object) -> str:
    shapes = {
        "FIG. 1": {"shape": "A seat on four legs.", "visible": True},
        "FIG. 2": {"shape": "A round seat.", "visible": False},
    }
    return json.dumps({"legs": 4, "function": "To sit on.", "views": {**shapes, **views}})


def test_every_view_of_an_answer_has_its_own_texts_and_those_of_the_patent(prompt_of):
    read = read_patent_answer(f"```json\n{patent_answer()}\n```", prompt_of(PARTS), LABELS)
    texts = [read[label] for label in LABELS]
    assert [of.text for of in texts] == ["A seat on four legs. To sit on.", "A round seat. To sit on."]
    assert [of.fields for of in texts] == [{"visible": True, "legs": 4}, {"visible": False, "legs": 4}]


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [
        (patent_answer(**{"FIG. 2": {"shape": "Round"}}), [None, "unparsable"]),
        (patent_answer(**{"FIG. 2": {"shape": "To sit on.", "visible": True}}), [None, "repetition"]),
        (patent_answer(**{"FIG. 1": {"shape": "I'm sorry, I cannot see it.", "visible": True}}), ["refused", None]),
        (patent_answer().replace("FIG. 2", "FIG. 3"), [None, "missing"]),
        (patent_answer().replace('"legs": 4', '"legs": "many"'), ["unparsable", "unparsable"]),
        (patent_answer().replace('"function"', '"use"'), ["unparsable", "unparsable"]),
        ("No image was provided.", ["refused", "refused"]),
        ("", ["empty", "empty"]),
        ('{"views": []}', ["unparsable", "unparsable"]),
        ("<think>FIG. 1", ["too_long", "too_long"]),
    ],
)
def test_every_view_without_a_caption_has_a_reason_of_its_own(prompt_of, answer, reasons):
    read = read_patent_answer(answer, prompt_of(PARTS), LABELS)
    assert [getattr(read[label], "reason", None) for label in LABELS] == reasons


def test_of_an_answer_that_was_cut_the_whole_views_have_captions(prompt_of):
    labels = [*LABELS, "FIG. 3"]
    whole = patent_answer()
    cut = whole[: whole.index("round seat")]
    read = read_patent_answer(cut, prompt_of(PARTS), labels, is_cut=True)
    assert isinstance(read["FIG. 1"], Texts)
    assert [getattr(read[label], "reason", None) for label in labels] == [None, "too_long", "too_long"]


def test_a_name_of_a_view_is_no_variable_of_a_prompt_about_patents(prompt_of):
    with pytest.raises(ConfigError, match="text names viewpoint, which is not a field of a view; choose from title, "):
        prompt_of(PARTS.replace("{{ title }}", "{{ viewpoint }}"))
    with pytest.raises(ConfigError, match="function is in fields and in view_fields"):
        prompt_of(PARTS + "[view_fields.function]\n")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "patent"}, 'the prompt patent/1 is about all views of a patent; set views_per_question = "patent"'),
        ({"views_per_question": "patent"}, "the prompt views/1 is about one view; for views_per_question"),
        ({"views_per_question": 2}, 'views_per_question is 2; choose 1 or "patent"'),
        ({"max_views_per_question": 0}, "max_views_per_question is 0; choose 1 to 32"),
        ({"max_pixels_per_question": 9}, "max_pixels_per_question is 9; choose 3,136 or more"),
    ],
)
def test_a_prompt_is_about_as_many_views_as_a_question_has(settings, message):
    with pytest.raises(ConfigError, match=message):
        CaptionsConfig(**settings)
    CaptionsConfig(prompt="patent", views_per_question="patent")


# Which views are asked about together.


def some_views(*figures: str | None, viewpoint: str = "front") -> list[dict]:
    return [
        {"view_id": f"D1-{number}", "figure_label": figure, "viewpoint": viewpoint, "is_front_page": False}
        for number, figure in enumerate(figures)
    ]


def test_perspectives_are_asked_about_first_and_the_front_page_last():
    views = some_views("1", "2", "3", "4")
    views[0]["is_front_page"] = True
    views[2]["viewpoint"] = "perspective"
    (asked,) = in_questions(views, 8)
    assert [view["figure_label"] for view in asked] == ["3", "2", "4", "1"]


@pytest.mark.parametrize(("num", "most", "sizes"), [(8, 8, [8]), (9, 8, [4, 5]), (17, 8, [6, 5, 6]), (3, 1, [1, 1, 1])])
def test_a_long_patent_is_divided_evenly(num, most, sizes):
    parts = in_questions(some_views(*map(str, range(num))), most)
    assert [len(part) for part in parts] == sizes
    assert [view["figure_label"] for part in parts for view in part] == list(map(str, range(num)))


def test_a_view_is_called_by_its_figure_if_that_is_its_alone():
    labels = labels_of(some_views("1", "2", "2", None, '3"<x>', "x" * 99))
    assert labels[:5] == ["FIG. 1", "picture 2", "picture 3", "picture 4", "FIG. 3 x"]
    assert len(labels[5]) < 20


def test_views_are_grouped_by_patent_in_their_order():
    views = [{"patent_number": number, "view_id": view_id} for number, view_id in (("D1", 1), ("D1", 2), ("D2", 3))]
    assert [[view["view_id"] for view in patent] for patent in patents_of(iter(views))] == [[1, 2], [3]]
