"""Where the command line prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STDOUT = Console()
STDERR = Console(stderr=True)


def say(text: str) -> None:
    """Print a line for the user on stderr, where it never mixes with results; a path in it can be copied whole."""
    STDERR.print(escape(text), highlight=False, soft_wrap=True)


def say_error(text: str) -> None:
    """Print an error on stderr, in one line that a terminal may wrap."""
    STDERR.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)


def say_table(table: Table) -> None:
    """Print a table for the user on stderr."""
    STDERR.print(table)


def show_table(table: Table) -> None:
    """Print a table that is a result on stdout."""
    STDOUT.print(table)


def show_json(values: Any) -> None:
    """Print values as JSON on stdout."""
    sys.stdout.write(json.dumps(values, ensure_ascii=False, indent=1, default=str) + "\n")
