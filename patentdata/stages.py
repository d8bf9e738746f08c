"""The stages of one week: each reads the folder before it and writes its own.

Every function here has the same manners: output that is there, whole, and made by the same code, settings and inputs is
left alone; anything else is built anew and appears whole or not at all; what came in and what became of it is the
returned report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from patentdata import archives, grants, records, views
from patentdata.archives import ArchivesConfig
from patentdata.captions import quality
from patentdata.captions.captioner import Captioner
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.described import DescribedConfig, described
from patentdata.catalog import WeeklyArchive, is_week
from patentdata.errors import ArchiveError, GrantParseError, OutputError, SourceError
from patentdata.folder import DataFolder
from patentdata.parquet import (
    Claim,
    Rows,
    fingerprint,
    is_done,
    is_intact,
    open_table,
    plain,
    read_made,
    read_report,
    write_table,
)
from patentdata.report import Report
from patentdata.views import ViewsConfig

WEEKLY_STAGES = ("archives", "grants", "views", "captions")

_ARCHIVES_VERSION = 1
GRANTS_VERSION = 1
_CAPTIONS_VERSION = 1

_MAX_XML_BYTES = 64 << 20
_ROWS_A_GROUP = 256
_BYTES_A_GROUP = 64 << 20


def table_path(folder: DataFolder, stage: str, week: str) -> str:
    """Where the Parquet file of a stage and week lies."""
    return folder.path(stage, f"{week}.parquet")


def kept_path(folder: DataFolder, week: str) -> str:
    """Where the tar of a week's DESIGN members lies."""
    return folder.path("archives", f"{week}.tar")


def kept_weeks(folder: DataFolder) -> list[str]:
    """Weeks whose DESIGN members are in the data folder, in order of date."""
    return weeks_of(folder, "archives")


def weeks_of(folder: DataFolder, stage: str) -> list[str]:
    """Weeks that a stage has written, in order of date; files that are none of its own are passed over."""
    ending = ".json" if stage == "archives" else ".parquet"
    stems = (name.removesuffix(ending) for name in folder.names(stage) if name.endswith(ending))
    return [stem for stem in stems if is_week(stem)]


def keep_archive(folder: DataFolder, archive: WeeklyArchive, config: ArchivesConfig) -> Report:
    """Stage archives: keep the DESIGN members of one weekly archive as a tar, and note beside it where they are from.

    Raises:
        ArchiveError: Not an archive, or one cut short.
        SourceError: The source cannot be read.
        OutputError: The data folder cannot be written.
    """
    tar_path, note_path = kept_path(folder, archive.week), folder.path("archives", f"{archive.week}.json")
    claim = Claim(stage="archives", version=_ARCHIVES_VERSION, config=plain(config))
    note = _whole_note(folder, archive.week)
    if note is not None and note["made"] == claim.to_dict() and _is_same_source(note["source"], archive):
        return Report.from_dict(note["report"])
    report = Report("archives", archive.week)
    try:
        with archive.open() as source, folder.writing(tar_path) as out:
            sha256 = archives.keep_designs(source, out, name=archive.file_name, config=config, report=report)
    except OSError as error:
        raise SourceError(f"cannot read {archive.url}: {error.strerror or error}") from error
    report.check()
    folder.write_json(
        note_path,
        {
            "made": claim.to_dict(),
            "source": {
                "file_name": archive.file_name,
                "url": archive.url,
                "revision": archive.revision,
                "num_bytes": archive.num_bytes,
                "sha256": sha256,
            },
            "kept": {"num_bytes": folder.fs.size(tar_path), "sha256": folder.sha256(tar_path)},
            "complete": "read to the end mark of the archive",
            "report": report.to_dict(),
        },
    )
    return report


def parse_archive(folder: DataFolder, week: str) -> Report:
    """Stage grants: one row a patent of the kept archive, in order of number.

    Raises:
        OutputError: The archive is not in the data folder, or damaged.
    """
    path = table_path(folder, "grants", week)
    claim = Claim(stage="grants", version=GRANTS_VERSION, inputs={"archive": _kept_sha256(folder, week)})
    if is_done(folder, path, claim):
        return read_report(folder, path)
    report = Report("grants", week)
    tally = report.tally("grants")
    rows: Rows = []
    with folder.open(kept_path(folder, week)) as archive:
        for stem, read in archives.read_kept(archive):
            tally.num_in += 1
            try:
                file_name, xml = _grant_document(read())
                rows.append(grants.parse_grant(xml, source_archive=week, source_member=f"{stem}/{file_name}"))
                tally.num_out += 1
            except (ArchiveError, GrantParseError) as error:
                tally.drop(_reason_of(error), stem, str(error))
    rows.sort(key=lambda row: (len(row["patent_number"]), row["patent_number"]))
    _drop_repeated(rows, report)
    report.count("sheets", sum(max(len(row["images"]) - 1, 0) for row in rows))
    report.count("figures", sum(len(row["figures"]) for row in rows))
    write_table(folder, path, records.GRANTS, in_groups(rows), claim, report)
    return report


