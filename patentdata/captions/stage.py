"""The stages of one week: each reads the folder before it and writes its own.

Every function here has the same manners: output that is there, whole, and made by the same code, settings and inputs is
left alone; anything else is built anew and appears whole or not at all; what came in and what became of it is the
returned report.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from patentdata.captions import quality
from patentdata.captions.answers import TRANSIENT_REASONS
from patentdata.captions.captioner import Captioner
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.described import TemplateCaptioner
from patentdata.captions.vllm import journal
from patentdata.captions.vllm.identity import identity_of
from patentdata.errors import ConfigError, OutputError
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

_CAPTIONS_VERSION = 2

_ROWS_A_PROGRESS = 16


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
    require_done(folder, "views", week)
    if (report := _finished_captions(folder, week, config, endpoints)) is not None:
        return report
    if config.captioner == "described":
        return _write_captions(folder, week, TemplateCaptioner(config.described), progress)
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
    from patentdata.captions.vllm.client import VlmCaptioner, ask_served

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
                captioner = VlmCaptioner(config, model, urls, kept)
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
        settings: Mapping[str, Any] = TemplateCaptioner(config.described).settings
    else:
        from patentdata.captions.vllm.client import ask_served, settings_of

        model = identity_of(config, is_served_here=not config.endpoints)
        if model is None:  # whatever is served
            model = identity_of(config, ask_served(config, (*config.endpoints, *endpoints)))
        assert model is not None, "a served model has a name"
        made = read_provenance(folder, path)
        if model.revision is None and made is not None:  # any revision will do
            model = dataclasses.replace(model, revision=made["config"].get("revision"))
        settings = settings_of(config, model)
    if not is_done(folder, path, _captions_claim(folder, week, settings)):
        return None
    report = read_report(folder, path)
    is_lacking = any(f"finish_{reason}" in report.counts for reason in TRANSIENT_REASONS)
    return None if config.retry_failed and is_lacking else report


def _captions_claim(folder: DataFolder, week: str, settings: Mapping[str, Any]) -> Provenance:
    inputs = {stage: fingerprint(folder, table_path(folder, stage, week)) for stage in ("grants", "views")}
    return Provenance(stage="captions", version=_CAPTIONS_VERSION, config=settings, inputs=inputs)


def _keep_finished(folder: DataFolder, week: str, settings: Mapping[str, Any], kept: journal.Journal) -> None:
    """Put captions of the week's present file into the journal, so that equal questions are not asked again."""
    path = table_path(folder, "captions", week)
    made = read_provenance(folder, path)
    if made is None or made["version"] != _CAPTIONS_VERSION or not is_intact(folder, path, made):
        return
    if any(made["config"].get(name) != settings[name] for name in ("captioner", "prompt", "model", "revision")):
        return
    with open_table(folder, path) as table:
        for batch in table.iter_batches(batch_size=ROWS_A_GROUP):
            for row in batch.to_pylist():
                if row["finish_reason"] not in TRANSIENT_REASONS and row["cache_key"] not in kept:
                    kept.keep(row)


def _write_captions(folder: DataFolder, week: str, captioner: Captioner, progress: Progress | None) -> Report:
    claim = _captions_claim(folder, week, captioner.settings)
    report = Report("captions", week)
    with open_table(folder, table_path(folder, "grants", week)) as table:
        by_number = {row["patent_number"]: row for row in table.read(columns=_CAPTION_FIELDS).to_pylist()}
    with open_table(folder, table_path(folder, "views", week)) as table:
        rows = quality.count_quality(_captions_of(table, by_number, captioner, report, progress), by_number, report)
        write_table(folder, table_path(folder, "captions", week), schemas.CAPTIONS, in_groups(rows), claim, report)
    return report


_CAPTION_FIELDS = ["patent_number", "title", "uspc", "uspc_class", "locarno_class", "claim", "figures"]


def _captions_of(
    table: Any, by_number: dict[str, Any], captioner: Captioner, report: Report, progress: Progress | None
) -> Iterator[dict[str, Any]]:
    """Rows of the captioner; a view without a caption has its row, and is counted as dropped by its reason."""
    tally = report.tally("views")
    columns = [name for name in schemas.VIEWS.names if name != "image" or captioner.needs_images]

    def joined() -> Iterator[dict[str, Any]]:
        for batch in table.iter_batches(batch_size=ROWS_A_GROUP, columns=columns):
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
