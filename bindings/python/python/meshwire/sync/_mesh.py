"""A client without asyncio: the same names, and each call waits."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .. import _native, _process
from .._arguments import is_topic, seconds
from .._base import MeshwireError
from .._event import many, of_parts
from .._handlers import cut_off, cut_short, is_handler, waits_for_itself
from .._hooks import Hooks, OnDelivery, OnPublish, OnSettle
from .._mesh import raise_failures
from .._native import Job, Receipt, Reply, Request
from .._options import ConnectOptions, ConsumeOptions, Duration, ServeOptions, SubscribeOptions, texts
from .._stats import State, Stats
from .._subscription import Opened
from .._waiting import block
from ..errors import ClosedError, TimeoutError
from ._admin import DeadLetters, Groups, Limits, Topics
from ._handlers import answer, handle, run
from ._subscription import Replies, Subscription

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .._event import EventAttributes, PublishAttributes

_log = logging.getLogger("meshwire")
_Result = TypeVar("_Result")


class Pending(Generic[_Result]):
    """A call on its way."""

    __slots__ = ("_native",)

    def __init__(self, native: _native.Pending[_Result]) -> None:
        self._native = native

    @property
    def done(self) -> bool:
        """Whether it has come to something."""
        return self._native.done

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self._native.failed

    def result(self, timeout: float | None = None) -> _Result:
        """Waits for what it comes to, for at most ``timeout`` seconds."""
        if not self._native.done and not block(self._native, timeout):
            raise TimeoutError(f"it did not come to anything within {timeout} s; it goes on", operation="publish")
        return self._native.result()

    def error(self) -> MeshwireError | None:
        """The error it came to, if it did."""
        return self._native.error()


def connect(
    url: str | None = None,
    *,
    on_publish: OnPublish | None = None,
    on_delivery: OnDelivery | None = None,
    on_settle: OnSettle | None = None,
    **options: Unpack[ConnectOptions],
) -> Mesh:
    """Connects to a gateway: at ``url``, else ``MESHWIRE_URL``, else ``mesh://127.0.0.1:7400``.

    As ``meshwire.connect``; hooks are called by the thread that publishes, receives, or lets go of a delivery.
    """
    hooks = Hooks(on_publish, on_delivery, on_settle)
    client = _native.connect_sync(_process.pump(), texts({"url": url, **options}, ConnectOptions), on_settle and hooks.settled)
    _process.opened(client)
    return Mesh(client, hooks)


class Mesh:
    """A client of a gateway, for any thread of the process that made it."""

    __slots__ = ("__weakref__", "_client", "_handling", "_hooks", "_opened", "_process")

    def __init__(self, client: _native.Client, hooks: Hooks) -> None:
        self._client = client
        self._hooks = hooks
        #: Threads that run handlers now.
        self._handling: list[int] = []
        self._opened = Opened()
        self._process = os.getpid()

    def _hooked(self, topic: str, event: object, said: Any) -> Any:
        return self._hooks.published(topic, of_parts(event, said))

    def publish(self, topic: str, event: object = None, /, **said: Unpack[PublishAttributes]) -> Receipt:
        """Publishes an event, and waits for its receipt."""
        if self._hooks.on_publish is not None:
            event, said = self._hooked(topic, event, said), {}
        return self._asked("publish", topic).publish_sync(topic, event, said)

    def publish_nowait(
        self, topic: str, event: object = None, /, **said: Unpack[PublishAttributes]
    ) -> Pending[Receipt]:
        """Publishes an event if there is room for it, and raises ``BufferFullError`` if there is none. ``result()`` of what it gives is
        the receipt; if nobody asks for that, ``flush`` tells of a failure."""
        if self._hooks.on_publish is not None:
            event, said = self._hooked(topic, event, said), {}
        return Pending(self._asked("publish", topic).publish(topic, event, False, True, said))

    def publish_start(
        self, topic: str, event: object = None, /, **said: Unpack[PublishAttributes]
    ) -> Pending[Receipt]:
        """As ``publish_nowait``, and waits for room, and until the event is in the offline file if there is one."""
        if self._hooks.on_publish is not None:
            event, said = self._hooked(topic, event, said), {}
        return Pending(self._asked("publish", topic).publish_start(topic, event, said))

    def publish_batch(self, topic: str, events: Iterable[object], /) -> list[Receipt | MeshwireError]:
        """Publishes events together: a receipt or an error for each, in their order. One bad event fails alone."""
        client = self._asked("publish", topic)
        events = many(events)
        refused: dict[int, MeshwireError] = {}
        if self._hooks.on_publish is not None:
            events, refused = self._hooks.published_together(topic, events)
        receipts: list[Receipt | MeshwireError] = client.publish_batch(topic, events)
        for place, error in refused.items():
            receipts.insert(place, error)
        return receipts

    def flush(self) -> None:
        """Waits until every event published so far has its answer.

        Raises ``PublishError`` with each failure that nobody asked for since the last flush.
        """
        self._client.flush()
        raise_failures(self._client)

    def request(
        self,
        topic: str,
        event: object = None,
        /,
        *,
        timeout: Duration | None = None,
        retry: bool = False,
        **said: Unpack[EventAttributes],
    ) -> Reply:
        """Asks one of those who serve a topic, and waits for its reply: 5 s unless ``timeout`` says otherwise.

        ``retry``: another responder may be asked when one is lost, so that the work may be done twice.
        """
        options = texts({"timeout": timeout, "retry": retry or None})
        reply: Reply = self._asked("request", topic).request(topic, event, options, said)
        return reply

    def request_stream(
        self,
        topic: str,
        event: object = None,
        /,
        *,
        timeout: Duration | None = None,
        retry: bool = False,
        credit: int | None = None,
        **said: Unpack[EventAttributes],
    ) -> Replies:
        """As ``request``, for many replies: ``for`` gives them. Leaving ``with`` cancels the request."""
        options = texts({"timeout": timeout, "retry": retry or None, "credit": credit})
        return Replies(self._asked("request_stream", topic).request_stream(topic, event, options, said))

    def serve(
        self,
        topic: str,
        handler: Callable[[Request], object],
        /,
        *,
        until: threading.Event | None = None,
        **options: Unpack[ServeOptions],
    ) -> None:
        """Answers a topic's requests with a function, until ``until`` is set or the client is closed.

        What the function returns is the reply, one without data if that is ``None``; a generator gives many. What it raises is told to
        the requester. With ``concurrency`` it is called by so many threads.
        """
        is_handler("serve", handler, until, is_awaited=False)
        stream, concurrency = self._asked("serve", topic).serve(topic, texts(options, ServeOptions))
        run(stream, lambda request: answer(request, handler), cut_short, concurrency, until, self._handling)

    def subscribe(self, topic: str, /, **options: Unpack[SubscribeOptions]) -> Subscription:
        """Deliveries of a topic, which the program settles.

        ``with mesh.subscribe(...) as orders`` returns what is unsettled at its end, at once. A new group starts at the earliest event;
        without a group it is a broadcast of one's own from now on.
        """
        stream = self._opened.add(self._asked("subscribe", topic).subscribe(topic, texts(options, SubscribeOptions)))
        return Subscription(stream, topic, self._hooks)

    def consume(
        self,
        topic: str,
        handler: Callable[[Job], object],
        /,
        *,
        until: threading.Event | None = None,
        **options: Unpack[ConsumeOptions],
    ) -> None:
        """Calls a function with each event of a topic, until ``until`` is set or the client is closed.

        It returns: ack. It raises: nack. ``Nack`` and ``Reject``, raised or returned, say more. One key at a time. With ``concurrency`` it is
        called by so many threads, with 1 by this one.
        """
        is_handler("consume", handler, until, is_awaited=False)
        stream, concurrency = self._asked("consume", topic).consume(topic, texts(options, ConsumeOptions))
        hooks = self._hooks
        run(
            stream,
            lambda job: handle(job, handler, hooks),
            lambda job, ended: cut_off(job, ended, hooks),
            concurrency,
            until,
            self._handling,
        )

    def _ending(self, operation: str) -> None:
        """Before a call that waits until all handlers have ended."""
        if threading.get_ident() in self._handling:
            raise waits_for_itself(operation)

    def connected(self) -> None:
        """Waits until the client is logged in at a gateway."""
        try:
            self._client.connected()
        except ClosedError as closed:
            # The session that ended does not know who waited for it.
            closed.operation = "connect"
            raise

    @property
    def state(self) -> State:
        """Where the client stands."""
        return self._client.state

    def states(self) -> Iterator[State]:
        """The state now and whenever it changes, until it is ``closed``."""
        state: State = self._client.state
        while True:
            yield state
            if state == "closed":
                return
            try:
                state = self._client.state_after(state)
            except ClosedError:
                state = "closed"

    def stats(self) -> Stats:
        """Counts, as of now."""
        counts: Stats = json.loads(self._client.stats())
        return counts

    def drain(self, deadline: float | None = None) -> None:
        """Ends the client: streams end, new publishes are refused, what is in flight has ``deadline`` seconds (30) to finish.

        Called by a handler of the client, which would wait for itself, it raises ``InvalidError``.
        """
        self._ending("drain")
        if deadline is not None:
            # Else it would end for a mistake.
            seconds("deadline", deadline)
        try:
            self._client.drain(deadline)
        finally:
            self._client.release()

    def close(self) -> None:
        """Drains with the default deadline. Again is nothing."""
        self._ending("close")
        if self._client.state == "closed":
            self._client.release()
            return
        self.drain()

    def __enter__(self) -> Mesh:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process != os.getpid():
            # In a child of fork it is the parent's to close.
            return
        try:
            if kind is not None:
                # Nobody settles any more what is in hand: closing would wait for it in vain.
                self._opened.leave()
            self.close()
        except MeshwireError as problem:
            if kind is None:
                raise
            # What the program raised says more.
            _log.warning("closing the client failed: %s", problem)

    def _asked(self, _: str, topic: object = "") -> _native.Client:
        is_topic(topic)
        return self._client

    @property
    def topics(self) -> Topics:
        """Topics of the gateway."""
        return Topics(self._asked)

    def groups(self, topic: str, /) -> Groups:
        """Groups of a topic."""
        return Groups(self._asked, topic)

    def dead_letters(self, topic: str, /, *, group: str | None = None, member: str | None = None) -> DeadLetters:
        """Events of a topic that its groups, or one of them, have given up."""
        return DeadLetters(self._asked, topic, group, member)

    @property
    def limits(self) -> Limits:
        """Limits of the whole gateway."""
        return Limits(self._asked)

    def __repr__(self) -> str:
        return f"<Mesh {self._client.state}>"
