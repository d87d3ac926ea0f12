"""What is handed to calls, looked at where it would else be told without the argument's name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .errors import InvalidError

#: The client gives so many deliveries at once.
MOST = 4096


def wrong(name: str, wanted: str, value: object) -> TypeError:
    """Says of an argument what it is to be."""
    return TypeError(f"{name} is {wanted}, and not {type(value).__name__}")


def is_topic(topic: object) -> None:
    """Refuses what is no text, as an event in the place of its topic."""
    if not isinstance(topic, str):
        raise wrong("topic", "text and the first argument", topic)


def seconds(name: str, value: Any) -> float:
    """A length of time as seconds."""
    if hasattr(value, "total_seconds"):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong(name, "a number of seconds or a timedelta", value)
    # What is no number at all is not below anything.
    if not 0 <= value < 1e12:
        raise InvalidError(f"{name}: {value} s is no length of time")
    return float(value)


def deadline(wait: Any, now: float) -> float | None:
    """When a wait that begins now is over."""
    return None if wait is None else now + seconds("wait", wait)


def is_most(most: Any) -> None:
    """Refuses what is no number of deliveries."""
    if not isinstance(most, int):
        raise wrong("most", "a number of deliveries", most)
    if not 1 <= most <= MOST:
        raise InvalidError(f"most is {most}; from 1 to {MOST} is accepted", operation="receive")


def numbers(said: Any) -> list[Any]:
    """Numbers of dead letters."""
    if isinstance(said, (str, bytes)) or not isinstance(said, Iterable):
        raise wrong("numbers", "a list of numbers of dead letters", said)
    told = [*said]
    for number in told:
        if not isinstance(number, int):
            raise wrong("numbers", "a list of numbers of dead letters", number)
    return told
