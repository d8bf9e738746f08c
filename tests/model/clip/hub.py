"""A hub on the loopback interface: accepts commits to repositories, and rejects requests without the token."""

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
    """A fake hub that records what it receives.

    Attributes:
        created: The request of each repository that was created.
        files: Repository → file → bytes; repositories of datasets are named "datasets/owner/name".
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, dict[str, bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        """The files of a repository."""
        if not self._is_allowed():
            return
        kind, _, rest = self.path.removeprefix("/api/").partition("/")
        files = self.server.files.get(_repository(kind, rest.partition("/tree/")[0]), {})
        self._answer([{"type": "file", "oid": "0", "path": name, "size": len(data)} for name, data in files.items()])

    def _is_allowed(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        self._answer({"error": "Invalid username or password."}, status=401)
        return False

    def do_POST(self) -> None:
        body = self._read()
        if not self._is_allowed():
            return
        kind, _, rest = self.path.removeprefix("/api/").partition("/")
        if (kind, rest) == ("repos", "create"):
            request = json.loads(body)
            self.server.created.append(request)
            self._answer({"url": f"{self.server.url}/{request['organization']}/{request['name']}"})
        elif "/preupload/" in rest:
            files = json.loads(body)["files"]
            modes = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            self._answer({"files": modes})
        elif kind == "validate-yaml":  # the front matter of the model card
            self._answer({"errors": [], "warnings": []})
        else:
            repository = _repository(kind, rest.partition("/commit/")[0])
            lines = [json.loads(line) for line in body.splitlines()]
            kept = self.server.files.setdefault(repository, {})
            for line in lines:
                if line["key"] == "file":
                    kept[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del kept[line["value"]["path"]]
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

    def _answer(self, values: Any, *, status: int = 200) -> None:
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _repository(kind: str, name: str) -> str:
    return f"datasets/{name}" if kind == "datasets" else name


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """A hub that runs until the block ends."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
