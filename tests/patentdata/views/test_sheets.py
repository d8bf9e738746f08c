import io

import numpy as np
import pytest
from PIL import Image

from patentdata.errors import SheetError
from patentdata.views.sheets import read_sheet, to_png, turn, turn_box


def page(height=40, width=30):
    drawn = np.full((height, width), 255, np.uint8)
    drawn[5:9, 7:20] = 0
    return drawn


def tiff(*pages, mode="1", **options):
    images = [Image.fromarray(drawn).convert(mode, dither=Image.Dither.NONE) for drawn in pages]
    stream = io.BytesIO()
    options = {"compression": "group4"} | options if mode == "1" else options
    images[0].save(stream, "TIFF", save_all=len(images) > 1, append_images=images[1:], **options)
    return stream.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
def test_a_sheet_of_any_mode_becomes_ink_and_paper(mode):
    assert np.array_equal(read_sheet(tiff(page(), mode=mode), name="a.TIF"), page())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"a\.TIF: no TIFF"),
        (b"<!DOCTYPE html><html></html>", r"a\.TIF: no TIFF \(it begins with b'<!DOCTYPE ht'\)"),
        (b"II*\x00\xff\xff\xff\xff", r"a\.TIF: damaged TIFF"),
        (tiff(page(400, 300))[:60], r"a\.TIF: damaged TIFF"),
        (tiff(page(), page()), r"a\.TIF: 2 pages in one TIFF; a sheet has one"),
    ],
)
def test_bytes_that_are_not_a_sheet_are_refused_with_the_reason(data, message):
    with pytest.raises(SheetError, match=message):
        read_sheet(data, name="a.TIF")


def test_the_size_is_checked_before_pixels_are_decoded():
    cut_short = tiff(page(2000, 2000), mode="L")[:200_000]
    with pytest.raises(SheetError, match=r"a\.TIF: damaged TIFF"):
        read_sheet(cut_short, name="a.TIF")
    with pytest.raises(SheetError, match=r"2000 × 2000 pixels; at most 1000 are read"):
        read_sheet(cut_short, name="a.TIF", max_pixels=1000)


@pytest.mark.parametrize("rotation_cw", [0, 90, 180, 270])
def test_a_box_turns_with_its_page(rotation_cw):
    turned = turn(page(), rotation_cw)
    x0, y0, x1, y1 = turn_box((7, 5, 20, 9), rotation_cw, page().shape)
    assert not turned[y0:y1, x0:x1].any()
    assert np.count_nonzero(turned == 0) == (x1 - x0) * (y1 - y0)


def test_a_png_is_lossless_and_the_same_every_time():
    assert to_png(page()) == to_png(page())
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(to_png(page()))).convert("L")), page())
