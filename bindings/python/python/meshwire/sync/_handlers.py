"""Handlers of a program, run by the thread that calls, or by some that Python makes."""

from __future__ import annotations

import contextvars
import inspect
import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import closing
from queue import SimpleQueue
from time import monotonic
from typing import Any

from .._handlers import cut_off, cut_short, settled, told_by
from .._hooks import Hooks, not_awaited, problem_of
from .._native import Job, Request, Stream
from ..errors import CancelledError, InvalidError

_log = logging.getLogger("meshwire")

#: How often whoever waits looks whether it is to stop, in seconds.
LOOK = 0.1

#: How long handlers in other threads have to end when the program is to end, in seconds.
PARTING = 1.0


def handle(job: Job, handler: Callable[[Job], object], hooks: Hooks) -> None:
    """Handles an event."""
    job.begin()
    error: Exception | None = None
    try:
        if hooks.on_delivery is not None:
            hooks.delivered(job)
        if (result := handler(job)) is not None:
            not_awaited("a handler of meshwire.sync", result)
            error = told_by(result)
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
        if request.lost and isinstance(problem, InvalidError):
            # It was cut off, and had its last word by that.
            return
        _log.warning("a handler of %s failed: %s", request.topic, problem_of(problem), exc_info=problem)
        request.end_failed(problem_of(problem))
    except BaseException as ended:
        cut_short(request, ended)
        raise


class _Threads:
    """Threads for handlers, made as they are needed. They are daemons: Python waits at its end for those of a pool, whatever they do."""

    def __init__(self, most: int, begin: Callable[[Any], None], cut: Callable[[Any, BaseException], None]) -> None:
        self._most, self._begin, self._cut = most, begin, cut
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._queue: SimpleQueue[tuple[contextvars.Context, Any] | None] = SimpleQueue()
        self._running: dict[int, Any] = {}

    def put(self, work: Any) -> None:
        """Begins with it in the context of the caller."""
        self._running[work.number] = work
        self._queue.put((contextvars.copy_context(), work))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
            name = f"meshwire-handler_{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def has(self, work: Any) -> bool:
        """Whether it was not cut off."""
        return work.number in self._running

    def _run(self) -> None:
        while (taken := self._queue.get()) is not None:
            context, work = taken
            if self.has(work):
                context.run(self._begin, work)
                self._running.pop(work.number, None)
            # Nobody holds an event while there is no other.
            del taken, context, work
            self._idle.release()

    def end(self, error: BaseException | None) -> None:
        """Waits until they have ended. If the program is to end by an error, before or meanwhile, what still runs soon has failed by it,
        and nobody waits for its thread."""
        for _ in self._threads:
            self._queue.put(None)
        until = None if error is None else monotonic() + PARTING
        try:
            for thread in self._threads:
                # Python sees a signal that comes just before a wait when that ends.
                while thread.is_alive() and (until is None or monotonic() < until):
                    thread.join(LOOK)
        except BaseException as ended:
            error = error or ended
            raise
        finally:
            if error is not None:
                self._cut_off(error)

    def _cut_off(self, error: BaseException) -> None:
        for number, work in list(self._running.items()):
            if self._running.pop(number, None) is None:
                continue
            try:
                self._cut(work, error)
            except InvalidError:
                # It has ended just now.
                pass
            work.lose()


def _let_go(stream: Stream) -> None:
    """Lets go of what no handler has begun with: else it waits for whoever looks at the error, which has the frame that has the stream."""
    until = monotonic() + PARTING
    while not stream.ended and monotonic() < until:
        if not stream.batch():
            stream.wait(wait=LOOK)


def run(
    stream: Stream,
    begin: Callable[[Any], None],
    cut: Callable[[Any, BaseException], None],
    concurrency: int,
    until: threading.Event | None,
    handling: list[int],
) -> None:
    """Handles what comes, on this thread if it is one at a time. Nobody can end a handler here whose work was lost: it looks itself, at
    ``lost``. ``handling`` has the threads that run handlers. What ends one of them, as ``sys.exit`` does, ends all of it, and is raised;
    so does Ctrl-C. What others then run is ``cut`` off if it does not end soon."""
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
            if threads is not None and threads.has(work):
                errors.append(error)
                stream.close()

    begun: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    threads = _Threads(concurrency, one_of_many, cut) if concurrency > 1 else None
    # Nothing comes when a handler elsewhere ends it: that is looked for too.
    patience = None if until is None and threads is None else LOOK
    ended: BaseException | None = None
    try:
        while not errors:
            for work in stream.batch():
                if isinstance(work, int):
                    if work in begun:
                        begun[work].lose()
                    continue
                begun[work.number] = work
                if threads is None:
                    one(work)
                else:
                    threads.put(work)
            if stream.ended:
                break
            if until is not None and until.is_set():
                stream.close()
            stream.wait(wait=patience)
    except Exception:
        raise
    except BaseException as error:
        ended = error
        raise
    finally:
        stream.close()
        try:
            if threads is not None:
                threads.end(ended or next(iter(errors), None))
        finally:
            if ended is not None or errors:
                _let_go(stream)
    if errors:
        raise errors[0]
