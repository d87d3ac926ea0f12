"""Makes the errors that the native part tells of."""

from __future__ import annotations

import re

from . import errors
from ._base import MeshwireError, Retry
from ._options import SHORT

_BY_CODE: dict[str, type[MeshwireError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MeshwireError) and "code" in vars(kind) and kind is not MeshwireError
}

#: Names of the client's that have shorter ones in Python.
_LONG = {long: short for short, long in SHORT.items()}
_NAMES = re.compile(rf"\b({'|'.join(_LONG)})\b")
#: Durations of administration, which are seconds in Python, and how much of one is said and accepted.
_MILLIS = re.compile(r"\b(retention|ack_wait|max_age|backoff_min|backoff_max)_ms\b")
_BOUNDS = re.compile(r"_ms is (\d+); from (\d+) to (\d+) is accepted")


def make(
    code: str,
    message: str,
    operation: str,
    retry: Retry,
    retry_after: float | None,
    context: dict[str, str],
) -> MeshwireError:
    """An error of that code, in Python's words."""
    kind = _BY_CODE.get(code, errors.InternalError)
    # What a handler said is the program's.
    if kind is not errors.ResponderFailedError:
        message = _in_python(message)
    return kind(message, operation=operation, retry=retry, retry_after=retry_after, context=context)


def _in_python(message: str) -> str:
    message = _BOUNDS.sub(_in_seconds, message)
    message = _MILLIS.sub(r"\1", message)
    return _NAMES.sub(lambda found: _LONG[found[1]], message)


def _in_seconds(found: re.Match[str]) -> str:
    said, least, most = (f"{int(number) / 1000:.15g}" for number in found.groups())
    return f"_ms is {said}; from {least} to {most} is accepted"
