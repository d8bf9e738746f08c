"""Stage grants: the patents of one kept archive as a table, one row a patent.

A patent whose document is missing or broken is dropped with a reason and the week continues; only a damaged archive
stops it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from typing import Any

from patentdata.archives import designs
from patentdata.archives.designs import read_grant_document
from patentdata.classes import canonical_patent_number
from patentdata.errors import ArchiveError, GrantParseError
from patentdata.grants import parsing
from patentdata.grants.config import GrantsConfig
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import Provenance, Rows, is_done, read_report, write_table
from patentdata.store.report import Report
from patentdata.store.weeks import in_groups, kept_path, kept_sha256, table_path

GRANTS_VERSION = 3  # raise it if equal documents give other rows

_LOG = logging.getLogger(__name__)
_NO_EXCLUSIONS = GrantsConfig()


def parse_archive(folder: DataFolder, week: str, config: GrantsConfig = _NO_EXCLUSIONS) -> Report:
    """Write the table of a week's patents, one row a patent of the kept archive, in order of patent number.

    A table that these bytes, these settings and this version would give again is left as it is.

    Returns:
        The report, with the tally "grants", the counts "sheets" and "figures", and one for each kind of repair.

    Raises:
        OutputError: The archive is not in the data folder, or it is damaged.
        GrantParseError: The week has patents, but none of them could be read.
        ConfigError: The file of excluded numbers cannot be read.
    """
    path = table_path(folder, "grants", week)
    excluded = config.excluded
    provenance = Provenance(
        stage="grants",
        version=GRANTS_VERSION,
        config=_settings_of_week(folder, week, excluded),
        inputs={"archive": kept_sha256(folder, week)},
    )
    if is_done(folder, path, provenance):
        _LOG.info("%s grants: skipped, its table is done already", week)
        return read_report(folder, path)
    _LOG.info("%s grants: parsing, since %s", week, _reason_to_parse(folder, path))
    report = Report("grants", week)
    report.tally("grants")  # so that it is in the report of a week without designs
    rows: Rows = []
    with folder.open(kept_path(folder, week)) as archive:
        for stem, read in designs.read_kept(archive):
            if row := _parse_member(stem, read, week, excluded, report):
                rows.append(row)
    _raise_if_all_broken(report, week)
    rows.sort(key=lambda row: (len(row["patent_number"]), row["patent_number"]))
    _drop_repeated(rows, report)
    report.count("sheets", sum(max(len(row["images"]) - 1, 0) for row in rows))
    report.count("figures", sum(len(row["figures"]) for row in rows))
    write_table(folder, path, schemas.GRANTS, in_groups(rows), provenance, report)
    return report


def _settings_of_week(folder: DataFolder, week: str, excluded: frozenset[str]) -> dict[str, Any]:
    """The settings that the table of a week depends on: the excluded numbers that its members are named for.

    The others are left out, so that a longer list does not make the tables of all other weeks stale.
    """
    if not excluded:
        return {}
    with folder.open(kept_path(folder, week)) as archive:
        of_week = excluded.intersection(_number_of_member(stem) or "" for stem, _ in designs.read_kept(archive))
    return {"exclude": sorted(of_week)} if of_week else {}


def _parse_member(
    stem: str, read: Callable[[], bytes], week: str, excluded: Container[str], report: Report
) -> dict[str, Any] | None:
    """The row of one member; None if it is dropped, with its reason in the report."""
    tally = report.tally("grants")
    tally.num_in += 1
    if _number_of_member(stem) in excluded:
        tally.drop("excluded", stem)
        return None
    try:
        file_name, xml = read_grant_document(read(), stem)
        row = parsing.parse_grant(xml, source_archive=week, source_member=f"{stem}/{file_name}", report=report)
    except (ArchiveError, GrantParseError) as error:
        tally.drop(_reason_of(error), stem, str(error))
        return None
    if row["patent_number"] in excluded:
        tally.drop("excluded", stem)
        return None
    tally.num_out += 1
    return row


def _number_of_member(stem: str) -> str | None:
    """The canonical patent number that a member is named for: "D907292" for "USD0907292-20210105"."""
    return canonical_patent_number(stem)


def _raise_if_all_broken(report: Report, week: str) -> None:
    """Raise GrantParseError if a week has patents but none could be read: a table of nothing would look done."""
    tally = report.tally("grants")
    broken = [drop for drop in tally.drops if drop.reason != "excluded"]
    if broken and not tally.num_out:
        raise GrantParseError(
            f"{week}: none of {tally.num_in} patents could be read ({tally.dropped}); the first was "
            f"{broken[0].subject}: {broken[0].detail or broken[0].reason}"
        )


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
