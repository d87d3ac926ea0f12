"""Streams of deliveries and of replies, for asyncio."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Generator, Mapping
from time import monotonic
from types import TracebackType
from typing import Any

from ._arguments import deadline, is_most
from ._hooks import Hooks, Shown
from ._native import Delivery, Reply, Stream
from ._waiting import call, some


class Opened:
    """Subscriptions that a client began, as long as something refers to them. Threads may add while another one leaves."""

    def __init__(self) -> None:
        self._streams: set[weakref.ref[Stream]] = set()

    def add(self, stream: Stream) -> Stream:
        """One that has begun."""
        self._streams.add(weakref.ref(stream, self._streams.discard))
        return stream

    def leave(self) -> None:
        """Leaves all of them: what the program has in hand has failed."""
        for one in list(self._streams):
            if (stream := one()) is not None:
                stream.leave()


class Subscription:
    """Deliveries of a topic: begun by ``async with``, ``await`` or the first delivery that is asked for."""

    def __init__(self, begin: Any, topic: str, options: dict[str, str], hooks: Hooks) -> None:
        self._begin = begin
        self._topic = topic
        self._options = options
        self._shown = None if hooks.on_delivery is None else Shown(hooks)
        self._stream: Stream | None = None

    async def _started(self) -> Stream:
        if self._stream is None:
            self._stream = await self._begin(self._topic, self._options)
        return self._stream

    async def _start(self) -> Subscription:
        await self._started()
        return self

    def __await__(self) -> Generator[Any, None, Subscription]:
        return self._start().__await__()

    async def __aenter__(self) -> Subscription:
        await self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.leave()

    @property
    def topic(self) -> str:
        """The topic."""
        return self._topic

    def __aiter__(self) -> AsyncIterator[Delivery]:
        # The native stream gives what is here without a call into Python.
        return self if self._stream is None or self._shown is not None else self._stream

    async def __anext__(self) -> Delivery:
        stream = self._stream or await self._started()
        while True:
            delivery: Delivery = await stream.__anext__()
            if self._shown is None or self._shown.one(delivery):
                return delivery

    async def next_batch(self, most: int = 256, wait: float | None = None) -> list[Delivery]:
        """Those that are here, up to ``most``; else waits for the first that comes, for ``wait`` seconds (as long as it takes). An empty
        list: none came in time, or ``ended``. They keep their leases as long as the program settles or extends one within each ack wait:
        each has one of its own from when the one before it was settled."""
        stream = self._stream or await self._started()
        is_most(most)
        until = deadline(wait, monotonic())
        while True:
            await some(stream, most, wait)
            came: list[Delivery] = stream.batch(most)
            batch = came if self._shown is None else self._shown.batch(came)
            if batch or not came:
                return batch
            # The hook has failed for all of them: others may come in what is left of the time.
            if until is not None and (wait := until - monotonic()) <= 0:
                return batch

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more: it was closed, or its client was."""
        return self._stream is not None and self._stream.ended

    def close(self) -> None:
        """Ends it: what is unsettled comes again at once, and has not failed. Leaving its context fails what the program was handed and
        has not settled, as leaving a loop over it does when nothing else refers to it. Again is nothing."""
        if self._stream is not None:
            self._stream.close()


class Replies:
    """Replies to a request: begun by ``async with``, ``await`` or the first reply that is asked for."""

    def __init__(
        self, begin: Any, topic: str, event: object, options: dict[str, str], said: Mapping[str, Any]
    ) -> None:
        self._begin = begin
        self._asked = (topic, event, options, dict(said))
        self._stream: Stream | None = None

    async def _started(self) -> Stream:
        if self._stream is None:
            self._stream = await call(self._begin(*self._asked))
        return self._stream

    async def _start(self) -> Replies:
        await self._started()
        return self

    def __await__(self) -> Generator[Any, None, Replies]:
        return self._start().__await__()

    async def __aenter__(self) -> Replies:
        await self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Reply]:
        return self if self._stream is None else self._stream

    async def __anext__(self) -> Reply:
        stream = self._stream or await self._started()
        reply: Reply = await stream.__anext__()
        return reply

    def close(self) -> None:
        """Cancels what is left of the request. Again is nothing."""
        if self._stream is not None:
            self._stream.close()

