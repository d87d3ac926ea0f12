"""Events, errors and settings in the words of the runner; what both testees of Python share."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import meshwire

CAPS = ["tcp", "iterator", "handler", "manual_ack", "confirmed", "admin", "dead_letters", "stats", "requests", "delays"]
#: What a call can be asked for that does not block its thread.
ASYNC_CAPS = ["cancel"]

#: Data above this is told by its length alone.
SHOWN = 1024


class Absent(Exception):
    """What a command names is not there: the case is wrong, not the client."""


def hello(api: str) -> dict[str, Any]:
    return {"lang": "python", "api": api, "sdk": meshwire.__version__, "caps": CAPS + (ASYNC_CAPS if api == "async" else [])}


def event_of(spec: dict[str, Any], timing: dict[str, Any] | None = None) -> meshwire.Event:
    """An event to publish; what is absent is left to the client."""
    said: dict[str, Any] = {name: spec[name] for name in ("id", "source", "type", "key", "subject", "attributes") if name in spec}
    if "json" in spec:
        data: Any = spec["json"]
        if data is None or isinstance(data, str):
            # As JSON, which text and nothing are not.
            data, said["content_type"] = json.dumps(data), "application/json"
    elif "data_b64" in spec:
        data = base64.b64decode(spec["data_b64"])
    elif "zeros" in spec:
        data = bytes(spec["zeros"])
    else:
        data = spec.get("data")
    for name, ms in (("deliver_after", "deliver_after_ms"), ("expires_in", "expires_in_ms")):
        if timing and timing.get(ms) is not None:
            said[name] = timedelta(milliseconds=timing[ms])
    if timing and timing.get("deliver_at"):
        said["deliver_at"] = datetime.fromisoformat(timing["deliver_at"].replace("Z", "+00:00"))
    return meshwire.Event(data, **said)


def data_of(bytes_: bytes, is_text: bool) -> dict[str, Any]:
    if len(bytes_) > SHOWN:
        return {"data_bytes": len(bytes_)}
    return {"data": bytes_.decode()} if is_text else {"data_b64": base64.b64encode(bytes_).decode()}


def event_told(message: meshwire.Message) -> dict[str, Any]:
    """An event that came."""
    told: dict[str, Any] = {"id": message.id, "source": message.source, "type": message.type}
    told["attributes"] = message.attribute_texts()
    if message.data_kind != "absent":
        told.update(data_of(message.data, message.data_kind == "text"))
    return told


def message_told(name: str, n: int, got: Any) -> dict[str, Any]:
    """A delivery that came."""
    told = {"ev": "msg", "on": name, "n": n, **event_told(got)}
    told.update(attempt=got.attempt, position=got.position, gap=got.gap)
    if got.expires_at is not None:
        told["expires"] = True
    return told


def error_told(error: BaseException) -> dict[str, Any]:
    if isinstance(error, meshwire.MeshwireError):
        told = {"code": error.code, "num": error.number, "retry": error.retry}
        return {**told, "operation": error.operation, "message": str(error)}
    return {"code": "INVALID" if isinstance(error, Absent) else "UNTYPED", "num": 1, "message": repr(error)}


def receipt_told(receipt: meshwire.Receipt | meshwire.MeshwireError) -> dict[str, Any]:
    if isinstance(receipt, meshwire.MeshwireError):
        return {"err": error_told(receipt)}
    return {"position": receipt.position, "duplicate": receipt.duplicate}


def stats_told(stats: Any) -> dict[str, Any]:
    names = "pending published reconnects resumes replays protocol_errors silences settles_dropped leases_lost"
    return {name: stats[name] for name in names.split()}


def connect_options(spec: dict[str, Any]) -> dict[str, Any]:
    first, longest = spec.get("reconnect_ms") or (None, None)
    said = {
        "name": spec.get("client_name", "testee"),
        "connect_timeout": seconds(spec.get("timeout_ms")),
        "connect_wait": seconds(spec.get("wait_ms")),
        "publish_window_events": spec.get("window_events"),
        "client_tls_roots": spec.get("tls_roots"),
        "reconnect_min": seconds(first),
        "reconnect_max": seconds(longest),
    }
    return {name: value for name, value in said.items() if value is not None}


def seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def settings_of(spec: dict[str, Any]) -> dict[str, Any]:
    """Settings of a group."""
    first, most = spec.get("backoff_ms") or (None, None)
    said = {"ack_wait": seconds(spec.get("ack_wait_ms")), "backoff_min": seconds(first), "backoff_max": seconds(most)}
    for name in ("max_failures", "hold_after_dead_letter", "strict_order", "max_in_flight", "max_rate"):
        said[name] = spec.get(name)
    return {name: value for name, value in said.items() if value is not None}


def start_of(spec: Any, marks: dict[str, datetime]) -> Any:
    """A place to begin."""
    if spec is None or isinstance(spec, str):
        return spec
    if "position" in spec:
        return spec["position"]
    if "ago_ms" in spec:
        return datetime.now(timezone.utc) - timedelta(milliseconds=spec["ago_ms"])
    if spec["mark"] not in marks:
        raise Absent(spec["mark"])
    return marks[spec["mark"]]


def subscribe_options(spec: dict[str, Any], marks: dict[str, datetime]) -> dict[str, Any]:
    said = {"group": spec.get("group"), "member": spec.get("member"), "start": start_of(spec.get("start"), marks)}
    if spec.get("broadcast"):
        said["broadcast"] = True
    if spec.get("prefetch"):
        said["prefetch_events"], said["prefetch_bytes"] = spec["prefetch"]
    if spec.get("concurrency") is not None:
        said["concurrency"] = spec["concurrency"]
    return {**said, **settings_of(spec.get("settings", {}))}


def request_options(spec: dict[str, Any]) -> dict[str, Any]:
    return {"timeout": seconds(spec.get("timeout_ms")), "retry": spec.get("retry", False)}


def topic_settings(spec: dict[str, Any]) -> dict[str, Any]:
    said = {name: spec.get(name) for name in ("durability", "retention_bytes", "lagging")}
    return {**said, "retention": seconds(spec.get("retention_ms"))}


def ms(seconds: float) -> int:
    return round(seconds * 1000)


def topic_told(topic: meshwire.Topic) -> dict[str, Any]:
    told = {name: getattr(topic, name) for name in ("name", "first", "next", "delayed", "overtaken")}
    return told if topic.requests is None else {**told, "requests": dict(topic.requests)}


def updated_told(topic: meshwire.Topic) -> dict[str, Any]:
    told = {"name": topic.name, "retention_ms": ms(topic.retention)}
    return {**told, "retention_bytes": topic.retention_bytes, "lagging": topic.lagging}


def group_told(group: meshwire.Group) -> dict[str, Any]:
    names = "name settled_through members in_flight lag delayed failing expired dead_letters"
    told: dict[str, Any] = {name: getattr(group, name) for name in names.split()}
    names = "max_failures hold_after_dead_letter strict_order max_in_flight max_rate mode"
    settings: dict[str, Any] = {name: getattr(group, name) for name in names.split()}
    settings.update(ack_wait_ms=ms(group.ack_wait), backoff_ms=[ms(group.backoff_min), ms(group.backoff_max)])
    names = "name connected settled_through in_flight lag delayed dead_letters"
    members = [{name: getattr(member, name) for name in names.split()} for member in group.durable_members]
    return {**told, "settings": settings, "durable_members": members}


def letter_told(letter: meshwire.DeadLetter) -> dict[str, Any]:
    names = "number group member position reason failures attempts error redriven"
    told: dict[str, Any] = {name: getattr(letter, name) for name in names.split()}
    return {**told, "event": None if letter.event is None else json_event_told(dict(letter.event))}


def json_event_told(event: dict[str, Any]) -> dict[str, Any]:
    """An event in CloudEvents' JSON."""
    event.pop("specversion")
    told: dict[str, Any] = {name: event.pop(name) for name in ("id", "source", "type")}
    data, raw = event.pop("data", None), event.pop("data_base64", None)
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in event.items()}
    told["attributes"] = texts
    if raw is not None:
        told.update(data_of(base64.b64decode(raw), False))
    elif data is not None:
        is_json = "json" in texts.get("datacontenttype", "json")
        text = data if isinstance(data, str) and not is_json else json.dumps(data, separators=(",", ":"))
        told.update(data_of(text.encode(), True))
    return told


