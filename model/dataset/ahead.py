"""Reading ahead: what comes next is read in another thread while the caller works on what it has."""

from __future__ import annotations

import collections
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

KeyT = TypeVar("KeyT")
ReadT = TypeVar("ReadT")


def read_ahead(read: Callable[[KeyT], ReadT], keys: Iterable[KeyT], *, num_ahead: int) -> Generator[ReadT]:
    """Yield what `read` returns for each key, in order.

    Args:
        read: Called in one other thread, for one key after the other.
        keys: What to read.
        num_ahead: How many are read, or being read, while the caller works on another one.
    """
    waiting: collections.deque[Future[ReadT]] = collections.deque()
    with ThreadPoolExecutor(1, thread_name_prefix="read ahead") as ahead:
        try:
            for key in keys:
                waiting.append(ahead.submit(read, key))
                if len(waiting) > num_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            ahead.shutdown(cancel_futures=True)
