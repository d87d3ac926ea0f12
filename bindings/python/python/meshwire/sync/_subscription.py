"""Streams of deliveries and of replies, without asyncio."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from types import TracebackType

from .._arguments import deadline, is_most
from .._hooks import Hooks, Shown
from .._native import Reply, Stream
from .._native import SyncDelivery as Delivery


class Subscription:
    """Deliveries of a topic: an iterator, and a context that ends it."""

    def __init__(self, stream: Stream, topic: str, hooks: Hooks) -> None:
        self._stream = stream
        self._topic = topic
        self._shown = None if hooks.on_delivery is None else Shown(hooks)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.leave()

    @property
    def topic(self) -> str:
        """The topic."""
        return self._topic

    def __iter__(self) -> Iterator[Delivery]:
        return self if self._shown is not None else self._stream

    def __next__(self) -> Delivery:
        while True:
            delivery: Delivery = next(self._stream)
            if self._shown is None or self._shown.one(delivery):
                return delivery

    def next_batch(self, most: int = 256, wait: float | None = None) -> list[Delivery]:
        """Those that are here, up to ``most``; else waits for the first that comes, for ``wait`` seconds (as long as it takes). An empty
        list: none came in time, or ``ended``. They keep their leases as long as the program settles or extends one within each ack wait:
        each has one of its own from when the one before it was settled."""
        is_most(most)
        until = deadline(wait, monotonic())
        while True:
            self._stream.wait(most, wait)
            came: list[Delivery] = self._stream.batch(most)
            batch = came if self._shown is None else self._shown.batch(came)
            if batch or not came:
                return batch
            # The hook has failed for all of them: others may come in what is left of the time.
            if until is not None and (wait := until - monotonic()) <= 0:
                return batch

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more: it was closed, or its client was."""
        return self._stream.ended

    def close(self) -> None:
        """Ends it: what is unsettled comes again at once, and has not failed. Leaving its context fails what the program was handed and
        has not settled, as leaving a loop over it does when nothing else refers to it. Again is nothing."""
        self._stream.close()


class Replies:
    """Replies to a request: an iterator, and a context that cancels what is left of the request."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __enter__(self) -> Replies:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Reply]:
        return self._stream

    def __next__(self) -> Reply:
        reply: Reply = next(self._stream)
        return reply

    def close(self) -> None:
        """Cancels what is left of the request. Again is nothing."""
        self._stream.close()
