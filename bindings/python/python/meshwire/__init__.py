"""Meshwire's client for Python.

    import asyncio, meshwire

    async def main():
        async with meshwire.connect() as mesh:
            await mesh.publish("orders", {"id": 1}, type="order.created", key="customer-7")
            async with mesh.subscribe("orders", group="billing") as orders:
                async for delivery in orders:
                    delivery.ack()

    asyncio.run(main())

``meshwire.sync`` has the same names without ``await``, ``meshwire.testing`` a gateway for tests.
"""

from __future__ import annotations

from . import errors
from ._admin import DeadLetters, Groups, Limits, Topics
from ._base import MeshwireError
from ._event import Event
from ._handlers import Nack, Reject
from ._mesh import Connecting, Mesh, connect
from ._native import Delivery, Job, Message, Pending, Receipt, Reply, Request, __version__
from ._records import DeadLetter, Group, LimitsInForce, Member, Redriven, Topic, TopicGroup
from ._stats import State, Stats
from ._subscription import Replies, Subscription
from .errors import *  # noqa: F403

__all__ = [
    "Connecting",
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
    "__version__",
    "connect",
    "errors",
]
__all__ += errors.__all__  # noqa: PLE0605
