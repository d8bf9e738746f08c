"""The training images of a view: one of all its lines, and one of those that are claimed if some are not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patentdata.errors import SheetError
from patentdata.store.report import Report
from patentdata.views.square_images import TrainingImageConfig, place_training_image, square_within

VIEW_COLUMNS = ("view_id", "image", "claimed_image")
"""Columns of the views table that `Pictures.of` reads."""


@dataclass(frozen=True)
class Pictures:
    """The PNGs of a view at full resolution.

    Attributes:
        whole: All of its lines; None if the views table has no image.
        claimed: Its lines without the unclaimed ones; None if none is unclaimed.
    """

    whole: bytes | None
    claimed: bytes | None

    @classmethod
    def of(cls, view: Mapping[str, Any], row: Mapping[str, Any]) -> Pictures:
        """The pictures of a row of the views table, whose row in the dataset is `row`."""
        return cls(view["image"], view.get("claimed_image") if row["has_unclaimed_lines"] else None)


@dataclass(frozen=True)
class ImageColumns:
    """The image columns of a row, or why the view has no usable image.

    Attributes:
        columns: `image`, `claimed_image` and `claimed_box` of `schemas.DATASET`; empty for a view without an image.
        reason: Why there is none, as it is counted; empty if there is one.
        detail: More on the reason.
    """

    columns: Mapping[str, Any]
    reason: str = ""
    detail: str = ""


def image_columns(pictures: Pictures, config: TrainingImageConfig) -> ImageColumns:
    """Make the training images of a view.

    The image of the claimed lines is cropped to them, so that they fill its square whatever is around them. If no line
    is left, there is none.
    """
    try:
        whole = place_training_image(pictures.whole or b"", config)
        claimed = place_training_image(pictures.claimed, config) if pictures.claimed else None
    except SheetError as error:
        return ImageColumns({}, "unreadable_image", str(error))
    if whole is None:
        return ImageColumns({}, "no_ink")
    image, placement = whole
    if claimed is None:
        return ImageColumns({"image": image, "claimed_image": None, "claimed_box": None})
    claimed_image, claimed_placement = claimed
    box = square_within(claimed_placement, placement, config.size_px)
    return ImageColumns({"image": image, "claimed_image": claimed_image, "claimed_box": box})


def count_claimed(row: Mapping[str, Any], report: Report) -> None:
    """Count a row with unclaimed lines by whether it has claimed ones as well."""
    if row["has_unclaimed_lines"]:
        report.count("claimed_images" if row["claimed_image"] else "views_without_claimed_lines")
