"""What the native part gives. Programs use it by way of ``meshwire`` and ``meshwire.sync``."""

from collections.abc import Generator, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar, final

from typing_extensions import disjoint_base

from ._base import MeshwireError
from ._event import AttributeValue, Event
from ._stats import State

_Result = TypeVar("_Result", covariant=True)

__version__: str

@disjoint_base
class Message:
    """An event that came. Its attributes are read in place, where they are asked for."""

    @property
    def id(self) -> str:
        """CloudEvents attribute `id`."""
    @property
    def source(self) -> str:
        """CloudEvents attribute `source`."""
    @property
    def type(self) -> str:
        """CloudEvents attribute `type`."""
    @property
    def key(self) -> str | None:
        """CloudEvents attribute `partitionkey`: events of one key stay in order."""
    @property
    def subject(self) -> str | None:
        """CloudEvents attribute `subject`."""
    @property
    def content_type(self) -> str | None:
        """CloudEvents attribute `datacontenttype`."""
    @property
    def schema(self) -> str | None:
        """CloudEvents attribute `dataschema`."""
    @property
    def time(self) -> datetime | None:
        """CloudEvents attribute `time`."""
    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """All attributes but `id`, `source`, `type` and `specversion`, by their names in CloudEvents, with their types."""
    def attribute_texts(self) -> dict[str, str]:
        """The same, each as its canonical string."""
    @property
    def data(self) -> bytes:
        """The data as bytes; empty if there is none."""
    @property
    def data_kind(self) -> Literal["absent", "text", "bytes", "protobuf"]:
        """What the data is stored as."""
    def text(self) -> str:
        """The data as text."""
    def json(self) -> Any:
        """The data as JSON."""
    def event(self) -> Event:
        """The event, as it can be published again."""

@disjoint_base
class Held(Message):
    """One event in the hands of a consumer, which says what becomes of it."""

    @property
    def topic(self) -> str:
        """The topic it came from."""
    @property
    def position(self) -> int:
        """Where the event is in its topic."""
    @property
    def gap(self) -> int:
        """Events that retention removed just before this one."""
    @property
    def attempt(self) -> int:
        """How often the event was delivered to the group: 1 the first time."""
    @property
    def stored(self) -> datetime:
        """When the gateway stored the event."""
    @property
    def expires_at(self) -> datetime | None:
        """From when on nobody gets the event any more."""
    @property
    def settled(self) -> bool:
        """Whether something was said of it."""
    def ack(self) -> None:
        """Done: the event does not come again. Handed to the session, and never waits."""
    def nack(self, delay: float | timedelta | None = None) -> None:
        """Not done: the event comes again, after `delay` seconds or after the group's back-off."""
    def reject(self, reason: str = "") -> None:
        """Never again: a dead letter, for this reason."""
    def extend(self) -> None:
        """Still working: its lease begins anew."""

@final
class Delivery(Held):
    """The same; what is confirmed is awaited."""

    def ack_confirmed(self) -> Pending[None]:
        """As `ack`; await it for the gateway's word."""
    def nack_confirmed(self, delay: float | timedelta | None = None) -> Pending[None]:
        """As `nack`, likewise."""
    def reject_confirmed(self, reason: str = "") -> Pending[None]:
        """As `reject`, likewise."""
    def extend_confirmed(self) -> Pending[None]:
        """As `extend`, likewise."""

@final
class SyncDelivery(Held):
    """The same; what is confirmed waits for the gateway's word."""

    def ack_confirmed(self) -> None:
        """As `ack`, and waits for the gateway's word."""
    def nack_confirmed(self, delay: float | timedelta | None = None) -> None:
        """As `nack`, likewise."""
    def reject_confirmed(self, reason: str = "") -> None:
        """As `reject`, likewise."""
    def extend_confirmed(self) -> None:
        """As `extend`, likewise."""

@final
class Reply(Message):
    """A reply to a request."""

@final
class Job(Message):
    """One event for a handler."""

    @property
    def topic(self) -> str:
        """The topic it came from."""
    @property
    def position(self) -> int:
        """Where the event is in its topic."""
    @property
    def gap(self) -> int:
        """Events that retention removed just before this one."""
    @property
    def attempt(self) -> int:
        """How often the event was delivered to the group: 1 the first time."""
    @property
    def stored(self) -> datetime:
        """When the gateway stored the event."""
    @property
    def expires_at(self) -> datetime | None:
        """From when on nobody gets the event any more."""
    @property
    def lost(self) -> bool:
        """Whether its lease is gone: it comes again, and what its handler still says is not heard."""
    @property
    def number(self) -> int: ...
    def begin(self) -> None: ...
    def lose(self) -> None: ...
    def end_done(self) -> None: ...
    def end_failed(self, problem: str) -> None: ...
    def end_nack(self, delay: float | timedelta) -> None: ...
    def end_reject(self, reason: str) -> None: ...

