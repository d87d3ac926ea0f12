"""A client for asyncio."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from asyncio import _get_running_loop as running_loop
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _native, _process
from ._admin import DeadLetters, Groups, Limits, Topics
from ._arguments import is_topic, seconds
from ._base import MeshwireError
from ._event import many, of_parts
from ._handlers import Handling, consume, is_handler, serve, waits_for_itself
from ._hooks import Hooks, OnDelivery, OnPublish, OnSettle
from ._native import Job, Pending, Receipt, Reply, Request
from ._options import ConnectOptions, ConsumeOptions, Duration, ServeOptions, SubscribeOptions, texts
from ._stats import State, Stats
from ._subscription import Opened, Replies, Subscription
from ._waiting import call
from .errors import ClosedError, InvalidError, PublishError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._event import EventAttributes, PublishAttributes

_log = logging.getLogger("meshwire")


class Connecting:
    """A client that is to be: ``await`` it, or enter it by ``async with``, which closes it too."""

    __slots__ = ("_hooks", "_mesh", "_options")

    def __init__(self, options: dict[str, str], hooks: Hooks) -> None:
        self._options = options
        self._hooks = hooks
        self._mesh: Mesh | None = None

    async def _connect(self) -> Mesh:
        pending = _native.connect(_process.pump(), self._options, self._hooks.on_settle and self._hooks.settled)
        client = await call(pending)
        _process.opened(client)
        return Mesh(client, self._hooks)

    def __await__(self) -> Generator[Any, None, Mesh]:
        return self._connect().__await__()

    async def __aenter__(self) -> Mesh:
        self._mesh = await self._connect()
        return self._mesh

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._mesh is not None:
            await self._mesh.__aexit__(kind, error, trace)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Says so of what only a client has."""
            text = f"meshwire.connect() is not connected yet, and has no {name}: await it, or use `async with`"
            raise AttributeError(text, name=name, obj=self)


def connect(
    url: str | None = None,
    *,
    on_publish: OnPublish | None = None,
    on_delivery: OnDelivery | None = None,
    on_settle: OnSettle | None = None,
    **options: Unpack[ConnectOptions],
) -> Connecting:
    """Connects to a gateway: at ``url``, else ``MESHWIRE_URL``, else ``mesh://127.0.0.1:7400``.

    ``async with connect() as mesh`` closes the client at the end, ``mesh = await connect()`` leaves that to the program. Nothing is done
    before, so that it may be called where no event loop runs. The client belongs to the event loop that awaits it.

    Hooks are plain functions, called by the thread of that loop, and must not block: ``on_publish(topic, event)`` before each publish: the
    event that it gives back is published in place of that one, and what it raises refuses it; ``on_delivery(delivery)`` before the program
    is handed a delivery, which is nacked and left out if it raises; ``on_settle(delivery, word)`` when it is settled, with ``ack``, ``nack``
    or ``reject``, and with ``dropped`` when nothing holds it any more and it was not settled: by whichever thread let go of it, and with
    another object of the same event.
    """
    said = texts({"url": url, **options}, ConnectOptions)
    return Connecting(said, Hooks(on_publish, on_delivery, on_settle))


