"""The interface of every captioner: views in, rows of `schemas.CAPTIONS` out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import pyarrow as pa

Row = dict[str, Any]

# What a captioner gets for each view: these columns of `schemas.VIEWS`, "image" if it needs images, "claimed_image" if
# it shows the claimed lines alone and the view has others, and these of `schemas.GRANTS`.
VIEW_COLUMNS = (
    "view_id",
    "patent_number",
    "figure_label",
    "viewpoint",
    "viewpoint_direction",
    "description",
    "image_sha256",
    "is_front_page",
)
GRANT_COLUMNS = ("title", "uspc_class", "locarno_class", "claim", "other_paragraphs", "claim_scope")


class Captioner(Protocol):
    """Turns views into caption rows.

    Attributes:
        name: The value of the column "captioner".
        settings: Everything that changes a caption, as JSON values; part of the provenance of the written table.
        needs_images: Whether the views must have the column "image".
        lines: Which lines of a view are shown: "all", or "claimed" without what the grant does not claim.
        other_fields: Type of the column "fields"; None if the rows do not have that column.
    """

    name: str
    needs_images: bool

    @property
    def lines(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, Any]: ...

    @property
    def other_fields(self) -> pa.StructType | None: ...

    def caption(self, views: Iterable[Row]) -> Iterator[Row]:
        """One row of `schemas.CAPTIONS` for each view, in the order of the views.

        Args:
            views: Rows with `VIEW_COLUMNS` and `GRANT_COLUMNS` (and "image", a PNG, if `needs_images`), consumed only
                as far ahead as work can be kept in flight.

        Yields:
            Rows whose "text" is the caption, or None with the reason in "finish_reason". No single view raises.
        """
        ...


def cache_key(
    image_sha256: str,
    prompt_text: str,
    *,
    model: str | None,
    revision: str | None = None,
    sampling: Mapping[str, Any],
) -> str:
    """The key of an answer: SHA-256 over all it depends on, image, prompt text, model, revision and sampling."""
    parts = json.dumps([image_sha256, prompt_text, model, revision, dict(sampling)], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()