@final
class Request(Message):
    """A request for a handler."""

    @property
    def topic(self) -> str:
        """The topic that is served."""
    @property
    def wants_stream(self) -> bool:
        """Whether many replies are wanted."""
    @property
    def remaining(self) -> float:
        """Seconds until the requester waits no more."""
    @property
    def lost(self) -> bool:
        """Whether its requester waits no more, and what its handler still says is not heard."""
    @property
    def number(self) -> int: ...
    def lose(self) -> None: ...
    def begin_reply(self, value: object) -> Pending[None]: ...
    def reply(self, value: object) -> None: ...
    def answer(self, value: object) -> None: ...
    def end_done(self) -> None: ...
    def end_failed(self, problem: str) -> None: ...

@final
class Receipt:
    """The gateway's word that an event is kept to its topic's level."""

    def __new__(cls, position: int | None, duplicate: bool = False) -> Receipt: ...
    @property
    def position(self) -> int | None:
        """Where the event is in its topic; `None` for one that is delivered later, or known only since a reconnect."""
    @property
    def duplicate(self) -> bool:
        """The topic had an event of the same source and id."""
    def __getnewargs__(self) -> tuple[int | None, bool]: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class Pending(Generic[_Result]):
    """What a call comes to: await it, any number of times, or ask whether it is there."""

    @property
    def done(self) -> bool:
        """Whether it has come to something."""
    @property
    def seen(self) -> bool:
        """Whether somebody has seen what it came to."""
    @property
    def failed(self) -> bool:
        """Whether it failed."""
    def result(self) -> _Result:
        """What it came to; it raises what it failed with."""
    def error(self) -> MeshwireError | None:
        """The error it came to, if it did."""
    def __await__(self) -> Generator[Any, None, _Result]: ...
    def watch(self, event_loop: Any, future: Any) -> bool: ...
    def forget(self, future: Any) -> bool: ...
    def cancel(self) -> None: ...

@final
class Pump:
    """The queue of a process."""

    def __new__(cls) -> Pump: ...
    def take(self) -> dict[Any, list[Any]] | None: ...
    def begun(self) -> int: ...
    def close(self) -> None: ...

@final
class Stream:
    """What comes by the batch and is looked at one by one."""

    @property
    def topic(self) -> str: ...
    @property
    def ended(self) -> bool: ...
    @property
    def asking(self) -> bool: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def ask(self, most: int = ..., wait: float | timedelta | None = None) -> Pending[bool]: ...
    def pop(self) -> Any: ...
    def batch(self, most: int = ...) -> list[Any]: ...
    def wait(self, most: int = ..., wait: float | timedelta | None = None) -> None: ...
    def close(self) -> None: ...
    def leave(self) -> None: ...
    def __iter__(self) -> Stream: ...
    def __next__(self) -> Any: ...
    def __aiter__(self) -> Stream: ...
    def __anext__(self) -> Any: ...

@final
class Client:
    """A client. What it is asked comes to a pending, or waits where the client does."""

    @property
    def state(self) -> State: ...
    def publish(
        self, topic: str, value: object, wait: bool, kept: bool, said: Mapping[str, Any]
    ) -> Pending[Receipt]: ...
    def publish_sync(self, topic: str, value: object, said: Mapping[str, Any]) -> Receipt: ...
    def cancel_publish(self, pending: Pending[Receipt]) -> bool: ...
    def publish_start(self, topic: str, value: object, said: Mapping[str, Any]) -> Any: ...
    def publish_batch(self, topic: str, values: Iterable[object]) -> Any: ...
    def flush(self) -> Any: ...
    def failures(self) -> tuple[list[Pending[Receipt]], int]: ...
    def connected(self) -> Any: ...
    def state_after(self, before: str) -> Any: ...
    def subscribe(self, topic: str, options: Mapping[str, str]) -> Any: ...
    def request(self, topic: str, value: object, options: Mapping[str, str], said: Mapping[str, Any]) -> Any: ...
    def request_stream(
        self, topic: str, value: object, options: Mapping[str, str], said: Mapping[str, Any]
    ) -> Any: ...
    def consume(self, topic: str, options: Mapping[str, str]) -> tuple[Stream, int]: ...
    def serve(self, topic: str, options: Mapping[str, str]) -> tuple[Stream, int]: ...
    def administer(self, command: str, arguments: str) -> Any: ...
    def drain(self, deadline: float | timedelta | None = None) -> Any: ...
    def stats(self) -> str: ...
    def unanswered(self) -> int: ...
    def finish(self, seconds: float) -> None: ...
    def release(self) -> None: ...

def connect(pump: Pump, options: Mapping[str, str], on_settle: Any) -> Pending[Client]: ...
def connect_sync(pump: Pump, options: Mapping[str, str], on_settle: Any) -> Client: ...
def keep_logs(least: int) -> None: ...
def take_logs() -> tuple[list[tuple[int, str, float, str]], int] | None: ...
def close_logs() -> None: ...
