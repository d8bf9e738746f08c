"""Contact sheets: one page on which a person sees how the sheets of a week were split, the doubtful ones first.

The page is made from the data folder alone: sheets from the kept archive, boxes and labels from the views, declared
figures from the grants, what was left out from the report in the views' footer. It is one HTML file without outside
resources and without script; equal data gives equal bytes.
"""

from __future__ import annotations

import datetime
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patentdata.archives import designs
from patentdata.archives.designs import ArchivesConfig
from patentdata.errors import ArchiveError, ConfigError, OutputError, SheetError
from patentdata.pages import page_environment, shortened
from patentdata.store import schemas
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import open_table
from patentdata.store.report import Report
from patentdata.store.weeks import kept_path, state_of, table_path, weeks_of
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
from patentdata.views.sheets import read_sheet

_SECTION_TITLES = {"doubtful": "To look at", "left_out": "Left out", "plain": "Without doubt"}
_TABLE_COLUMNS = [name for name in schemas.VIEWS.names if name not in ("image", "image_sha256", "grant_date")]


@dataclass
class Totals:
    """What the head of the page counts, over all its weeks; sheets are counted by section."""

    sheets: Counter[str] = field(default_factory=Counter)
    shown: Counter[str] = field(default_factory=Counter)
    num_views: int = 0
    num_flagged: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    missing: list[Missing] = field(default_factory=list)

    def add(self, sheet: Sheet, config: ContactSheetsConfig) -> None:
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
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write one page about some weeks; memory does not grow with their number.

    Args:
        folder: The data folder.
        weeks: Such as "I20210105"; empty takes every week that has views.
        out: The HTML file; it appears whole or not at all.
        config: Settings.
        progress: Called with the number of sheets drawn and of all to draw.

    Returns:
        Counts: weeks, sheets, doubtful, shown, views, flagged, figures not found; the file and its bytes.

    Raises:
        ConfigError: No week to show, or `out` is a folder.
        OutputError: The views of a week are missing, damaged or older than its archive, or `out` cannot be written.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; name an HTML file")
    weeks = sorted(set(weeks)) or weeks_of(folder, "views")
    if not weeks:
        raise ConfigError(f"{folder.url} holds no views; run the views stage first")
    totals, reports, sheets = Totals(), [], list[Sheet]()
    for week in weeks:
        reports.append(_report(folder, week))
        of_week = list(_sheets(folder, week, reports[-1], totals))
        for sheet in of_week:
            totals.add(sheet, config)
        sheets = sorted(itertools.chain(sheets, of_week), key=lambda sheet: _rank(sheet, config))[: config.limit]
    totals.shown.update(sheet.section(config) for sheet in sheets)
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
    """Doubtful sheets from the lowest score up, then those left out, then the rest; else as published."""
    section, number = sheet.section(config), sheet.patent_number
    score = sheet.lowest_score if section == "doubtful" else 0.0
    file_name = sheet.drop.subject if sheet.drop else ""
    return SECTIONS.index(section), score, sheet.week, len(number), number, sheet.number, file_name


def _report(folder: DataFolder, week: str) -> Report:
    state, report = state_of(folder, "views", week)
    if state != "done" or report is None:
        raise OutputError(f"the views of {week} are {state}; run the views stage on {folder.url} first")
    return report


def _sheets(folder: DataFolder, week: str, report: Report, totals: Totals) -> Iterator[Sheet]:
    """Every sheet of a week once: those with views in the order of the table, then those left out."""
    with open_table(folder, table_path(folder, "grants", week)) as table:
        columns = ["patent_number", "title", "figures", "source_member"]
        grants = {row["patent_number"]: row for row in table.read(columns=columns).to_pylist()}
    missing = _missing_figures(grants, report)
    totals.missing.extend(itertools.chain.from_iterable(missing.values()))
    with open_table(folder, table_path(folder, "views", week)) as table:
        rows = itertools.chain.from_iterable(batch.to_pylist() for batch in table.iter_batches(columns=_TABLE_COLUMNS))
        for number, views in itertools.groupby(rows, key=lambda row: row["patent_number"]):
            yield from _sheets_with_views(week, grants[number], list(views), missing.get(number, []))
    stems = {_member_of(grant): grant for grant in grants.values()}
    for unit in ("front_pages", "sheets"):
        for drop in report.tallies[unit].drops if unit in report.tallies else ():
            member = drop.subject.rpartition("-")[0]
            grant = stems.get(member, {"patent_number": member or drop.subject, "title": ""})
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
    places = _neighbours(missing, [figure["label"] for figure in grant["figures"]], views)
    for number, on_sheet in itertools.groupby(views, key=lambda view: view["sheet_number"]):
        yield Sheet(
            week=week,
            patent_number=grant["patent_number"],
            title=grant["title"],
            number=number,
            member=_member_of(grant),
            views=tuple(on_sheet),
            missing=tuple(figure for figure in missing if number in places[figure.label]),
        )


