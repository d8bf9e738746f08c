"""When another try can help."""

from __future__ import annotations

from typing import Any

from patentdata.errors import PatentDataError, SourceError


def is_worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a failed task may do better a moment later: a network or a disk may, a broken archive will not."""
    try:
        state.result()
    except SourceError:
        return True
    except (PatentDataError, ValueError, TypeError):
        return False
    except Exception:
        return True
    return False
