"""A hub on the loopback: takes commits of model repositories, and refuses who has no token."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_loopback"


class Hub(ThreadingHTTPServer):
    """What was asked of it.

    Attributes:
        created: What was said of each repository that was to be made.
        files: Repository → file → bytes.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, dict[str, bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self._read()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid username or password."}, status=401)
            return
        kind, _, rest = self.path.removeprefix("/api/").partition("/")
        if (kind, rest) == ("repos", "create"):
            made = json.loads(body)
            self.server.created.append(made)
            self._answer({"url": f"{self.server.url}/{made['organization']}/{made['name']}"})
        elif "/preupload/" in rest:
            files = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            self._answer({"files": modes})
        elif kind == "validate-yaml":  # the head of the card
            self._answer({"errors": [], "warnings": []})
        else:
            repository = rest.partition("/commit/")[0]
            lines = [json.loads(line) for line in body.splitlines()]
            kept = self.server.files.setdefault(repository, {})
            for line in lines:
                if line["key"] == "file":
                    kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            oid = "0" * 40
            self._answer({"commitUrl": f"{self.server.url}/{repository}/commit/{oid}", "commitOid": oid})

    def _read(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):  # chunked
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, values: dict[str, Any], *, status: int = 200) -> None:
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """A hub that answers for the length of the block."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
