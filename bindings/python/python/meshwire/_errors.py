"""Makes the errors that the native part tells of."""

from __future__ import annotations

from . import errors
from ._base import MeshwireError, Retry

_BY_CODE: dict[str, type[MeshwireError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MeshwireError) and "code" in vars(kind) and kind is not MeshwireError
}


def make(
    code: str,
    message: str,
    operation: str,
    retry: Retry,
    retry_after: float | None,
    context: dict[str, str],
) -> MeshwireError:
    """An error of that code."""
    kind = _BY_CODE.get(code, errors.InternalError)
    return kind(message, operation=operation, retry=retry, retry_after=retry_after, context=context)
