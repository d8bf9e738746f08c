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
from flows.terminal.caption_quality import judge_table

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
        list[str] | None,
        typer.Option(help="With --report or --judge: a week such as I20210105; repeatable; default: all."),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="With --report: another data folder, the same views captioned by another prompt or model."),
    ] = None,
    drawn: Annotated[
        Path | None,
        typer.Option(help="With --report: folder of the weeks of specimens, to check captions against what was drawn."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Instead: show how a server would be started for --model, and why.")
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            help="Instead: ask this second model, from the pictures, whether a sample of the captions is true."
        ),
    ] = None,
    judge_endpoint: Annotated[
        list[str] | None,
        typer.Option(help="With --judge: running server of that model; repeatable; without it one is started."),
    ] = None,
    judge_samples: Annotated[
        int, typer.Option(help="With --judge: captions with something found in them, and as many others.")
    ] = 100,
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
        return _write_page(data_dir, report, week or [], compare, drawn, as_json)
    settings = how.settings(read_toml(config).get("weeks", {}).get("captions", {}))
    if judge is not None and compare is None:
        return _judge(data_dir, week or [], settings, judge, judge_endpoint or [], judge_samples, as_json)
    if week or compare or drawn:
        raise typer.BadParameter(
            "--week belongs to --report or --judge, and --compare and --drawn to --report; name one of them"
        )
    if plan:
        return _show_plan(settings, as_json)
    walk_stage("captions", data_dir, years, workers, as_json, settings={"captions": settings})


def _judge(
    data_dir: str,
    weeks: list[str],
    settings: dict[str, Any],
    model: str,
    endpoints: list[str],
    num_samples: int,
    as_json: bool,
) -> None:
    """Ask a second model about a sample of the captions, and show what it says next to what the detectors find."""
    from patentdata.captions.config import CaptionsConfig
    from patentdata.captions.faithfulness.judge import JudgeConfig, judge_captions
    from patentdata.captions.vllm.plan import plan_server, this_machine
    from patentdata.captions.vllm.server import serving
    from patentdata.store.folder import DataFolder
    from tasks.running.caption_runner import log_path

    # Of the settings of captions, only those of requests and server are the judge's as well.
    shared = {name: settings[name] for name in ("requests", "server") if name in settings}
    of_judge = {"captioner": "vllm", "model": model, "endpoints": endpoints, "prompt": "judge"}
    judge = build(CaptionsConfig, shared | of_judge)
    sample, folder = build(JudgeConfig, {"num_samples": num_samples}), DataFolder(data_dir)
    if endpoints:
        judgement = judge_captions(folder, weeks, judge, sample)
    else:
        planned = plan_server(judge, this_machine()).server
        with serving(model, judge.revision, planned, log_path=log_path(folder).with_name("judge.log")) as server:
            judgement = judge_captions(folder, weeks, judge, sample, endpoints=(server.url,))
    if as_json:
        output.show_json(judgement.to_dict())
    else:
        output.show_table(judge_table(judgement))


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


def _write_page(
    data_dir: str, report: Path, weeks: list[str], compare: str | None, drawn: Path | None, as_json: bool
) -> None:
    from patentdata.captions.faithfulness.drawing import read_drawn
    from patentdata.captions.page import CaptionPageConfig, write_caption_report
    from patentdata.store.folder import DataFolder

    summary = write_caption_report(
        DataFolder(data_dir),
        weeks,
        report,
        config=CaptionPageConfig(),
        compare=None if compare is None else DataFolder(compare),
        drawn=None if drawn is None else read_drawn(drawn),
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
