"""Model servers that speak OpenAI's protocol: which of them is asked next, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
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
from patentdata.errors import SourceError

_KEY_VARIABLES = ("VLLM_API_KEY", "OPENAI_API_KEY")
_SCHEMA_REFUSED = re.compile(r"response_format|json_schema|structured|guided|grammar", re.IGNORECASE)
_MAX_FAILURES = 8  # in a row, of any view, until an endpoint is left out for a while
_LOOK_EVERY_S = 0.5


class LostError(Exception):
    """No usable answer for this view by this try; another try may do better.

    Attributes:
        reason: "timeout", "server_error" or "bad_response".
        endpoint: The one that failed.
    """

    def __init__(self, reason: str, endpoint: Endpoint) -> None:
        super().__init__(f"{reason} at {endpoint.shown}")
        self.reason = reason
        self.endpoint = endpoint


class RejectedError(Exception):
    """The server will not have this question, however often it is asked."""


class SchemaRefusedError(Exception):
    """The server knows no JSON schema."""


@dataclass(frozen=True)
class Completion:
    """An answer, and whether it was cut at the bound of tokens."""

    content: str
    is_cut: bool


@dataclass(frozen=True)
class ServedModel:
    """What an endpoint says it serves: the name to ask for, and where it comes from."""

    name: str
    root: str


class Endpoint:
    """One server.

    Attributes:
        shown: Its address without user, password or key; the only form that may be logged or written.
        num_in_flight: Requests waiting for its answer.
        knows_schemas: False once it has refused a JSON schema.
        is_up: Whether it is asked; one that is not is looked at again after a rest.
        rests_until: End of the rest that it asked for itself, on the clock of `time.monotonic`; 0 for none.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        address = f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
        self.shown = address
        self.base_url = address + (parts.path.rstrip("/") or "/v1")
        self.headers: dict[str, str] = {}
        key = next((os.environ[name] for name in _KEY_VARIABLES if os.environ.get(name)), None)
        if parts.username is not None:
            self.headers["Authorization"] = aiohttp.BasicAuth(parts.username, parts.password or "").encode()
        elif key:
            self.headers["Authorization"] = f"Bearer {key}"
        self.model: ServedModel | None = None
        self.num_in_flight = 0
        self.knows_schemas = True
        self.is_up = False
        self.num_failures = 0  # in a row
        self.num_rests = 0  # in a row
        self.up_since = 0.0
        self.rests_until = 0.0