def redriven_told(done: meshwire.Redriven) -> dict[str, Any]:
    return {"count": done.redriven, "left": dict(done.left)} if done.left else {"count": done.redriven}


def letters(mesh: Any, c: dict[str, Any]) -> Any:
    group, _, member = (c.get("group") or "").partition("/")
    return mesh.dead_letters(c["topic"], group=group or None, member=member or None)


def some_or_all(c: dict[str, Any], some: Any, every: Any) -> Any:
    return some(c["numbers"]) if c.get("numbers") else every()


def create_group(mesh: Any, c: dict[str, Any], marks: dict[str, datetime]) -> Any:
    said = {"start": start_of(c.get("start"), marks), **settings_of(c.get("settings", {}))}
    return mesh.groups(c["topic"]).create(c["group"], **said)


#: Administration: what is called, and how what comes of it is told. With asyncio it is awaited first.
ADMIN: dict[str, tuple[Any, Any]] = {
    "create_topic": (lambda m, c, _: m.topics.create(c["topic"], **topic_settings(c)), lambda t: {"name": t.name}),
    "update_topic": (lambda m, c, _: m.topics.update(c["topic"], **topic_settings(c)), updated_told),
    "delete_topic": (lambda m, c, _: m.topics.delete(c["topic"], force=c.get("force", False)), lambda t: {"name": t.name}),
    "create_group": (create_group, group_told),
    "update_group": (lambda m, c, _: m.groups(c["topic"]).update(c["group"], **settings_of(c["settings"])), group_told),
    "seek_group": (lambda m, c, marks: m.groups(c["topic"]).seek(c["group"], start_of(c["to"], marks)), group_told),
    "delete_group": (lambda m, c, _: m.groups(c["topic"]).delete(c["group"]), group_told),
    "dead_letter": (lambda m, c, _: letters(m, c).get((c.get("numbers") or [0])[0]), letter_told),
    "redrive": (lambda m, c, _: some_or_all(c, letters(m, c).redrive, letters(m, c).redrive_all), redriven_told),
    "purge": (lambda m, c, _: some_or_all(c, letters(m, c).purge, letters(m, c).purge_all), lambda n: {"count": n}),
}

#: Lists: what is read to its end, and how each of it is told.
LISTS: dict[str, tuple[str, Any, Any]] = {
    "topics": ("topics", lambda m, c: m.topics.list(), topic_told),
    "groups": ("groups", lambda m, c: m.groups(c["topic"]).list(), group_told),
    "dead_letters": ("letters", lambda m, c: letters(m, c).list(events=True), letter_told),
}
