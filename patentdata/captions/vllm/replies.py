"""What a model server's response says: its status, its own explanation of an error, and its JSON.

Servers and the gateways before them state errors in many ways: by the status alone, in several forms of JSON, as a web
page, or in a response of status 200. All of them become one form here, so that a status within an error counts like
that of the response, and the server's own sentence can be quoted to the user.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_MAX_BODY_CHARS = 20_000  # characters of a body that is not JSON that are searched for words
_MAX_WORDS_CHARS = 300
_MAX_DETAILS = 3  # of the errors of one request that are quoted
_TAG = re.compile(r"<[^<>]{0,500}>")
_STATUSES = range(400, 600)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A response of a model server.

    Attributes:
        status: HTTP status; of an error in a response of status 200, the one that the error names, or else 500.
        words: The server's explanation of an error on one line; empty if there is none.
        body: The parsed JSON; None if it is not JSON.
        is_error_inside: Whether it is an error in a response of status 200.
    """

    status: int
    words: str = ""
    body: Any = None
    is_error_inside: bool = False

    @property
    def in_words(self) -> str:
        """Status and explanation, as in an error message.

        >>> Reply(status=400, words="no chat template").in_words
        'status 400: "no chat template"'
        """
        status = "an error in a response of status 200" if self.is_error_inside else f"status {self.status}"
        return f'{status}: "{self.words}"' if self.words else status


def read_reply(status: int, content: bytes) -> Reply:
    """The response with this HTTP status and body.

    >>> read_reply(200, b'{"error": {"message": "the model is overloaded", "code": 503}}').in_words
    'an error in a response of status 200: "the model is overloaded"'
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        words = "" if status == 200 else _one_line(_TAG.sub(" ", content.decode(errors="replace")[:_MAX_BODY_CHARS]))
        return Reply(status=status, words=words)
    if status != 200:
        return Reply(status=status, words=_words_of(body), body=body)
    error = _error_inside(body)
    if error is None:
        return Reply(status=status, body=body)
    return Reply(status=_status_of(error), words=_words_of(error), body=body, is_error_inside=True)


def _error_inside(body: Any) -> Any:
    """The error in the body of a response of status 200; None if there is none."""
    if not isinstance(body, dict):
        return None
    if body.get("error"):
        return body["error"]
    choices = body.get("choices")
    if not choices:
        is_error = body.get("object") == "error" or isinstance(body.get("message") or body.get("detail"), str | list)
        return body if is_error else None
    choice = choices[0] if isinstance(choices, list) else None
    return choice.get("error") or None if isinstance(choice, dict) else None


def _status_of(error: Any) -> int:
    """The HTTP status that an error names; 500 if it names none."""
    names = ("code", "status", "status_code")
    values = [str(error.get(name)) for name in names] if isinstance(error, dict) else []
    return next((int(value) for value in values if value.isdecimal() and int(value) in _STATUSES), 500)


def _words_of(error: Any) -> str:
    """The explanation in the JSON of an error: its message, that of the error within it, or those of its details."""
    message = _message_of(error)
    details = message if isinstance(message, list) else [message]
    messages = [_message_of(detail) for detail in details[:_MAX_DETAILS]]
    return _one_line("; ".join(message for message in messages if isinstance(message, str)))


def _message_of(error: Any) -> Any:
    """What an error says, {"error": {"message": …}} and the like; a value that is not an object says itself."""
    for _ in range(3):
        if not isinstance(error, dict):
            break
        error = next((error[name] for name in ("error", "message", "detail", "msg") if error.get(name)), "")
    return error


def _one_line(text: str) -> str:
    """`text` on one line, shortened, without characters that are not printable."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[:_MAX_BODY_CHARS]).split())
    return line if len(line) <= _MAX_WORDS_CHARS else line[: _MAX_WORDS_CHARS - 1] + "…"
