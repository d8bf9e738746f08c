"""The differences between a table of IMPACT and this project's grants, column by column, and the reason of each.

Most differences are known flaws of IMPACT, and thousands of them would hide a flaw of this project. So every difference
gets one reason, decided from the two values and the grant itself; `REASONS` says each in a sentence. The reason
"different" is left for those that no rule explains: they are the ones to look at.
"""

from __future__ import annotations

import ast
import csv
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patentdata.classes import canonical_locarno, canonical_patent_number, canonical_uspc
from patentdata.errors import ConfigError
from patentdata.pages import page_environment
from patentdata.rebuild.impact_layout import (
    COLUMNS,
    caption_of,
    captions_and_views,
    impact_number,
    impact_row,
    read_grants,
)
from patentdata.store.folder import DataFolder
from patentdata.store.parquet import read_report
from patentdata.store.weeks import state_of, table_path, weeks_of

REASONS = {
    "shifted_paragraphs": "IMPACT took the first paragraphs of the document, and some of them describe no figure; "
    "here each text belongs to the figure whose label it prints",
    "figures_share_a_paragraph": "one paragraph describes several figures; here each figure has its own text",
    "fewer_paragraphs": "IMPACT has the texts of fewer figures than the grant declares",
    "blanks_at_markup": "the same words; IMPACT has blanks in place of inline markup",
    "words_at_markup": "IMPACT lost the words inside or after inline markup",
    "canonical_form": "the same classes, printed in columns there and in one canonical form here",
    "further_classes": "IMPACT has only the first further class, or none; here are all of them",
    "stripped_blanks": "IMPACT lost the blanks, which separate class and subclass",
    "unreadable_class": "IMPACT has a symbol that is not a class; here it is left out",
    "declared_figures": "IMPACT copies the number that the grant states; here it is the number that its text declares",
    "other_order": "the same values in another order",
    "other_parties": "IMPACT has the countries of more or other people; here are those of the inventors",
    "other_captioner": "the caption is by another captioner",
    "empty_in_impact": "the field is empty in IMPACT",
    "empty_here": "the field is empty in the grant here",
    "not_a_list": "the field in IMPACT is not a list",
    "different": "no rule explains it",
}
PRESENCE_REASONS = {
    "missing_in_impact": "the patent is in the data folder and not in IMPACT's table",
    "week_not_here": "the data folder has no grants of that week",
    "dropped_here": "the patent's member was dropped, with the reason given",
    "not_in_the_week": "the week is here, but the patent is not in its archive",
    "repeated_in_impact": "the patent is in IMPACT's table more than once; the first row counts",
    "unreadable_row": "the row of IMPACT's table has no valid patent number or date",
}
_SHOWN_CHARACTERS = 400
_MAX_FIELD_CHARACTERS = 1 << 27  # the limit of the csv module is lower than the longest lists


@dataclass(frozen=True)
class Difference:
    """One value that differs.

    Attributes:
        patent: Number of the patent as IMPACT prints it.
        column: One of IMPACT's columns.
        reason: A key of `REASONS`.
        impact: The value in IMPACT's table, shortened.
        here: The value in the data folder, shortened.
    """

    patent: str
    column: str
    reason: str
    impact: str
    here: str


@dataclass(frozen=True)
class OneSided:
    """A patent that is only in IMPACT's table or only in the data folder.

    Attributes:
        patent: Number of the patent as IMPACT prints it.
        date: Date of the grant, "20210105".
        reason: A key of `PRESENCE_REASONS`.
        detail: For a patent that was dropped here, the reason of the drop.
    """

    patent: str
    date: str
    reason: str
    detail: str = ""


