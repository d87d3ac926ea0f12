"""How Python waits for what the native part begins."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, get_running_loop
from collections.abc import Generator
from threading import Event as Flag
from time import monotonic
from typing import Any

from ._native import Pending, Stream


def wait(pending: Pending[Any]) -> Generator[Any, None, Any]:
    """Waits for a call on the running loop. Cancelling ends the wait, and not the call."""
    loop = get_running_loop()
    future = loop.create_future()
    if pending.watch(loop, future):
        try:
            yield from future
        except BaseException:
            pending.forget(future)
            raise
    return pending.result()


def fill(stream: Stream) -> Generator[Any, None, Any]:
    """Waits for the next of a stream."""
    loop = get_running_loop()
    while True:
        item = stream.pop()
        if item is not None:
            return item
        pending = stream.ask()
        future = loop.create_future()
        if pending.watch(loop, future):
            try:
                yield from future
            except BaseException:
                # Whoever waits last takes the question back: nothing is lost by it.
                if not pending.forget(future):
                    pending.cancel()
                raise


async def some(stream: Stream, most: int, wait: float | None) -> None:
    """Waits until there are some of a stream, for ``wait`` seconds."""
    while not len(stream) and not stream.ended:
        others = stream.asking
        pending = stream.ask(most, wait)
        try:
            if others and wait is not None:
                # Whoever asked waits as long as they like.
                await asyncio.wait_for(_watched(pending), wait)
            elif not await _watched(pending) and wait is not None:
                return
        except asyncio.TimeoutError:
            return


async def _watched(pending: Pending[bool]) -> bool:
    """Waits with others for what was asked; whoever waits last takes the question back."""
    loop = get_running_loop()
    future = loop.create_future()
    if pending.watch(loop, future):
        try:
            await future
        except BaseException:
            if not pending.forget(future):
                pending.cancel()
            raise
    return pending.result()


def tell(futures: list[asyncio.Future[None]]) -> None:
    """Tells futures of this loop that what they wait for is there."""
    for future in futures:
        if not future.done():
            future.set_result(None)


class _Here:
    """Stands for an event loop: tells on the pump's own thread, which a flag may be set by."""

    def call_soon_threadsafe(self, call: Any, futures: Any) -> None:
        call(futures)


class _Flag:
    """Stands for a future of it."""

    def __init__(self) -> None:
        self.flag = Flag()

    def done(self) -> bool:
        return self.flag.is_set()

    def set_result(self, _: None) -> None:
        self.flag.set()


HERE = _Here()


#: How long at most a thread waits before it hears a signal, in seconds.
SLICE = 0.1


def block(pending: Pending[Any], timeout: float | None) -> bool:
    """Waits for a call on this thread; whether it came to something in time. Ctrl-C is heard."""
    flag = _Flag()
    if not pending.watch(HERE, flag):
        return True
    until = None if timeout is None else monotonic() + timeout
    left = timeout
    try:
        # In slices: Python does not end the wait for a lock by a signal that came just before it.
        while not flag.flag.wait(SLICE if left is None else min(left, SLICE)):
            if until is not None and (left := until - monotonic()) <= 0:
                return False
        return True
    finally:
        pending.forget(flag)


async def call(pending: Pending[Any], outcome_unknown: bool = False) -> Any:
    """Waits for a call, which ends when the wait is cancelled."""
    try:
        return await pending
    except CancelledError as cancelled:
        pending.cancel()
        if outcome_unknown:
            cancelled.args = ("the call was cancelled; outcome unknown: what the session had taken goes on",)
        raise
