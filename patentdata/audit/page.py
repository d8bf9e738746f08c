"""The page of an audit: one self-contained HTML file with the pictures side by side, and a JSON file next to it.

Equal findings give equal bytes. The page shows the first entries of each list; the JSON file has all of them.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from patentdata.audit.contradictions import KINDS
from patentdata.audit.findings import AuditConfig, Features, Findings, NearPair, find_all, to_dict
from patentdata.audit.views import AuditedViews, read_views
from patentdata.errors import ConfigError
from patentdata.pages import page_environment
from patentdata.store.folder import DataFolder
from patentdata.store.weeks import Progress

_PICTURE_PX = 168
_JPEG_QUALITY = 80
_NEIGHBOURS_SHOWN = 4


def write_audit(
    folder: DataFolder,
    name: str,
    out: Path,
    *,
    config: AuditConfig,
    features: Features | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Audit a dataset, and write the page `out` and a JSON file of the same name next to it.

    Args:
        folder: The data folder.
        name: Name of the dataset.
        out: The HTML file; it appears complete or not at all.
        config: Settings.
        features: Image features under a model, by which neighbours are then told.
        progress: Called with the number of views judged and of all.

    Returns:
        Paths and counts, as the command prints them.

    Raises:
        ConfigError: `out` is a folder or would be its own JSON file.
        OutputError: There is no such dataset, it is damaged, or the files cannot be written.
    """
    if out.is_dir() or out.suffix == ".json":
        raise ConfigError(f"{out} cannot be the page; name an HTML file")
    views = read_views(folder, name)
    findings = find_all(views, config, features=features, progress=progress)
    counts = count(findings)
    target = DataFolder(out.resolve().parent)
    target.write_json(target.path(out.with_suffix(".json").name), {"counts": counts, **to_dict(views, findings)})
    with target.writing(target.path(out.name)) as file:
        file.write(_render(views, findings, counts, config).encode())
    return {"page": str(out), "json": str(out.with_suffix(".json")), "num_views": len(views.rows), **counts}


def count(findings: Findings) -> dict[str, int]:
    """Kind of finding → how many there are."""
    pairs = [pair for pair in findings.pairs if not pair.is_left_out]
    kinds = Counter(found.kind for found in findings.contradictions)
    return {
        "near_duplicates_across_splits": sum(pair.split != pair.other_split for pair in pairs),
        "near_duplicates_within_a_split": sum(
            pair.split == pair.other_split and not pair.is_same_family for pair in pairs
        ),
        "near_duplicates_within_a_family": sum(pair.is_same_family for pair in pairs),
        "near_duplicates_left_out": len(findings.pairs) - len(pairs),
        "near_duplicates_by_features": sum(pair.found_by == "features" for pair in pairs),
        "doubtful_classes": len(findings.doubtful),
        **{f"contradictions_{kind}": kinds[kind] for kind in KINDS},
    }


def _render(views: AuditedViews, findings: Findings, counts: Mapping[str, int], config: AuditConfig) -> str:
    index = {row["view_id"]: number for number, row in enumerate(views.rows)}
    lists = {title: pairs[: config.num_shown] for title, pairs in _pair_lists(findings.pairs).items()}
    doubtful = findings.doubtful[: config.num_shown]
    contradictions = {
        kind: [found for found in findings.contradictions if found.kind == kind][: config.num_shown] for kind in KINDS
    }
    shown = {view_id for pairs in lists.values() for pair in pairs for view_id in (pair.view_id, pair.other_view_id)}
    rows = {doubt.row for doubt in doubtful} | {found.row for of_kind in contradictions.values() for found in of_kind}
    rows |= {row for doubt in doubtful for row in doubt.neighbours[:_NEIGHBOURS_SHOWN]}
    shown |= {views.rows[row]["view_id"] for row in rows}
    pictures = {view_id: _picture(jpeg) for view_id, jpeg in views.images(shown).items()}
    return (
        page_environment(Path(__file__).parent)
        .get_template("page.html")
        .render(
            views=views,
            rows=views.rows,
            row_of={view_id: views.rows[number] for view_id, number in index.items() if view_id in shown},
            findings=findings,
            counts=counts,
            lists={title: pairs for title, pairs in lists.items() if pairs},
            sizes={title: len(pairs) for title, pairs in _pair_lists(findings.pairs).items()},
            doubtful=doubtful,
            contradictions=contradictions,
            kinds=KINDS,
            pictures=pictures,
            picture_px=_PICTURE_PX,
            num_neighbours=_NEIGHBOURS_SHOWN,
            config=config,
        )
    )


def _pair_lists(pairs: list[NearPair]) -> dict[str, list[NearPair]]:
    """Heading of a list → its pairs."""
    kept = [pair for pair in pairs if not pair.is_left_out]
    return {
        "Across splits": [pair for pair in kept if pair.split != pair.other_split],
        "Within a split": [pair for pair in kept if pair.split == pair.other_split and not pair.is_same_family],
        "Within a family": [pair for pair in kept if pair.is_same_family],
        "Left out of the dataset": [pair for pair in pairs if pair.is_left_out],
    }


def _picture(jpeg: bytes) -> str | None:
    """A training image as a small picture in a data: address; None if it cannot be read."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE) if jpeg else None
    if image is None:
        return None
    size = (_PICTURE_PX, _PICTURE_PX)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if max(image.shape) > _PICTURE_PX else image
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode("ascii")