class Endpoints:
    """Servers of one model, asked least-loaded first. Belongs to one event loop; use as an async context manager.

    Args:
        urls: Their addresses.
        config: Bounds and waits.
        model: Name, or folder, that every endpoint must serve; None takes what the first one serves.

    Raises:
        SourceError: On entry, when an endpoint serves another model, refuses the key, or none answers for
            `max_outage_s`.
    """

    def __init__(self, urls: Sequence[str], config: RequestsConfig, model: str | None) -> None:
        self._config = config
        self._wanted = model
        self._all = [Endpoint(url) for url in dict.fromkeys(urls)]
        self._waiting: deque[tuple[asyncio.Future[Endpoint], Endpoint | None]] = deque()
        self._silent_since: float | None = time.monotonic()
        self._looks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._last_trouble = "no answer"
        self.failure: SourceError | None = None

    async def __aenter__(self) -> Endpoints:
        num = self._config.num_in_flight * len(self._all)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=num, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_s, sock_connect=self._config.connect_timeout_s),
            trust_env=False,
        )
        self._watch = asyncio.create_task(self._watch_outage())
        try:
            await asyncio.gather(*(self._look(endpoint) for endpoint in self._all))
            for endpoint in self._all:
                if not endpoint.is_up:
                    self._look_later(endpoint)
            async with self.one():  # waits until there is one
                pass
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._looks, *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    @property
    def served(self) -> ServedModel:
        """The model of the endpoints."""
        return next(endpoint.model for endpoint in self._all if endpoint.model is not None)

    def fail(self, error: SourceError) -> None:
        """Give up: every wait for an endpoint ends with `error`."""
        self.failure = self.failure or error
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(self.failure)

    @contextlib.asynccontextmanager
    async def one(self, avoid: Endpoint | None = None) -> AsyncIterator[Endpoint]:
        """The least-loaded endpoint with room, as soon as there is one; `avoid` only where there is no other.

        Raises:
            SourceError: There has been none for `max_outage_s`.
        """
        if self.failure:
            raise self.failure
        waiting: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiting, avoid))
        self._hand_out()
        try:
            endpoint = await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._take_back(waiting.result())
            raise
        try:
            yield endpoint
        finally:
            self._take_back(endpoint)

    async def complete(self, endpoint: Endpoint, body: Mapping[str, Any]) -> Completion | None:
        """Ask one endpoint.

        Returns:
            Its answer, or None where it could not be asked and the view has had no try: the connection was refused, or
            it said that it is busy.

        Raises:
            LostError, RejectedError, SchemaRefusedError: See there.
            SourceError: It refuses the key.
        """
        began = time.monotonic()
        assert endpoint.model is not None, "an endpoint that is up has told its model"
        data = json.dumps({"model": endpoint.model.name, **body}, separators=(",", ":")).encode()
        headers = {**endpoint.headers, "Content-Type": "application/json"}
        try:
            async with self._session.post(
                f"{endpoint.base_url}/chat/completions", data=data, headers=headers, allow_redirects=False
            ) as response:
                status, content = response.status, await response.read()
                rest_s = retry_after_s(response.headers)
        except aiohttp.ClientConnectorError:
            self._rest(endpoint, began, "refuses connections")
            return None
        except TimeoutError:
            self._count_failure(endpoint, began, "does not answer in time")
            raise LostError("timeout", endpoint) from None
        except aiohttp.ClientPayloadError:
            self._count_failure(endpoint, began, "ends its answers half way")
            raise LostError("bad_response", endpoint) from None
        except (aiohttp.ClientError, OSError) as error:
            self._rest(endpoint, began, f"closes connections ({type(error).__name__})")
            raise LostError("server_error", endpoint) from None
        if status == 429 or (status == 503 and rest_s is not None):
            asked = f" and asks for {rest_s:.0f} s of rest" if rest_s else ""
            self._rest(endpoint, began, f"is busy (status {status}){asked}", rest_s)
            return None
        if status in (401, 403):
            raise SourceError(
                f"{endpoint.shown} refuses the key (status {status}); set it in {' or '.join(_KEY_VARIABLES)}"
            )
        if status == 400 and "response_format" in body and _SCHEMA_REFUSED.search(content.decode(errors="replace")):
            endpoint.knows_schemas = False
            raise SchemaRefusedError
        if status >= 500 or status in (404, 408, 409, 425) or status < 200 or 300 <= status < 400:
            self._count_failure(endpoint, began, f"answers with status {status}")
            raise LostError("server_error", endpoint)
        if status >= 400:
            self._count_answer(endpoint)
            raise RejectedError(f"status {status}")
        try:
            choice = json.loads(content)["choices"][0]
            text = choice["message"]["content"]
            if not isinstance(text, str | None):
                raise TypeError
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            self._count_failure(endpoint, began, "answers with something else than a completion")
            raise LostError("bad_response", endpoint) from None
        self._count_answer(endpoint)
        return Completion(text or "", is_cut=choice.get("finish_reason") == "length")

    def _hand_out(self) -> None:
        while self._waiting:
            waiting, avoid = self._waiting[0]
            if waiting.done():
                self._waiting.popleft()
                continue
            free = [
                endpoint
                for endpoint in self._all
                if endpoint.is_up and endpoint.num_in_flight < self._config.num_in_flight
            ]
            if not free:
                return
            endpoint = min(free, key=lambda endpoint: (endpoint is avoid, endpoint.num_in_flight))
            endpoint.num_in_flight += 1
            self._waiting.popleft()
            waiting.set_result(endpoint)

    def _take_back(self, endpoint: Endpoint) -> None:
        endpoint.num_in_flight -= 1
        self._hand_out()

    def _count_answer(self, endpoint: Endpoint) -> None:
        endpoint.num_failures = endpoint.num_rests = 0
        self._silent_since = None

    def _count_failure(self, endpoint: Endpoint, began: float, trouble: str) -> None:
        self._note_trouble(endpoint, trouble)
        endpoint.num_failures += 1
        if endpoint.num_failures >= _MAX_FAILURES:
            self._rest(endpoint, began, trouble)

    def _note_trouble(self, endpoint: Endpoint, trouble: str) -> None:
        self._last_trouble = f"{endpoint.shown} {trouble}"
        if self._silent_since is None:
            self._silent_since = time.monotonic()

    def _rest(self, endpoint: Endpoint, began: float, trouble: str, rest_s: float | None = None) -> None:
        """Leave an endpoint out, for the rest that it asks for. News of a request from before its last is old news."""
        self._note_trouble(endpoint, trouble)
        if endpoint.is_up and began >= endpoint.up_since:
            endpoint.is_up = False
            endpoint.rests_until = 0.0 if rest_s is None else time.monotonic() + rest_s
            self._look_later(endpoint, rest_s)

    def _look_later(self, endpoint: Endpoint, rest_s: float | None = None) -> None:
        task = asyncio.create_task(self._look_until_up(endpoint, rest_s))
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)

    async def _look_until_up(self, endpoint: Endpoint, rest_s: float | None) -> None:
        while not endpoint.is_up:
            longest = min(self._config.longest_wait_s, self._config.first_wait_s * 2 ** min(endpoint.num_rests, 30))
            endpoint.num_rests += 1
            await asyncio.sleep(max(longest * random.uniform(0.5, 1), rest_s or 0.0))
            rest_s = None
            try:
                await self._look(endpoint)
            except SourceError as error:  # it came back as something else, and is of no more use
                self._last_trouble = str(error)
                return

    async def _look(self, endpoint: Endpoint) -> None:
        """Ask what it serves, and take it up where that is the model. Raises SourceError where it is another."""
        timeout = aiohttp.ClientTimeout(total=self._config.connect_timeout_s)
        try:
            async with self._session.get(
                f"{endpoint.base_url}/models", headers=endpoint.headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status in (401, 403):
                    raise SourceError(
                        f"{endpoint.shown} refuses the key (status {response.status}); "
                        f"set it in {' or '.join(_KEY_VARIABLES)}"
                    )
                if response.status != 200:
                    self._note_trouble(endpoint, f"answers with status {response.status}")
                    return
                cards = json.loads(await response.read())["data"]
                models = [ServedModel(card["id"], card.get("root") or card["id"]) for card in cards]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._note_trouble(endpoint, f"does not say what it serves ({type(error).__name__})")
            return
        endpoint.model = self._choose(endpoint, models)
        endpoint.num_failures = 0
        endpoint.is_up, endpoint.up_since = True, time.monotonic()
        self._hand_out()

    def _choose(self, endpoint: Endpoint, models: Sequence[ServedModel]) -> ServedModel:
        others = [other.model for other in self._all if other.model is not None]
        if self._wanted is None and others:
            fitting = [model for model in models if model == others[0]]
        elif self._wanted is None:
            fitting = list(models) if len(models) == 1 else []
        else:
            names = {self._wanted, self._wanted.rstrip("/").rpartition("/")[2]}
            fitting = [model for model in models if self._wanted in (model.name, model.root)]
            fitting = fitting or [model for model in models if model.name in names]
        if not fitting:
            wanted = self._wanted or (others[0].name if others else "one model; name it in model")
            served = ", ".join(model.name for model in models) or "nothing"
            raise SourceError(
                f"{endpoint.shown} serves {served}, not {wanted}; start it with that model, or leave it out"
            )
        return fitting[0]

    async def _watch_outage(self) -> None:
        while not self.failure:
            await asyncio.sleep(min(_LOOK_EVERY_S, self._config.max_outage_s / 4))
            if any(endpoint.is_up for endpoint in self._all):
                continue
            now = time.monotonic()
            self._silent_since = self._silent_since or now
            # A rest that is known to be too long is not waited for.
            soonest = max(now, min(endpoint.rests_until for endpoint in self._all))
            if soonest - self._silent_since > self._config.max_outage_s:
                self.fail(
                    SourceError(
                        f"no endpoint answers for {self._config.max_outage_s:g} s (last: {self._last_trouble}); "
                        "captions done so far are kept: start a server, or wait, and run again"
                    )
                )
