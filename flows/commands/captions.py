"""The command that captions views: captions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from flows.commands.option_groups import grouped
from flows.commands.options import CaptionOptions, ConfigFile, DataDir, Json, Workers, Years, walk_stage
from flows.commands.settings import build, read_toml
from flows.terminal import bars, output

app = typer.Typer()


@app.command()
@grouped
def captions(
    *,
    data_dir: DataDir,
    how: CaptionOptions,
    report: Annotated[
        Path | None,
        typer.Option(help="Instead: write an HTML page about the captions: quality measures, samples, pictures."),
    ] = None,
    week: Annotated[
        list[str] | None, typer.Option(help="With --report: a week such as I20210105; repeatable; default: all.")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="With --report: another data folder, the same views captioned by another prompt or model."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Instead: show how a server would be started for --model, and why.")
    ] = False,
    years: Years = "",
    workers: Workers = 0,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Caption every view of every week in a data folder, or show the captions on a page.

    What is captioned already is not asked again; if it was stopped, the same command resumes.

    Examples: `designclip captions -d data --model llava-hf/llava-1.5-13b-hf`,
    `designclip captions -d data --endpoint http://gpu-1:8000/v1 --endpoint http://gpu-2:8000/v1 --prompt impact`,
    `designclip captions -d data --report captions.html --compare data-impact`
    """
    if report is not None:
        return _write_page(data_dir, report, week or [], compare, as_json)
    if week or compare:
        raise typer.BadParameter("--week and --compare belong to --report; name the page to write")
    settings = how.settings(read_toml(config).get("weeks", {}).get("captions", {}))
    if plan:
        return _show_plan(settings, as_json)
    walk_stage("captions", data_dir, years, workers, as_json, settings={"captions": settings})


def _show_plan(settings: dict[str, Any], as_json: bool) -> None:
    """Show how the server of a model would be started. Raises ConfigError if no server would be."""
    import shlex

    from patentdata.captions.config import CaptionsConfig
    from patentdata.captions.vllm.plan import plan_server, this_machine
    from patentdata.captions.vllm.server import server_command

    captions_config = build(CaptionsConfig, settings)
    made = plan_server(captions_config, this_machine())
    assert captions_config.model is not None, "a plan has a model"
    command = shlex.join(server_command(captions_config.model, captions_config.revision, 8000, made.server))
    if as_json:
        output.show_json({"values": [dataclasses.asdict(value) for value in made.values], "command": command})
        return
    table = Table("setting", "value", "why", title=f"Server of {captions_config.model}", title_justify="left")
    for value in made.values:
        table.add_row(value.name, value.value, value.why)
    output.show_table(table)
    output.say(command)


def _write_page(data_dir: str, report: Path, weeks: list[str], compare: str | None, as_json: bool) -> None:
    from patentdata.captions.page import CaptionPageConfig, write_caption_report
    from patentdata.store.folder import DataFolder

    summary = write_caption_report(
        DataFolder(data_dir),
        weeks,
        report,
        config=CaptionPageConfig(),
        compare=None if compare is None else DataFolder(compare),
        progress=bars.counter("weeks read"),
    )
    if as_json:
        output.show_json(summary)
    else:
        num_captions, num_views = summary["num_captions"], summary["num_views"]
        output.say(
            f"{num_captions:,} captions for {num_views:,} views, {num_views - num_captions:,} without one: "
            f"open {report.resolve()}"
        )
