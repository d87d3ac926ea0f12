"""The same by nats-py: JetStream with memory storage, asynchronous publish, pull fetch with acks.

    python theirs.py both URL [EVENTS]
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque

import nats
from nats.js.api import ConsumerConfig, StorageType, StreamConfig

BYTES, WINDOW = 256, 1024


async def main() -> None:
    what, url = sys.argv[1:3]
    events = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000
    client = await nats.connect(url)
    jetstream = client.jetstream(publish_async_max_pending=WINDOW + 1)
    name = f"bench{time.time_ns()}"
    await jetstream.add_stream(StreamConfig(name=name, subjects=[name], storage=StorageType.MEMORY))
    payload = bytes(BYTES)
    if what == "round-trip":
        times = []
        for _ in range(events):
            begun = time.perf_counter()
            await jetstream.publish(name, payload)
            times.append(time.perf_counter() - begun)
        print(f"round-trip {sorted(times)[events // 2] * 1e6:.0f}")
        await client.close()
        return
    pending: deque[asyncio.Future[object]] = deque()
    begun = time.perf_counter()
    for _ in range(events):
        if len(pending) == WINDOW:
            await pending.popleft()
        pending.append(await jetstream.publish_async(name, payload))
    for each in pending:
        await each
    print(f"publish {events / (time.perf_counter() - begun):.0f}", flush=True)
    # Below what is fetched, each fetch would wait for acks that come behind it.
    config = ConsumerConfig(max_ack_pending=WINDOW)
    subscription = await jetstream.pull_subscribe(name, durable="bench", config=config)
    left = events
    begun = time.perf_counter()
    while left:
        batch = await subscription.fetch(min(WINDOW, left))
        for message in batch:
            assert len(message.data) == BYTES
            await message.ack()
        left -= len(batch)
    print(f"receive {events / (time.perf_counter() - begun):.0f}")
    await client.close()


asyncio.run(main())