def split_archive(folder: DataFolder, week: str, config: ViewsConfig) -> Report:
    """Stage views: one row a figure, cut from its sheet and matched with the grant, in order of patent and sheet.

    Raises:
        OutputError: The archive or the grants of the week are missing, damaged or stale.
    """
    _require_done(folder, "grants", week)
    path = table_path(folder, "views", week)
    grants_path = table_path(folder, "grants", week)
    inputs = {"archive": _kept_sha256(folder, week), "grants": fingerprint(folder, grants_path)}
    claim = Claim(stage="views", version=views.VERSION, config=plain(config), inputs=inputs)
    if is_done(folder, path, claim):
        return read_report(folder, path)
    report = Report("views", week)
    with open_table(folder, grants_path) as table:
        rows = table.read().to_pylist()
    with folder.open(kept_path(folder, week)) as archive:
        members = dict(archives.read_kept(archive))
        batches = in_groups(_views_of(rows, members, config, report))
        write_table(folder, path, records.VIEWS, batches, claim, report)
    return report


def caption_views(
    folder: DataFolder, week: str, config: CaptionsConfig | DescribedConfig, *, endpoints: tuple[str, ...] = ()
) -> Report:
    """Stage captions: one row a view, in the order of the views.

    Raises:
        OutputError: The grants or the views of the week are missing, damaged or stale.
    """
    _require_done(folder, "views", week)
    captioner = described(config if isinstance(config, DescribedConfig) else config.described)
    path = table_path(folder, "captions", week)
    views_path, grants_path = (table_path(folder, stage, week) for stage in ("views", "grants"))
    inputs = {"grants": fingerprint(folder, grants_path), "views": fingerprint(folder, views_path)}
    settings = {"captioner": captioner.name, **captioner.settings}
    claim = Claim(stage="captions", version=_CAPTIONS_VERSION, config=settings, inputs=inputs)
    if is_done(folder, path, claim):
        return read_report(folder, path)
    report = Report("captions", week)
    with open_table(folder, grants_path) as table:
        by_number = {row["patent_number"]: row for row in table.read(columns=_CAPTION_FIELDS).to_pylist()}
    with open_table(folder, views_path) as table:
        rows = quality.measuring(_captions_of(table, by_number, captioner, report), by_number, report)
        write_table(folder, path, records.CAPTIONS, in_groups(rows), claim, report)
    return report


_CAPTION_FIELDS = ["patent_number", "title", "uspc", "uspc_class", "locarno_class", "claim", "figures"]


def state_of(folder: DataFolder, stage: str, week: str) -> tuple[str, Report | None]:
    """State of one stage's output: "done", "stale" (an input has changed since), "damaged" or "missing"; its report.

    Settings are not known here, so output made with other settings than the next run's is "done".
    """
    if stage == "archives":
        note = _whole_note(folder, week)
        if note is not None:
            return "done", Report.from_dict(note["report"])
        return ("damaged" if folder.exists(folder.path("archives", f"{week}.json")) else "missing"), None
    path = table_path(folder, stage, week)
    if not folder.exists(path):
        return "missing", None
    made = read_made(folder, path)
    if made is None or not is_intact(folder, path, made):
        return "damaged", None
    report = Report.from_dict(made["report"])
    try:
        inputs = {
            name: _kept_sha256(folder, week)
            if name == "archive"
            else fingerprint(folder, table_path(folder, name, week))
            for name in made["inputs"]
        }
    except OutputError:
        return "stale", report
    return ("done" if inputs == made["inputs"] else "stale"), report


def _require_done(folder: DataFolder, stage: str, week: str) -> None:
    state, _ = state_of(folder, stage, week)
    if state != "done":
        raise OutputError(f"{table_path(folder, stage, week)} is {state}; run again from the stage {stage}")


