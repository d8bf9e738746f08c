"""Captions by a vision-language model: many views are asked about at a time, and rows come in the order of the views.

An event loop in a thread of its own keeps the endpoints busy. The caller's thread reads views, submits them, and takes
finished rows from the head of a queue. Two limits bound the memory: the number of views whose picture is in memory, and
the number of finished rows that wait for a slower one before them.

One view never fails a week: a view without a usable answer gets a row with its reason. Only a server that gives no
answer to many views in a row, or to none at all, is an error, since then every further request would be wasted, and a
week without captions would look finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import pyarrow as pa
import stamina

from patentdata.captions import clip_tokens
from patentdata.captions.answers import UNANSWERED_REASONS, Texts, UnusableAnswerError, read_answer
from patentdata.captions.captioner import Row, cache_key
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.prompts import Prompt, Question, load_prompt
from patentdata.captions.vllm.endpoints import (
    MAX_REFUSALS,
    Completion,
    Endpoint,
    Endpoints,
    NoAnswerError,
    RejectedError,
    SchemaRefusedError,
    ServedModel,
)
from patentdata.captions.vllm.identity import ModelIdentity
from patentdata.captions.vllm.images import ImageWorkers
from patentdata.captions.vllm.journal import Journal
from patentdata.errors import SourceDownError, SourceError

_LOG = logging.getLogger(__name__)

_NUM_AHEAD = 32  # views prepared or being prepared beyond what the endpoints can take
_ROWS_A_VIEW = 16  # finished rows that may wait, for each view whose picture may be in memory
_RETRY_NAME = "designclip ask"

ResultT = TypeVar("ResultT")


def _is_not_of_this_module(record: logging.LogRecord) -> bool:
    return getattr(record, "stamina.callable", None) != _RETRY_NAME


# Without this filter, a failing server would log a warning for every try of every view; they are counted as reasons.
logging.getLogger("stamina").addFilter(_is_not_of_this_module)


class VlmCaptioner:
    """Captions by a model behind endpoints; see `Captioner`.

    Args:
        config: Settings.
        model: The model that makes the captions.
        urls: Endpoints that serve it.
        journal: Where finished rows are stored and looked up; None stores none.

    Attributes:
        num_asked: Number of views that were sent to an endpoint rather than found in the journal.
        most_images_held: The most views whose picture was in memory at a time.
    """

    name = "vllm"
    needs_images = True

    def __init__(
        self, config: CaptionsConfig, model: ModelIdentity, urls: Iterable[str], journal: Journal | None = None
    ) -> None:
        self._config = config
        self._model = model
        self._urls = tuple(urls)
        self._journal = journal
        self._prompt = load_prompt(config.prompt)
        self.num_asked = 0
        self.most_images_held = 0

    @property
    def settings(self) -> Mapping[str, Any]:
        return settings_of(self._config, self._model)

    @property
    def other_fields(self) -> pa.StructType | None:
        return self._prompt.other_fields

    def caption(self, views: Iterable[Row]) -> Iterator[Row]:
        """See `Captioner`.

        Raises:
            SourceError: No endpoint answers, or none answers any of the views or many in a row.
            OutputError: The journal cannot be written.
        """
        num_slots = self._config.requests.num_in_flight * max(1, len(self._urls)) + _NUM_AHEAD
        slots = _Slots(num_slots)
        pending: deque[Future[Row] | Row] = deque()
        with _event_loop() as loop:
            asker = _Asker(self._config, self._model, self._urls, self._journal)
            try:
                for view in views:
                    question = self._prompt.ask(view)
                    key = self._key(view, question)
                    known = self._journal.get(key) if self._journal else None
                    if known is not None and _reads_the_same(known, self._prompt):
                        asker.count_known(known)
                        pending.append({**known, "view_id": view["view_id"]})
                    else:
                        slots.take()
                        self.num_asked += 1
                        future = asyncio.run_coroutine_threadsafe(asker.row(view, question, key), loop)
                        future.add_done_callback(lambda _: slots.release())
                        pending.append(future)
                    # Yield what is finished at the head; wait for it only if too many rows are queued behind it.
                    while pending and (len(pending) >= num_slots * _ROWS_A_VIEW or _is_done(pending[0])):
                        yield _result(pending.popleft())
                while pending:
                    yield _result(pending.popleft())
                asker.check_answered()
            finally:
                self.most_images_held = slots.most_taken
                _call(loop, _cancel_all())
                _call(loop, asker.close())

    def _key(self, view: Row, question: Question) -> str:
        sampling = {**asdict(self._config.sampling), **_image_settings(self._model)}
        prompt = f"{self._prompt.identity}\n{question.text}"
        return cache_key(
            view["image_sha256"], prompt, model=self._model.name, revision=self._model.revision, sampling=sampling
        )


def settings_of(config: CaptionsConfig, model: ModelIdentity) -> Mapping[str, Any]:
    """Everything that changes a caption by a model, as JSON values."""
    return {
        "captioner": VlmCaptioner.name,
        "prompt": load_prompt(config.prompt).identity,
        "model": model.name,
        "revision": model.revision,
        "sampling": asdict(config.sampling),
        **_image_settings(model),
    }


def _image_settings(model: ModelIdentity) -> dict[str, Any]:
    return {"image": model.picture.settings}


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One form of a question: its text, the request without the model, and whether that demands a JSON schema."""

    text: str
    body: Mapping[str, Any]
    has_schema: bool


