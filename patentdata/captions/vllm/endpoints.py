"""Model servers that speak OpenAI's protocol: which of them is asked next, and what becomes of one that fails.

A request goes to the endpoint with the fewest requests in flight. An endpoint that refuses connections, is busy or
fails repeatedly is paused and probed with growing waits until it is up again, so that one bad server of several costs
retries but no captions. Only if no endpoint has answered for `max_outage_s` does the week fail, with the last problem
in its message; waiting longer would hold GPUs and workers for nothing.

A rejected request means one of two things: the view cannot be captioned, or the server is misconfigured (no chat
template, a context too short for a picture, a model that reads only text) and rejects everything. Only a server that
has answered before is believed to mean the view. Until then it gets a few requests at a time, and one that refuses them
all is retired; if that leaves no endpoint, the week fails with the server's own sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from patentdata.archives.downloads import retry_after_s
from patentdata.captions.config import RequestsConfig
from patentdata.captions.vllm.replies import Reply, read_reply
from patentdata.errors import SourceDownError, SourceError

_LOG = logging.getLogger(__name__)

_MAX_BODY_BYTES = 8 << 20
_KEY_VARIABLES = ("VLLM_API_KEY", "OPENAI_API_KEY")
_SCHEMA_WORDS = re.compile(r"response_format|json_schema|structured|guided|grammar", re.IGNORECASE)
_SCHEMA_STATUSES = (400, 415, 422, 500, 501)  # what servers answer to a request with a schema they do not support
_PASSING_STATUSES = (404, 408, 409, 425)  # statuses below 500 that may be another one at the next try
_CHAT_PATH = "/chat/completions"
MAX_REFUSALS = 8  # requests that a server may refuse before its first answer; no more are sent to it at a time
_MAX_FAILURES = 8  # consecutive failures, of any view, until an endpoint is paused
_WATCH_EVERY_S = 0.5


class NoAnswerError(Exception):
    """A try gave no usable answer for a view; another try may succeed.

    Attributes:
        reason: "timeout", "server_error", "bad_response", or "rejected" by an endpoint that has not answered yet.
        endpoint: The endpoint that failed.
        words: The server's own explanation; empty if it gave none.
    """

    def __init__(self, reason: str, endpoint: Endpoint, words: str = "") -> None:
        super().__init__(f"{reason} at {endpoint.display_url}")
        self.reason = reason
        self.endpoint = endpoint
        self.words = words


class RejectedError(Exception):
    """The server rejects this request, however often it is sent; the message is its own explanation."""


class SchemaRefusedError(Exception):
    """A request with a JSON schema failed at a server that has never answered one; perhaps it does not support them.

    Attributes:
        may_pass: Whether the failure may have had another cause, which is gone when the request is sent again.
    """

    def __init__(self, *, may_pass: bool) -> None:
        super().__init__("the schema may be unsupported")
        self.may_pass = may_pass


@dataclass(frozen=True)
class Completion:
    """An answer, and whether it was cut at the token limit."""

    content: str
    is_cut: bool


@dataclass(frozen=True)
class ServedModel:
    """A model as an endpoint reports it: the name to request it by, and its hub name or path ("root")."""

    name: str
    root: str


class Endpoint:
    """One server.

    Attributes:
        display_url: Its address without user, password or key; the only form that may be logged or written.
        base_url: Its address up to "/v1"; without user and password, which are in `headers`, and without the path of
            a single request.
        headers: Authorization of every request.
        model: The model it is asked for; None until it has been up once.
        num_in_flight: Number of requests that wait for its answer.
        knows_schemas: Whether it supports JSON schemas; None until it has answered or refused one.
        has_answered: Whether it has completed a request.
        refused: Hashes of the different requests that it has refused in its own words, if it has not answered any.
        refusal: Why it is not asked any more: what it said to `MAX_REFUSALS` requests; empty while it is asked.
        is_up: Whether it is asked; otherwise it is probed until it is up again.
        num_failures: Number of consecutive failures.
        num_pauses: Number of consecutive waits before a probe.
        up_since: When it was last found up, on the clock of `time.monotonic`.
        paused_until: End of the pause that it asked for itself, on the same clock; 0 if it asked for none.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        address = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
        self.display_url = address
        path = parts.path.rstrip("/")
        self.base_url = address + (path.removesuffix(_CHAT_PATH) if path else "/v1")
        self.headers: dict[str, str] = {}
        key = next((os.environ[name] for name in _KEY_VARIABLES if os.environ.get(name)), None)
        if parts.username is not None:
            self.headers["Authorization"] = aiohttp.BasicAuth(parts.username, parts.password or "").encode()
        elif key:
            self.headers["Authorization"] = f"Bearer {key}"
        self.model: ServedModel | None = None
        self.num_in_flight = 0
        self.knows_schemas: bool | None = None
        self.has_answered = False
        self.refused: set[int] = set()
        self.refusal = ""
        self.is_up = False
        self.num_failures = 0
        self.num_pauses = 0
        self.up_since = 0.0
        self.paused_until = 0.0


