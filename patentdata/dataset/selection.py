"""Which views of a week enter a dataset, and why the others do not.

A wrong pair of image and caption harms training more than a missing one, so a view enters only with a caption of
exactly its present image. Views that are left out are counted by reason, so that nothing disappears unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from patentdata.dataset.splits import SPLITS, Assignment
from patentdata.errors import ConfigError, OutputError
from patentdata.store.report import Report
from patentdata.views.broken_lines.statements import are_claimed

Row = dict[str, Any]

# What `select_views` reads of the three tables of a week.
VIEW_COLUMNS = (
    "view_id",
    "patent_number",
    "grant_date",
    "figure_label",
    "viewpoint",
    "viewpoint_direction",
    "image_sha256",
    "broken_share",
    "signature",
    "is_front_page",
    "score",
    "flags",
)
CAPTION_COLUMNS = ("view_id", "text", "shape", "function", "captioner", "finish_reason", "image_sha256")
GRANT_COLUMNS = (
    "patent_number",
    "title",
    "uspc_class",
    "locarno_class",
    "applicants",
    "assignees",
    "citations",
    "claim_scope",
    "has_unclaimed_matter",
)


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """Which views are good enough.

    Attributes:
        min_score: Views with a lower score, which rates how certain their box and label are, are excluded; 0 takes all.
        exclude_flags: Views with one of these flags are excluded.
    """

    min_score: float = 0.0
    exclude_flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.min_score <= 1:
            raise ConfigError(f"min_score is {self.min_score}; choose 0 (all views) to 1")
        if isinstance(self.exclude_flags, str):
            raise ConfigError(f"exclude_flags is the text {self.exclude_flags!r}; give a list of flags")


def select_views(
    views: Iterable[Row],
    *,
    captions: Mapping[str, Row],
    grants: Mapping[str, Row],
    assignments: Mapping[str, Assignment],
    config: SelectionConfig,
    report: Report,
) -> dict[str, list[Row]]:
    """Rows of the dataset, still without their image, in the order of the views.

    Args:
        views: Rows with `VIEW_COLUMNS`.
        captions: view_id → row with `CAPTION_COLUMNS`.
        grants: Patent number → row with `GRANT_COLUMNS`.
        assignments: Patent number → its assignment; patents without one belong to another week.
        config: Which views are good enough.
        report: Its tally "views" counts all views in and excluded ones by reason; selected views are counted out by the
            caller, once their image is made.

    Returns:
        Split → rows, for all splits in their order.

    Raises:
        OutputError: A caption was made from another image than the view has now.
    """
    selected: dict[str, list[Row]] = {split: [] for split in SPLITS}
    tally = report.tally("views")
    for view in views:
        tally.num_in += 1
        assignment = assignments.get(view["patent_number"])
        caption = captions.get(view["view_id"])
        if reason := _reason_to_exclude(view, assignment, config):
            tally.leave_out(reason)
        elif caption is None or not (caption["text"] or "").strip():
            tally.drop("no_caption", view["view_id"], caption["finish_reason"] or "" if caption else "never asked for")
        elif caption["image_sha256"] != view["image_sha256"]:
            raise OutputError(
                f"{view['view_id']}: its caption was made from an older image; run the captions stage again"
            )
        else:
            assert assignment is not None and assignment.split is not None
            selected[assignment.split].append(_dataset_row(view, caption, grants[view["patent_number"]], assignment))
    return selected


def _reason_to_exclude(view: Row, assignment: Assignment | None, config: SelectionConfig) -> str | None:
    """Why a view does not enter the dataset, whatever its caption; None if it may."""
    if view["is_front_page"]:  # repeats another view, which would leak between query and gallery
        return "front_page"
    if assignment is None:
        return "patent_of_another_week"
    if assignment.split is None:
        return assignment.reason
    if (view["score"] or 0.0) < config.min_score:
        return "low_score"
    flags = [flag for flag in config.exclude_flags if flag in (view["flags"] or ())]
    return f"flag_{flags[0]}" if flags else None


def _dataset_row(view: Row, caption: Row, grant: Row, assignment: Assignment) -> Row:
    return {
        "view_id": view["view_id"],
        "patent_number": view["patent_number"],
        "family": assignment.family,
        "split": assignment.split,
        "grant_date": view["grant_date"],
        "title": grant["title"],
        "uspc_class": grant["uspc_class"],
        "locarno_class": grant["locarno_class"],
        "owners": grant["assignees"] or grant["applicants"] or [],
        "figure_label": view["figure_label"],
        "viewpoint": view["viewpoint"],
        "viewpoint_direction": view["viewpoint_direction"],
        "text": caption["text"],
        "shape": caption["shape"],
        "function": caption["function"],
        "captioner": caption["captioner"],
        "image_sha256": view["image_sha256"],
        "has_unclaimed_matter": grant.get("has_unclaimed_matter"),
        "broken_share": view.get("broken_share"),  # earlier versions of the stages have none of these
        "has_unclaimed_lines": _has_unclaimed_lines(view, grant),
        "signature": view.get("signature"),
        "cited_by_examiner": examiner_cited_designs(grant["citations"]),
    }


def _has_unclaimed_lines(view: Row, grant: Row) -> bool | None:
    """Whether lines of the view are broken and not said to be claimed; None if it is not known which are broken."""
    share = view.get("broken_share")
    return None if share is None else share > 0 and not are_claimed(grant.get("claim_scope"), view["figure_label"])


def examiner_cited_designs(citations: Iterable[Mapping[str, Any]] | None) -> list[str]:
    """Numbers of the US designs that the examiner cited, without repetitions, in order of citation.

    >>> examiner_cited_designs([{"number": "D428532", "country": "US", "category": "examiner"}])
    ['D428532']
    """
    numbers = (
        citation["number"]
        for citation in citations or ()
        if citation["category"] == "examiner" and citation["country"] in ("US", None)
    )
    return list(
        dict.fromkeys(number for number in numbers if number and number.startswith("D") and number[1:].isdigit())
    )
