"""Stage captions: one row for each view of a week.

Captions by a model are by far the most expensive output of the data folder, so none is asked for twice. A week is done
if its file is intact and was made by this version with the same settings and inputs. Otherwise it is written again, but
finished captions, from its previous file or from the journal of an interrupted run, are reused if they answer the same
question about the same image.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from patentdata.captions import quality
from patentdata.captions.answers import UNANSWERED_REASONS
from patentdata.captions.captioner import GRANT_COLUMNS, VIEW_COLUMNS, Captioner, Row
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.described import TemplateCaptioner
from patentdata.captions.vllm import journal
from patentdata.captions.vllm.identity import identity_of
from patentdata.errors import ConfigError, OutputError, SheetError, SourceDownError
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import (
    Provenance,
    fingerprint,
    is_done,
    is_intact,
    open_table,
    read_provenance,
    read_report,
    write_table,
)
from patentdata.store.report import Report
from patentdata.store.weeks import ROWS_A_GROUP, Progress, in_groups, require_done, state_of, table_path
from patentdata.views.broken_lines.statements import are_claimed
from patentdata.views.square_images import decode_png, ink_box

_LOG = logging.getLogger(__name__)

_CAPTIONS_VERSION = 4
_REUSABLE_VERSIONS = (2, 3, 4)  # of files whose answers are reused, if they are still read the same
_ROWS_A_PROGRESS = 16  # captions between two reports of progress
_MIN_REFUSED = 8  # a week with fewer views may be refused by chance
_MAX_QUOTED = 200  # characters of an answer in a message


class _RefusedWeekError(SourceDownError):
    """A model that refuses to describe every view of a week, as one does that is not shown the pictures."""


def caption_views(
    folder: DataFolder,
    week: str,
    config: CaptionsConfig,
    *,
    endpoints: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Report:
    """Stage captions: one row for each view, in the order of the views.

    A captioned week stays as it is, even if single views have no caption, until the views or the settings change or
    `retry_failed` is set.

    Args:
        folder: The data folder.
        week: The week, such as "I20210105".
        config: Settings.
        endpoints: Addresses of a managed server, in addition to the endpoints of `config`.
        progress: Called from time to time with the number of views done and the number of all views.

    Returns:
        Tally of the views, counts of finish reasons and the counts of `quality`.

    Raises:
        OutputError: The grants or the views of the week are missing, damaged or stale.
        ConfigError: The captioner is a model, and there is no endpoint.
        SourceError: No endpoint answers, all reject every view, one serves another model, or the model refuses every
            view in its answers. Finished captions are kept, and the week stays unfinished.
    """
    require_done(folder, "views", week)
    if (report := _finished_captions(folder, week, config, endpoints)) is not None:
        _LOG.info("%s captions: skipped, the week is done", week)
        return report
    if config.captioner == "described":
        return _write_captions(folder, week, TemplateCaptioner(config.described), progress)
    return _caption_by_model(folder, week, config, endpoints, progress)


def captions_are_done(folder: DataFolder, week: str, config: CaptionsConfig) -> bool:
    """Whether `caption_views` would leave the week as it is, so that no server has to be started for it."""
    return (
        state_of(folder, "views", week)[0] == "done"
        and (config.captioner == "described" or config.model is not None or bool(config.endpoints))
        and _finished_captions(folder, week, config, ()) is not None
    )


def _caption_by_model(
    folder: DataFolder, week: str, config: CaptionsConfig, endpoints: tuple[str, ...], progress: Progress | None
) -> Report:
    """Caption the week by the model behind the endpoints; finished captions go to the week's journal at once."""
    from patentdata.captions.vllm.client import VlmCaptioner, ask_served

    urls = (*config.endpoints, *endpoints)
    if not urls:
        raise ConfigError(f"no endpoint serves {config.model}; name one, such as http://localhost:8000/v1")
    with journal.lock_week(folder, week):
        path = journal.journal_path(folder, week)
        # Another run may have finished the week while this one waited for the lock.
        report = _finished_captions(folder, week, config, endpoints)
        if report is None:
            model = identity_of(config, ask_served(config, urls), is_served_here=not config.endpoints)
            assert model is not None, "a served model has a name"
            try:
                with contextlib.closing(journal.Journal(path)) as kept:
                    if len(kept):
                        _LOG.info("%s captions: resumed, %d captions are in the journal", week, len(kept))
                    captioner = VlmCaptioner(config, model, urls, kept)
                    _keep_finished(folder, week, captioner.settings, kept)
                    report = _write_captions(folder, week, captioner, progress)
                    _LOG.info("%s captions: %d views were sent to a model", week, captioner.num_asked)
            except _RefusedWeekError:
                path.unlink(missing_ok=True)  # or the same answers would count again when the server is in order
                raise
        else:
            _LOG.info("%s captions: skipped, another run has finished the week", week)
        path.unlink(missing_ok=True)
        return report


