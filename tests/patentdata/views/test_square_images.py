"""Training images from views."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patentdata.errors import ConfigError, SheetError
from patentdata.views.square_images import TrainingImageConfig, fit_square, training_image

CONFIG = TrainingImageConfig()


def png(page):
    return cv2.imencode(".png", page)[1].tobytes()


def bilevel_png(page):
    return cv2.imencode(".png", page, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes()


def drawing(height=1900, width=1300):
    """A tall box of 3 px lines, surrounded by paper."""
    page = np.full((height, width), 255, np.uint8)
    cv2.rectangle(page, (width // 4, height // 10), (width * 3 // 4, height * 9 // 10), 0, 3)
    cv2.line(page, (width // 4, height // 10), (width * 3 // 4, height * 9 // 10), 0, 3)
    return page


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)


def ink_box(square):
    return cv2.boundingRect((square < 230).astype(np.uint8))


def test_a_training_image_is_a_square_8_bit_grey_jpeg():
    jpeg = training_image(png(drawing()), CONFIG)
    assert jpeg[:3] == b"\xff\xd8\xff"
    assert decoded(jpeg).shape == (256, 256) and decoded(jpeg).dtype == np.uint8


def test_the_drawing_fills_the_square_up_to_the_margin_undistorted_and_centred():
    left, top, width, height = ink_box(decoded(training_image(png(drawing()), CONFIG)))
    assert height == pytest.approx(256 * 0.94, abs=3)
    assert width / height == pytest.approx(650 / 1520, abs=0.02)
    assert left == pytest.approx((256 - width) / 2, abs=2) and top == pytest.approx(256 * 0.03, abs=2)


def test_thin_lines_become_grey_and_none_is_lost():
    page = np.full((2000, 2000), 255, np.uint8)
    page[::20, :] = 0  # 1 px lines, which nearest-neighbour resizing would either keep or lose entirely
    page[:, :2] = page[:, -2:] = 0
    square = decoded(training_image(bilevel_png(page), TrainingImageConfig(margin_share=0, size_px=200)))
    assert square[:, 50:150].mean() == pytest.approx(255 * 0.95, abs=3)  # one row in twenty is ink
    assert (square[:, 100] < 245).sum() == 100  # every line left a trace


def test_a_bilevel_png_gives_the_same_image_as_a_grey_or_coloured_one():
    page = drawing()
    coloured = cv2.cvtColor(page, cv2.COLOR_GRAY2BGR)
    jpegs = {training_image(made, CONFIG) for made in (png(page), bilevel_png(page), png(coloured))}
    assert len(jpegs) == 1


def test_the_same_view_gives_the_same_bytes():
    assert training_image(png(drawing()), CONFIG) == training_image(png(drawing()), CONFIG)


def test_a_tiny_view_is_enlarged_by_no_more_than_the_limit():
    page = np.full((200, 200), 255, np.uint8)
    page[90:110, 80:120] = 0
    for limit, width in ((1.0, 40), (2.0, 80)):
        square = decoded(training_image(png(page), TrainingImageConfig(max_enlargement=limit)))
        assert ink_box(square)[2] == pytest.approx(width, abs=3)


def test_an_edge_view_of_a_few_pixels_keeps_its_ink():
    page = np.full((40, 2000), 255, np.uint8)
    page[20:22, 10:1990] = 0
    assert decoded(training_image(png(page), CONFIG)).min() < 150


def test_a_view_without_ink_gives_none():
    assert training_image(png(np.full((100, 100), 255, np.uint8)), CONFIG) is None
    assert training_image(png(np.full((100, 100), 252, np.uint8)), CONFIG) is None


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b"", "no PNG"),
        (b"\xff\xd8\xff\xe0" * 20, "no PNG"),
        (png(drawing())[:40], "cannot be decoded"),
        (png(drawing())[:-200], "cannot be decoded"),
        (png(drawing())[:16] + (60000).to_bytes(4, "big") * 2 + png(drawing())[24:], "60000 × 60000 px; at most"),
        (png(drawing())[:16] + bytes(8) + png(drawing())[24:], "0 × 0 px"),
    ],
)
def test_a_damaged_image_is_refused_with_the_reason(damaged, message):
    with pytest.raises(SheetError, match=message):
        training_image(damaged, CONFIG)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(16, 300), st.floats(0, 0.4))
@settings(max_examples=100, deadline=None)
def test_every_shape_fits_every_square(height, width, size_px, margin_share):
    config = TrainingImageConfig(size_px=size_px, margin_share=margin_share)
    square = fit_square(np.zeros((height, width), np.uint8), config)
    assert square.shape == (size_px, size_px)
    assert square.min() < 255


@pytest.mark.parametrize(
    "changes", [{"size_px": 8}, {"margin_share": 0.5}, {"max_enlargement": 0.5}, {"jpeg_quality": 0}]
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match="choose"):
        TrainingImageConfig(**changes)


@pytest.mark.real
def test_squares_of_real_sheets_keep_their_ink(real_data):
    sheets = sorted((real_data / "sheets").rglob("*.[tT][iI][fF]*"))[::100]
    assert sheets
    for path in sheets:
        page = np.asarray(Image.open(path).convert("L"))
        left, top, width, height = cv2.boundingRect(255 - page)
        cut = page[top : top + height, left : left + width]
        square = fit_square(cut, TrainingImageConfig(margin_share=0))  # before JPEG, whose ringing adds some ink
        covered = (256 / max(width, height)) ** 2  # pixels of the square for each pixel of the sheet
        assert ink(square) == pytest.approx(ink(cut) * covered, rel=0.01)


def ink(page):
    """Sum of darkness over all pixels."""
    return (255 - page.astype(float)).sum()