@dataclass
class Comparison:
    """The result of `compare`.

    Attributes:
        num_impact: Number of rows in IMPACT's table.
        num_here: Number of patents in the data folder in the table's years.
        num_both: Number of patents in both.
        columns: The columns compared, which are those that the table has.
        equal: Column → number of patents whose values are equal.
        differences: Values that differ, in order of date and number.
        one_sided: Patents on one side only, in order of date and number.
    """

    num_impact: int = 0
    num_here: int = 0
    num_both: int = 0
    columns: tuple[str, ...] = ()
    equal: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    one_sided: list[OneSided] = field(default_factory=list)

    def reasons(self, column: str) -> Counter[str]:
        """Reason → number of differences of one column."""
        return Counter(item.reason for item in self.differences if item.column == column)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "num_impact": self.num_impact,
            "num_here": self.num_here,
            "num_both": self.num_both,
            "columns": {
                column: {"equal": self.equal[column], "different": dict(sorted(self.reasons(column).items()))}
                for column in self.columns
            },
            "one_sided": [vars(item) for item in self.one_sided],
            "differences": [vars(item) for item in self.differences],
        }


def compare(table: Path, folder: DataFolder) -> Comparison:
    """Compare a table of IMPACT, `2021.csv`, with the grants of a data folder in the table's years.

    Memory grows with the table, never with the data folder, which is read week by week.

    Raises:
        ConfigError: The table does not exist, or is not a table of IMPACT.
        OutputError: Grants of the data folder are damaged.
    """
    found = Comparison()
    theirs = _read_table(table, found)
    dates = {row["date"] for row in theirs.values()}
    years = {date[:4] for date in dates}
    weeks = [week for week in weeks_of(folder, "grants") if week[1:5] in years]
    for week in weeks:
        _compare_week(folder, week, theirs, found)
    for number, row in theirs.items():
        found.one_sided.append(OneSided(number, row["date"], "week_not_here"))
    found.one_sided.sort(key=lambda item: (item.date, item.patent))
    return found


def _compare_week(folder: DataFolder, week: str, theirs: dict[str, dict[str, str]], found: Comparison) -> None:
    """Compare the grants of one week, and take the week's rows out of `theirs` (number → row of IMPACT's table)."""
    views, captions = captions_and_views(folder, week) if "caption" in found.columns else ({}, {})
    dropped = _dropped(folder, week)
    for grant in read_grants(folder, week):
        found.num_here += 1
        number = impact_number(grant["patent_number"])
        row = theirs.pop(number, None)
        if row is None:
            found.one_sided.append(OneSided(number, week[1:], "missing_in_impact"))
            continue
        found.num_both += 1
        names = [image["file_name"] for image in grant["images"]]
        here = impact_row(grant, names, caption_of(views.get(grant["patent_number"], ()), captions))
        _compare_row(number, row, here, grant, found)
    # The rows of this date that are left have no grant here.
    for number in [number for number, row in theirs.items() if row["date"] == week[1:]]:
        theirs.pop(number)
        reason = dropped.get(number)
        kind = "dropped_here" if reason else "not_in_the_week"
        found.one_sided.append(OneSided(number, week[1:], kind, reason or ""))


def _read_table(table: Path, found: Comparison) -> dict[str, dict[str, str]]:
    """Rows of IMPACT's table by patent number; of several rows with one number, the first."""
    csv.field_size_limit(min(_MAX_FIELD_CHARACTERS, sys.maxsize))
    rows: dict[str, dict[str, str]] = {}
    try:
        with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            if not {"id", "date"} <= set(header):
                raise ConfigError(f"{table} is not a table of IMPACT: it has no columns id and date")
            found.columns = tuple(column for column in COLUMNS if column in header and column != "id")
            for row in reader:
                found.num_impact += 1
                _add_row({column: row.get(column) or "" for column in COLUMNS}, rows, found)
    except OSError as error:
        raise ConfigError(f"cannot read {table}: {error.strerror or error}") from error
    except csv.Error as error:
        raise ConfigError(f"{table} is not a table of IMPACT: {error}") from error
    return rows


