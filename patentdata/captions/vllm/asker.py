"""Asks the questions of a week: prepares their pictures, sends them to endpoints, and reads the answers.

A question is about one view, or about several views of a patent, each of which has a row of its own. Views whose answer
is not a caption are asked about again, at higher temperatures; a failing server is retried by the same request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import stamina

from patentdata.captions.answers import UNANSWERED_REASONS, Texts
from patentdata.captions.captioner import Row
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.prompts import Question, load_prompt
from patentdata.captions.vllm.endpoints import (
    MAX_REFUSALS,
    Completion,
    Endpoint,
    Endpoints,
    NoAnswerError,
    RejectedError,
    SchemaRefusedError,
)
from patentdata.captions.vllm.identity import ModelIdentity
from patentdata.captions.vllm.images import ImageWorkers
from patentdata.captions.vllm.journal import Journal
from patentdata.captions.vllm.rows import read_by_label, set_texts
from patentdata.errors import SourceDownError, SourceError

_LOG = logging.getLogger(__name__)

CAPTIONER = "vllm"  # the value of the column "captioner"
_RETRY_NAME = "designclip ask"


def _is_not_of_this_module(record: logging.LogRecord) -> bool:
    return getattr(record, "stamina.callable", None) != _RETRY_NAME


# Without this filter, a failing server would log a warning for every try of every view; they are counted as reasons.
logging.getLogger("stamina").addFilter(_is_not_of_this_module)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What one request asks about.

    Attributes:
        views: The views, in the order of their pictures.
        labels: What each of them is called in the question; [""] if it is about one view.
        question: The question.
        keys: Cache key of the caption of each view.
        order: View → its index among the views of its patent; empty if the question is about one view.
    """

    views: list[Row]
    labels: list[str]
    question: Question
    keys: list[str]
    order: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One form of a question: its text, the request without the model, and whether that demands a JSON schema."""

    text: str
    body: Mapping[str, Any]
    has_schema: bool


class Asker:
    """The part of a captioner that runs in its event loop.

    Args:
        config: Settings.
        model: The model that makes the captions.
        urls: Endpoints that serve it.
        journal: Where finished rows are stored; None stores none.
    """

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

    async def rows(self, asked: Asked, known: list[Row | None]) -> list[Row]:
        """The finished rows of the views of one question; a row is journaled unless its view got no answer.

        Rows that are `known` from an earlier run stay as they are, although the question is asked again.
        """
        prepared = await asyncio.gather(*map(self._picture_of, asked.views))
        rows = [self._blank_row(view, asked.question, key) for view, key in zip(asked.views, asked.keys, strict=True)]
        shown: list[int] = []
        for index, (image, reason) in enumerate(prepared):
            if image is None:
                rows[index]["finish_reason"] = reason
            else:
                shown.append(index)
        if shown:
            question = asked.question
            if len(shown) < len(rows):  # the question is about the pictures that can be shown
                labels = [asked.labels[index] for index in shown]
                question = self._prompt.ask_patent([asked.views[index] for index in shown], labels)
            images = [image for image, _ in prepared if image is not None]
            await self._fill({asked.labels[index]: rows[index] for index in shown}, images, question)
        for row, earlier in zip(rows, known, strict=True):
            if earlier is not None:
                continue
            if row["finish_reason"] in UNANSWERED_REASONS:
                self._count_unanswered()
            elif self._journal is not None:
                self._journal.add(row)
        return rows

    async def _picture_of(self, view: Row) -> tuple[str | None, str]:
        """The picture of a view, or why there is none; of its claimed lines if the view comes with them."""
        whole, claimed = view.pop("image", None), view.pop("claimed_image", None)
        return await self._workers.prepare(claimed or whole)

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
            "captioner": CAPTIONER,
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

    async def _fill(self, rows: Mapping[str, Row], images: list[str], question: Question) -> None:
        """Ask until every view has a caption, at one temperature after the other; fill it or the last reason in.

        If every answer is too long, the last one that can be shortened becomes the caption.

        Args:
            rows: Label → the row of its view, in the order of `images`; filled in.
            images: The pictures, as data URLs.
            question: What is asked.
        """
        labels = list(rows)
        unfilled = dict(rows)
        shortened: dict[str, tuple[Texts, Row]] = {}
        wants_shorter = False
        for num, temperature in enumerate(self._config.sampling.temperatures):
            try:
                text, completion = await self._ask(images, question, labels, num, wants_shorter)
            except (NoAnswerError, RejectedError) as error:
                self._note_no_answer(error, unfilled.values())
                return
            finally:
                for row in unfilled.values():
                    row["num_answers"] = num + 1
            self._num_answered += len(unfilled)
            self._num_consecutive_unanswered = 0
            answer = _storable(completion.content)
            read = read_by_label(answer, self._prompt, labels, is_cut=completion.is_cut)
            for label, row in list(unfilled.items()):
                row |= {"prompt_text": text, "answer": answer, "temperature": temperature}
                texts = read[label]
                if isinstance(texts, Texts):
                    set_texts(row, texts)
                    del unfilled[label]
                    continue
                row["finish_reason"] = texts.reason
                if texts.shortened is not None:
                    shortened[label] = texts.shortened, dict(row)
            if not unfilled:
                return
            wants_shorter = any(row["finish_reason"] == "too_long" for row in unfilled.values())
        for label, row in unfilled.items():
            if label in shortened:
                texts, shortened_row = shortened[label]
                row |= {**shortened_row, "num_answers": row["num_answers"]}
                set_texts(row, texts)

    def _note_no_answer(self, error: NoAnswerError | RejectedError, rows: Iterable[Row]) -> None:
        """Set the reason why views got no answer."""
        reason = error.reason if isinstance(error, NoAnswerError) else "rejected"
        words = error.words if isinstance(error, NoAnswerError) else str(error)
        self._last_reason = f'{reason}: "{words}"' if words else reason
        for row in rows:
            row["finish_reason"] = reason
            if isinstance(error, RejectedError):
                self._log_rejection(row["view_id"], words)

    async def _ask(
        self, images: list[str], question: Question, labels: list[str], num: int, wants_shorter: bool
    ) -> tuple[str, Completion]:
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
                    return await self._ask_any(endpoints, failed, images, question, labels, num, wants_shorter)
                except NoAnswerError as error:
                    failed = error.endpoint
                    raise
        raise AssertionError("the last try returns or raises")

    async def _ask_any(
        self,
        endpoints: Endpoints,
        avoid: Endpoint | None,
        images: list[str],
        question: Question,
        labels: list[str],
        num: int,
        wants_shorter: bool,
    ) -> tuple[str, Completion]:
        """One try: ask the least-loaded endpoint; busy ones and schema refusals do not count as a try."""
        end = f"\n{question.shorter}" if wants_shorter and question.shorter else ""
        schema = self._prompt.patent_schema(labels) if self._prompt.view_fields else self._prompt.schema
        plain = self._form(images, question.plain_text + end, num, None)
        with_schema = self._form(images, question.text + end, num, schema)
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

    def _form(self, images: list[str], text: str, num: int, schema: Mapping[str, Any] | None) -> _Form:
        """A question in the form of try number `num`; `schema` is that of the answer, None to demand none."""
        sampling = self._config.sampling
        temperature = sampling.temperatures[num]
        pictures = [{"type": "image_url", "image_url": {"url": image}} for image in images]
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": [*pictures, {"type": "text", "text": text}]}],
            "max_tokens": sampling.max_tokens * len(images),
            "temperature": temperature,
            "top_p": sampling.top_p,
        }
        if temperature:
            body["seed"] = sampling.seed + num
        if schema is not None:
            named = {"name": "caption", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return _Form(text=text, body=body, has_schema=schema is not None)

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


def _storable(text: str) -> str:
    """`text` without lone surrogates, which JSON can represent and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
