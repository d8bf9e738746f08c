"""IMPACT's own layout, written from the data folder: `{year}.csv`, and `{year}/USD…-YYYYMMDD/` with XML and TIFFs.

Code that reads IMPACT can read this layout too: the columns are IMPACT's twelve, spelled as IMPACT spells them (lists
as Python writes them). The values are corrected where IMPACT is wrong:

- `class` and `class_search` hold canonical symbols ("D2/840", not "D 2840"), and all further classes, not the first.
- `fig_desc` has one text a declared figure, matched by the figure's label, not the first paragraphs of the document.
- `no_figs` is the number of declared figures, or the number that the grant states if it declares none.
- `title` and `claim` keep the words inside inline markup; `inv_country` names the country of each inventor who has one.
- `file_names` are the drawings that are in the patent's folder.

    OUT/
      2021.csv
      2021/USD0907292-20210105/USD0907292-20210105.XML, …-D00000.TIF, …
      .weeks/I20210105.csv, .json     the week's rows, and their stamp: the inputs that they were made from

The folder of a patent appears complete or not at all, and so does the table of a year. A week is left as it is if its
stamp in `.weeks` names the present inputs and its files have the sizes that were written.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

from patentdata.archives import designs
from patentdata.archives.designs import ArchivesConfig
from patentdata.errors import ArchiveError, OutputError
from patentdata.store.folder import DataFolder
from patentdata.store.hashes import sha256_of
from patentdata.store.parquet import Provenance, fingerprint, open_table
from patentdata.store.report import Report
from patentdata.store.weeks import WEEKLY_STAGES, kept_path, state_of, table_path

_LOG = logging.getLogger(__name__)

VERSION = 1  # raise it if equal inputs give another layout

COLUMNS = (
    "title",
    "id",
    "claim",
    "date",
    "class",
    "class_search",
    "inv_country",
    "no_figs",
    "sheets",
    "file_names",
    "fig_desc",
    "caption",
)

_ENDINGS = (".xml", ".tif", ".tiff")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_STAMPS = ".weeks"
_WRITING = ".writing"
_GRANT_COLUMNS = [
    "patent_number",
    "title",
    "claim",
    "grant_date",
    "locarno_class",
    "locarno_further",
    "uspc",
    "uspc_further",
    "citations",
    "field_of_search",
    "inventor_countries",
    "num_figures",
    "num_sheets",
    "figures",
    "other_paragraphs",
    "images",
    "source_member",
]


# --- Rows -------------------------------------------------------------------------------------------------------------


def impact_row(grant: Mapping[str, Any], file_names: Iterable[str], caption: str | None) -> dict[str, str]:
    """One row of the table of a year, every value as the text that is in the file.

    Args:
        grant: A row of `schemas.GRANTS`.
        file_names: Drawings of the patent, in order.
        caption: Caption of the whole patent; None gives an empty field.
    """
    figures = [figure["text"] for figure in grant["figures"]]
    num_figures = len(figures) or grant["num_figures"]
    file_names = list(file_names)
    num_sheets = grant["num_sheets"]
    if num_sheets is None:
        num_sheets = max(len(file_names) - 1, 0)  # the front-page drawing is not a sheet
    return {
        "title": grant["title"],
        "id": impact_number(grant["patent_number"]),
        "claim": grant["claim"] or "",
        "date": f"{grant['grant_date']:%Y%m%d}",
        "class": ",".join(filter(None, (grant["uspc"], *grant["uspc_further"]))),
        "class_search": repr(classes_of(grant)),
        "inv_country": ",".join(grant["inventor_countries"]),
        "no_figs": "" if num_figures is None else str(num_figures),
        "sheets": str(num_sheets),
        "file_names": repr(file_names),
        "fig_desc": repr(figures),
        "caption": caption or "",
    }


def impact_number(patent_number: str) -> str:
    """The number of a patent as IMPACT prints it: "D0907292" for "D907292"."""
    return f"D{int(patent_number[1:]):07d}"


def classes_of(grant: Mapping[str, Any]) -> list[str]:
    """Every class that a grant names, in document order, with repeats: Locarno, national, cited, searched."""
    cited = (citation["uspc"] for citation in grant["citations"])
    own = (grant["locarno_class"], *grant["locarno_further"], grant["uspc"], *grant["uspc_further"])
    return [symbol for symbol in (*own, *cited, *grant["field_of_search"]) if symbol]


def caption_of(views: Iterable[Mapping[str, Any]], captions: Mapping[str, str]) -> str | None:
    """The caption of a patent: that of its front-page drawing, else of a perspective view, else of the first view.

    Args:
        views: The patent's views in order: `view_id`, `viewpoint`, `is_front_page`.
        captions: view_id → caption; views without one are skipped.
    """
    captioned = [view for view in views if captions.get(view["view_id"])]
    captioned.sort(key=lambda view: (not view["is_front_page"], view["viewpoint"] != "perspective"))
    return captions[captioned[0]["view_id"]] if captioned else None


# --- Weeks ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked_layout(out: Path) -> Iterator[None]:
    """Lock the folder of a layout for one run. Raises OutputError if it is locked already or cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(out / ".lock", timeout=0)
        lock.acquire()
    except filelock.Timeout:
        raise OutputError(f"another run is writing to {out}; wait for it to end, then run again") from None
    except OSError as error:
        raise OutputError(f"cannot write to {out}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def write_week(folder: DataFolder, week: str, out: Path) -> Report:
    """Write the folders of a week's patents, and its rows for the table of the year.

    A week that is complete and was made from the same inputs is left as it is.

    Args:
        folder: The data folder; all four weekly stages of the week are done.
        week: Name of the week, such as "I20210105".
        out: Folder of the layout, on this machine.

    Returns:
        A report of stage "impact" with the tallies "patents" (kept members) and "files".

    Raises:
        OutputError: A stage of the week is missing or damaged, or `out` cannot be written.
    """
    provenance = _provenance(folder, week)
    stamp = _read_stamp(out, week)
    if stamp is not None and stamp["made"] == provenance and _is_whole(out, week, stamp):
        _LOG.info("%s impact: skipped, its folders and rows are done already", week)
        return Report.from_dict(stamp["report"])
    _LOG.info("%s impact: writing, since %s", week, _reason_to_write(stamp, provenance))
    report = Report("impact", week)
    # The folders first, so that the stamp never names a folder that is not there.
    try:
        _clear_leftovers(out, week)
        names = _write_patents(folder, week, out, report)
        for outdated in set((stamp or {}).get("patents", ())) - set(names):
            shutil.rmtree(_patent_dir(out, week, outdated), ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write {error.filename or out}: {error.strerror or error}") from error
    layout = DataFolder(out)
    rows_path = _write_rows(layout, week, _rows(folder, week, names))
    report.check()
    # The stamp last: a run that is killed before it writes the week again.
    sizes = {stem: [len(files), sum(files.values())] for stem, files in sorted(names.items())}
    layout.write_json(
        layout.path(_STAMPS, f"{week}.json"),
        {"made": provenance, "rows_sha256": layout.sha256(rows_path), "patents": sizes, "report": report.to_dict()},
    )
    return report


def _reason_to_write(stamp: Mapping[str, Any] | None, provenance: Mapping[str, Any]) -> str:
    """Why a week is written, as the end of a sentence."""
    if stamp is None:
        return "it has no stamp that fits its rows"
    return "its inputs have changed" if stamp["made"] != provenance else "files of its patents are missing or damaged"


def _write_rows(layout: DataFolder, week: str, rows: Iterable[Mapping[str, str]]) -> str:
    """Write the rows of a week as CSV without a header, and return the path of the file."""
    path = layout.path(_STAMPS, f"{week}.csv")
    with layout.writing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        csv.DictWriter(text, COLUMNS).writerows(rows)
        text.flush()
        text.detach()
    return path


def write_year(year: int, weeks: Iterable[str], out: Path) -> Report:
    """Write the table of a year from the rows of its weeks, in order of date and number, unless it is right already.

    Args:
        year: The year, such as 2021.
        weeks: Weeks of the year that `write_week` has written.
        out: Folder of the layout, on this machine.

    Returns:
        A report of stage "impact" with the tally "rows".

    Raises:
        OutputError: The rows of a week are missing, or `out` cannot be written.
    """
    layout = DataFolder(out)
    report = Report("impact", str(year))
    tally = report.tally("rows")
    rows_sha256: dict[str, str] = {}
    for week in sorted(weeks):
        stamp = _read_stamp(out, week)
        if stamp is None:
            raise OutputError(f"the rows of {week} are missing in {out}; run rebuild with --layout impact again")
        rows_sha256[week] = stamp["rows_sha256"]
        tally.num_in += Report.from_dict(stamp["report"]).tally("patents").num_out
    tally.num_out = tally.num_in

    # The rows of the weeks decide the bytes of the table, so the stamp of the year is their hashes.
    path, stamp_path = layout.path(f"{year}.csv"), layout.path(_STAMPS, f"{year}.json")
    stamp = layout.read_json(stamp_path)
    provenance = {"version": VERSION, "weeks": rows_sha256}
    is_current = isinstance(stamp, dict) and stamp.get("made") == provenance and layout.exists(path)
    if is_current and layout.sha256(path) == stamp.get("sha256"):
        _LOG.info("%s.csv: skipped, it is done already", year)
        return report
    _LOG.info("%s.csv: writing the rows of %d weeks", year, len(rows_sha256))
    with layout.writing(path) as file:
        file.write((",".join(COLUMNS) + "\r\n").encode())
        for week in rows_sha256:
            with layout.open(layout.path(_STAMPS, f"{week}.csv")) as rows:
                shutil.copyfileobj(rows, file)
    layout.write_json(stamp_path, {"made": provenance, "sha256": layout.sha256(path)})
    return report


def _provenance(folder: DataFolder, week: str) -> dict[str, Any]:
    """What the folders and rows of a week are made from; OutputError if a stage of the week is not done."""
    states = {stage: state_of(folder, stage, week)[0] for stage in WEEKLY_STAGES}
    for stage, state in states.items():
        if state != "done":
            raise OutputError(f"{stage} of {week} is {state}; run rebuild again")
    inputs = {stage: fingerprint(folder, table_path(folder, stage, week)) for stage in WEEKLY_STAGES[1:]}
    inputs["archive"] = folder.sha256(kept_path(folder, week))
    return Provenance(stage="impact", version=VERSION, inputs=inputs).to_dict()


def _read_stamp(out: Path, week: str) -> dict[str, Any] | None:
    """The stamp of a week; None if it is missing, or if the rows are not the ones that it was written for."""
    layout = DataFolder(out)
    stamp = layout.read_json(layout.path(_STAMPS, f"{week}.json"))
    rows = layout.path(_STAMPS, f"{week}.csv")
    if not isinstance(stamp, dict) or not {"made", "rows_sha256", "patents", "report"} <= stamp.keys():
        return None
    return stamp if layout.exists(rows) and sha256_of(layout.fs, rows) == stamp["rows_sha256"] else None


def _is_whole(out: Path, week: str, stamp: Mapping[str, Any]) -> bool:
    """Whether every patent's folder holds as many files and bytes as were written to it."""
    for stem, (num_files, num_bytes) in stamp["patents"].items():
        try:
            with os.scandir(_patent_dir(out, week, stem)) as entries:
                sizes = [entry.stat().st_size for entry in entries]
        except OSError:
            return False
        if (len(sizes), sum(sizes)) != (num_files, num_bytes):
            return False
    return True


# --- Patents ----------------------------------------------------------------------------------------------------------


def _patent_dir(out: Path, week: str, stem: str) -> Path:
    """Folder of a patent in the layout."""
    return out / week[1:5] / stem.upper()


def _write_patents(folder: DataFolder, week: str, out: Path, report: Report) -> dict[str, dict[str, int]]:
    """Write the folder of every patent that has a grant, and return stem → file name → number of bytes."""
    patents = report.tally("patents")
    report.tally("files")
    wanted = {row["source_member"].partition("/")[0] for row in _table(folder, "grants", week, ["source_member"])}
    written: dict[str, dict[str, int]] = {}
    with folder.open(kept_path(folder, week)) as archive:
        for stem, read in designs.read_kept(archive):
            patents.num_in += 1
            if stem not in wanted:
                patents.drop("no_grant", stem)
                continue
            files = _files_of(stem, read(), report)
            target = _patent_dir(out, week, stem)
            if not _holds(target, files):
                _write_patent(target, files)
            written[stem] = {name: len(data) for name, data in files.items()}
            patents.num_out += 1
    return written


def _files_of(stem: str, member: bytes, report: Report) -> dict[str, bytes]:
    """XML and drawings of a member, by name and in order of name.

    Names in an archive are untrusted: a file whose name is not plain is dropped and counted.
    """
    tally = report.tally("files")
    try:
        unpacked = designs.unpack_member(member, ArchivesConfig(), endings=_ENDINGS)
    except ArchiveError as error:
        tally.num_in += 1
        tally.drop("broken_member", stem, str(error))
        return {}
    files: dict[str, bytes] = {}
    taken: set[str] = set()
    for name, data in sorted(unpacked.items()):
        tally.num_in += 1
        if not _PLAIN_NAME.fullmatch(name):
            tally.drop("odd_name", stem, ascii(name)[:200])
        elif name.lower() in taken:  # both would be one file on a file system that ignores case
            tally.drop("repeated_name", f"{stem}/{name}")
        elif not data:
            tally.drop("broken_file", f"{stem}/{name}")
        else:
            taken.add(name.lower())
            files[name] = data
            tally.num_out += 1
    return files


def _holds(target: Path, files: Mapping[str, bytes]) -> bool:
    """Whether a folder holds exactly these files, byte for byte."""
    try:
        if {entry.name for entry in target.iterdir()} != set(files):
            return False
        return all(
            (target / name).stat().st_size == len(data) and zlib.crc32((target / name).read_bytes()) == zlib.crc32(data)
            for name, data in files.items()
        )
    except OSError:
        return False


def _write_patent(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder under a temporary name, then rename it, so that it appears complete or not at all."""
    temporary = target.with_name(f".{target.name}{_WRITING}")
    temporary.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (temporary / name).write_bytes(data)
    if target.exists():
        shutil.rmtree(target)
    temporary.rename(target)


def _clear_leftovers(out: Path, week: str) -> None:
    """Remove the folders that a killed run left half-written."""
    for leftover in (out / week[1:5]).glob(f".*-{week[1:]}{_WRITING}"):
        shutil.rmtree(leftover)


def _rows(folder: DataFolder, week: str, names: Mapping[str, Mapping[str, int]]) -> Iterator[dict[str, str]]:
    """Rows of a week's patents in order of number; `names` is what `_write_patents` returns."""
    views, captions = captions_and_views(folder, week)
    for grant in read_grants(folder, week):
        files = names[grant["source_member"].partition("/")[0]]
        drawings = [name for name in files if not name.lower().endswith(".xml")]
        yield impact_row(grant, drawings, caption_of(views.get(grant["patent_number"], ()), captions))


def captions_and_views(folder: DataFolder, week: str) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """What `caption_of` needs of a week: patent number → its views, and view_id → caption."""
    views: dict[str, list[dict[str, Any]]] = {}
    for view in _table(folder, "views", week, ["view_id", "patent_number", "viewpoint", "is_front_page"]):
        views.setdefault(view["patent_number"], []).append(view)
    captions = _table(folder, "captions", week, ["view_id", "text"])
    return views, {row["view_id"]: row["text"] for row in captions if row["text"]}


def read_grants(folder: DataFolder, week: str) -> list[dict[str, Any]]:
    """Grants of a week, in order of number, with the columns that `impact_row` needs. Raises OutputError."""
    return _table(folder, "grants", week, _GRANT_COLUMNS)


def _table(folder: DataFolder, stage: str, week: str, columns: list[str]) -> list[dict[str, Any]]:
    """Some columns of the table of a stage and week, as rows."""
    with open_table(folder, table_path(folder, stage, week)) as table:
        return table.read(columns=columns).to_pylist()
