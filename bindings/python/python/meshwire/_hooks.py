"""What a program wants to see of every publish and every delivery of a client."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Optional, TypeAlias, Union

from ._base import MeshwireError
from ._event import Event, of_parts, parts
from ._native import Delivery, Job, SyncDelivery
from .errors import InvalidError

_log = logging.getLogger("meshwire")

#: What became of a delivery; ``dropped``: the program let go of it without a word.
SettledAs: TypeAlias = Literal["ack", "nack", "reject", "dropped"]
OnPublish = Callable[[str, Event], Optional[Event]]
OnDelivery = Callable[[Union[Delivery, SyncDelivery, Job]], object]
OnSettle = Callable[[Union[Delivery, SyncDelivery, Job], SettledAs], object]


def problem_of(error: BaseException) -> str:
    """What an error says, and what it is if it says nothing; text that can be sent, whatever the program makes of it."""
    return text_of(error) or type(error).__name__


def text_of(value: object) -> str:
    """A value as text that can be sent: what has no place in UTF-8 is replaced."""
    try:
        text = str(value)
    except Exception as problem:
        return f"a {type(value).__name__} whose text cannot be made ({type(problem).__name__})"
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class Hooks:
    """The hooks of a client. Without one a call costs a look."""

    on_publish: OnPublish | None = None
    on_delivery: OnDelivery | None = None
    on_settle: OnSettle | None = None

    def __post_init__(self) -> None:
        for name in ("on_publish", "on_delivery", "on_settle"):
            hook = getattr(self, name)
            if hook is None:
                continue
            if not callable(hook):
                raise TypeError(f"{name} is a function, and not {type(hook).__name__}")
            if is_async(hook):
                raise TypeError(f"{name} is called, and not awaited: it cannot be an async function")

    def published(self, topic: str, event: Event) -> Any:
        """The event as the hook wants it published."""
        if self.on_publish is None:
            return event
        kept = _called("on_publish", self.on_publish, topic, event)
        if kept is None:
            return event
        if isinstance(kept, Event) or parts(kept) is not None:
            return kept
        kind = type(kept).__name__
        raise TypeError(f"on_publish gives back an event, or None for the one that it was given, and not {kind}")

    def published_together(self, topic: str, events: Iterable[object]) -> tuple[list[Any], dict[int, MeshwireError]]:
        """Events of a batch as the hook wants them published, and by their places the errors of those that it refuses."""
        kept: list[Any] = []
        refused: dict[int, MeshwireError] = {}
        for place, event in enumerate(events):
            try:
                kept.append(self.published(topic, of_parts(event, {})))
            except MeshwireError as problem:
                refused[place] = problem
            except Exception as problem:
                # As the native part says it of what cannot be made an event.
                error = InvalidError(f"{type(problem).__name__}: {text_of(problem)}", operation="publish")
                error.__cause__ = problem
                refused[place] = error
        return kept, refused

    def delivered(self, delivery: Any) -> None:
        """Shows a delivery to the hook."""
        if self.on_delivery is not None:
            _called("on_delivery", self.on_delivery, delivery)

    def settled(self, delivery: Any, word: SettledAs, is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        """Tells the hook what became of a delivery. What was said of it holds, whatever the hook raises."""
        # What is let go of when the interpreter ends finds modules that are empty; so would this, hence the argument.
        if self.on_settle is not None and not is_over():
            try:
                _called("on_settle", self.on_settle, delivery, word)
            except Exception as problem:
                _log.error("a hook failed", exc_info=problem)


def is_async(function: object) -> bool:
    """Whether a call of it only gives something to await."""
    of_class = getattr(function, "__call__", None)  # noqa: B004
    return any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (function, of_class))


def not_awaited(name: str, result: object) -> None:
    """Refuses what a call gave that nobody awaits."""
    if result is None or not inspect.isawaitable(result):
        return
    if inspect.iscoroutine(result):
        result.close()
    raise TypeError(f"{name} is called, and not awaited: it gave back a {type(result).__name__}")


def _called(name: str, hook: Callable[..., object], *args: Any) -> object:
    result = hook(*args)
    not_awaited(name, result)
    return result


class Shown:
    """Shows deliveries of a subscription to the hook. One for which it fails is nacked, as by a handler, and the program is not handed it."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def one(self, delivery: Any) -> bool:
        """Whether the program is handed this one."""
        try:
            self._hooks.delivered(delivery)
            return True
        except Exception as problem:
            text = "on_delivery failed for an event of %s, which is nacked: %s"
            _log.warning(text, delivery.topic, problem_of(problem), exc_info=problem)
        if not delivery.settled:
            delivery.nack()
        return False

    def batch(self, deliveries: list[Any]) -> list[Any]:
        """Those of a batch that the program is handed."""
        return [delivery for delivery in deliveries if self.one(delivery)]