def _finished_captions(
    folder: DataFolder, week: str, config: CaptionsConfig, endpoints: tuple[str, ...]
) -> Report | None:
    """The report of the week's captions if they are done with these settings; None if the stage has to run."""
    path = table_path(folder, "captions", week)
    if not folder.exists(path):
        return None
    if config.captioner == "described":
        settings = TemplateCaptioner(config.described).settings
    else:
        settings = _model_settings(folder, path, config, endpoints)
    if not is_done(folder, path, _provenance(folder, week, settings)):
        return None
    report = read_report(folder, path)
    num_failed = sum(report.counts.get(f"finish_{reason}", 0) for reason in UNANSWERED_REASONS)
    if config.retry_failed and num_failed:
        _LOG.info("%s captions: %d views without an answer are asked about again", week, num_failed)
        return None
    return report


def _model_settings(
    folder: DataFolder, path: str, config: CaptionsConfig, endpoints: tuple[str, ...]
) -> Mapping[str, Any]:
    """The settings that the captions in the file `path` must have been made with in order to be done."""
    from patentdata.captions.vllm.client import ask_served, settings_of

    model = identity_of(config, is_served_here=not config.endpoints)
    if model is None:  # the settings name no model, so whichever is served counts
        model = identity_of(config, ask_served(config, (*config.endpoints, *endpoints)))
    assert model is not None, "a served model has a name"
    made = read_provenance(folder, path)
    if model.revision is None and made is not None:  # no revision is asked for, so the one in the file will do
        model = dataclasses.replace(model, revision=made["config"].get("revision"))
    return settings_of(config, model)


def _provenance(folder: DataFolder, week: str, settings: Mapping[str, Any]) -> Provenance:
    inputs = {stage: fingerprint(folder, table_path(folder, stage, week)) for stage in ("grants", "views")}
    return Provenance(stage="captions", version=_CAPTIONS_VERSION, config=settings, inputs=inputs)


def _keep_finished(folder: DataFolder, week: str, settings: Mapping[str, Any], kept: journal.Journal) -> None:
    """Copy captions of the week's existing file into the journal, so that equal questions are not asked again."""
    path = table_path(folder, "captions", week)
    made = read_provenance(folder, path)
    if made is None or made["version"] not in _REUSABLE_VERSIONS or not is_intact(folder, path, made):
        return
    if any(made["config"].get(name) != settings[name] for name in ("captioner", "prompt", "model", "revision")):
        return
    _LOG.info("%s captions: written again, captions of the existing file are reused for equal questions", week)
    with open_table(folder, path) as table:
        for batch in table.iter_batches(batch_size=ROWS_A_GROUP):
            for row in batch.to_pylist():
                if row["finish_reason"] not in UNANSWERED_REASONS and row["cache_key"] not in kept:
                    kept.keep(row)