class _Asker:
    """The part that runs in the event loop: prepares pictures, asks endpoints, reads answers."""

    def __init__(
        self, config: CaptionsConfig, model: ModelIdentity, urls: tuple[str, ...], journal: Journal | None
    ) -> None:
        self._config = config
        self._model = model
        self._journal = journal
        self._prompt = load_prompt(config.prompt)
        self._urls = urls
        self._workers = ImageWorkers(model.picture, config.requests.num_image_workers)
        self._endpoints: Endpoints | None = None
        self._opening = asyncio.Lock()
        self._has_known_answers = False
        self._num_answered = 0
        self._num_unanswered = self._num_consecutive_unanswered = 0
        self._last_reason = ""
        self._rejections: set[str] = set()  # explanations that were logged

    async def row(self, view: Row, question: Question, key: str) -> Row:
        """The finished row of one view; it is journaled unless the view got no answer."""
        image, reason = await self._workers.prepare(view.pop("image", None))
        row = self._blank_row(view, question, key)
        if image is None:
            row["finish_reason"] = reason
        else:
            await self._fill(row, image, question)
        if row["finish_reason"] in UNANSWERED_REASONS:
            self._count_unanswered()
        elif self._journal is not None:
            self._journal.add(row)
        return row

    def count_known(self, row: Row) -> None:
        """Count a row of an earlier run; an answer in it shows that the model answers such questions."""
        self._has_known_answers = self._has_known_answers or row["answer"] is not None

    def check_answered(self) -> None:
        """Raise SourceError if views were asked about and none got an answer.

        A few views may remain without one if others of the week were answered by an earlier run.
        """
        num_allowed = MAX_REFUSALS if self._has_known_answers else 0
        if self._num_unanswered > num_allowed and not self._num_answered:
            raise self._nothing_usable(f"none of {self._num_unanswered} views got an answer")

    async def close(self) -> None:
        """Close endpoints and workers."""
        if self._endpoints is not None:
            await self._endpoints.__aexit__()
        await asyncio.to_thread(self._workers.close)

    def _blank_row(self, view: Row, question: Question, key: str) -> Row:
        row: Row = {
            "view_id": view["view_id"],
            "text": None,
            "shape": None,
            "function": None,
            "captioner": VlmCaptioner.name,
            "model": self._model.name,
            "revision": self._model.revision,
            "prompt": self._prompt.identity,
            "prompt_text": question.text,
            "answer": None,
            "temperature": None,
            "num_answers": 0,
            "num_tokens": None,
            "finish_reason": None,
            "image_sha256": view["image_sha256"],
            "cache_key": key,
        }
        return row if self._prompt.other_fields is None else row | {"fields": None}

    async def _fill(self, row: Row, image: str, question: Question) -> None:
        """Ask until there is a caption, at one temperature after the other, and fill it or the last reason in.

        If every answer is too long, the last one that can be shortened becomes the caption.
        """
        shortened: tuple[Texts, Row] | None = None
        reason = ""
        for num, temperature in enumerate(self._config.sampling.temperatures):
            wants_shorter = reason == "too_long"
            try:
                asked, completion = await self._ask(image, question, num, wants_shorter)
            except NoAnswerError as error:
                row["finish_reason"] = error.reason
                self._last_reason = f'{error.reason}: "{error.words}"' if error.words else error.reason
                return
            except RejectedError as error:
                row["finish_reason"] = "rejected"
                self._last_reason = f'rejected: "{error}"'
                self._log_rejection(row["view_id"], str(error))
                return
            finally:
                row["num_answers"] = num + 1
            self._num_answered += 1
            self._num_consecutive_unanswered = 0
            answer = _storable(completion.content)
            row |= {"prompt_text": asked, "answer": answer, "temperature": temperature}
            try:
                _set_texts(row, read_answer(answer, self._prompt, is_cut=completion.is_cut))
                return
            except UnusableAnswerError as error:
                row["finish_reason"] = reason = error.reason
                if error.shortened is not None:
                    shortened = error.shortened, dict(row)
        if shortened is not None:
            texts, shortened_row = shortened
            row |= {**shortened_row, "num_answers": row["num_answers"]}
            _set_texts(row, texts)

    async def _ask(self, image: str, question: Question, num: int, wants_shorter: bool) -> tuple[str, Completion]:
        """The prompt that was sent and its answer; after a failure of a server, another one is tried, or it later.

        Raises:
            NoAnswerError: Every try failed.
            RejectedError: See there.
        """
        endpoints = await self._open_endpoints()
        requests = self._config.requests
        failed: Endpoint | None = None
        async for attempt in stamina.retry_context(
            on=NoAnswerError,
            attempts=requests.num_tries,
            timeout=None,
            wait_initial=requests.first_wait_s,
            wait_max=requests.longest_wait_s,
            wait_jitter=requests.first_wait_s,
        ).with_name(_RETRY_NAME, (), {}):
            with attempt:
                try:
                    return await self._ask_any(endpoints, failed, image, question, num, wants_shorter)
                except NoAnswerError as error:
                    failed = error.endpoint
                    raise
        raise AssertionError("the last try returns or raises")

    async def _ask_any(
        self,
        endpoints: Endpoints,
        avoid: Endpoint | None,
        image: str,
        question: Question,
        num: int,
        wants_shorter: bool,
    ) -> tuple[str, Completion]:
        """One try: ask the least-loaded endpoint; busy ones and schema refusals do not count as a try."""
        end = f"\n{question.shorter}" if wants_shorter and question.shorter else ""
        plain = self._form(image, question.plain_text + end, num, has_schema=False)
        with_schema = self._form(image, question.text + end, num, has_schema=self._prompt.schema is not None)
        while True:
            async with endpoints.acquire(avoid) as endpoint:
                form = plain if with_schema.has_schema and endpoint.knows_schemas is False else with_schema
                try:
                    try:
                        completion = await endpoints.complete(endpoint, form.body)
                    except SchemaRefusedError as refused:
                        form, completion = await self._ask_plainly(endpoints, endpoint, plain, with_schema, refused)
                except SourceError as error:
                    endpoints.fail(error)
                    raise
                if completion is not None:
                    return form.text, completion

    async def _ask_plainly(
        self, endpoints: Endpoints, endpoint: Endpoint, plain: _Form, with_schema: _Form, refused: SchemaRefusedError
    ) -> tuple[_Form, Completion | None]:
        """Ask without the schema that an endpoint seems to refuse; if that is answered, it is asked so from now on.

        If the cause may have been another one, which has passed, the schema gets a second chance first.

        Returns:
            What was asked and the answer, or None if the endpoint could not be asked.
        """
        completion = await endpoints.complete(endpoint, plain.body)
        if completion is None:
            return plain, None
        if refused.may_pass:
            with contextlib.suppress(SchemaRefusedError):
                return with_schema, await endpoints.complete(endpoint, with_schema.body)
        _LOG.info("%s does not support JSON schemas and is asked without", endpoint.display_url)
        endpoint.knows_schemas = False
        return plain, completion

    def _form(self, image: str, text: str, num: int, *, has_schema: bool) -> _Form:
        """A question in the form of try number `num`."""
        sampling = self._config.sampling
        temperature = sampling.temperatures[num]
        picture = {"type": "image_url", "image_url": {"url": image}}
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": [picture, {"type": "text", "text": text}]}],
            "max_tokens": sampling.max_tokens,
            "temperature": temperature,
            "top_p": sampling.top_p,
        }
        if temperature:
            body["seed"] = sampling.seed + num
        if has_schema:
            schema = {"name": "caption", "schema": self._prompt.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return _Form(text=text, body=body, has_schema=has_schema)

    async def _open_endpoints(self) -> Endpoints:
        """The endpoints, opened by the first view that needs one."""
        async with self._opening:
            if self._endpoints is None:
                endpoints = Endpoints(self._urls, self._config.requests, self._config.model)
                self._endpoints = await endpoints.__aenter__()
        self._endpoints.trusts_rejections = self._has_known_answers
        return self._endpoints

    def _log_rejection(self, view_id: str, words: str) -> None:
        """Log why a server rejects a view, once for each explanation, of a few."""
        if words not in self._rejections and len(self._rejections) < MAX_REFUSALS:
            self._rejections.add(words)
            _LOG.warning("%s is rejected by the server: %s", view_id, words)

    def _count_unanswered(self) -> None:
        """Count a view without an answer; raises SourceError if there are too many in a row."""
        self._num_unanswered += 1
        self._num_consecutive_unanswered += 1
        is_hopeless = self._num_consecutive_unanswered >= self._config.requests.max_lost_in_a_row
        if is_hopeless and self._endpoints is not None:
            what = f"{self._num_consecutive_unanswered} consecutive views got no usable answer"
            self._endpoints.fail(self._nothing_usable(what))
            assert self._endpoints.failure is not None
            raise self._endpoints.failure

    def _nothing_usable(self, what: str) -> SourceError:
        urls = ", ".join(Endpoint(url).display_url for url in self._urls)
        kind = SourceDownError if self._last_reason.startswith("rejected") else SourceError
        return kind(
            f"{urls}: {what} (last: {self._last_reason}); captions finished so far are kept: look at the server's log "
            "and run again"
        )


def _set_texts(row: Row, texts: Texts) -> None:
    row |= {
        "text": texts.text,
        "shape": texts.shape,
        "function": texts.function,
        "num_tokens": clip_tokens.num_tokens(texts.text),
        "finish_reason": "length" if texts.is_shortened else "stop",
    }
    if texts.fields is not None:
        row["fields"] = dict(texts.fields)


def _reads_the_same(row: Row, prompt: Prompt) -> bool:
    """Whether the answer in an earlier row still gives the same caption or the same reason.

    Answers are expensive and are reused. How they are read may have changed with the program; a view whose answer
    gives something else now is asked about again.
    """
    if row["answer"] is None:
        return True
    names = ("text", "shape", "function", "fields", "finish_reason")
    earlier = tuple(row.get(name) for name in names)
    return any(
        tuple(_read(row["answer"], prompt, is_cut=is_cut).get(name) for name in names) == earlier
        for is_cut in (False, True)  # the row does not say whether the model was cut off
    )


def _read(answer: str, prompt: Prompt, *, is_cut: bool) -> Row:
    """The columns of the texts and the reason of an answer."""
    row: Row = {"text": None, "shape": None, "function": None}
    try:
        _set_texts(row, read_answer(answer, prompt, is_cut=is_cut))
    except UnusableAnswerError as error:
        row["finish_reason"] = error.reason
        if error.shortened is not None:
            _set_texts(row, error.shortened)
    return row


def _storable(text: str) -> str:
    """`text` without lone surrogates, which JSON can represent and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()


class _Slots:
    """Limits the number of views whose picture is in memory."""

    def __init__(self, num: int) -> None:
        self._free = threading.Semaphore(num)
        self._lock = threading.Lock()
        self._num_taken = 0
        self.most_taken = 0

    def take(self) -> None:
        self._free.acquire()
        with self._lock:
            self._num_taken += 1
            self.most_taken = max(self.most_taken, self._num_taken)

    def release(self) -> None:
        with self._lock:
            self._num_taken -= 1
        self._free.release()


def _is_done(pending: Future[Row] | Row) -> bool:
    return not isinstance(pending, Future) or pending.done()


def _result(pending: Future[Row] | Row) -> Row:
    return pending.result() if isinstance(pending, Future) else pending


@contextlib.contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own; tasks that still run at the end are cancelled."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="captions", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        _call(loop, _cancel_all())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _call(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The result of a coroutine that runs in the loop's thread."""
    return asyncio.run_coroutine_threadsafe(work, loop).result()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def ask_served(config: CaptionsConfig, urls: Iterable[str]) -> ServedModel:
    """The model that the endpoints serve.

    Raises:
        SourceError: None answers, or one serves another model than `config` names.
    """

    async def ask() -> ServedModel:
        async with Endpoints(tuple(urls), config.requests, config.model) as endpoints:
            return endpoints.served

    with _event_loop() as loop:
        return _call(loop, ask())
