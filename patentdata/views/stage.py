"""Stage views: one row for each figure, cut from its sheet and matched with its grant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from patentdata.archives import designs
from patentdata.archives.designs import read_drawings
from patentdata.errors import ArchiveError
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import (
    Provenance,
    Rows,
    fingerprint,
    is_done,
    open_table,
    read_report,
    to_json_values,
    write_table,
)
from patentdata.store.report import Report
from patentdata.store.weeks import in_groups, kept_path, kept_sha256, require_done, table_path
from patentdata.views import patent_views
from patentdata.views.patent_views import ViewsConfig

_LOG = logging.getLogger(__name__)


def split_archive(folder: DataFolder, week: str, config: ViewsConfig) -> Report:
    """Write the views of a week: one row for each figure, in order of patent and sheet; nothing if they are done.

    Raises:
        OutputError: The archive or the grants of the week are missing, damaged or stale.
    """
    require_done(folder, "grants", week)
    path = table_path(folder, "views", week)
    grants_path = table_path(folder, "grants", week)
    inputs = {"archive": kept_sha256(folder, week), "grants": fingerprint(folder, grants_path)}
    provenance = Provenance(stage="views", version=patent_views.VERSION, config=to_json_values(config), inputs=inputs)
    if is_done(folder, path, provenance):
        _LOG.info("%s views: skipped, done with these inputs and settings", week)
        return read_report(folder, path)
    report = Report("views", week)
    with open_table(folder, grants_path) as table:
        rows = table.read().to_pylist()
    with folder.open(kept_path(folder, week)) as archive:
        members = dict(designs.read_kept(archive))
        batches = in_groups(_views_of(rows, members, config, report))
        write_table(folder, path, schemas.VIEWS, batches, provenance, report)
    return report


def _views_of(
    rows: Rows, members: dict[str, Callable[[], bytes]], config: ViewsConfig, report: Report
) -> Iterator[dict[str, Any]]:
    """Views of every grant in order; the sheets of members without a grant are dropped."""
    report.tally("sheets")  # so that both units are in the report of a week without grants
    report.tally("figures")
    for grant in rows:
        stem = grant["source_member"].partition("/")[0]
        drawings = read_drawings(members.pop(stem)())
        yield from patent_views.patent_views(grant, drawings, config=config, report=report)
    for stem, read in members.items():
        try:
            drawings = read_drawings(read())
        except ArchiveError:
            drawings = {}
        for file_name in drawings or {stem: b""}:
            tally = report.tally("front_pages" if patent_views.sheet_number(file_name) == 0 else "sheets")
            tally.num_in += 1
            tally.drop("no_grant", file_name)
