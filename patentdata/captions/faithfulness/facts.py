"""What is known of a view without looking at it: the words of its grant, and the question that a model was asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from patentdata.captions.captioner import Row
from patentdata.captions.described import class_title_of
from patentdata.captions.prompt_variables import broken_line_statements

_MAX_CHARS = 4_000  # of each text of a grant that is read
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Facts:
    """The facts of one view.

    Attributes:
        title: Title of the patent.
        viewpoint: Viewpoint that the grant declares, one of `schemas.VIEWPOINTS`.
        direction: Direction of a perspective, such as "top front"; None if it is not named.
        description: The grant's sentence about the figure.
        statements: The other paragraphs of the grant's description.
        class_title: Title of the class.
        prompt_text: What the model was asked; None if no model was asked.
    """

    title: str = ""
    viewpoint: str = "none"
    direction: str | None = None
    description: str = ""
    statements: str = ""
    class_title: str = ""
    prompt_text: str | None = None

    @cached_property
    def grant_text(self) -> str:
        """Everything that the grant says of the article and the figure, in lower case."""
        return f"{self.title}. {self.description}. {self.statements}".lower()

    @cached_property
    def grant_words(self) -> frozenset[str]:
        """The words of the grant and of its class, in lower case."""
        return frozenset(_WORD.findall(f"{self.grant_text} {self.class_title.lower()}"))

    @cached_property
    def broken_lines(self) -> str:
        """The grant's statements on broken lines, in lower case; empty if it has none."""
        return broken_line_statements([self.statements, self.description]).lower()


def facts_of(view: Row, caption: Row) -> Facts:
    """The facts of a view, a row with the columns named in `captioner`, and of the row of its caption."""
    paragraphs = view.get("other_paragraphs") or ()
    return Facts(
        title=(view.get("title") or "")[:_MAX_CHARS],
        viewpoint=view.get("viewpoint") or "none",
        direction=view.get("viewpoint_direction"),
        description=(view.get("description") or "")[:_MAX_CHARS],
        statements=" ".join(paragraphs)[:_MAX_CHARS],
        class_title=class_title_of(view.get("uspc_class"), view.get("locarno_class")) or "",
        prompt_text=caption.get("prompt_text"),
    )
