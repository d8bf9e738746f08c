"""What is written down of a drawing is what was drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from patentdata.captions.faithfulness.drawing import Drawn, read_drawn
from patentdata.errors import ConfigError
from patentdata.specimens import SpecimenConfig, write_week
from patentdata.specimens.drawn import PART_NAMES, describe_drawing
from patentdata.specimens.shapes import articles


@pytest.mark.parametrize(
    ("article", "shape", "parts"),
    [
        ("chair", "", {"leg": 4, "handle": 0, "wheel": 0}),
        ("mug", "round", {"leg": 0, "handle": 1, "wheel": 0, "opening": 1}),
        ("handbag", "", {"leg": 0, "handle": 2, "wheel": 0}),
        ("cart", "", {"leg": 0, "handle": 1, "wheel": 4}),
        ("carton", "box", {"leg": 0, "handle": 0, "wheel": 0}),
        ("cabinet", "box", {"leg": 4, "wheel": 0}),  # its knobs may be called handles
        ("guitar", "", {}),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_parts_of_an_article_are_counted(article, shape, parts, seed):
    drawn = describe_drawing(article, articles.build(article, np.random.default_rng(seed)))
    assert (drawn.shape, drawn.parts) == (shape, parts)


def test_the_number_of_parts_follows_the_drawing_and_not_the_kind_of_article():
    numbers = {
        describe_drawing(article, articles.build(article, np.random.default_rng(seed))).parts[name]
        for article, name in (("organizer", "opening"), ("table", "leg"))
        for seed in range(12)
    }
    assert numbers >= {0, 2, 3, 4}


def test_parts_keep_their_names_when_they_are_moved_or_drawn_in_broken_lines():
    (leg, *_) = (part for part in articles.build("chair", np.random.default_rng(0)) if part.name)
    changed = leg.moved(x=1).turned("z", 30).stretched(y=2).as_environment().with_curves(())
    assert changed.name == leg.name == "leg" and changed.broken


def test_every_name_that_a_builder_gives_is_a_kind_of_part():
    named = {part.name for build in articles.BUILDERS.values() for part in build(np.random.default_rng(1))}
    assert named - {""} == set(PART_NAMES)


def test_a_week_says_what_was_drawn_of_each_patent(tmp_path: Path):
    config = SpecimenConfig(num_patents=3, articles=("mug",), drawing_scale=0.3, max_figures=2)
    write_week(tmp_path, "I20240102", config)
    lines = (tmp_path / "I20240102.drawn.jsonl").read_text().splitlines()
    assert [json.loads(line)["article"] for line in lines] == ["mug"] * 3
    drawn = read_drawn(tmp_path)
    assert drawn[f"D{config.first_number}"] == Drawn("round", {"leg": 0, "handle": 1, "wheel": 0, "opening": 1})
    write_week(tmp_path / "bare", "I20240102", config, truth=False)
    assert [path.name for path in (tmp_path / "bare").iterdir()] == ["I20240102.tar"]


def test_a_folder_without_drawings_or_with_a_damaged_list_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"has no file that ends in .drawn.jsonl"):
        read_drawn(tmp_path)
    (tmp_path / "I20240102.drawn.jsonl").write_text('{"patent_number": "D1", "shape": "", "parts": {"leg": "four"}}\n')
    with pytest.raises(ConfigError, match=r"I20240102.drawn.jsonl: not a readable list of what was drawn"):
        read_drawn(tmp_path)
