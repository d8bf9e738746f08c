"""Contact sheets: one page that shows a person how the sheets of some weeks were split, the doubtful ones first.

The page is made from the data folder alone: sheets from the kept archive, boxes and labels from the views, declared
figures from the grants, and what was left out from the report in the views' footer. It is a single HTML file without
external resources or scripts, so that it can be sent and archived; equal data gives equal bytes.
"""

from __future__ import annotations

import datetime
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from patentdata.archives import designs
from patentdata.archives.designs import ArchivesConfig
from patentdata.errors import ArchiveError, ConfigError, OutputError, SheetError
from patentdata.pages import page_environment, shortened
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.report import Report
from patentdata.store.weeks import Progress, kept_path, state_of, table_path, weeks_of
from patentdata.views.contact_sheets.cards import (
    FLAG_WORDS,
    SECTIONS,
    Card,
    ContactSheetsConfig,
    Missing,
    Sheet,
    make_card,
)
from patentdata.views.patent_views import sheet_number
from patentdata.views.sheets import PAPER, read_sheet, to_png
from patentdata.views.square_images import decode_png

_SECTION_TITLES = {"doubtful": "To check", "left_out": "Left out", "plain": "Not doubtful"}
_UNUSED = ("image", "image_sha256", "claimed_image", "grant_date")
_TABLE_COLUMNS = [name for name in schemas.VIEWS.names if name not in _UNUSED]


@dataclass
class Totals:
    """Counts of all weeks for the head of the page.

    Attributes:
        sheets: Section → number of sheets.
        shown: Section → number of sheets on the page.
        num_views: Number of views.
        num_flagged: Number of views with a flag.
        flags: Flag → number of views.
        missing: Declared figures that were not found.
    """

    sheets: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)
    num_views: int = 0
    num_flagged: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    missing: list[Missing] = field(default_factory=list)

    def add(self, sheet: Sheet, config: ContactSheetsConfig) -> None:
        """Count a sheet and its views."""
        self.sheets[sheet.section(config)] += 1
        self.num_views += len(sheet.views)
        for view in sheet.views:
            self.num_flagged += bool(view["flags"])
            self.flags.update(view["flags"])


