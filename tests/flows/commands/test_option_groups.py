"""Options in groups: one per field of a dataclass, received as the dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from flows.commands.option_groups import grouped


@dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option("--width", "-w", min=1)]
    height: int = 2


def call(*arguments: str) -> tuple[int, list[object]]:
    """Exit code of a command with grouped options, and what it was called with."""
    app, calls = typer.Typer(), []

    @app.command()
    @grouped
    def draw(*, name: str, size: Size, loud: bool = False) -> None:
        """Draw."""
        calls.append((name, size, loud))

    return CliRunner().invoke(app, arguments).exit_code, calls


def test_the_options_of_a_group_arrive_as_one_value():
    assert call("square", "-w", "3", "--loud") == (0, [("square", Size(width=3, height=2), True)])


@pytest.mark.parametrize(
    "arguments", [("square",), ("square", "--width", "0"), ("square", "--width", "1", "--depth", "2")]
)
def test_an_option_of_a_group_is_checked_like_any_other(arguments):
    assert call(*arguments) == (2, [])
