"""Handlers of a program, run by the thread that calls, or by some that Python makes."""

from __future__ import annotations

import contextvars
import inspect
import logging
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from .._handlers import cut_off, problem_of, settled
from .._hooks import Hooks, not_awaited
from .._native import Job, Request, Stream
from ..errors import CancelledError

_log = logging.getLogger("meshwire")

#: How often whoever waits looks whether it is to stop, in seconds.
LOOK = 0.1


def handle(job: Job, handler: Callable[[Job], object], hooks: Hooks) -> None:
    """Handles an event."""
    error: Exception | None = None
    try:
        if hooks.on_delivery is not None:
            hooks.delivered(job)
        if (result := handler(job)) is not None:
            not_awaited("a handler of meshwire.sync", result)
    except Exception as problem:
        error = problem
    except BaseException as ended:
        cut_off(job, ended, hooks)
        raise
    settled(job, error, hooks)


def answer(request: Request, handler: Callable[[Request], object]) -> None:
    """Answers a request."""
    try:
        result = handler(request)
        not_awaited("a handler of meshwire.sync", result)
        if inspect.isgenerator(result):
            with closing(result):
                for reply in result:
                    request.reply(reply)
            request.end_done()
        else:
            request.answer(result)
    except CancelledError:
        # The requester waits no more.
        request.end_done()
    except Exception as problem:
        _log.warning("a handler of %s failed: %s", request.topic, problem_of(problem), exc_info=problem)
        request.end_failed(problem_of(problem))
    except BaseException as ended:
        request.end_failed(f"its handler ended by {type(ended).__name__}")
        raise


def run(
    stream: Stream,
    begin: Callable[[Any], None],
    concurrency: int,
    until: threading.Event | None,
    handling: list[int],
) -> None:
    """Handles what comes, on this thread if it is one at a time. Nobody can end a handler here whose work was lost: it looks itself, at
    ``lost``. ``handling`` has the threads that run handlers. What ends one of them, as ``sys.exit`` does, ends all of it, and is raised."""
    errors: list[BaseException] = []

    def one(work: Any) -> None:
        thread = threading.get_ident()
        handling.append(thread)
        try:
            begin(work)
        finally:
            handling.remove(thread)

    def one_of_many(work: Any) -> None:
        try:
            one(work)
        except BaseException as error:
            errors.append(error)
            stream.close()

    begun: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    pool = ThreadPoolExecutor(concurrency, "meshwire-handler") if concurrency > 1 else None
    try:
        while True:
            for work in stream.batch():
                if isinstance(work, int):
                    if work in begun:
                        begun[work].lose()
                    continue
                begun[work.number] = work
                if pool is None:
                    one(work)
                else:
                    pool.submit(contextvars.copy_context().run, one_of_many, work)
            if stream.ended:
                break
            if until is not None and until.is_set():
                stream.close()
            stream.wait(wait=None if until is None else LOOK)
    finally:
        stream.close()
        if pool is not None:
            pool.shutdown(cancel_futures=True)
    if errors:
        raise errors[0]