def _add_row(row: dict[str, str], rows: dict[str, dict[str, str]], found: Comparison) -> None:
    """Add a row to `rows` under its number, or to `found` if it is unreadable or repeated."""
    canonical = canonical_patent_number(row["id"]) or ""
    row["date"] = (
        row["date"].strip().removesuffix(".0")
    )  # ".0" is left by a table that was read as numbers and written again
    if not re.fullmatch(r"D[1-9][0-9]{0,11}", canonical) or not re.fullmatch(r"[0-9]{8}", row["date"]):
        found.one_sided.append(OneSided(row["id"][:40], row["date"][:40], "unreadable_row"))
        return
    number = impact_number(canonical)
    if number in rows:
        found.one_sided.append(OneSided(number, row["date"], "repeated_in_impact"))
        return
    rows[number] = row


def _dropped(folder: DataFolder, week: str) -> dict[str, str]:
    """Numbers of a week's patents that were dropped before they became rows, with the reason."""
    reports = [read_report(folder, table_path(folder, "grants", week))]
    _, kept = state_of(folder, "archives", week)
    reports += [kept] if kept else []
    reasons: dict[str, str] = {}
    for report in reports:
        for tally in report.tallies.values():
            for drop in tally.drops:
                if match := re.search(r"USD0*([1-9][0-9]{0,11})-[0-9]{8}", drop.subject, re.IGNORECASE):
                    reasons[impact_number(f"D{match[1]}")] = drop.reason
    return reasons


def _compare_row(
    number: str, theirs: Mapping[str, str], here: Mapping[str, str], grant: Mapping[str, Any], found: Comparison
) -> None:
    """Compare the row of one patent, column by column, and add the result to `found`."""
    for column in found.columns:
        if theirs[column] == here[column]:
            found.equal[column] += 1
            continue
        reason = explain(column, theirs[column], here[column], grant)
        found.differences.append(Difference(number, column, reason, _short(theirs[column]), _short(here[column])))


# --- Reasons ----------------------------------------------------------------------------------------------------------


def explain(column: str, theirs: str, here: str, grant: Mapping[str, Any]) -> str:
    """Why two values of a column differ: a key of `REASONS`.

    Args:
        column: One of IMPACT's twelve columns.
        theirs: The value in IMPACT's table.
        here: The value that `impact_row` gives.
        grant: The row of `schemas.GRANTS`.

    >>> explain("class", "D 5 59", "D5/59", {})
    'canonical_form'
    """
    if _is_empty(theirs) != _is_empty(here):
        return "empty_in_impact" if _is_empty(theirs) else "empty_here"
    return _EXPLAINERS.get(column, _explain_text)(theirs, here, grant)


def _explain_text(theirs: str, here: str, _: Mapping[str, Any]) -> str:
    if _without_blanks(theirs) == _without_blanks(here):
        return "blanks_at_markup"
    if _is_subsequence(theirs.split(), here.split()):
        return "words_at_markup"
    return "different"


def _explain_class(theirs: str, here: str, _: Mapping[str, Any]) -> str:
    return _explain_symbols(_symbols(theirs.split(",")), here.split(","), theirs.split(","))


def _explain_classes(theirs: str, here: str, _: Mapping[str, Any]) -> str:
    printed = read_list(theirs)
    if printed is None:
        return "not_a_list"
    locarno = [canonical_locarno(printed[0])] if printed else []
    return _explain_symbols([*locarno, *_symbols(printed[1:])], read_list(here) or [], printed)


def _symbols(printed: Sequence[str]) -> list[str | None]:
    return [canonical_uspc(symbol) or canonical_locarno(symbol) for symbol in printed]


def _explain_symbols(theirs: Sequence[str | None], here: Sequence[str], printed: Sequence[str]) -> str:
    read = [symbol for symbol in theirs if symbol]
    if read == list(here):
        return "canonical_form" if len(read) == len(theirs) else "unreadable_class"
    if _is_subsequence(read, here):
        return "further_classes"
    if _is_subsequence([_compact(symbol) for symbol in printed], [_compact(symbol) for symbol in here]):
        return "stripped_blanks"
    return "other_order" if sorted(read) == sorted(here) else "different"


