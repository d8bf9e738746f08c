"""A small OpenAI-compatible server on the loopback: deterministic, with every fault on demand.

It replaces a real model server, which takes a minute to start and cannot be made to fail. The caption is a function of
the request, so the same question has the same answer from any endpoint, in any order.

    python -m tests.patentdata.captions.vllm.endpoint    # serves until killed; prints its address
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "tiny/llava"

_WORDS = [
    "slender",
    "squat",
    "round",
    "oval",
    "tapered",
    "flared",
    "stepped",
    "ribbed",
    "fluted",
    "domed",
    "hollow",
    "curved",
    "straight",
    "wide",
    "narrow",
    "tall",
    "low",
    "open",
    "closed",
    "split",
    "double",
    "single",
    "folded",
    "arched",
]


@dataclass(frozen=True)
class Asked:
    """One question: its prompt, its first picture, and how often the same picture was asked about before.

    Attributes:
        images: All of its pictures.
    """

    text: str
    image: bytes
    body: dict[str, Any]
    num_before: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    images: tuple[bytes, ...] = ()

    @property
    def labels(self) -> list[str]:
        """The labels of the views of a patent that are asked about; empty if one view is."""
        schema = self.body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        return schema.get("properties", {}).get("views", {}).get("required", [])


@dataclass(frozen=True)
class Reply:
    """A response; `body` is sent unchanged, and `fault` says what goes wrong instead of a normal response."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    fault: str = ""  # "hang" (no response), "cut" (closed in the middle of the body), "reset" (closed before any byte)


def says(content: str | None, finish_reason: str = "stop") -> Reply:
    """A normal completion with this content."""
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 600, "completion_tokens": 40, "total_tokens": 640}
    return Reply(
        body=json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
    )


def fails(status: int, message: str = "no", *, retry_after: str | None = None) -> Reply:
    """An error in the form that vLLM gives it."""
    headers = (("Retry-After", retry_after),) if retry_after is not None else ()
    error = {"message": message, "type": "error", "param": None, "code": status}
    return Reply(status=status, body=json.dumps({"error": error}).encode(), headers=headers)


def says_error(message: str, *, code: int | None = None) -> Reply:
    """An error in a response of status 200, as some gateways give it."""
    return Reply(body=json.dumps({"error": {"message": message, "code": code}}).encode())


GARBAGE = Reply(body=b"<html>not what you asked for")
NOTHING = Reply(body=b"")
HALF = Reply(body=says("half").body[:40])
HANGS = Reply(fault="hang")
CUT = Reply(body=says("cut").body, fault="cut")
RESET = Reply(fault="reset")


def caption_of(asked: Asked) -> Reply:
    """The normal answer of this endpoint: as JSON, as labelled lines or as free text, as the request asks for."""
    if asked.labels:
        views = {
            label: {"shape": _sentences(asked.text, image)[0]}
            for label, image in zip(asked.labels, asked.images, strict=True)
        }
        return says(json.dumps({"function": _sentences(asked.text, asked.image)[1], "views": views}))
    shape, function = _sentences(asked.text, asked.image)
    if "response_format" in asked.body:
        return says(json.dumps({"shape": shape, "function": function}))
    if "Shape:" in asked.text:
        return says(f"Shape: {shape}\nFunction: {function}")
    return says(f" {shape} {function}")


def _sentences(question: str, image: bytes) -> tuple[str, str]:
    """Shape and function that depend on the question and the picture."""
    digest = hashlib.sha256(question.encode() + image).digest()
    words = [_WORDS[byte % len(_WORDS)] for byte in digest[:6]]
    shape = f"A {words[0]}, {words[1]} body with a {words[2]} {words[3]} top and {2 + digest[6] % 8} {words[4]} legs."
    function = f"It holds {words[5]} things number {digest[7]}."
    return shape, function


