import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, TiffImagePlugin

from patentdata.errors import SheetError
from patentdata.views.sheets import is_inverted, read_sheet, to_png, turn, turn_box


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


def drawing(ink=0, paper=255, mode="L"):
    """A sheet of thin and thick lines, antialiased."""
    image = Image.new(mode, (300, 240), paper)
    pen = ImageDraw.Draw(image)
    pen.ellipse((60, 40, 240, 200), outline=ink, width=3)
    pen.line((20, 220, 280, 220), fill=ink, width=1)
    return image


def as_tiff(image, **options):
    stream = io.BytesIO()
    image.save(stream, "TIFF", **options)
    return stream.getvalue()


BLACK = np.asarray(drawing())


@pytest.mark.parametrize(
    "image",
    [
        drawing(160),
        drawing(215),
        drawing(240),
        drawing((255, 165, 0), (255, 255, 255), "RGB"),
        drawing((255, 255, 0), (255, 255, 255), "RGB"),
        drawing((190, 120, 110), (240, 225, 190), "RGB"),
        Image.fromarray(BLACK.astype(np.uint16) * 16),
    ],
    ids=["grey", "light grey", "hardly visible", "orange", "yellow", "yellowed paper", "12 of 16 bits"],
)
def test_light_and_coloured_lines_are_ink(image):
    assert np.array_equal(read_sheet(as_tiff(image), name="a.TIF"), np.where(BLACK < 128, 0, 255))


def test_light_lines_are_kept_next_to_black_ones_and_noise_is_not_ink():
    levels = np.asarray(drawing()).copy()
    levels[10:13, 20:280] = 190
    noise = np.random.default_rng(0).integers(-6, 1, levels.shape)
    page = read_sheet(as_tiff(Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8))), name="a.TIF")
    assert np.array_equal(page == 0, levels < 255)


def strip_of(data):
    with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:
        (start,), (size,) = image.tag_v2[273], image.tag_v2[279]
    return start, size


def damaged(start, stop, change):
    """A sheet in which the bytes between two shares of its strip are changed."""
    data = bytearray(as_tiff(drawing().convert("1"), compression="group4"))
    first, size = strip_of(bytes(data))
    part = slice(first + int(start * size), first + int(stop * size))
    data[part] = change(data[part])
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        damaged(0.6, 1.0, lambda part: bytes(len(part))),
        damaged(0.4, 0.5, lambda part: bytes(len(part))),
        damaged(0.2, 0.3, lambda part: bytes(255 - byte for byte in part)),
        damaged(0.3, 0.6, lambda part: part[::-1]),
    ],
    ids=["zeroed to the end", "zeroed in the middle", "inverted", "reversed"],
)
def test_a_damaged_strip_is_refused(data):
    with pytest.raises(SheetError, match=r"a\.TIF: damaged TIFF \(strip 1 of 1 is damaged or ends early\)"):
        read_sheet(data, name="a.TIF")


@pytest.mark.parametrize("strip_size", [38, 38 * 50, 10**6], ids=["a strip a row", "five strips", "one strip"])
@pytest.mark.parametrize("is_min_white", [False, True])
def test_sound_strips_of_any_height_are_read(strip_size, is_min_white):
    image = drawing().convert("1")
    data = as_tiff(image, compression="group4", strip_size=strip_size, tiffinfo={262: 0 if is_min_white else 1})
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    assert np.array_equal(read_sheet(data, name="a.TIF"), expected)


def test_a_strip_without_end_mark_is_sound():
    data = as_tiff(drawing().convert("1"), compression="group4")
    start, size = strip_of(data)
    bits = int.from_bytes(data[start : start + size], "big")
    num_zeros = (bits & -bits).bit_length() - 1
    bits = bits >> num_zeros + 24 << num_zeros + 24  # the end mark replaced by zeros, and these cut off
    shorter = bits.to_bytes(size, "big").rstrip(b"\0")
    changed = data[:start] + shorter + bytes(size - len(shorter)) + data[start + size :]
    counts = size.to_bytes(4, "little"), len(shorter).to_bytes(4, "little")
    at = changed.index((279).to_bytes(2, "little"), start + size) + 8
    assert changed[at : at + 4] == counts[0]
    page = read_sheet(changed[:at] + counts[1] + changed[at + 4 :], name="a.TIF")
    assert np.array_equal(page, BLACK)


def test_a_thumbnail_in_the_same_file_is_passed_over():
    sheet, thumbnail = drawing().convert("1"), Image.new("1", (60, 48), 1)
    for pages in ([sheet, thumbnail], [thumbnail, sheet]):
        stream = io.BytesIO()
        pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:], compression="group4")
        assert np.array_equal(read_sheet(stream.getvalue(), name="a.TIF"), BLACK)


def test_white_lines_on_black_are_inverted_and_a_black_picture_on_paper_is_not():
    assert is_inverted(255 - BLACK)
    picture = np.full((240, 300), 255, np.uint8)
    picture[20:-20, 20:-20] = 0
    picture[100:110, 100:110] = 255
    assert not is_inverted(picture)
    assert not is_inverted(BLACK)
    assert not is_inverted(np.zeros_like(BLACK))


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
