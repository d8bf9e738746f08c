"""The command line, called within the test's own process."""

from __future__ import annotations

import re
import sys

import pytest

from flows import cli


def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; stderr with its white space folded."""
    monkeypatch.setattr(sys, "argv", ["designclip", *map(str, arguments)])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capfd.readouterr()
    return code, out, re.sub(r"\s+", " ", err)
