"""Which pictures are taken for photographs, and what their line drawings are like."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from bench.photographs import variants
from model.dataset.line_drawing import draw_lines, find_article
from model.dataset.photograph import measure_tones
from model.dataset.query_image import AS_LINES, QueryError, QueryImageConfig, read_query_image
from patentdata.specimens import SpecimenConfig, draw_patent
from patentdata.specimens.photographs.week import photograph_article

_CONFIG = SpecimenConfig(num_patents=8, drawing_scale=0.5, hazards=("repeated_cells", "screen_text", "speckle"))


@pytest.fixture(scope="module")
def sheets():
    """The sheets of three patents in grey: dense cells, text, and specks."""
    patents = [draw_patent(900_001 + index, date="20240102", config=_CONFIG) for index in range(3)]
    return [
        np.asarray(Image.open(io.BytesIO(data)).convert("L")) for p in patents for data in list(p.sheets.values())[:2]
    ]


@pytest.fixture(scope="module")
def photograph():
    """The bytes of a photograph of a mug."""
    return photograph_article(900_003, 1, SpecimenConfig(num_patents=4, articles=("mug",))).jpeg


def _ball() -> np.ndarray:
    """A red ball, shaded, on a grey ground with a gradient: (240, 320, 3) uint8."""
    row, column = np.mgrid[0:240, 0:320].astype(float)
    ground = np.repeat((150 + 30 * row / 240)[:, :, None], 3, axis=2)
    height = 1 - ((row - 120) ** 2 + (column - 160) ** 2) / 70**2
    light = 0.3 + 0.7 * np.clip(np.sqrt(np.clip(height, 0, 1)) - (column - 160) / 200, 0, 1)
    ball = light[:, :, None] * np.array([220, 60, 40])
    return np.where((height > 0)[:, :, None], ball, ground).astype(np.uint8)


@pytest.mark.parametrize(
    "variant", ["as published", "made smaller", "scanned in grey", "unevenly lit", "aged paper", "blueprint"]
)
def test_a_drawing_is_not_taken_for_a_photograph_whatever_its_paper_is(sheets, variant):
    for number, sheet in enumerate(sheets):
        rgb = dict(variants(sheet, np.random.default_rng(number)))[variant]

        assert not measure_tones(rgb).is_photograph, number


def test_a_two_level_picture_has_no_tones_however_dense_it_is():
    rows, columns = np.indices((400, 600))
    screen = np.where((rows + columns) % 5 < 2, 0, 255).astype(np.uint8)

    tones = measure_tones(np.repeat(screen[:, :, None], 3, axis=2))

    assert tones.share == 0


def test_shading_is_taken_for_a_photograph_and_flat_colour_is_not():
    ball = _ball()
    flat = np.full_like(ball, 255)
    cv2.circle(flat, (160, 120), 70, (220, 60, 40), cv2.FILLED)

    assert measure_tones(ball).is_photograph
    assert not measure_tones(flat).is_photograph


def test_the_background_is_removed():
    row, column = np.mgrid[0:240, 0:320]
    is_ball = (row - 120) ** 2 + (column - 160) ** 2 < 70**2

    found = find_article(_ball())

    assert (found & is_ball).sum() / (found | is_ball).sum() > 0.95


def test_the_line_drawing_is_ink_on_paper_and_has_the_outline():
    drawn = draw_lines(_ball())

    assert set(np.unique(drawn)) == {0, 255}
    assert (drawn == 0).mean() < 0.15
    height, width = drawn.shape
    assert 0.9 < width / height < 1.1  # the ball alone, without the ground
    middle = (drawn[height // 2] == 0).nonzero()[0]
    assert middle[0] < 0.1 * width and middle[-1] > 0.9 * width


def test_a_picture_without_edges_has_no_line_drawing():
    assert draw_lines(np.full((80, 80, 3), 120, np.uint8)) is None


@pytest.mark.parametrize(("setting", "has_lines"), [("auto", True), ("always", True), ("never", False)])
def test_a_photograph_is_read_as_it_is_and_as_lines_unless_that_is_forbidden(photograph, setting, has_lines):
    image = read_query_image(photograph, QueryImageConfig(size_px=64), setting)

    assert image.pixels.shape == (64, 64)
    assert (image.lines is not None) == has_lines
    assert (AS_LINES in image.remarks) == has_lines
    if image.lines is not None:
        assert image.lines.shape == (64, 64) and image.lines.mean() > 180


def test_a_drawing_is_read_as_it_is_unless_the_step_is_forced(sheets):
    buffer = io.BytesIO()
    Image.fromarray(sheets[0]).save(buffer, "PNG")

    assert read_query_image(buffer.getvalue(), QueryImageConfig()).lines is None
    assert read_query_image(buffer.getvalue(), QueryImageConfig(), "always").lines is not None
    with pytest.raises(QueryError, match="photograph is 'often'; use one of auto, always, never"):
        read_query_image(buffer.getvalue(), QueryImageConfig(), "often")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK"])
def test_every_mode_of_pillow_can_be_drawn_in_lines(mode):
    ball = Image.fromarray(_ball())
    if mode == "I;16":
        image = Image.fromarray(np.asarray(ball.convert("L")).astype(np.uint16) * 257)
    else:
        image = ball.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF")

    lines = read_query_image(buffer.getvalue(), QueryImageConfig(), "always").lines

    assert lines is not None and lines.min() < 100
