"""Stage grants: the patents of one kept archive as a table, one row a patent.

A patent whose document is missing or broken is dropped with a reason and the week continues; only a damaged archive
stops it.
"""

from __future__ import annotations

import logging

from patentdata.archives import designs
from patentdata.archives.designs import read_grant_document
from patentdata.errors import ArchiveError, GrantParseError
from patentdata.grants import parsing
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, Rows, is_done, read_report, write_table
from patentdata.store.report import Report
from patentdata.store.weeks import in_groups, kept_path, kept_sha256, table_path

GRANTS_VERSION = 1  # raise it if equal documents give other rows

_LOG = logging.getLogger(__name__)


def parse_archive(folder: DataFolder, week: str) -> Report:
    """Write the table of a week's patents, one row a patent of the kept archive, in order of patent number.

    A table that these bytes and this version would give again is left as it is.

    Returns:
        The report, with the tally "grants" and the counts "sheets" and "figures".

    Raises:
        OutputError: The archive is not in the data folder, or it is damaged.
    """
    path = table_path(folder, "grants", week)
    provenance = Provenance(stage="grants", version=GRANTS_VERSION, inputs={"archive": kept_sha256(folder, week)})
    if is_done(folder, path, provenance):
        _LOG.info("%s grants: skipped, its table is done already", week)
        return read_report(folder, path)
    _LOG.info("%s grants: parsing, since %s", week, _reason_to_parse(folder, path))
    report = Report("grants", week)
    tally = report.tally("grants")
    rows: Rows = []
    with folder.open(kept_path(folder, week)) as archive:
        for stem, read in designs.read_kept(archive):
            tally.num_in += 1
            try:
                file_name, xml = read_grant_document(read(), stem)
                rows.append(parsing.parse_grant(xml, source_archive=week, source_member=f"{stem}/{file_name}"))
                tally.num_out += 1
            except (ArchiveError, GrantParseError) as error:
                tally.drop(_reason_of(error), stem, str(error))
    rows.sort(key=lambda row: (len(row["patent_number"]), row["patent_number"]))
    _drop_repeated(rows, report)
    report.count("sheets", sum(max(len(row["images"]) - 1, 0) for row in rows))
    report.count("figures", sum(len(row["figures"]) for row in rows))
    write_table(folder, path, schemas.GRANTS, in_groups(rows), provenance, report)
    return report


def _reason_to_parse(folder: DataFolder, path: str) -> str:
    """Why a table that is not done is written, as the end of a sentence."""
    return "its table is damaged or of another archive or version" if folder.exists(path) else "it has no table"


def _reason_of(error: ArchiveError | GrantParseError) -> str:
    """The word by which a patent that did not become a row is counted."""
    return "broken_member" if isinstance(error, ArchiveError) else getattr(error, "reason", "broken_grant")


def _drop_repeated(rows: Rows, report: Report) -> None:
    """Keep the first of several documents with one patent number. `rows` are sorted by number and changed in place."""
    tally = report.tally("grants")
    for i in range(len(rows) - 1, 0, -1):
        if rows[i]["patent_number"] == rows[i - 1]["patent_number"]:
            tally.drop("repeated_number", rows[i]["source_member"])
            tally.num_out -= 1
            del rows[i]