class Endpoints:
    """Servers of one model; the least-loaded one is asked. Belongs to one event loop; an async context manager.

    Args:
        urls: Their addresses.
        config: Limits and waits.
        model: Name or folder of the model that every endpoint must serve; None takes what the first one serves.

    Attributes:
        failure: Why waiting for an endpoint was given up; None otherwise.
        trusts_rejections: Whether the model is known to have answered such questions, so that a rejection says
            something about the view even if the endpoint has not answered yet.

    Raises:
        SourceError: On entry, if an endpoint serves another model or refuses the key, or none answers for
            `max_outage_s`.
    """

    def __init__(self, urls: Sequence[str], config: RequestsConfig, model: str | None) -> None:
        self._config = config
        self._wanted = model
        self._all = [Endpoint(url) for url in dict.fromkeys(urls)]
        self._waiting: deque[tuple[asyncio.Future[Endpoint], Endpoint | None]] = deque()
        self._silent_since: float | None = time.monotonic()
        self._probes: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._last_problem = "no answer"
        self.failure: SourceError | None = None
        self.trusts_rejections = False

    async def __aenter__(self) -> Endpoints:
        num = self._config.num_in_flight * len(self._all)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=num, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_s, sock_connect=self._config.connect_timeout_s),
            trust_env=False,
        )
        self._watch = asyncio.create_task(self._watch_outage())
        try:
            await asyncio.gather(*(self._probe(endpoint) for endpoint in self._all))
            for endpoint in self._all:
                if not endpoint.is_up:
                    self._probe_later(endpoint)
            async with self.acquire():  # waits until one is up
                pass
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._probes, *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    @property
    def served(self) -> ServedModel:
        """The model of the endpoints."""
        return next(endpoint.model for endpoint in self._all if endpoint.model is not None)

    def fail(self, error: SourceError) -> None:
        """Give up: every present and future wait for an endpoint ends with `error`."""
        self.failure = self.failure or error
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(self.failure)

    @contextlib.asynccontextmanager
    async def acquire(self, avoid: Endpoint | None = None) -> AsyncIterator[Endpoint]:
        """The least-loaded endpoint with a free slot, as soon as there is one; `avoid` only if there is no other.

        Raises:
            SourceError: There has been none for `max_outage_s`.
        """
        if self.failure:
            raise self.failure
        waiting: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiting, avoid))
        self._assign()
        try:
            endpoint = await waiting
        except asyncio.CancelledError:
            # The slot may have been assigned just before the cancellation.
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._release(waiting.result())
            raise
        try:
            yield endpoint
        finally:
            self._release(endpoint)

    async def complete(self, endpoint: Endpoint, body: Mapping[str, Any]) -> Completion | None:
        """Ask one endpoint for a completion.

        Returns:
            Its answer, or None if it could not be asked, which does not count as a try: the connection was refused, or
            it is busy.

        Raises:
            NoAnswerError, RejectedError, SchemaRefusedError: See there.
            SourceError: It refuses the key.
        """
        began = time.monotonic()
        assert endpoint.model is not None, "an endpoint that is up has reported its model"
        data = json.dumps({"model": endpoint.model.name, **body}, separators=(",", ":")).encode()
        headers = {**endpoint.headers, "Content-Type": "application/json"}
        try:
            async with self._session.post(
                f"{endpoint.base_url}/chat/completions", data=data, headers=headers, allow_redirects=False
            ) as response:
                status, content = response.status, await _read_body(response)
                pause_s = retry_after_s(response.headers)
        except aiohttp.ClientConnectorError:
            self._pause(endpoint, began, "refuses connections")
            return None
        except TimeoutError:
            self._count_failure(endpoint, began, "does not answer in time")
            raise NoAnswerError("timeout", endpoint) from None
        except aiohttp.ClientPayloadError:
            self._count_failure(endpoint, began, "breaks off its answers")
            raise NoAnswerError("bad_response", endpoint) from None
        except (aiohttp.ClientError, OSError) as error:
            self._pause(endpoint, began, f"closes connections ({type(error).__name__})")
            raise NoAnswerError("server_error", endpoint) from None
        reply = read_reply(status, content)
        if reply.status == 429 or (reply.status == 503 and pause_s is not None):
            request = f" and asks to wait {pause_s:.0f} s" if pause_s else ""
            self._pause(endpoint, began, f"is busy (status {reply.status}){request}", pause_s)
            return None
        has_schema = "response_format" in body
        self._check_status(endpoint, began, data, reply, has_schema=has_schema)
        return self._read_completion(endpoint, began, reply, has_schema=has_schema)

    def _check_status(
        self, endpoint: Endpoint, began: float, request: bytes, reply: Reply, *, has_schema: bool
    ) -> None:
        """Raise the error that the status of a response means, if any."""
        status = reply.status
        if status in (401, 403):
            raise _refused_key(endpoint, status)
        if has_schema and not endpoint.knows_schemas and status in _SCHEMA_STATUSES:
            # It is known by now to refuse schemas if another request found that out while this one was in flight.
            is_refused = endpoint.knows_schemas is False or _SCHEMA_WORDS.search(reply.words) is not None
            raise SchemaRefusedError(may_pass=status == 500 and not is_refused)
        problem = f"answers with {reply.in_words}"
        if status >= 500 or status in _PASSING_STATUSES or status < 200 or 300 <= status < 400:
            if reply.is_error_inside:
                self._count_refusal(endpoint, request, problem)
            self._count_failure(endpoint, began, problem)
            raise NoAnswerError("server_error", endpoint, reply.words)
        if status >= 400:
            self._note_problem(endpoint, problem)
            if self._is_trusted(endpoint):
                self._count_reply(endpoint)
                raise RejectedError(reply.words or f"status {status}")
            self._count_refusal(endpoint, request, problem)
            raise NoAnswerError("rejected", endpoint, reply.words)

    def _read_completion(self, endpoint: Endpoint, began: float, reply: Reply, *, has_schema: bool) -> Completion:
        """The completion in the body of a response. Raises NoAnswerError if there is none."""
        try:
            choice = reply.body["choices"][0]
            text = choice["message"]["content"]
            if not isinstance(text, str | None):
                raise TypeError
        except (KeyError, IndexError, TypeError):
            self._count_failure(endpoint, began, "answers with something other than a completion")
            raise NoAnswerError("bad_response", endpoint) from None
        self._count_reply(endpoint)
        endpoint.has_answered = True
        if has_schema:
            endpoint.knows_schemas = True
        return Completion(text or "", is_cut=choice.get("finish_reason") == "length")

    def _is_trusted(self, endpoint: Endpoint) -> bool:
        return endpoint.has_answered or self.trusts_rejections

    def _count_refusal(self, endpoint: Endpoint, request: bytes, problem: str) -> None:
        """Count a request that a server refuses in its own words; it is retired if it refuses all of the first few.

        Further tries of one request do not count: one view that is rejected again and again while the first answers
        are still being made says nothing about the server.
        """
        if self._is_trusted(endpoint):
            return
        endpoint.refused.add(hash(request))
        if len(endpoint.refused) < MAX_REFUSALS or endpoint.refusal:
            return
        endpoint.refusal = problem
        endpoint.is_up = False
        _LOG.warning("%s is not asked any more: it %s", endpoint.display_url, problem)
        if all(other.refusal for other in self._all):
            refusals = "; ".join(f"{other.display_url} {other.refusal}" for other in self._all)
            self.fail(
                SourceDownError(
                    f"no request is answered: {refusals}; captions finished so far are kept: fix the server and run "
                    "again"
                )
            )

    def _assign(self) -> None:
        """Give free slots to those who wait, first come first served."""
        while self._waiting:
            waiting, avoid = self._waiting[0]
            if waiting.done():
                self._waiting.popleft()
                continue
            free = [
                endpoint
                for endpoint in self._all
                if endpoint.is_up and endpoint.num_in_flight < self._max_in_flight(endpoint)
            ]
            if not free:
                return
            endpoint = min(free, key=lambda endpoint: (endpoint is avoid, endpoint.num_in_flight))
            endpoint.num_in_flight += 1
            self._waiting.popleft()
            waiting.set_result(endpoint)

    def _max_in_flight(self, endpoint: Endpoint) -> int:
        most = self._config.num_in_flight
        return most if self._is_trusted(endpoint) else min(most, MAX_REFUSALS)

    def _release(self, endpoint: Endpoint) -> None:
        endpoint.num_in_flight -= 1
        self._assign()

    def _count_reply(self, endpoint: Endpoint) -> None:
        endpoint.num_failures = endpoint.num_pauses = 0
        self._silent_since = None

    def _count_failure(self, endpoint: Endpoint, began: float, problem: str) -> None:
        self._note_problem(endpoint, problem)
        endpoint.num_failures += 1
        if endpoint.num_failures >= _MAX_FAILURES:
            self._pause(endpoint, began, problem)

    def _note_problem(self, endpoint: Endpoint, problem: str) -> None:
        self._last_problem = f"{endpoint.display_url} {problem}"
        if self._silent_since is None:
            self._silent_since = time.monotonic()

    def _pause(self, endpoint: Endpoint, began: float, problem: str, pause_s: float | None = None) -> None:
        """Stop asking an endpoint, for at least the seconds that it asks for, and probe it until it is up again.

        The result of a request that began before the endpoint was last found up says nothing about it now.
        """
        self._note_problem(endpoint, problem)
        if endpoint.is_up and began >= endpoint.up_since:
            _LOG.info("%s is paused: it %s", endpoint.display_url, problem)
            endpoint.is_up = False
            endpoint.paused_until = 0.0 if pause_s is None else time.monotonic() + pause_s
            self._probe_later(endpoint, pause_s)

    def _probe_later(self, endpoint: Endpoint, pause_s: float | None = None) -> None:
        task = asyncio.create_task(self._probe_until_up(endpoint, pause_s))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _probe_until_up(self, endpoint: Endpoint, pause_s: float | None) -> None:
        while not endpoint.is_up and not endpoint.refusal:
            longest = min(self._config.longest_wait_s, self._config.first_wait_s * 2 ** min(endpoint.num_pauses, 30))
            endpoint.num_pauses += 1
            await asyncio.sleep(max(longest * random.uniform(0.5, 1), pause_s or 0.0))
            pause_s = None
            try:
                await self._probe(endpoint)
            except SourceError as error:  # it now serves something else, and is not probed any more
                _LOG.info("%s", error)
                self._last_problem = str(error)
                return
        if endpoint.is_up:
            _LOG.info("%s is up and asked again", endpoint.display_url)

    async def _probe(self, endpoint: Endpoint) -> None:
        """Ask an endpoint for its models, and mark it up if it serves the right one.

        Raises:
            SourceError: It serves another model, or refuses the key.
        """
        timeout = aiohttp.ClientTimeout(total=self._config.connect_timeout_s)
        try:
            async with self._session.get(
                f"{endpoint.base_url}/models", headers=endpoint.headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status in (401, 403):
                    raise _refused_key(endpoint, response.status)
                if response.status != 200:
                    self._note_problem(endpoint, f"answers with status {response.status}")
                    return
                cards = json.loads(await _read_body(response))["data"]
                models = [ServedModel(card["id"], card.get("root") or card["id"]) for card in cards]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._note_problem(endpoint, f"does not say what it serves ({type(error).__name__})")
            return
        endpoint.model = self._choose_model(endpoint, models)
        endpoint.num_failures = 0
        endpoint.is_up, endpoint.up_since = not endpoint.refusal, time.monotonic()
        self._assign()

    def _choose_model(self, endpoint: Endpoint, models: Sequence[ServedModel]) -> ServedModel:
        """The model to ask an endpoint for. Raises SourceError if it does not serve the right one."""
        others = [other.model for other in self._all if other.model is not None]
        if self._wanted is None and others:
            fitting = [model for model in models if model == others[0]]
        elif self._wanted is None:
            fitting = list(models) if len(models) == 1 else []
        else:
            names = {self._wanted, self._wanted.rstrip("/").rpartition("/")[2]}
            fitting = [model for model in models if self._wanted in (model.name, model.root)]
            fitting = fitting or [model for model in models if model.name in names]
        if fitting:
            return fitting[0]
        served = ", ".join(model.name for model in models) or "nothing"
        wanted = self._wanted or (others[0].name if others else None)
        if wanted is None:
            raise SourceError(f"{endpoint.display_url} serves {served}; name the one model to use in the setting model")
        raise SourceError(
            f"{endpoint.display_url} serves {served}, not {wanted}; start it with that model, or leave it out"
        )

    async def _watch_outage(self) -> None:
        """Fail once no endpoint has been up for `max_outage_s`, or all have asked for longer pauses than that."""
        while not self.failure:
            await asyncio.sleep(min(_WATCH_EVERY_S, self._config.max_outage_s / 4))
            if any(endpoint.is_up for endpoint in self._all):
                continue
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            # A pause that is known to be too long is not waited for.
            soonest = max(now, min(endpoint.paused_until for endpoint in self._all))
            if soonest - self._silent_since > self._config.max_outage_s:
                self.fail(
                    SourceError(
                        f"no endpoint answers for {self._config.max_outage_s:g} s (last: {self._last_problem}); "
                        "captions finished so far are kept: start a server, or wait, and run again"
                    )
                )


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """A reply's body, cut off at a length that no caption reaches, so that a reply without end takes no memory."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) >= _MAX_BODY_BYTES:
            break
    return bytes(body[:_MAX_BODY_BYTES])


def _refused_key(endpoint: Endpoint, status: int) -> SourceError:
    return SourceError(
        f"{endpoint.display_url} refuses the key (status {status}); set it in {' or '.join(_KEY_VARIABLES)}"
    )
