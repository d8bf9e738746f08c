"""A week of small drawn views in a data folder, for tests of the captions stage."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from patentdata.captions.config import CaptionsConfig, RequestsConfig, SamplingConfig
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, fingerprint, open_table, write_table
from patentdata.store.report import Report

WEEK = "I20240102"
DAY = datetime.date(2024, 1, 2)
ONE_TRY = SamplingConfig(retry_temperatures=())
REQUESTS = RequestsConfig(  # for a small endpoint of a test
    num_in_flight=8,
    timeout_s=20,
    connect_timeout_s=5,
    first_wait_s=0.02,
    longest_wait_s=0.1,
    max_outage_s=20,
    num_image_workers=1,
)


def vlm_config(*urls: str, requests: RequestsConfig = REQUESTS, **settings: Any) -> CaptionsConfig:
    """Settings of captions by a model behind these endpoints."""
    return CaptionsConfig(captioner="vllm", endpoints=urls, requests=requests, **settings)


def drawing(number: int) -> bytes:
    """A PNG that shows the bits of a number as bars, so that each number has another picture."""
    page = np.full((60, 80), 255, np.uint8)
    page[5:8, 5:75] = 0
    for bit in range(14):
        if number >> bit & 1:
            page[12:50, 6 + 5 * bit : 9 + 5 * bit] = 0
    return cv2.imencode(".png", page)[1].tobytes()


def write_views(
    folder: DataFolder,
    num_views: int,
    *,
    week: str = WEEK,
    image: Callable[[int], bytes] = drawing,
    title: str = "Chair",
    claimed: Callable[[int], bytes | None] = lambda _: None,
    claim_scope: Sequence[dict[str, Any]] = (),
) -> None:
    """Grants and views of one week, three views for each patent, as if the earlier stages had run.

    `claimed` draws the claimed lines of a view, by its number; None for views in which no line is broken.
    """
    numbers = [f"D{900_000 + i}" for i in range((num_views + 2) // 3)]
    grants = [
        dict.fromkeys(schemas.GRANTS.names)
        | {"patent_number": number, "title": title, "grant_date": DAY, "uspc_class": "D6", "figures": [], "images": []}
        | {"claim_scope": list(claim_scope)}
        for number in numbers
    ]
    views = []
    for i in range(num_views):
        png = image(i)
        views.append(
            dict.fromkeys(schemas.VIEWS.names)
            | {
                "view_id": f"{numbers[i // 3]}-{i % 3 + 1}",
                "patent_number": numbers[i // 3],
                "grant_date": DAY,
                "sheet_number": 1,
                "figure_label": str(i % 3 + 1),
                "viewpoint": "front",
                "description": f"FIG. {i % 3 + 1} is a front view thereof;",
                "image": png,
                "image_sha256": hashlib.sha256(png).hexdigest(),
                "claimed_image": claimed(i),
                "is_front_page": False,
                "score": 1.0,
            }
        )
    path = folder.path("grants", f"{week}.parquet")
    write_table(folder, path, schemas.GRANTS, [grants], Provenance(stage="grants", version=1), Report("grants", week))
    provenance = Provenance(stage="views", version=1, inputs={"grants": fingerprint(folder, path)})
    batches = [views[start : start + 64] for start in range(0, num_views, 64)]
    path = folder.path("views", f"{week}.parquet")
    write_table(folder, path, schemas.VIEWS, batches, provenance, Report("views", week))


def captions_of(folder: DataFolder, week: str = WEEK) -> list[dict[str, Any]]:
    """Rows of the week's captions."""
    with open_table(folder, folder.path("captions", f"{week}.parquet")) as table:
        return table.read().to_pylist()


def caption_bytes(folder: DataFolder, week: str = WEEK) -> bytes:
    """The bytes of the week's captions file."""
    return Path(folder.path("captions", f"{week}.parquet")).read_bytes()
