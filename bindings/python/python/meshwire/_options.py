"""Options as text: what they mean and which values are accepted is decided by the client alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypedDict, Union

from ._arguments import seconds, wrong
from ._kinds import KINDS
from .errors import InvalidError

#: Seconds, a timedelta, or text as ``500ms``.
Duration = Union[float, timedelta, str]
#: Bytes, or text as ``64MiB``.
Size = Union[int, str]
#: ``earliest``, ``latest``, a position, a time, or how long ago.
Start = Union[str, int, datetime, timedelta]


class ConnectOptions(TypedDict, total=False):
    """Options of a client: `docs/options.md` says what each means. ``url`` has a place of its own."""

    name: str
    connect_timeout: Duration
    connect_wait: Duration
    reconnect_min: Duration
    reconnect_max: Duration
    publish_window_events: int
    publish_window_bytes: Size
    publish_timeout: Duration
    publish_offline: str
    offline_file: str | os.PathLike[str]
    offline_max_bytes: Size
    offline_max_age: Duration
    offline_sync: str
    request_window: int
    proxy: str
    token: str
    token_file: str | os.PathLike[str]
    client_tls_roots: str | os.PathLike[str]
    client_tls_certificate: str | os.PathLike[str]
    client_tls_key: str | os.PathLike[str]
    client_tls_server_name: str


class SubscribeOptions(TypedDict, total=False):
    """Options of a subscription, and what its group is to be if it is new."""

    group: str | None
    broadcast: bool
    member: str | None
    start: Start | None
    prefetch_events: int
    prefetch_bytes: Size
    ack_wait: Duration
    max_failures: int
    max_age: Duration
    backoff_min: Duration
    backoff_max: Duration
    hold_after_dead_letter: bool
    strict_order: bool
    max_in_flight: int
    max_rate: int


class ConsumeOptions(SubscribeOptions, total=False):
    """The same, and how many handlers run at once."""

    concurrency: int


class ServeOptions(TypedDict, total=False):
    """Options of who answers requests."""

    group: str | None
    concurrency: int
    prefetch_events: int
    prefetch_bytes: Size


#: Words of Python's API that are shorter than the option's name.
SHORT = {
    "concurrency": "handler_concurrency",
    "timeout": "request_timeout",
    "credit": "reply_credit",
    "deadline": "drain_timeout",
}
#: What an option is, by its kind.
_WANTED = {
    "duration": "seconds, a timedelta or text as '500ms'",
    "bytes": "a number of bytes or text as '64MiB'",
    "count": "a whole number",
    "text": "text",
}


def texts(options: Mapping[str, Any], of: type | None = None) -> dict[str, str]:
    """Options by their names, as text; what is ``None`` is not said. ``of`` has those that there are, if others may have been said: the
    client refuses them whatever their value is."""
    told: dict[str, str] = {}
    for name, value in options.items():
        if value is None:
            continue
        is_there = of is None or name == "url" or name in of.__annotations__ or name in SHORT.values()
        told[SHORT.get(name, name)] = _text(name, value) if is_there else ""
    return told


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return _utf8(name, value)
    kind = KINDS.get(SHORT.get(name, name))
    if isinstance(value, os.PathLike):
        return _utf8(name, os.fsdecode(value))
    if kind == "text":
        raise wrong(name, _WANTED[kind], value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if name == "start":
        return _start(value)
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if kind == "duration" and isinstance(value, (int, float)):
        return _millis(seconds(name, value))
    if isinstance(value, int):
        return str(value)
    raise wrong(name, _WANTED.get(kind or "", "text"), value)


def _utf8(name: str, text: str) -> str:
    """Text that can be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidError(f"{name}: the text has half of a surrogate pair, which UTF-8 has no place for") from None
    return text


def _millis(seconds: float) -> str:
    """Seconds as text; parts of a millisecond are rounded up, and what is no length of time is left for the client to refuse."""
    millis = seconds * 1000
    if not abs(millis) < 1e15:
        return f"{seconds}s"
    whole = round(millis, 6)
    return f"{int(whole) if whole == int(whole) else int(whole) + 1}ms"


def _start(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"-{_millis(value.total_seconds())}"
    if isinstance(value, int):
        return str(value)
    raise wrong("start", "a position, a time, how long ago, or text as 'earliest'", value)
