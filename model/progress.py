"""How the library reports progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Progress = Callable[[int, int, dict[str, Any]], None]
"""Called with the units of work done, the units in all, and what belongs to them.

Training passes the metrics of each step. Everything else passes what is being counted, under "doing": "texts".
"""
