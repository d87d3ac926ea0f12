"""Handlers of a program, run by the event loop that their caller runs in and with its context."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, closing
from typing import Any, TypeAlias, Union

from ._arguments import wrong
from ._hooks import Hooks, SettledAs, is_async, problem_of, text_of
from ._native import Job, Pending, Request, Stream
from .errors import CancelledError, ClosedError, InvalidError

_log = logging.getLogger("meshwire")

#: Tasks of a client's handlers.
Handling: TypeAlias = set[Union[asyncio.Task[Any], None]]


class Nack(Exception):
    """Raised or returned by a handler: the event is to come again, after ``delay`` seconds."""

    def __init__(self, delay: float | None = None, reason: str = "") -> None:
        super().__init__(reason or "nack")
        self.delay = delay


class Reject(Exception):
    """Raised or returned by a handler: the event is never to come again, for this reason. It becomes a dead letter."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


def told_by(result: object) -> Exception | None:
    """What a handler that returned has said by it: a settlement counts as it does when it is raised, its class too."""
    if isinstance(result, type) and issubclass(result, (Nack, Reject)):
        return result()
    return result if isinstance(result, (Nack, Reject)) else None


def _ended(job: Job, error: BaseException | None) -> SettledAs:
    """Settles as the handler ended, and says how that is called."""
    if error is None:
        job.end_done()
        return "ack"
    if isinstance(error, Reject):
        job.end_reject(text_of(error.reason))
        return "reject"
    if isinstance(error, Nack) and error.delay is not None:
        try:
            job.end_nack(error.delay)
        except Exception as wrong:
            # It has failed all the same, and the others go on.
            _log.error("a handler of %s said a Nack that cannot be: %s", job.topic, problem_of(wrong))
            job.end_failed(problem_of(wrong))
        return "nack"
    if not isinstance(error, Nack):
        _log.warning("a handler of %s failed: %s", job.topic, problem_of(error), exc_info=error)
    job.end_failed(problem_of(error))
    return "nack"


def settled(job: Job, error: BaseException | None, hooks: Hooks) -> None:
    """Says how the handler of an event ended."""
    _told(job, _ended(job, error), hooks)


def _told(job: Job, word: SettledAs, hooks: Hooks) -> None:
    """Tells the program of it, if it holds: what was lost comes again, whatever its handler says."""
    if hooks.on_settle is not None and not job.lost:
        hooks.settled(job, word)


def cut_off(job: Job, error: BaseException, hooks: Hooks) -> None:
    """Settles an event whose handler was cancelled, or ends what it runs in: said now, and not left to when the last of it is let go."""
    cancelled = isinstance(error, asyncio.CancelledError)
    try:
        job.end_failed("its handler was cancelled" if cancelled else f"its handler ended by {type(error).__name__}")
    except ClosedError:
        # It is let go of in a child of fork: it is the parent's.
        return
    _told(job, "nack", hooks)


def cut_short(request: Request, error: BaseException) -> None:
    """Answers a request whose handler is ended with what it runs in."""
    try:
        request.end_failed(f"its handler ended by {type(error).__name__}")
    except ClosedError:
        # As above.
        return


def is_handler(operation: str, handler: Any, until: Any, is_awaited: bool = True) -> None:
    """Refuses what is no handler: calling it would do nothing. So it does with what does not say when to end."""
    if not callable(handler):
        raise TypeError(f"{operation} calls a function, and not {type(handler).__name__}: topic, then handler")
    if until is not None and is_awaited and not inspect.isawaitable(until):
        raise wrong("until", "awaited, as a task, a future or what the wait() of an asyncio.Event gives", until)
    if until is not None and not is_awaited and not callable(getattr(until, "is_set", None)):
        raise wrong("until", "a threading.Event", until)
    if not is_awaited and is_async(handler):
        raise TypeError(f"meshwire.sync calls functions that are not async: {operation} of meshwire.connect() awaits them")
    if operation == "consume" and (inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler)):
        raise TypeError("consume calls a function that handles an event, and no generator: only serve takes what it yields")


