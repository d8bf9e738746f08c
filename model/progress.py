"""How the library reports progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

EmbeddingProgress = Callable[[int, int, str], None]  # rows done, rows in all, what they are

Progress = Callable[[int, int, dict[str, Any]], None]