def _write_captions(folder: DataFolder, week: str, captioner: Captioner, progress: Progress | None) -> Report:
    """Caption every view of the week and write the table."""
    provenance = _provenance(folder, week, captioner.settings)
    report = Report("captions", week)
    with open_table(folder, table_path(folder, "grants", week)) as table:
        grants = {
            row["patent_number"]: row for row in table.read(columns=["patent_number", *GRANT_COLUMNS]).to_pylist()
        }
    with open_table(folder, table_path(folder, "views", week)) as table:
        captions = _captions_of(table, grants, captioner, report, progress)
        rows = quality.count_quality(captions, report)
        schema = schemas.captions_schema(captioner.other_fields)
        write_table(folder, table_path(folder, "captions", week), schema, in_groups(rows), provenance, report)
    tally = report.tally("views")
    if tally.num_in and not tally.num_out:
        _LOG.warning("%s; check the model", _no_caption(report))
    return report


def _no_caption(report: Report) -> str:
    """The sentence that no view of a week has a caption, with the reasons."""
    tally = report.tally("views")
    reasons = ", ".join(f"{num:,} {reason}" for reason, num in tally.dropped.items())
    return f"{report.name} captions: none of {tally.num_in} views has a caption ({reasons})"


def _captions_of(
    table: Any, grants: dict[str, Any], captioner: Captioner, report: Report, progress: Progress | None
) -> Iterator[tuple[Row, Row]]:
    """Rows of the captioner, each with its view, without the image.

    A view without a caption has a row too, and is counted as dropped with its reason.

    Raises:
        _RefusedWeekError: After the last row, if a model gave enough answers and refused in each of them.
    """
    tally = report.tally("views")
    shows_claimed = captioner.lines == "claimed"
    unused = set() if captioner.needs_images else {"image"}
    unused |= set() if shows_claimed else {"claimed_image"}
    columns = [name for name in schemas.VIEWS.names if name not in unused]
    asked: deque[Row] = deque()  # views whose caption is not finished
    num_refused, last_answer = 0, ""

    def views_with_grants() -> Iterator[Row]:
        for batch in table.iter_batches(batch_size=ROWS_A_GROUP, columns=columns):
            for view in batch.to_pylist():
                tally.num_in += 1
                grant = grants.get(view["patent_number"])
                if grant is None:
                    raise OutputError(f"{view['view_id']}: its grant is not in the week; rebuild the views")
                if shows_claimed and not _has_unclaimed_and_claimed_lines(view, grant):
                    view["claimed_image"] = None
                asked.append({**grant, **{name: view[name] for name in VIEW_COLUMNS}})
                yield {**grant, **view}

    for num_done, row in enumerate(captioner.caption(views_with_grants()), start=1):
        if row["text"] is None:
            tally.drop(row["finish_reason"], row["view_id"])
        else:
            tally.num_out += 1
        if row["finish_reason"] == "refused":
            num_refused, last_answer = num_refused + 1, row["answer"]
        report.count(f"finish_{row['finish_reason']}")
        if progress and (num_done % _ROWS_A_PROGRESS == 0 or num_done == table.metadata.num_rows):
            progress(num_done, table.metadata.num_rows)
        yield row, asked.popleft()
    if num_refused >= _MIN_REFUSED and num_refused == tally.num_in:
        quoted = " ".join(last_answer.split())[:_MAX_QUOTED]
        raise _RefusedWeekError(
            f'{_no_caption(report)}; the last answer was "{quoted}": '
            "check that the server shows its model the pictures and run again"
        )


def _has_unclaimed_and_claimed_lines(view: Row, grant: Row) -> bool:
    """Whether a view has an image of its claimed lines that is neither the whole view nor empty.

    A grant can claim what its broken lines show, such as stitching, and a figure can show surroundings alone.
    """
    claimed = view["claimed_image"]
    if claimed is None or are_claimed(grant.get("claim_scope"), view["figure_label"]):
        return False
    try:
        return ink_box(decode_png(claimed))[2] > 0
    except SheetError:
        return True  # whoever prepares the picture says what is wrong with it