class Mesh:
    """A client of a gateway."""

    __slots__ = ("__weakref__", "_client", "_handling", "_hooks", "_loop", "_opened", "_process")

    def __init__(self, client: _native.Client, hooks: Hooks) -> None:
        self._client = client
        self._hooks = hooks
        self._handling: Handling = set()
        self._opened = Opened()
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()

    def _elsewhere(self, operation: str) -> MeshwireError:
        here = running_loop()
        if self._process != os.getpid():
            return ClosedError(
                f"this client was made by process {self._process}, before the fork of this one, {os.getpid()}: connect a new client here",
                operation=operation,
            )
        if here is None:
            text = f"this client belongs to {self._loop!r}, which does not run in this thread: call it from there, or use meshwire.sync"
        elif self._loop.is_closed():
            text = f"this client belongs to an event loop that was closed, as asyncio.run does at its end: connect a new client in {here!r}, and close it there"
        else:
            text = f"this client belongs to {self._loop!r}, and {here!r} runs: connect a client in each event loop"
        return InvalidError(text, operation=operation)

    def _asked(self, operation: str, topic: object = "") -> _native.Client:
        """The client, in the loop that it belongs to."""
        if running_loop() is not self._loop:
            raise self._elsewhere(operation)
        is_topic(topic)
        return self._client

    # Publishing

    def _hooked(self, topic: str, event: object, said: Any) -> Any:
        return self._hooks.published(topic, of_parts(event, said))

    async def publish(self, topic: str, event: object = None, /, **said: Unpack[PublishAttributes]) -> Receipt:
        """Publishes an event, and waits for its receipt. Many at once travel together."""
        if running_loop() is not self._loop:
            raise self._elsewhere("publish")
        if type(topic) is not str:
            is_topic(topic)
        if self._hooks.on_publish is not None:
            event, said = self._hooked(topic, event, said), {}
        pending = self._client.publish(topic, event, True, False, said)
        try:
            return await pending
        except asyncio.CancelledError as cancelled:
            if not self._client.cancel_publish(pending):
                cancelled.args = ("the publish was cancelled; outcome unknown: what the session had taken goes on",)
            raise

    def publish_nowait(
        self, topic: str, event: object = None, /, **said: Unpack[PublishAttributes]
    ) -> Pending[Receipt]:
        """Publishes an event if there is room for it, and raises ``BufferFullError`` if there is none. What it gives can be awaited for
        the receipt; if it is not, ``flush`` tells of a failure."""
        if running_loop() is not self._loop:
            raise self._elsewhere("publish")
        if type(topic) is not str:
            is_topic(topic)
        if self._hooks.on_publish is not None:
            event, said = self._hooked(topic, event, said), {}
        return self._client.publish(topic, event, False, True, said)

    async def publish_start(
        self, topic: str, event: object = None, /, **said: Unpack[PublishAttributes]
    ) -> Pending[Receipt]:
        """As ``publish_nowait``, and waits for room, and until the event is in the offline file if there is one."""
        client = self._asked("publish", topic)
        if self._hooks.on_publish is not None:
            event, said = self._hooked(topic, event, said), {}
        pending: Pending[Receipt] = await call(client.publish_start(topic, event, said), outcome_unknown=True)
        return pending

    async def publish_batch(self, topic: str, events: Iterable[object], /) -> list[Receipt | MeshwireError]:
        """Publishes events together: a receipt or an error for each, in their order. One bad event fails alone."""
        client = self._asked("publish", topic)
        events = many(events)
        refused: dict[int, MeshwireError] = {}
        if self._hooks.on_publish is not None:
            events, refused = self._hooks.published_together(topic, events)
        receipts: list[Receipt | MeshwireError] = await call(client.publish_batch(topic, events), outcome_unknown=True)
        for place, error in refused.items():
            receipts.insert(place, error)
        return receipts

    async def flush(self) -> None:
        """Waits until every event published so far has its answer.

        Raises ``PublishError`` with each failure that nobody awaited since the last flush.
        """
        client = self._asked("flush")
        await call(client.flush())
        raise_failures(client)

    # Requests

    async def request(
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
        pending = self._asked("request", topic).request(topic, event, options, said)
        reply: Reply = await call(pending, outcome_unknown=True)
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
        """As ``request``, for many replies: ``async for`` gives them. Leaving cancels the request; ``async with`` does so at once."""
        options = texts({"timeout": timeout, "retry": retry or None, "credit": credit})
        return Replies(self._asked("request_stream", topic).request_stream, topic, event, options, said)

    async def serve(
        self,
        topic: str,
        handler: Callable[[Request], object],
        /,
        *,
        until: Awaitable[object] | None = None,
        **options: Unpack[ServeOptions],
    ) -> None:
        """Answers a topic's requests with a function, until ``until`` is done, the client is closed or this is cancelled.

        What the function returns, or what it awaits, is the reply, one without data if that is ``None``; a generator gives many. What it
        raises is told to the requester.
        """
        is_handler("serve", handler, until)
        stream, _ = self._asked("serve", topic).serve(topic, texts(options, ServeOptions))
        await serve(stream, handler, until, self._handling)

    # Receiving

    def subscribe(self, topic: str, /, **options: Unpack[SubscribeOptions]) -> Subscription:
        """Deliveries of a topic, which the program settles.

        ``async with mesh.subscribe(...) as orders`` returns what is unsettled at its end, at once. A new group starts at the earliest
        event; without a group it is a broadcast of one's own from now on.
        """
        client, opened = self._asked("subscribe", topic), self._opened

        async def begin(topic: str, options: dict[str, str]) -> _native.Stream:
            return opened.add(await call(client.subscribe(topic, options)))

        return Subscription(begin, topic, texts(options, SubscribeOptions), self._hooks)

    async def consume(
        self,
        topic: str,
        handler: Callable[[Job], object],
        /,
        *,
        until: Awaitable[object] | None = None,
        **options: Unpack[ConsumeOptions],
    ) -> None:
        """Calls a function with each event of a topic, until ``until`` is done, the client is closed or this is cancelled.

        It returns: ack. It raises: nack. ``Nack`` and ``Reject``, raised or returned, say more. One key at a time, whatever
        ``concurrency`` is. A function that is not async runs in the event loop, and holds it up.
        """
        is_handler("consume", handler, until)
        stream, _ = self._asked("consume", topic).consume(topic, texts(options, ConsumeOptions))
        await consume(stream, handler, until, self._hooks, self._handling)

    # The client itself

    def _ending(self, operation: str) -> _native.Client:
        """The client, for a call that waits until all handlers have ended."""
        client = self._asked(operation)
        if asyncio.current_task() in self._handling:
            raise waits_for_itself(operation)
        return client

    async def connected(self) -> None:
        """Waits until the client is logged in at a gateway."""
        client = self._asked("connect")
        try:
            await call(client.connected())
        except ClosedError as closed:
            # The session that ended does not know who waited for it.
            closed.operation = "connect"
            raise

    @property
    def state(self) -> State:
        """Where the client stands."""
        return self._client.state

    async def states(self) -> AsyncIterator[State]:
        """The state now and whenever it changes, until it is ``closed``."""
        client = self._asked("state")
        state: State = client.state
        while True:
            yield state
            if state == "closed":
                return
            try:
                state = await call(client.state_after(state))
            except ClosedError:
                state = "closed"

    def stats(self) -> Stats:
        """Counts, as of now."""
        counts: Stats = json.loads(self._client.stats())
        return counts

    async def drain(self, deadline: float | None = None) -> None:
        """Ends the client: streams end, new publishes are refused, what is in flight has ``deadline`` seconds (30) to finish.

        Awaited by a handler of the client, which would wait for itself, it raises ``InvalidError``.
        """
        client = self._ending("drain")
        if deadline is not None:
            # Else it would end for a mistake.
            seconds("deadline", deadline)
        try:
            await call(client.drain(deadline))
        finally:
            client.release()

    async def close(self) -> None:
        """Drains with the default deadline. Again is nothing."""
        client = self._ending("close")
        if client.state == "closed":
            client.release()
            return
        await self.drain()

    async def __aenter__(self) -> Mesh:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process != os.getpid():
            # In a child of fork it is the parent's to close.
            return
        try:
            if kind is not None:
                # Nobody settles any more what is in hand: closing would wait for it in vain.
                self._opened.leave()
            await self.close()
        except MeshwireError as problem:
            if kind is None:
                raise
            # What the program raised says more.
            _log.warning("closing the client failed: %s", problem)

    # Administration

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


def raise_failures(client: _native.Client) -> None:
    """Tells of failures that nobody has seen."""
    failed, untold = client.failures()
    errors = [error for pending in failed if (error := pending.error()) is not None]
    if errors:
        raise PublishError(errors, untold)
