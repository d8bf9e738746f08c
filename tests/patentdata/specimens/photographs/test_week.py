"""Photographs of specimens: what they show, and that they are photographs and not drawings."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from patentdata.specimens.config import SpecimenConfig
from patentdata.specimens.photographs.week import photograph_article, write_photographs

_CONFIG = SpecimenConfig(num_patents=2, first_number=900_001, articles=("mug", "cabinet"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    return write_photographs(folder, "I20240102", _CONFIG, 3)


def _truth(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_patents_are_photographed_in_turn_and_each_photograph_has_its_line_of_truth(written):
    truth = _truth(written)

    assert [row["patent_number"] for row in truth] == ["D900001", "D900002", "D900001"]
    assert [row["file"] for row in truth] == ["D0900001-1.jpg", "D0900002-1.jpg", "D0900001-2.jpg"]
    assert {path.name for path in (written.parent / "I20240102.photographs").iterdir()} == {
        row["file"] for row in truth
    }
    assert all(row["viewpoint"] not in ("bottom", "exploded") and row["figure"] for row in truth)


def test_a_photograph_is_shaded_coloured_and_without_paper(written):
    for path in (written.parent / "I20240102.photographs").iterdir():
        with Image.open(path) as image:
            pixels = np.asarray(image).astype(int)

        assert max(pixels.shape[:2]) == 512
        levels = np.unique(pixels.mean(axis=2).round())
        assert len(levels) > 60  # a drawing has paper, ink and little between them
        white = (pixels.min(axis=2) > 250).mean()
        assert white < 0.5


def test_the_bytes_depend_on_seed_patent_and_index_only(written):
    again = photograph_article(900_002, 1, SpecimenConfig(num_patents=9, articles=("mug", "cabinet"), workers=2))
    other = photograph_article(900_002, 2, _CONFIG)

    assert again.jpeg == (written.parent / "I20240102.photographs" / "D0900002-1.jpg").read_bytes()
    assert other.jpeg != again.jpeg


def test_several_processes_write_the_same_bytes(written, tmp_path):
    config = SpecimenConfig(num_patents=2, first_number=900_001, articles=("mug", "cabinet"), workers=2)
    truth = write_photographs(tmp_path, "I20240102", config, 2)

    assert _truth(truth) == _truth(written)[:2]
    for row in _truth(truth):
        ours, theirs = (path.parent / "I20240102.photographs" / row["file"] for path in (truth, written))
        assert ours.read_bytes() == theirs.read_bytes()


def test_a_camera_is_never_below_the_table_and_the_article_is_in_the_picture(written):
    assert all(row["elevation"] >= 6 for row in _truth(written))
    with Image.open(io.BytesIO(photograph_article(900_001, 1, _CONFIG).jpeg)) as image:
        pixels = np.asarray(image.convert("L")).astype(float)
    middle = pixels[pixels.shape[0] // 4 : -pixels.shape[0] // 4, pixels.shape[1] // 4 : -pixels.shape[1] // 4]
    assert middle.std() > 5
