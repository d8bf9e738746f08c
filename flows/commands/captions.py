"""The command that captions views: captions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.option_groups import grouped
from flows.commands.options import CaptionOptions, ConfigFile, DataDir, Json, Workers, Years, walk_stage
from flows.commands.settings import read_toml
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
    from_file = read_toml(config).get("weeks", {}).get("captions", {})
    walk_stage("captions", data_dir, years, workers, as_json, settings={"captions": how.settings(from_file)})


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