def write_contact_sheets(
    folder: DataFolder,
    weeks: Sequence[str],
    out: Path,
    *,
    config: ContactSheetsConfig,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write one page of some weeks; only the sheets that it shows are kept in memory, without their images.

    Args:
        folder: The data folder.
        weeks: Weeks such as "I20210105"; if empty, every week that has views.
        out: The HTML file; it appears complete or not at all.
        config: Settings.
        progress: Called with the number of sheets drawn and of all to draw.

    Returns:
        The path and size of the page, its weeks, and the numbers of sheets, views and figures not found.

    Raises:
        ConfigError: There is no week to show, or `out` is a folder.
        OutputError: The views of a week are missing, damaged or stale, or `out` cannot be written.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; name an HTML file")
    weeks = sorted(set(weeks)) or weeks_of(folder, "views")
    if not weeks:
        raise ConfigError(f"{folder.url} holds no views; run the views stage first")
    # Count all sheets, but keep only the most doubtful ones, up to the limit.
    totals, reports, sheets = Totals(), [], list[Sheet]()
    for week in weeks:
        reports.append(_report(folder, week))
        sheets_of_week = list(_sheets(folder, week, reports[-1], totals))
        for sheet in sheets_of_week:
            totals.add(sheet, config)
        sheets = sorted(itertools.chain(sheets, sheets_of_week), key=lambda sheet: _rank(sheet, config))[: config.limit]
    totals.shown.update(sheet.section(config) for sheet in sheets)
    # The cards are drawn one by one while the page is written.
    target = DataFolder(out.resolve().parent)
    with target.writing(target.path(out.name)) as file:
        for part in _render(weeks, reports, totals, _cards(folder, sheets, config, progress), config):
            file.write(part.encode())
        num_bytes = file.tell()
    return {
        "page": str(out),
        "num_bytes": num_bytes,
        "weeks": list(weeks),
        "num_sheets": totals.sheets.total(),
        "num_doubtful": totals.sheets["doubtful"],
        "num_left_out": totals.sheets["left_out"],
        "num_shown": totals.shown.total(),
        "num_views": totals.num_views,
        "num_flagged": totals.num_flagged,
        "num_figures_not_found": len(totals.missing),
    }


def _rank(sheet: Sheet, config: ContactSheetsConfig) -> tuple[Any, ...]:
    """Sort key: doubtful sheets by score, lowest first, then those left out, then the rest, each by week and patent."""
    section, number = sheet.section(config), sheet.patent_number
    score = sheet.lowest_score if section == "doubtful" else 0.0
    file_name = sheet.drop.subject if sheet.drop else ""
    return SECTIONS.index(section), score, sheet.week, len(number), number, sheet.number, file_name


def _report(folder: DataFolder, week: str) -> Report:
    """The report of a week's views; raises OutputError if they are not done."""
    state, report = state_of(folder, "views", week)
    if state != "done" or report is None:
        raise OutputError(f"the views of {week} are {state}; run the views stage on {folder.url} first")
    return report


def _sheets(folder: DataFolder, week: str, report: Report, totals: Totals) -> Iterator[Sheet]:
    """Every sheet of a week once: those with views, in the order of the table, then those left out.

    Figures that were not found are added to `totals`.
    """
    with open_table(folder, table_path(folder, "grants", week)) as table:
        columns = ["patent_number", "title", "figures", "source_member"]
        grants = {row["patent_number"]: row for row in table.read(columns=columns).to_pylist()}
    missing = _missing_figures(grants, report)
    totals.missing.extend(itertools.chain.from_iterable(missing.values()))
    with open_table(folder, table_path(folder, "views", week)) as table:
        rows = itertools.chain.from_iterable(batch.to_pylist() for batch in table.iter_batches(columns=_TABLE_COLUMNS))
        for number, views in itertools.groupby(rows, key=lambda row: row["patent_number"]):
            yield from _sheets_with_views(week, grants[number], list(views), missing.get(number, []))
    grant_of_member = {_member_of(grant): grant for grant in grants.values()}
    for unit in ("front_pages", "sheets"):
        for drop in report.tallies[unit].drops if unit in report.tallies else ():
            member = drop.subject.rpartition("-")[0]
            grant = grant_of_member.get(member, {"patent_number": member or drop.subject, "title": ""})
            yield Sheet(
                week=week,
                patent_number=grant["patent_number"],
                title=grant["title"],
                number=sheet_number(drop.subject) or 0,
                member=member,
                drop=drop,
            )


def _sheets_with_views(
    week: str, grant: Mapping[str, Any], views: list[dict[str, Any]], missing: list[Missing]
) -> Iterator[Sheet]:
    """The sheets of one patent that have views; each missing figure is put on the sheets of its neighbours."""
    sheets_of = _sheets_of_missing(missing, [figure["label"] for figure in grant["figures"]], views)
    for number, on_sheet in itertools.groupby(views, key=lambda view: view["sheet_number"]):
        yield Sheet(
            week=week,
            patent_number=grant["patent_number"],
            title=grant["title"],
            number=number,
            member=_member_of(grant),
            views=tuple(on_sheet),
            missing=tuple(figure for figure in missing if number in sheets_of[figure.label]),
        )


def _member_of(grant: Mapping[str, Any]) -> str:
    """Member of the kept archive that a grant was read from."""
    return grant["source_member"].partition("/")[0]


def _missing_figures(grants: Mapping[str, Mapping[str, Any]], report: Report) -> dict[str, list[Missing]]:
    """Patent number → its declared figures that were not found, with the sentence of the grant."""
    missing: dict[str, list[Missing]] = {}
    for drop in report.tallies["figures"].drops if "figures" in report.tallies else ():
        number, _, label = drop.subject.partition(" FIG. ")
        figures = grants[number]["figures"] if number in grants else []
        text = next((figure["text"] for figure in figures if figure["label"] == label), None)
        missing.setdefault(number, []).append(Missing(number, label, text or drop.detail))
    return missing


def _sheets_of_missing(
    missing: Iterable[Missing], declared: Sequence[str], views: Iterable[Mapping[str, Any]]
) -> dict[str, set[int]]:
    """Label of each missing figure → the sheets of the figures declared just before and just after it.

    >>> views = [{"figure_label": "1", "sheet_number": 1}, {"figure_label": "4", "sheet_number": 3}]
    >>> _sheets_of_missing([Missing("D1", "2", "")], ["1", "2", "3", "4"], views)
    {'2': {1, 3}}
    """
    sheet_of = {view["figure_label"]: view["sheet_number"] for view in views if view["figure_label"] is not None}
    sheets: dict[str, set[int]] = {}
    for figure in missing:
        index = declared.index(figure.label) if figure.label in declared else len(declared)
        before = next((sheet_of[label] for label in reversed(declared[:index]) if label in sheet_of), None)
        after = next((sheet_of[label] for label in declared[index + 1 :] if label in sheet_of), None)
        sheets[figure.label] = {sheet for sheet in (before, after) if sheet is not None}
        if not sheets[figure.label]:  # no figure of the patent has a label: use its first sheet
            sheets[figure.label] = {min((view["sheet_number"] for view in views if view["sheet_number"]), default=0)}
    return sheets


def _cards(
    folder: DataFolder,
    sheets: Sequence[Sheet],
    config: ContactSheetsConfig,
    progress: Progress | None,
) -> Iterator[Card]:
    """Cards one by one, each read from its archive when it is needed."""
    broken = _broken_lines(folder, sheets)
    for num_done, (sheet, drawing) in enumerate(_drawings(folder, sheets), 1):
        page, trouble = None, ""
        if drawing is None:
            trouble = "The drawing is not in the archive."
        else:
            try:
                page = read_sheet(drawing, name=sheet.name)
            except SheetError as error:
                trouble = f"The drawing cannot be read: {shortened(str(error))}"
        if progress is not None:
            progress(num_done, len(sheets))
        masks = {
            view["view_id"]: decode_png(broken[sheet.week, view["view_id"]]) == 0
            for view in sheet.views
            if (sheet.week, view["view_id"]) in broken
        }
        yield make_card(sheet, page, trouble, config, masks)


def _broken_lines(folder: DataFolder, sheets: Sequence[Sheet]) -> dict[tuple[str, str], bytes]:
    """Week and `view_id` → PNG of the broken lines of the view, for the views on `sheets` that have any."""
    wanted: dict[str, set[str]] = {}
    for sheet in sheets:
        wanted.setdefault(sheet.week, set()).update(view["view_id"] for view in sheet.views if view["broken_share"])
    pictures: dict[tuple[str, str], bytes] = {}
    for week, names in wanted.items():
        with open_table(folder, table_path(folder, "views", week)) as table:
            for batch in table.iter_batches(batch_size=64, columns=["view_id", "image", "claimed_image"]):
                for row in batch.to_pylist():
                    if row["view_id"] in names and row["claimed_image"]:
                        claimed = decode_png(row["claimed_image"])
                        ink = np.where(claimed != 0, decode_png(row["image"]), PAPER).astype(np.uint8)
                        pictures[week, row["view_id"]] = to_png(ink, level=1)
    return pictures


def _drawings(folder: DataFolder, sheets: Sequence[Sheet]) -> Iterator[tuple[Sheet, bytes | None]]:
    """Each sheet with the bytes of its TIFF, None if the archive lacks it; one member is in memory at a time."""
    for week, sheets_of_week in itertools.groupby(sheets, key=lambda sheet: sheet.week):
        with folder.open(kept_path(folder, week)) as archive:
            members = dict(designs.read_kept(archive))
            for member, sheets_of_member in itertools.groupby(sheets_of_week, key=lambda sheet: sheet.member):
                drawings = _drawings_of(members.get(member))
                for sheet in sheets_of_member:
                    yield sheet, drawings.get(sheet.drop.subject if sheet.drop else sheet.number)


def _drawings_of(read: Callable[[], bytes] | None) -> dict[str | int, bytes]:
    """Drawings of a member by file name and by sheet number, numbered as in stage views."""
    if read is None:
        return {}
    try:
        files = designs.unpack_member(read(), ArchivesConfig())
    except ArchiveError:
        return {}
    drawings: dict[str | int, bytes] = {}
    names = sorted(name for name in files if name.upper().endswith((".TIF", ".TIFF")))
    for index, name in enumerate(names):
        number = sheet_number(name)
        drawings[name] = files[name]
        drawings[index if number is None else number] = files[name]
    return drawings


def _render(
    weeks: Sequence[str],
    reports: Sequence[Report],
    totals: Totals,
    cards: Iterator[Card],
    config: ContactSheetsConfig,
) -> Iterator[str]:
    """The page in parts."""
    environment = page_environment(Path(__file__).parent)
    environment.filters["words"] = lambda name: name.replace("_", " ")
    environment.filters["sheets"] = lambda number: f"{number:,} sheet{'s' if number != 1 else ''}"
    yield from environment.get_template("page.html").generate(
        title=_day_of(weeks[0]) if len(weeks) == 1 else f"{len(weeks)} weeks, {weeks[0]} to {weeks[-1]}",
        weeks=weeks,
        tallies=_summed(reports),
        totals=totals,
        flag_words=FLAG_WORDS,
        flags=sorted(totals.flags.items(), key=lambda pair: (-pair[1], pair[0])),
        missing=totals.missing[: config.limit],
        section_titles=_SECTION_TITLES,
        sections=[(name, itertools.islice(cards, totals.shown[name])) for name in SECTIONS],
        config=config,
    )


def _day_of(week: str) -> str:
    """The week with its date in words, for the title."""
    try:
        day = datetime.datetime.strptime(week, "I%Y%m%d")
    except ValueError:
        return week
    return f"{week}, {day.day} {day:%B %Y}"


def _summed(reports: Iterable[Report]) -> list[tuple[str, int, int, list[tuple[str, int]]]]:
    """Unit, number in, number out, and number left out by reason, over all weeks."""
    num_in, num_out, drops = Counter[str](), Counter[str](), dict[str, Counter[str]]()
    for report in reports:
        for unit, tally in report.tallies.items():
            num_in[unit] += tally.num_in
            num_out[unit] += tally.num_out
            drops.setdefault(unit, Counter()).update(tally.dropped)
    return [(unit, num_in[unit], num_out[unit], sorted(reasons.items())) for unit, reasons in drops.items()]