def _views_of(
    rows: Rows, members: dict[str, Callable[[], bytes]], config: ViewsConfig, report: Report
) -> Iterator[dict[str, Any]]:
    """Views of every grant in order; sheets of members that gave no grant are counted as dropped."""
    report.tally("sheets")
    report.tally("figures")
    for grant in rows:
        stem = grant["source_member"].partition("/")[0]
        drawings = _drawings(members.pop(stem)())
        yield from views.patent_views(grant, drawings, config=config, report=report)
    for stem, read in members.items():
        try:
            drawings = _drawings(read())
        except ArchiveError:
            drawings = {}
        for file_name in drawings or {stem: b""}:
            tally = report.tally("front_pages" if views.sheet_number(file_name) == 0 else "sheets")
            tally.num_in += 1
            tally.drop("no_grant", file_name)


def _captions_of(
    table: Any, by_number: dict[str, Any], captioner: Captioner, report: Report
) -> Iterator[dict[str, Any]]:
    tally = report.tally("views")
    columns = [name for name in records.VIEWS.names if name != "image" or captioner.needs_images]

    def joined() -> Iterator[dict[str, Any]]:
        for batch in table.iter_batches(batch_size=_ROWS_A_GROUP, columns=columns):
            for view in batch.to_pylist():
                tally.num_in += 1
                grant = by_number.get(view["patent_number"])
                if grant is None:
                    raise OutputError(f"{view['view_id']}: its grant is not in the week; rebuild the views")
                yield {**grant, **view}

    for row in captioner.caption(joined()):
        tally.num_out += 1
        report.count(f"finish_{row['finish_reason']}")
        yield row


def _whole_note(folder: DataFolder, week: str) -> dict[str, Any] | None:
    """The note beside a kept tar, if the tar is there and has the bytes that the note speaks of."""
    note = folder.read_json(folder.path("archives", f"{week}.json"))
    path = kept_path(folder, week)
    try:
        is_whole = folder.exists(path) and folder.sha256(path) == note["kept"]["sha256"]
        return note if is_whole and {"made", "source", "report"} <= note.keys() else None
    except (TypeError, KeyError, AttributeError):
        return None


def _kept_sha256(folder: DataFolder, week: str) -> str:
    note = _whole_note(folder, week)
    if note is None:
        raise OutputError(f"the kept archive of {week} is missing or damaged; run the archives stage with its source")
    return note["kept"]["sha256"]


def _is_same_source(noted: dict[str, Any], archive: WeeklyArchive) -> bool:
    stated = (archive.file_name, archive.revision, archive.num_bytes)
    if (noted["file_name"], noted["revision"], noted["num_bytes"]) != stated:
        return False
    return noted["sha256"] == archive.sha256()


def _grant_document(member: bytes) -> tuple[str, bytes]:
    documents = archives.unpack_member(member, ArchivesConfig(), endings=(".xml",))
    if len(documents) != 1:
        raise ArchiveError(f"{len(documents)} XML documents in the member, expected 1")
    ((name, xml),) = documents.items()
    if not xml or len(xml) > _MAX_XML_BYTES:
        raise ArchiveError(f"{name} cannot be unpacked or is beyond {_MAX_XML_BYTES >> 20} MiB")
    return name, xml


def _drawings(member: bytes) -> dict[str, bytes]:
    """Drawings of a member in order of their names. Raises ArchiveError."""
    return dict(sorted(archives.unpack_member(member, ArchivesConfig(), endings=(".tif", ".tiff")).items()))


def _reason_of(error: ArchiveError | GrantParseError) -> str:
    return "broken_member" if isinstance(error, ArchiveError) else getattr(error, "reason", "broken_grant")


def _drop_repeated(rows: Rows, report: Report) -> None:
    """Keep the first of several documents with one patent number; in place, `rows` sorted by number."""
    tally = report.tally("grants")
    for i in range(len(rows) - 1, 0, -1):
        if rows[i]["patent_number"] == rows[i - 1]["patent_number"]:
            tally.drop("repeated_number", rows[i]["source_member"])
            tally.num_out -= 1
            del rows[i]


def in_groups(rows: Any) -> Iterator[Rows]:
    """Rows in groups small enough to hold in memory: by number, and by the bytes of their images."""
    group: Rows = []
    num_bytes = 0
    for row in rows:
        group.append(row)
        num_bytes += len(row.get("image") or b"")
        if len(group) >= _ROWS_A_GROUP or num_bytes >= _BYTES_A_GROUP:
            yield group
            group, num_bytes = [], 0
    if group:
        yield group