class Endpoint:
    """A server on a free port of the loopback.

    Attributes:
        on_question: Returns the reply to a question, or None for the normal one.
        model, root: Name and root of the model in the response to /v1/models.
        knows_schemas: Whether requests with a JSON schema are accepted.
        delay_s: Seconds that an answer takes.
        asked: Every question in the order of arrival, if `keeps_questions`.
        paths: The path of every question.
        num_asked: Number of questions so far.
        num_at_once, most_at_once: Number of questions being answered now, and the most there ever were.
    """

    def __init__(
        self,
        on_question: Callable[[Asked], Reply | None] = lambda asked: None,
        *,
        model: str = MODEL,
        root: str | None = None,
        knows_schemas: bool = True,
        delay_s: float = 0.0,
        keeps_questions: bool = True,
    ) -> None:
        self.on_question = on_question
        self.model, self.root = model, root
        self.knows_schemas = knows_schemas
        self.delay_s = delay_s
        self.keeps_questions = keeps_questions
        self.asked: list[Asked] = []
        self.paths: list[str] = []
        self.num_asked = 0
        self.num_at_once = self.most_at_once = 0
        self._num_asked_about: dict[str, int] = {}  # SHA-256 of a picture → number of questions
        self._lock = threading.Lock()
        self._port = 0
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        """Serve, on the same port as before if it was stopped."""
        endpoint = self

        class Handler(_Handler):
            owner = endpoint

        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Stop abruptly: close the listening socket and every connection, those with a pending answer included."""
        if self._server is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        with self._lock:
            connections, self._connections = list(self._connections), set()
        for connection in connections:
            _reset(connection)

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def answering(
        self, text: str, images: tuple[bytes, ...], body: dict[str, Any], headers: dict[str, str]
    ) -> Iterator[Asked]:
        """Count one question as being answered for the duration of the block."""
        image = images[0] if images else b""
        name = hashlib.sha256(image).hexdigest()
        with self._lock:
            asked = Asked(text, image, body, self._num_asked_about.get(name, 0), headers, images)
            self._num_asked_about[name] = asked.num_before + 1
            self.num_asked += 1
            if self.keeps_questions:
                self.asked.append(asked)
            self.num_at_once += 1
            self.most_at_once = max(self.most_at_once, self.num_at_once)
        try:
            yield asked
        finally:
            with self._lock:
                self.num_at_once -= 1

    def reply_to(self, asked: Asked) -> Reply:
        if "response_format" in asked.body and not self.knows_schemas:
            return fails(400, "response_format of type json_schema is not supported by this server")
        if self.delay_s:
            time.sleep(self.delay_s)
        return self.on_question(asked) or caption_of(asked)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Ignore clients that close the connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: Endpoint

    def setup(self) -> None:
        super().setup()
        self.owner._connections.add(self.connection)

    def finish(self) -> None:
        self.owner._connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        if self.path.endswith("/models"):
            card = {"id": self.owner.model, "object": "model", "root": self.owner.root or self.owner.model}
            self._send(Reply(body=json.dumps({"object": "list", "data": [card]}).encode()))
        else:
            self._send(Reply(status=200 if self.path == "/health" else 404))

    def do_POST(self) -> None:
        self.owner.paths.append(self.path)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text, images = _question_of(body)
        with self.owner.answering(text, images, body, dict(self.headers)) as asked:
            self._send(self.owner.reply_to(asked))

    def _send(self, reply: Reply) -> None:
        if reply.fault == "hang":
            self.owner._stopping.wait()
        if reply.fault in ("hang", "reset"):
            self.close_connection = True
            _reset(self.connection)
            return
        head = [f"HTTP/1.1 {reply.status} X", "Content-Type: application/json", f"Content-Length: {len(reply.body)}"]
        head += [f"{name}: {value}" for name, value in reply.headers]
        body = reply.body[: len(reply.body) // 2] if reply.fault == "cut" else reply.body
        self.wfile.write("\r\n".join([*head, "", ""]).encode() + body)
        if reply.fault == "cut":
            self.close_connection = True


def _question_of(body: dict[str, Any]) -> tuple[str, tuple[bytes, ...]]:
    """Text and pictures of the last message."""
    text, images = "", []
    for part in body["messages"][-1]["content"]:
        if part["type"] == "text":
            text = part["text"]
        else:
            match = re.fullmatch(r"data:image/png;base64,(.*)", part["image_url"]["url"])
            assert match, "the picture must be a PNG in a data URL"
            images.append(base64.b64decode(match[1], validate=True))
    return text, tuple(images)


def _reset(connection: socket.socket) -> None:
    """Close a connection so that its other end gets a reset."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        connection.close()


if __name__ == "__main__":
    with Endpoint(keeps_questions=False) as served:
        print(served.url, flush=True)
        threading.Event().wait()
