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
import hashlib
import threading
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import pyarrow as pa

from patentdata.captions.captioner import Row, cache_key
from patentdata.captions.config import CaptionsConfig
from patentdata.captions.patent_questions import in_questions, labels_of, patents_of
from patentdata.captions.prompts import load_prompt
from patentdata.captions.vllm.asker import CAPTIONER, Asked, Asker
from patentdata.captions.vllm.endpoints import (
    Endpoints,
    ServedModel,
)
from patentdata.captions.vllm.identity import ModelIdentity
from patentdata.captions.vllm.journal import Journal
from patentdata.captions.vllm.processors import views_a_question
from patentdata.captions.vllm.rows import reads_the_same

_NUM_AHEAD = 32  # views prepared or being prepared beyond what the endpoints can take
_ROWS_A_VIEW = 16  # finished rows that may wait, for each view whose picture may be in memory


ResultT = TypeVar("ResultT")


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

    name = CAPTIONER
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
    def lines(self) -> str:
        return self._config.image.lines

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
        pending: deque[_PendingRow] = deque()
        with _event_loop() as loop:
            asker = Asker(self._config, self._model, self._urls, self._journal)
            try:
                for patent in self._questions(views):
                    rows: dict[str, _PendingRow] = {}
                    for asked in patent:
                        rows |= self._submit(asked, asker, slots, loop)
                    pending.extend(rows[view_id] for view_id in sorted(rows, key=_order_of(patent).__getitem__))
                    # Yield what is finished at the head; wait for it only if too many rows are queued behind it.
                    while pending and (len(pending) >= num_slots * _ROWS_A_VIEW or pending[0].is_done):
                        yield pending.popleft().row
                while pending:
                    yield pending.popleft().row
                asker.check_answered()
            finally:
                self.most_images_held = slots.most_taken
                _call(loop, _cancel_all())
                _call(loop, asker.close())

    def _questions(self, views: Iterable[Row]) -> Iterator[list[Asked]]:
        """The questions about each view, or about each patent."""
        if not self._prompt.view_fields:
            for view in views:
                question = self._prompt.ask(view)
                yield [Asked(views=[view], labels=[""], question=question, keys=[self._key(view, question.text)])]
            return
        most = views_a_question(self._config, self._model.picture)
        for patent in patents_of(views):
            order = {view["view_id"]: index for index, view in enumerate(patent)}
            asked = []
            for part in in_questions(patent, most):
                labels = labels_of(part)
                question = self._prompt.ask_patent(part, labels)
                # The caption of a view depends on all pictures, and on which of them is its own.
                pictures = " ".join(map(_picture_id, part))
                keys = [
                    self._key(view, f"{question.text}\n{pictures}\n{label}")
                    for view, label in zip(part, labels, strict=True)
                ]
                asked.append(Asked(views=part, labels=labels, question=question, keys=keys, order=order))
            yield asked

    def _submit(
        self, asked: Asked, asker: Asker, slots: _Slots, loop: asyncio.AbstractEventLoop
    ) -> dict[str, _PendingRow]:
        """View → its row, which is known or asked for now. If one of a question is not known, the question is asked."""
        known = [self._known(key, asked, label) for key, label in zip(asked.keys, asked.labels, strict=True)]
        future: Future[list[Row]] | None = None
        if any(row is None for row in known):
            slots.take(len(asked.views))
            self.num_asked += sum(row is None for row in known)
            future = asyncio.run_coroutine_threadsafe(asker.rows(asked, known), loop)
            future.add_done_callback(lambda _: slots.release(len(asked.views)))
        rows = {}
        for index, (view, row) in enumerate(zip(asked.views, known, strict=True)):
            if row is not None:
                asker.count_known(row)
                row = {**row, "view_id": view["view_id"]}
            rows[view["view_id"]] = _PendingRow(row, future, index)
        return rows

    def _known(self, key: str, asked: Asked, label: str) -> Row | None:
        """The finished row of an earlier run, if its answer is still read the same; None otherwise."""
        row = self._journal.get(key) if self._journal else None
        return row if row is not None and reads_the_same(row, self._prompt, asked.labels, label) else None

    def _key(self, view: Row, question: str) -> str:
        sampling = {**asdict(self._config.sampling), **_image_settings(self._config, self._model)}
        prompt = f"{self._prompt.identity}\n{question}"
        return cache_key(
            _picture_id(view), prompt, model=self._model.name, revision=self._model.revision, sampling=sampling
        )


def settings_of(config: CaptionsConfig, model: ModelIdentity) -> Mapping[str, Any]:
    """Everything that changes a caption by a model, as JSON values."""
    several = {}
    if config.views_per_question == "patent":
        several = {"views_per_question": views_a_question(config, model.picture)}
    return {
        "captioner": CAPTIONER,
        "prompt": load_prompt(config.prompt).identity,
        "model": model.name,
        "revision": model.revision,
        "sampling": asdict(config.sampling),
        **_image_settings(config, model),
        **several,
    }


def _image_settings(config: CaptionsConfig, model: ModelIdentity) -> dict[str, Any]:
    lines = {} if config.image.lines == "all" else {"lines": config.image.lines}
    return {"image": {**model.picture.settings, **lines}}


def _picture_id(view: Row) -> str:
    """What identifies the drawing that is shown of a view."""
    claimed = view.get("claimed_image")
    return view["image_sha256"] + (f"+{hashlib.sha256(claimed).hexdigest()}" if claimed else "")


@dataclass(frozen=True)
class _PendingRow:
    """The row of a view: a known one, or number `index` of the rows that a question will give."""

    known: Row | None
    future: Future[list[Row]] | None
    index: int

    @property
    def is_done(self) -> bool:
        return self.known is not None or self.future is None or self.future.done()

    @property
    def row(self) -> Row:
        """The row; waits for it."""
        if self.known is not None:
            return self.known
        assert self.future is not None, "a row that is not known was asked for"
        return self.future.result()[self.index]


def _order_of(patent: list[Asked]) -> Mapping[str, int]:
    """View → its index in the order of the views, of the questions about one patent or view."""
    return patent[0].order or {view["view_id"]: index for index, view in enumerate(patent[0].views)}


class _Slots:
    """Limits the number of views whose picture is in memory."""

    def __init__(self, num: int) -> None:
        self._free = threading.Semaphore(num)
        self._lock = threading.Lock()
        self._num_taken = 0
        self.most_taken = 0

    def take(self, num: int) -> None:
        """Wait until `num` slots are free, and take them; only one thread may take."""
        for _ in range(num):
            self._free.acquire()
        with self._lock:
            self._num_taken += num
            self.most_taken = max(self.most_taken, self._num_taken)

    def release(self, num: int) -> None:
        with self._lock:
            self._num_taken -= num
        self._free.release(num)


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
