"""What a program wants to see of every publish and every delivery of a client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union

from ._event import Event
from ._native import Delivery, Job, SyncDelivery

SettledAs: TypeAlias = Literal["ack", "nack", "reject"]
OnPublish = Callable[[str, Event], Event]
OnDelivery = Callable[[Union[Delivery, SyncDelivery, Job]], object]
OnSettle = Callable[[Union[Delivery, SyncDelivery, Job], SettledAs], object]


@dataclass(frozen=True)
class Hooks:
    """The hooks of a client. Without one a call costs a look."""

    on_publish: OnPublish | None = None
    on_delivery: OnDelivery | None = None
    on_settle: OnSettle | None = None


def hooked(hook: Callable[[Any], object], delivery: Any) -> None:
    """Shows a delivery to the hook. If that fails it is nacked."""
    try:
        hook(delivery)
    except Exception:
        if not delivery.settled:
            delivery.nack()
        raise