def _member_of(grant: Mapping[str, Any]) -> str:
    return grant["source_member"].partition("/")[0]


def _missing_figures(grants: Mapping[str, Mapping[str, Any]], report: Report) -> dict[str, list[Missing]]:
    """Patent number → its declared figures that were dropped, with what the grant says of them."""
    missing: dict[str, list[Missing]] = {}
    for drop in report.tallies["figures"].drops if "figures" in report.tallies else ():
        number, _, label = drop.subject.partition(" FIG. ")
        figures = grants[number]["figures"] if number in grants else []
        text = next((figure["text"] for figure in figures if figure["label"] == label), None)
        missing.setdefault(number, []).append(Missing(number, label, text or drop.detail))
    return missing


def _neighbours(
    missing: Iterable[Missing], declared: Sequence[str], views: Iterable[Mapping[str, Any]]
) -> dict[str, set[int]]:
    """Label of each missing figure → the sheets on which the figures declared just before and after it stand.

    >>> views = [{"figure_label": "1", "sheet_number": 1}, {"figure_label": "4", "sheet_number": 3}]
    >>> _neighbours([Missing("D1", "2", "")], ["1", "2", "3", "4"], views)
    {'2': {1, 3}}
    """
    sheet_of = {view["figure_label"]: view["sheet_number"] for view in views if view["figure_label"] is not None}
    places: dict[str, set[int]] = {}
    for figure in missing:
        place = declared.index(figure.label) if figure.label in declared else len(declared)
        before = next((sheet_of[label] for label in reversed(declared[:place]) if label in sheet_of), None)
        after = next((sheet_of[label] for label in declared[place + 1 :] if label in sheet_of), None)
        places[figure.label] = {sheet for sheet in (before, after) if sheet is not None}
        if not places[figure.label]:  # no figure of the patent was named: its first sheet stands for all
            places[figure.label] = {min((view["sheet_number"] for view in views if view["sheet_number"]), default=0)}
    return places


def _cards(
    folder: DataFolder,
    sheets: Sequence[Sheet],
    config: ContactSheetsConfig,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Card]:
    """Cards one by one, each read from its archive when it is asked for."""
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
        yield make_card(sheet, page, trouble, config)


def _drawings(folder: DataFolder, sheets: Sequence[Sheet]) -> Iterator[tuple[Sheet, bytes | None]]:
    """Each sheet with the bytes of its TIFF; one archive and one member are held at a time."""
    for week, of_week in itertools.groupby(sheets, key=lambda sheet: sheet.week):
        with folder.open(kept_path(folder, week)) as archive:
            members = dict(designs.read_kept(archive))
            for member, of_member in itertools.groupby(of_week, key=lambda sheet: sheet.member):
                drawings = _drawings_of(members.get(member))
                for sheet in of_member:
                    yield sheet, drawings.get(sheet.drop.subject if sheet.drop else sheet.number)


def _drawings_of(read: Callable[[], bytes] | None) -> dict[str | int, bytes]:
    """Drawings of a member by name and by number, counted as the views count them."""
    if read is None:
        return {}
    try:
        files = designs.unpack_member(read(), ArchivesConfig())
    except ArchiveError:
        return {}
    drawings: dict[str | int, bytes] = {}
    names = sorted(name for name in files if name.upper().endswith((".TIF", ".TIFF")))
    for place, name in enumerate(names):
        number = sheet_number(name)
        drawings[name] = files[name]
        drawings[place if number is None else number] = files[name]
    return drawings


def _render(
    weeks: Sequence[str],
    reports: Sequence[Report],
    totals: Totals,
    cards: Iterator[Card],
    config: ContactSheetsConfig,
) -> Iterator[str]:
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
    try:
        day = datetime.datetime.strptime(week, "I%Y%m%d")
    except ValueError:
        return week
    return f"{week}, {day.day} {day:%B %Y}"


def _summed(reports: Iterable[Report]) -> list[tuple[str, int, int, list[tuple[str, int]]]]:
    """Unit, in, out, and drops by reason, over all weeks."""
    num_in, num_out, drops = Counter[str](), Counter[str](), dict[str, Counter[str]]()
    for report in reports:
        for unit, tally in report.tallies.items():
            num_in[unit] += tally.num_in
            num_out[unit] += tally.num_out
            drops.setdefault(unit, Counter()).update(tally.dropped)
    return [(unit, num_in[unit], num_out[unit], sorted(reasons.items())) for unit, reasons in drops.items()]
