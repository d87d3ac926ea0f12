"""What all errors of Meshwire are."""

from __future__ import annotations

import asyncio
import builtins
import queue
import sys
from typing import Any, ClassVar, Literal, TypeAlias

Retry: TypeAlias = Literal["never", "now", "after", "unknown_outcome"]


class MeshwireError(Exception):
    """What went wrong, where, and what may be done about it.

    Code that tries again reads ``retry``, or ``retryable``, and nothing else.
    """

    #: The name of what went wrong, stable: as ``TIMEOUT``.
    code: ClassVar[str] = "INTERNAL"
    #: The same as a number, never used again for another.
    number: ClassVar[int] = 26

    #: What happened, without operation and context.
    message: str
    #: The call that failed, such as ``publish``.
    operation: str
    #: What the caller may do: the same call fails again, may succeed at once or after a while, or may have succeeded.
    retry: Retry
    #: How many seconds the gateway asks to wait before the same call, where it said so.
    retry_after: float | None
    #: What it was about: topic, subscription, address and the like.
    context: dict[str, str]

    def __init__(
        self,
        message: str = "",
        *,
        operation: str = "",
        retry: Retry = "never",
        retry_after: float | None = None,
        context: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.retry = retry
        self.retry_after = retry_after
        self.context = {} if context is None else context

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later without risk of happening twice."""
        return self.retry in ("now", "after")

    def __str__(self) -> str:
        context = "".join(f", {key} {value}" for key, value in self.context.items())
        before = f"{self.operation}: " if self.operation else ""
        return f"{before}{self.message} ({self.code}{context})"

    def __reduce__(self) -> tuple[Any, ...]:
        said = (self.message, self.operation, self.retry, self.retry_after, self.context)
        return _again, (type(self), *said), self._more()

    def _more(self) -> dict[str, Any]:
        known = {"message", "operation", "retry", "retry_after", "context"}
        return {name: value for name, value in self.__dict__.items() if name not in known}


def _again(
    kind: type[MeshwireError],
    message: str,
    operation: str,
    retry: Retry,
    retry_after: float | None,
    context: dict[str, str],
) -> MeshwireError:
    return kind(message, operation=operation, retry=retry, retry_after=retry_after, context=context)


if sys.version_info >= (3, 11):
    TimedOut = builtins.TimeoutError
else:

    class TimedOut(builtins.TimeoutError, asyncio.TimeoutError):
        """Before 3.11 asyncio has one of its own."""


class Full(asyncio.QueueFull, queue.Full):
    """What is raised where something that holds only so much is full."""
