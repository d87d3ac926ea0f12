"""Meshwire's client without asyncio: the names of ``meshwire``, without ``await``.

    from meshwire import sync

    with sync.connect() as mesh:
        mesh.publish("orders", {"id": 1}, type="order.created", key="customer-7")
        with mesh.subscribe("orders", group="billing") as orders:
            for delivery in orders:
                delivery.ack()
"""

from __future__ import annotations

from .._native import SyncDelivery as Delivery
from ._admin import DeadLetters, Groups, Limits, Topics
from ._mesh import Mesh, Pending, connect
from ._subscription import Replies, Subscription

__all__ = [
    "DeadLetters",
    "Delivery",
    "Groups",
    "Limits",
    "Mesh",
    "Pending",
    "Replies",
    "Subscription",
    "Topics",
    "connect",
]
