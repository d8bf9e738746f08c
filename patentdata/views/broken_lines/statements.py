"""Whether what a grant says about its broken lines agrees with what is seen in its views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from patentdata.views.labels.labels import normalised

NOT_EXPLAINED = "broken_lines_not_explained"
NOT_SEEN = "broken_lines_not_seen"
_KINDS = ("broken", "dash_dot")  # kinds of lines that are drawn broken
_LEAST_SHARE = 0.01  # of all lines; less may be a few strokes of something else


def are_claimed(claim_scope: Iterable[Mapping[str, Any]] | None, figure_label: str | None) -> bool:
    """Whether a grant says that everything that the broken lines of a figure show is part of the claimed design.

    Stitching and folds are often claimed. If the grant says nothing about the broken lines of the figure, or does not
    say whether they are claimed, they are not: that is what broken lines mean in design patents.

    Args:
        claim_scope: What the grant says about its lines: dicts with `lines`, `meaning`, `is_claimed` and `figures`.
        figure_label: Label of the figure; None if it is not known.
    """
    said = [
        statement
        for statement in claim_scope or ()
        if statement["lines"] in _KINDS
        and statement["meaning"] != "break"
        and (not statement["figures"] or normalised(figure_label) in map(normalised, statement["figures"]))
    ]
    return bool(said) and all(statement["is_claimed"] for statement in said)


def disagreements(views: Sequence[Mapping[str, Any]], claim_scope: Iterable[Mapping[str, Any]]) -> list[frozenset[str]]:
    """Flags of each view of one patent: `NOT_EXPLAINED`, `NOT_SEEN` or none.

    Broken lines are not explained if the grant says nothing about any. They are not seen if it speaks of them and no
    view has any, or if it speaks of those of certain figures and these have none. Symbolic breaks do not count: they
    are drawn in many ways.

    Args:
        views: Rows with `figure_label`, `broken_share` and `is_front_page`.
        claim_scope: What the grant says about its lines: dicts with `lines`, `meaning` and `figures`.
    """
    said = [statement for statement in claim_scope if statement["lines"] in _KINDS]
    expected = [statement for statement in said if statement["meaning"] != "break"]
    is_seen_anywhere = any(view["broken_share"] != 0 for view in views)  # null: unknown
    limited_to = {normalised(label) for statement in expected for label in statement["figures"]}
    is_about_all = any(not statement["figures"] for statement in expected)

    def flags(view: Mapping[str, Any]) -> frozenset[str]:
        share = view["broken_share"]
        if not said and (share or 0) >= _LEAST_SHARE:
            return frozenset({NOT_EXPLAINED})
        is_missed = is_about_all and not is_seen_anywhere
        is_missed |= normalised(view["figure_label"]) in limited_to
        return frozenset({NOT_SEEN}) if is_missed and share == 0 and not view["is_front_page"] else frozenset()

    return [flags(view) for view in views]
