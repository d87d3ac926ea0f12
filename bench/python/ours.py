"""Publishes and receives by Meshwire, and prints events a second.

    python ours.py publish|receive|both|round-trip|slope URL [EVENTS]
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import deque

import meshwire

#: Bytes of an event, and how many are in flight.
BYTES, WINDOW, BATCH = 256, 1024, 256


async def publish(mesh: meshwire.Mesh, topic: str, events: int) -> float:
    payload = bytes(BYTES)
    pending: deque[meshwire.Pending[meshwire.Receipt]] = deque()
    begun = time.perf_counter()
    for _ in range(events):
        if len(pending) == WINDOW:
            await pending.popleft()
        pending.append(mesh.publish_nowait(topic, payload))
    for each in pending:
        await each
    return events / (time.perf_counter() - begun)


async def receive(mesh: meshwire.Mesh, topic: str, events: int) -> float:
    left = events
    async with mesh.subscribe(topic, group="bench", start="earliest", prefetch_events=WINDOW) as deliveries:
        begun = time.perf_counter()
        while left:
            batch = await deliveries.next_batch(BATCH)
            for delivery in batch:
                assert len(delivery.data) == BYTES
                delivery.ack()
            left -= len(batch)
        return events / (time.perf_counter() - begun)


async def round_trip(mesh: meshwire.Mesh, topic: str, events: int) -> float:
    """Microseconds of a publish that is awaited, in the middle."""
    times = []
    for _ in range(events):
        begun = time.perf_counter()
        await mesh.publish(topic, bytes(BYTES))
        times.append(time.perf_counter() - begun)
    return sorted(times)[events // 2] * 1e6


def resident() -> int:
    """Bytes of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


async def main() -> None:
    what, url = sys.argv[1:3]
    events = int(sys.argv[3]) if len(sys.argv) > 3 else 300_000
    async with meshwire.connect(url) as mesh:
        topic = f"bench-{time.time_ns()}"
        await mesh.topics.create(topic, durability="memory", retention_bytes=1 << 30)
        if what == "round-trip":
            print(f"round-trip {await round_trip(mesh, topic, events):.0f}")
            return
        if what == "slope":
            await publish(mesh, topic, events // 5)
            before = resident()
            await publish(mesh, topic, events - events // 5)
            print(f"slope {(resident() - before) / (events - events // 5):.3f}")
            return
        rate = await publish(mesh, topic, events)
        if what in ("publish", "both"):
            print(f"publish {rate:.0f}", flush=True)
        if what in ("receive", "both"):
            print(f"receive {await receive(mesh, topic, events):.0f}")


asyncio.run(main())
