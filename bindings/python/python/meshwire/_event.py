"""Events as programs put them together, and what is taken for one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from typing import Any, TypedDict, Union

from ._native import Message

#: Attributes of CloudEvents have these types.
AttributeValue = Union[str, int, bool, bytes, datetime]

to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class Event:
    """An event to publish: its data, and what is said of it.

    Data that is bytes goes as it is, text as text, ``None`` as no data, everything else as JSON. What is absent of ``id``, ``source``,
    ``type`` and ``time`` is filled in when it is published.
    """

    data: Any = None
    #: What happened, such as ``order.created``; the topic's name if it is absent.
    type: str | None = field(default=None, kw_only=True)
    #: Events of one key stay in order, and are handled one at a time.
    key: str | None = field(default=None, kw_only=True)
    id: str | None = field(default=None, kw_only=True)
    source: str | None = field(default=None, kw_only=True)
    subject: str | None = field(default=None, kw_only=True)
    time: datetime | str | None = field(default=None, kw_only=True)
    content_type: str | None = field(default=None, kw_only=True)
    schema: str | None = field(default=None, kw_only=True)
    #: Extension attributes, by their names in CloudEvents.
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict, kw_only=True)
    #: It is delivered at this time, or so many seconds after it was published.
    deliver_at: datetime | None = field(default=None, kw_only=True)
    deliver_after: float | timedelta | None = field(default=None, kw_only=True)
    #: Nobody gets it any more after so many seconds.
    expires_in: float | timedelta | None = field(default=None, kw_only=True)


class EventAttributes(TypedDict, total=False):
    """What can be said of an event beside its data, as in ``Event``."""

    type: str | None
    key: str | None
    id: str | None
    source: str | None
    subject: str | None
    time: datetime | str | None
    content_type: str | None
    schema: str | None
    attributes: Mapping[str, AttributeValue] | None


class PublishAttributes(EventAttributes, total=False):
    """The same of an event that is published, which may be later."""

    deliver_at: datetime | None
    deliver_after: float | timedelta | None
    expires_in: float | timedelta | None


_SAID = [each.name for each in fields(Event) if each.name != "data"]
#: What has a word of its own in Python.
_WORDS = {
    **{name: name for name in ("id", "source", "type", "subject", "time")},
    "partitionkey": "key",
    "datacontenttype": "content_type",
    "dataschema": "schema",
}


def parts(value: Any) -> tuple[Any, dict[str, Any]] | None:
    """Data and what is said of it, if the value is an event: one of ours, one that came, or one that has the shape of CloudEvents'."""
    if isinstance(value, Event):
        return value.data, {name: getattr(value, name) for name in _SAID}
    if isinstance(value, Message):
        return parts(of_message(value))
    attributes, data = getattr(value, "get_attributes", None), getattr(value, "get_data", None)
    if callable(attributes) and callable(data):
        return data(), _apart(attributes())
    attributes = getattr(value, "_attributes", None)
    if isinstance(attributes, Mapping) and hasattr(value, "data") and "specversion" in attributes:
        return value.data, _apart(attributes)
    return None


def _apart(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes by their names in CloudEvents, as we say them: extensions apart."""
    said: dict[str, Any] = {}
    extensions: dict[str, Any] = {}
    for name, value in attributes.items():
        if name in _WORDS:
            said[_WORDS[name]] = value
        elif value is not None and (name != "specversion" or value != "1.0"):
            extensions[name] = value
    return {**said, "attributes": extensions}


def of_message(message: Message) -> Event:
    """An event that came, as it can be published again."""
    said = _apart({"id": message.id, "source": message.source, "type": message.type, **message.attributes})
    kind = message.data_kind
    data: Any = None if kind == "absent" else message.text() if kind == "text" else message.data
    return Event(data, **said)


def of_parts(value: Any, said: Mapping[str, Any]) -> Event:
    """The event that a value and what is said beside it come to."""
    known = parts(value)
    data, own = (value, {}) if known is None else known
    own.update((name, one) for name, one in said.items() if one is not None)
    own = {name: one for name, one in own.items() if one is not None}
    return Event(data, **own)


def many(events: Iterable[object]) -> Iterable[object]:
    """Events of a batch, and not one of which a batch would be made letter by letter."""
    if isinstance(events, (str, bytes, bytearray, memoryview, Mapping)):
        # Not at the top: what errors are made of is made of this.
        from .errors import InvalidError

        kind = type(events).__name__
        raise InvalidError(f"a batch is a list of events, or of what else gives them; {kind} is one event", operation="publish")
    if not isinstance(events, Iterable):
        raise TypeError(f"events is a list of events, or of what else gives them, and not {type(events).__name__}")
    return events


def moment(text: str) -> datetime:
    """A time that the native part wrote by RFC 3339, in UTC; what is finer than a microsecond is cut off."""
    whole, _, rest = text.rstrip("Z").partition(".")
    micros = int((rest + "000000")[:6]) if rest else 0
    return datetime.fromisoformat(whole).replace(microsecond=micros, tzinfo=timezone.utc)
