"""The stages of one week: each reads the folder before it and writes its own.

Every function here has the same manners: output that is there, whole, and made by the same code, settings and inputs is
left alone; anything else is built anew and appears whole or not at all; what came in and what became of it is the
returned report.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from patentdata import archives, grants, records, views
from patentdata.archives import ArchivesConfig
from patentdata.captions import journal, quality
from patentdata.captions.answers import TRANSIENT_REASONS
from patentdata.captions.captioner import Captioner
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.described import described
from patentdata.captions.identity import identity_of
from patentdata.catalog import WeeklyArchive, is_same_size, is_week
from patentdata.downloads import RemoteFile
from patentdata.errors import ArchiveError, ConfigError, GrantParseError, OutputError, SourceChangedError, SourceError
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

Progress = Callable[[int, int], None]  # done, in all

WEEKLY_STAGES = ("archives", "grants", "views", "captions")

_ARCHIVES_VERSION = 1
GRANTS_VERSION = 1
_CAPTIONS_VERSION = 2

_MAX_XML_BYTES = 64 << 20
_ROWS_A_GROUP = 256
_ROWS_A_PROGRESS = 16
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

    An archive on this machine is the one that was kept if its hash is; one on a server, if what the server states of it
    is: nothing is fetched to find that out.

    Raises:
        ArchiveError: Not an archive, or one cut short.
        SourceError: The source cannot be read.
        OutputError: The data folder cannot be written.
    """
    claim = Claim(stage="archives", version=_ARCHIVES_VERSION, config=plain(config.bounds))
    note = _whole_note(folder, archive.week)
    if note is not None and note["made"] == claim.to_dict() and _is_same_source(note, archive, config):
        return Report.from_dict(note["report"])
    try:
        return _keep(folder, archive, config, claim)
    except SourceChangedError:
        newer = archive.listed_anew()  # re-issued since it was listed
        if newer is None or newer == archive:
            raise
        return _keep(folder, newer, config, claim)


