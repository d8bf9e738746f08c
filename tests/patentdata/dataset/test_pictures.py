"""The training images of a view, whole and claimed."""

import cv2
import numpy as np
import pytest

from patentdata.dataset.pictures import Pictures, count_claimed, image_columns
from patentdata.store.report import Report
from patentdata.views.square_images import TrainingImageConfig

CONFIG = TrainingImageConfig(size_px=128, jpeg_quality=100)
WHITE = 255


def page(*boxes, size=(400, 600)):
    """Outlines of boxes, x0, y0, x1, y1 in pixels, on white."""
    drawn = np.full(size, WHITE, np.uint8)
    for x0, y0, x1, y1 in boxes:
        cv2.rectangle(drawn, (x0, y0), (x1, y1), 0, 5)
    return cv2.imencode(".png", drawn)[1].tobytes()


def ink_of(jpeg):
    """(height, width) bool, True for ink."""
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE) < 128


HANDLE, CABINET = (430, 60, 530, 260), (50, 30, 570, 380)


def test_claimed_lines_fill_their_own_square_whatever_is_around_them():
    made = image_columns(Pictures(page(CABINET, HANDLE), page(HANDLE)), CONFIG).columns
    alone = image_columns(Pictures(page(HANDLE), None), CONFIG).columns
    assert made["claimed_image"] == alone["image"]
    assert alone["claimed_image"] is None and alone["claimed_box"] is None


def test_the_box_says_where_the_claimed_lines_are_in_the_whole_image():
    made = image_columns(Pictures(page(CABINET, HANDLE), page(HANDLE)), CONFIG).columns
    x0, y0, x1, y1 = np.multiply(made["claimed_box"], CONFIG.size_px)
    move = np.float32([[(x1 - x0) / CONFIG.size_px, 0, x0], [0, (y1 - y0) / CONFIG.size_px, y0]])
    claimed = (~ink_of(made["claimed_image"])).astype(np.uint8) * WHITE
    put_back = cv2.warpAffine(claimed, move, (CONFIG.size_px,) * 2, flags=cv2.INTER_AREA, borderValue=WHITE) < 128
    near_whole = cv2.dilate(ink_of(made["image"]).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert put_back.sum() > 50
    assert near_whole[put_back].all()
    assert put_back[:, : CONFIG.size_px // 2].sum() == 0  # the handle is on the right


@pytest.mark.parametrize(("claims_everything", "expected"), [(False, True), (None, False), (True, False)])
def test_only_views_with_unclaimed_lines_have_a_claimed_image(claims_everything, expected):
    row = {"has_unclaimed_lines": None if claims_everything is None else not claims_everything}
    pictures = Pictures.of({"image": page(CABINET), "claimed_image": page(HANDLE)}, row)
    assert (pictures.claimed is not None) == expected


def test_a_view_without_any_claimed_line_is_counted_and_keeps_its_image():
    made = image_columns(Pictures(page(CABINET), page()), CONFIG)
    report = Report("dataset")
    count_claimed({"has_unclaimed_lines": True, **made.columns}, report)
    assert made.reason == "" and made.columns["image"] and made.columns["claimed_image"] is None
    assert report.counts == {"views_without_claimed_lines": 1}


@pytest.mark.parametrize(
    ("whole", "claimed", "reason"),
    [(page(), None, "no_ink"), (None, None, "unreadable_image"), (page(CABINET), b"no png", "unreadable_image")],
)
def test_a_view_without_a_usable_image_has_a_reason(whole, claimed, reason):
    made = image_columns(Pictures(whole, claimed), CONFIG)
    assert (made.reason, dict(made.columns)) == (reason, {})