def _explain_countries(theirs: str, here: str, _: Mapping[str, Any]) -> str:
    countries, inventors = ([part.strip() for part in text.split(",")] for text in (theirs, here))
    if countries == inventors:
        return "blanks_at_markup"
    if sorted(countries) == sorted(inventors):
        return "other_order"
    return "other_parties" if set(inventors) <= set(countries) else "different"


def _explain_number_of_figures(theirs: str, _: str, grant: Mapping[str, Any]) -> str:
    return "declared_figures" if theirs.strip() == str(grant["num_figures"]) else "different"


def _explain_files(theirs: str, here: str, _: Mapping[str, Any]) -> str:
    names, ours = read_list(theirs), read_list(here)
    if names is None:
        return "not_a_list"
    return "other_order" if sorted(names) == sorted(ours or []) else "different"


def _explain_descriptions(theirs: str, here: str, grant: Mapping[str, Any]) -> str:
    printed = read_list(theirs)
    if printed is None:
        return "not_a_list"
    texts, ours = ([_without_blanks(text) for text in part] for part in (printed, read_list(here) or []))
    others = {_without_blanks(text) for text in grant["other_paragraphs"]}
    if texts == ours:
        return "blanks_at_markup"
    if others & set(texts):
        return "shifted_paragraphs"
    if all(any(text in whole for whole in texts) for text in ours):
        return "figures_share_a_paragraph"
    if _is_subsequence(texts, ours) or all(any(part in whole for whole in ours) for part in texts):
        return "fewer_paragraphs"
    return "different"


_EXPLAINERS: dict[str, Callable[[str, str, Mapping[str, Any]], str]] = {
    "class": _explain_class,
    "class_search": _explain_classes,
    "inv_country": _explain_countries,
    "no_figs": _explain_number_of_figures,
    "file_names": _explain_files,
    "fig_desc": _explain_descriptions,
    "caption": lambda *_: "other_captioner",
}


def read_list(text: str) -> list[str] | None:
    """The list that a field spells as Python does; None if it is not a list.

    >>> read_list("['D28/47', '30/50']"), read_list("nan")
    (['D28/47', '30/50'], None)
    """
    try:
        values = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return [str(value) for value in values] if isinstance(values, list | tuple) else None


def _is_empty(text: str) -> bool:
    return text.strip().lower() in ("", "[]", "nan", "none")


def _without_blanks(text: str) -> str:
    return "".join(text.split())


def _compact(symbol: str) -> str:
    return re.sub(r"[\s/.,-]", "", symbol)


def _is_subsequence(part: Sequence[Any], whole: Sequence[Any]) -> bool:
    """Whether `part` is `whole` with some of its items left out."""
    rest: Iterator[Any] = iter(whole)
    return all(item in rest for item in part)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} …"


# --- The page ---------------------------------------------------------------------------------------------------------

_MAX_SHOWN = 50  # differences of one column and reason on the page; the JSON has all


def write_page(found: Comparison, table: str, folder: DataFolder, out: Path) -> None:
    """Write the comparison as one HTML page.

    Args:
        found: The comparison.
        table: Name of IMPACT's table, for the heading.
        folder: The data folder that was compared, for the heading.
        out: The HTML file.

    Raises:
        ConfigError: `out` is a folder.
        OutputError: The file cannot be written.
    """
    if out.is_dir():
        raise ConfigError(f"{out} is a folder; name an HTML file")
    environment = page_environment(Path(__file__).parent)
    groups: dict[str, dict[str, list[Difference]]] = {}
    for item in found.differences:
        groups.setdefault(item.column, {}).setdefault(item.reason, []).append(item)
    page = environment.get_template("impact_compare.html").render(
        found=found,
        table=Path(table).name,
        folder=folder.url,
        groups=groups,
        presence=Counter(item.reason for item in found.one_sided),
        reasons=REASONS | PRESENCE_REASONS,
        most=_MAX_SHOWN,
    )
    target = DataFolder(out.resolve().parent)
    with target.writing(target.path(out.name)) as file:
        file.write(page.encode())