def _keep(folder: DataFolder, archive: WeeklyArchive, config: ArchivesConfig, claim: Claim) -> Report:
    """Read an archive, write its tar and its note."""
    tar_path = kept_path(folder, archive.week)
    report = Report("archives", archive.week)
    try:
        with archive.open(to_end=config.whole) as source, folder.writing(tar_path) as out:
            num_bytes = _size_of(source)
            is_sure = num_bytes is not None and is_same_size(num_bytes, archive.num_bytes)
            reading = archives.keep_designs(
                source,
                out,
                name=archive.file_name,
                config=config,
                report=report,
                hash_all=config.whole or archive.kind == "folder" or not is_sure,
            )
            if None not in (reading.sha256, archive.listed_sha256) and reading.sha256 != archive.listed_sha256:
                raise ArchiveError(f"{archive.file_name} has another hash than its source lists; fetch it again")
    except OSError as error:
        raise SourceError(f"cannot read {archive.url}: {error.strerror or error}") from error
    report.check()
    folder.write_json(
        folder.path("archives", f"{archive.week}.json"),
        {
            "made": claim.to_dict(),
            "source": archive.stated() | {"sha256": reading.sha256},
            "kept": {"num_bytes": folder.fs.size(tar_path), "sha256": folder.sha256(tar_path)},
            "complete": {
                "read_to": reading.ended_at,
                "num_bytes_read": reading.num_bytes,
                "num_bytes": num_bytes,
                "num_bytes_listed": archive.num_bytes,
                "numbers": reading.run.to_dict(),
            },
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
    folder: DataFolder,
    week: str,
    config: CaptionsConfig,
    *,
    endpoints: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Report:
    """Stage captions: one row a view, in the order of the views.

    A week that is captioned stays as it is, whatever became of single views, until the views or the settings change
    (or `retry_failed` asks for it). Captions made before, in this week's file or by a run that was killed, are taken
    over wherever they answer the same question about the same image.

    Args:
        folder: The data folder.
        week: "I20210105".
        config: Settings.
        endpoints: A server of this program's own, beside the ones that `config` names.
        progress: Hears the number of views done, and of views in all, now and then.

    Raises:
        OutputError: The grants or the views of the week are missing, damaged or stale.
        ConfigError: A model is to caption, and there is no endpoint.
        SourceError: No endpoint answers, or one serves another model; what is captioned so far is kept.
    """
    _require_done(folder, "views", week)
    if (report := _finished_captions(folder, week, config, endpoints)) is not None:
        return report
    if config.captioner == "described":
        return _write_captions(folder, week, described(config.described), progress)
    return _caption_by_model(folder, week, config, endpoints, progress)


def captions_are_done(folder: DataFolder, week: str, config: CaptionsConfig) -> bool:
    """Whether `caption_views` would leave the week as it is, so that no server need be started for it."""
    return (
        state_of(folder, "views", week)[0] == "done"
        and (config.captioner == "described" or config.model is not None or bool(config.endpoints))
        and _finished_captions(folder, week, config, ()) is not None
    )


def _caption_by_model(
    folder: DataFolder, week: str, config: CaptionsConfig, endpoints: tuple[str, ...], progress: Progress | None
) -> Report:
    from patentdata.captions.client import Seen, ask_served

    urls = (*config.endpoints, *endpoints)
    if not urls:
        raise ConfigError(f"no endpoint serves {config.model}; name one, such as http://localhost:8000/v1")
    with journal.holding_week(folder, week):
        kept_at = journal.journal_path(folder, week)
        report = _finished_captions(folder, week, config, endpoints)  # by the run that was waited for
        if report is None:
            model = identity_of(config, ask_served(config, urls), is_served_here=not config.endpoints)
            assert model is not None, "a served model has a name"
            with contextlib.closing(journal.Journal(kept_at)) as kept:
                captioner = Seen(config, model, urls, kept)
                _keep_finished(folder, week, captioner.settings, kept)
                report = _write_captions(folder, week, captioner, progress)
        kept_at.unlink(missing_ok=True)
        return report


def _finished_captions(
    folder: DataFolder, week: str, config: CaptionsConfig, endpoints: tuple[str, ...]
) -> Report | None:
    """The report of captions that are done by these settings; None where there is something to do."""
    path = table_path(folder, "captions", week)
    if not folder.exists(path):
        return None
    if config.captioner == "described":
        settings: Mapping[str, Any] = described(config.described).settings
    else:
        from patentdata.captions.client import ask_served, settings_of

        model = identity_of(config, is_served_here=not config.endpoints)
        if model is None:  # whatever is served
            model = identity_of(config, ask_served(config, (*config.endpoints, *endpoints)))
        assert model is not None, "a served model has a name"
        made = read_made(folder, path)
        if model.revision is None and made is not None:  # any revision will do
            model = dataclasses.replace(model, revision=made["config"].get("revision"))
        settings = settings_of(config, model)
    if not is_done(folder, path, _captions_claim(folder, week, settings)):
        return None
    report = read_report(folder, path)
    is_lacking = any(f"finish_{reason}" in report.counts for reason in TRANSIENT_REASONS)
    return None if config.retry_failed and is_lacking else report


def _captions_claim(folder: DataFolder, week: str, settings: Mapping[str, Any]) -> Claim:
    inputs = {stage: fingerprint(folder, table_path(folder, stage, week)) for stage in ("grants", "views")}
    return Claim(stage="captions", version=_CAPTIONS_VERSION, config=settings, inputs=inputs)


def _keep_finished(folder: DataFolder, week: str, settings: Mapping[str, Any], kept: journal.Journal) -> None:
    """Put captions of the week's present file into the journal, so that equal questions are not asked again."""
    path = table_path(folder, "captions", week)
    made = read_made(folder, path)
    if made is None or made["version"] != _CAPTIONS_VERSION or not is_intact(folder, path, made):
        return
    if any(made["config"].get(name) != settings[name] for name in ("captioner", "prompt", "model", "revision")):
        return
    with open_table(folder, path) as table:
        for batch in table.iter_batches(batch_size=_ROWS_A_GROUP):
            for row in batch.to_pylist():
                if row["finish_reason"] not in TRANSIENT_REASONS and row["cache_key"] not in kept:
                    kept.keep(row)


def _write_captions(folder: DataFolder, week: str, captioner: Captioner, progress: Progress | None) -> Report:
    claim = _captions_claim(folder, week, captioner.settings)
    report = Report("captions", week)
    with open_table(folder, table_path(folder, "grants", week)) as table:
        by_number = {row["patent_number"]: row for row in table.read(columns=_CAPTION_FIELDS).to_pylist()}
    with open_table(folder, table_path(folder, "views", week)) as table:
        rows = quality.measuring(_captions_of(table, by_number, captioner, report, progress), by_number, report)
        write_table(folder, table_path(folder, "captions", week), records.CAPTIONS, in_groups(rows), claim, report)
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
    table: Any, by_number: dict[str, Any], captioner: Captioner, report: Report, progress: Progress | None
) -> Iterator[dict[str, Any]]:
    """Rows of the captioner; a view without a caption has its row, and is counted as dropped by its reason."""
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

    for num_done, row in enumerate(captioner.caption(joined()), start=1):
        if row["text"] is None:
            tally.drop(row["finish_reason"], row["view_id"])
        else:
            tally.num_out += 1
        report.count(f"finish_{row['finish_reason']}")
        if progress and (num_done % _ROWS_A_PROGRESS == 0 or num_done == table.metadata.num_rows):
            progress(num_done, table.metadata.num_rows)
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


def _is_same_source(note: dict[str, Any], archive: WeeklyArchive, config: ArchivesConfig) -> bool:
    """Whether what was kept is of this very archive, or of a later issue of it, and read as far as is wanted now."""
    noted, complete = note["source"], note.get("complete")
    if archive.kind == "folder":
        stated = (archive.file_name, archive.revision, archive.num_bytes)
        is_same = (noted["file_name"], noted["revision"], noted["num_bytes"]) == stated
        return is_same and noted["sha256"] == archive.sha256()
    if noted["revision"] > archive.revision:  # a mirror behind the portal, or a listing that lost a row
        return True
    if None not in (noted["sha256"], archive.listed_sha256) and noted["sha256"] != archive.listed_sha256:
        return False
    was_cut = isinstance(complete, dict) and complete["read_to"] == "end of DESIGN"
    return archive.is_as_stated(noted) and not (config.whole and was_cut)


def _size_of(source: Any) -> int | None:
    """Size of an archive that is open, as its server states it."""
    if isinstance(source, RemoteFile):
        return source.num_bytes
    return source.seek(0, io.SEEK_END) - source.seek(0) if source.seekable() else None


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
