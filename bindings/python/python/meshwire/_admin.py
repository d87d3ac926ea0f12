"""Administration."""

from __future__ import annotations
from typing import Any


class _Admin:
    def __init__(self, client: Any, native: Any, *rest: Any) -> None:
        self._client = client


class Topics(_Admin): ...
class Groups(_Admin): ...
class DeadLetters(_Admin): ...
class Limits(_Admin): ...
