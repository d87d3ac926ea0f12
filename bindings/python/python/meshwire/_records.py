"""What administration tells: plain values, with durations in seconds and positions as numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

from ._arguments import seconds, wrong
from ._event import moment


@dataclass(frozen=True, kw_only=True)
class TopicGroup:
    """A group in the list of its topic."""

    name: str
    settled_through: int = 0
    members: int = 0
    in_flight: int = 0
    lag: int = 0


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic: its settings and what it holds."""

    name: str
    durability: str = ""
    retention: float = 0.0
    retention_bytes: int = 0
    lagging: str = ""
    first: int = 0
    next: int = 0
    events: int = 0
    delayed: int = 0
    overtaken: int = 0
    bytes: int = 0
    physical_bytes: int = 0
    groups: tuple[TopicGroup, ...] = ()
    #: Who serves its requests and how many are open, while somebody does.
    requests: Mapping[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """A durable member of a broadcast group."""

    name: str
    connected: bool = False
    settled_through: int = 0
    in_flight: int = 0
    lag: int = 0
    delayed: int = 0
    dead_letters: int = 0


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of a topic: its settings and where it stands."""

    name: str
    mode: str = ""
    settled_through: int = 0
    members: int = 0
    in_flight: int = 0
    lag: int = 0
    oldest: float = 0.0
    delayed: int = 0
    failing: int = 0
    dead_letters: int = 0
    expired: int = 0
    ack_wait: float = 0.0
    max_failures: int = 0
    max_age: float = 0.0
    backoff_min: float = 0.0
    backoff_max: float = 0.0
    hold_after_dead_letter: bool = False
    strict_order: bool = False
    max_in_flight: int = 0
    max_rate: int = 0
    durable_members: tuple[Member, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An event that a group has given up."""

    number: int
    group: str = ""
    #: The durable member of a broadcast group that has given it up.
    member: str | None = None
    position: int = 0
    reason: str = ""
    error: str | None = None
    failures: int = 0
    attempts: int = 0
    redriven: bool = False
    stored: datetime | None = None
    first_failure: datetime | None = None
    last_failure: datetime | None = None
    #: The event in CloudEvents' JSON; ``None``: it was not asked for, or has no such form, as ``event_error`` says.
    event: Mapping[str, Any] | None = None
    event_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Redriven:
    """What became of a redrive."""

    redriven: int = 0
    #: Those that stay, by their groups, which are gone.
    left: Mapping[str, int] = field(default_factory=dict)
    #: Numbers that were no dead letters.
    not_there: int = 0


@dataclass(frozen=True, kw_only=True)
class LimitsInForce:
    """Limits of the gateway, and what is in use of them; 0: none."""

    publish_rate: int = 0
    publish_bytes_rate: int = 0
    publish_budget_bytes: int = 0
    deliver_rate: int = 0
    deliver_bytes_rate: int = 0
    unkept_bytes: int = 0
    sending_bytes: int = 0
    sending_most: int = 0


_POSITIONS = {"first", "next", "position", "settled_through"}
_TIMES = {"stored", "first_failure", "last_failure"}
_Record = TypeVar("_Record")


def record(kind: type[_Record], told: Mapping[str, Any]) -> _Record:
    """What was told as a record; what is newer than this library is left out."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in told.items():
        if name.endswith("_ms"):
            name, value = name.removesuffix("_ms"), value / 1000
        elif name in _POSITIONS:
            value = int(value)
        elif name in _TIMES and value is not None:
            value = moment(value)
        elif name == "groups":
            value = tuple(record(TopicGroup, each) for each in value)
        elif name == "durable_members":
            value = tuple(record(Member, each) for each in value)
        if name in known:
            values[name] = value
    return kind(**values)


def page(kind: type[_Record], text: str) -> tuple[list[_Record], str | None]:
    """A page of a list, and where the next one begins."""
    told = json.loads(text)
    return [record(kind, each) for each in told["items"]], told.get("next")


def arguments(**said: Any) -> dict[str, Any]:
    """Arguments of a command: what is ``None`` is not said, durations are milliseconds, times as JSON has them."""
    told: dict[str, Any] = {}
    for name, value in said.items():
        if value is None:
            continue
        if name in _DURATIONS:
            value, name = round(seconds(name, value) * 1000), f"{name}_ms"
        elif isinstance(value, datetime):
            value = value.astimezone().isoformat()
        elif not isinstance(value, (str, int, float, Mapping, list)):
            raise wrong(name, "text or a number", value)
        told[name] = value
    return told


_DURATIONS = {"retention", "ack_wait", "max_age", "backoff_min", "backoff_max"}
