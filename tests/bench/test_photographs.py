"""The benchmark of photographs as queries, on a few queries with known ranks."""

from types import SimpleNamespace

import numpy as np

from bench import photographs
from model.dataset.query_image import QueryImageConfig
from patentdata.specimens import SpecimenConfig
from patentdata.specimens.photographs.week import photograph_article


class _Search:
    """Finds the patent first by a line drawing, and 20th by anything else."""

    image = QueryImageConfig(size_px=64)

    def find(self, query):
        (picture,) = query.pictures
        is_drawing = (picture.pixels if picture.lines is None else picture.lines).mean() > 180
        rank = 1 if is_drawing else 20
        return SimpleNamespace(hits=[SimpleNamespace(rank=rank, best=SimpleNamespace(patent_number="D900003"))])


def test_recall_and_differences_are_those_of_the_ranks(tmp_path):
    path = tmp_path / "D0900003-1.jpg"
    path.write_bytes(photograph_article(900_003, 1, SpecimenConfig(num_patents=4, articles=("mug",))).jpeg)

    result = photographs.measure(_Search(), [("D900003", path)], num_resamples=10)

    assert result["num_queries"] == 1 and result["recognised"] == 1
    assert result["as it is"]["recall@10"] == {"value": 0, "difference": 0, "interval": [0, 0]}
    assert result["as it is"]["mrr"]["value"] == 0.05
    for form in ("line drawing", "better of both", "auto"):
        assert result[form]["recall@10"] == {"value": 1, "difference": 1, "interval": [1, 1]}
        assert result[form]["mrr"]["difference"] == 0.95


def test_every_variant_of_a_drawing_is_a_picture_in_colour():
    sheet = np.full((400, 300), 255, np.uint8)
    sheet[100:104, 50:250] = 0

    made = dict(photographs.variants(sheet, np.random.default_rng(0)))

    assert len(made) == 6
    assert all(rgb.dtype == np.uint8 and rgb.shape[2] == 3 for rgb in made.values())
    assert made["as published"].shape[:2] == sheet.shape
