"""Meshwire's client without asyncio: the names of ``meshwire``, without ``await``.

    from meshwire import sync

    with sync.connect() as mesh:
        mesh.publish("orders", {"id": 1}, type="order.created", key="customer-7")
        with mesh.subscribe("orders", group="billing") as orders:
            for delivery in orders:
                delivery.ack()
"""

from __future__ import annotations

from .. import errors as _errors
from .._base import MeshwireError
from .._event import Event
from .._handlers import Nack, Reject
from .._native import Job, Message, Receipt, Reply, Request
from .._native import SyncDelivery as Delivery
from .._records import DeadLetter, Group, LimitsInForce, Member, Redriven, Topic, TopicGroup
from .._stats import State, Stats
from ..errors import *  # noqa: F403
from ._admin import DeadLetters, Groups, Limits, Topics
from ._mesh import Mesh, Pending, connect
from ._subscription import Replies, Subscription

__all__ = [
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "Event",
    "Group",
    "Groups",
    "Job",
    "Limits",
    "LimitsInForce",
    "Member",
    "Mesh",
    "MeshwireError",
    "Message",
    "Nack",
    "Pending",
    "Receipt",
    "Redriven",
    "Reject",
    "Replies",
    "Reply",
    "Request",
    "State",
    "Stats",
    "Subscription",
    "Topic",
    "TopicGroup",
    "Topics",
    "connect",
]
__all__ += _errors.__all__  # noqa: PLE0605
