"""What this process has one of: the queue and its pump, the log's thread, and what is done at a fork and at the end.

One pump for the process, and not one for each event loop: it only resolves what is waited for and wakes the loops that wait, by one call
for each batch and loop, and never waits for a loop itself; so a second one would only be a second thread that wants the interpreter's
lock. It is a daemon made by Python, and it waits without that lock.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

from . import _native
from ._waiting import tell

if TYPE_CHECKING:
    from ._native import Client, Pump

_log = logging.getLogger("meshwire")

#: How long publishes without a receipt have when the process ends without a close.
LINGER = 2.0
#: How long threads have to end then.
PARTING = 2.0

_lock = threading.Lock()
_pump: Pump | None = None
_threads: list[threading.Thread] = []
_clients: weakref.WeakSet[Client] = weakref.WeakSet()
_watched = False
_logged = False


def pump() -> Pump:
    """The pump of this process."""
    global _pump
    with _lock:
        if _pump is None:
            _begin_once()
            _pump = _native.Pump()
            _start("meshwire-pump", _run_pump, _pump)
        return _pump


def opened(client: Client) -> None:
    """A client that is flushed when the process ends."""
    _clients.add(client)


def _start(name: str, run: Any, *args: Any) -> None:
    thread = threading.Thread(target=run, args=args, name=name, daemon=True)
    _threads.append(thread)
    thread.start()


def _begin_once() -> None:
    global _logged, _watched
    if not _watched:
        _watched = True
        atexit.register(_end)
        os.register_at_fork(after_in_child=_forked)
    if _logged:
        return
    _logged = True
    try:
        # All: loggers may want more later, and say so when a record is there.
        _native.keep_logs(0)
    except Exception:
        # A program around this interpreter has a log of its own.
        return
    _start("meshwire-log", _run_log)


def _run_pump(pump: Pump) -> None:
    while (woken := pump.take()) is not None:
        for loop, futures in woken.items():
            try:
                loop.call_soon_threadsafe(tell, futures)
            except RuntimeError:
                # It was closed, and nobody waits in it any more.
                pass


def _run_log() -> None:
    while (taken := _native.take_logs()) is not None:
        records, dropped = taken
        if dropped:
            _log.warning("%d records of the log were dropped: they came faster than they were written", dropped)
        for level, target, when, text in records:
            logger = logging.getLogger(target.replace("meshwire_", "meshwire.").replace("::", "."))
            if not logger.isEnabledFor(level):
                continue
            record = logger.makeRecord(logger.name, level, "(meshwire)", 0, text, (), None)
            record.created = when
            record.msecs = (when - int(when)) * 1000
            try:
                logger.handle(record)
            except Exception:
                logging.Handler(level).handleError(record)


def _forked() -> None:
    """Nothing of the parent's works in its child: threads are not there, and locks may be held for ever."""
    global _pump, _lock, _clients, _logged
    _logged = False
    _lock = threading.Lock()
    _pump = None
    _threads.clear()
    _clients = weakref.WeakSet()


def _end() -> None:
    for client in list(_clients):
        if client.unanswered():
            # The client logs how many have none then.
            client.finish(LINGER)
        client.release()
    if _pump is not None:
        _pump.close()
    _native.close_logs()
    for thread in _threads:
        thread.join(PARTING)