async def _handle(job: Job, handler: Callable[[Job], object], hooks: Hooks) -> None:
    job.begin()
    error: BaseException | None = None
    try:
        if hooks.on_delivery is not None:
            hooks.delivered(job)
        result = handler(job)
        error = told_by(await result if inspect.isawaitable(result) else result)
    except Exception as problem:
        error = problem
    except BaseException as ended:
        cut_off(job, ended, hooks)
        raise
    settled(job, error, hooks)


async def _answer(request: Request, handler: Callable[[Request], object]) -> None:
    try:
        result = handler(request)
        if inspect.isasyncgen(result):
            async with aclosing(result):
                async for reply in result:
                    await request.begin_reply(reply)
            request.end_done()
        elif inspect.isgenerator(result):
            with closing(result):
                for reply in result:
                    await request.begin_reply(reply)
            request.end_done()
        else:
            request.answer(await result if inspect.isawaitable(result) else result)
    except CancelledError:
        # The requester waits no more.
        request.end_done()
    except asyncio.CancelledError:
        request.end_failed("its handler was cancelled")
        raise
    except Exception as problem:
        _log.warning("a handler of %s failed: %s", request.topic, problem_of(problem), exc_info=problem)
        request.end_failed(problem_of(problem))
    except BaseException as ended:
        cut_short(request, ended)
        raise


def waits_for_itself(operation: str) -> InvalidError:
    """Why a handler does not end its own client."""
    text = "a handler would wait for itself: end consume or serve by its until, and call this behind it"
    return InvalidError(text, operation=operation)


def _forgotten(
    tasks: dict[int, asyncio.Task[None]],
    handling: Handling,
    number: int,
    failed: Callable[[BaseException], None],
    task: asyncio.Task[None],
) -> None:
    tasks.pop(number, None)
    handling.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        failed(error)


async def _run(
    stream: Stream,
    begin: Callable[[Any], Coroutine[Any, Any, None]],
    until: Awaitable[object] | None,
    handling: Handling,
) -> None:
    """Begins a task for each piece of work, and cancels those whose work was lost."""
    loop = asyncio.get_running_loop()
    tasks: dict[int, asyncio.Task[None]] = {}
    works: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    stop = None if until is None else asyncio.ensure_future(until)
    if stop is not None:
        stop.add_done_callback(lambda _: stream.close())
    # What handlers raised that ends all of it: that they fail is not among it.
    errors: list[BaseException] = []

    def failed(error: BaseException) -> None:
        errors.append(error)
        stream.close()

    pending: Pending[bool] | None = None
    try:
        while True:
            for work in stream.batch():
                if isinstance(work, int):
                    if work in tasks:
                        if work in works:
                            works[work].lose()
                        tasks[work].cancel()
                    continue
                number = work.number
                works[number] = work
                tasks[number] = task = loop.create_task(begin(work))
                task.add_done_callback(functools.partial(_forgotten, tasks, handling, number, failed))
            if stream.ended:
                if errors:
                    raise errors[0]
                if stop is not None and stop.done() and not stop.cancelled():
                    # What it raised is the program's to see.
                    stop.result()
                return
            pending = stream.ask()
            await pending
    finally:
        stream.close()
        if pending is not None:
            pending.cancel()
        if stop is not None:
            stop.cancel()
        left = list(tasks.values())
        for task in left:
            task.cancel()
        if left:
            await asyncio.gather(*left, return_exceptions=True)


async def consume(
    stream: Stream,
    handler: Callable[[Job], object],
    until: Awaitable[object] | None,
    hooks: Hooks,
    handling: Handling,
) -> None:
    """Handles events."""

    async def begin(job: Job) -> None:
        # Here, and not where it is made: it may begin at once.
        handling.add(asyncio.current_task())
        await _handle(job, handler, hooks)

    await _run(stream, begin, until, handling)


async def serve(
    stream: Stream, handler: Callable[[Request], object], until: Awaitable[object] | None, handling: Handling
) -> None:
    """Answers requests."""

    async def begin(request: Request) -> None:
        handling.add(asyncio.current_task())
        await _answer(request, handler)

    await _run(stream, begin, until, handling)
