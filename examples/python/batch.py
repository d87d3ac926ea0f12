"""Publishes a hundred readings at once, one of which is wrong, and takes them in batches.

    python batch.py mesh://127.0.0.1:7400
"""

import asyncio
import sys

import meshwire
from meshwire import Event


async def main() -> None:
    # Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        # They share writes of the log. Each has a result of its own, in their order.
        readings = [Event(n, type="reading") for n in range(1, 101)]
        readings[41] = Event("x" * (5 << 20), type="reading")
        results = await mesh.publish_batch("readings", readings)
        errors = [result for result in results if isinstance(result, meshwire.MeshwireError)]
        for error in errors:
            print(f"one is refused: {error.code}")
        print(f"{len(results) - len(errors)} are kept")

        rows, total = 0, 0
        async with mesh.subscribe("readings", group="archive") as subscription:
            while rows < 99:
                # One is waited for; what else is at hand comes with it, up to a batch's size.
                batch = await subscription.next_batch(32)
                total += sum(delivery.json() for delivery in batch)
                # The batch is done: here it would be written. Acks of neighbours are one word.
                rows += len(batch)
                for delivery in batch:
                    delivery.ack()
        print(f"archived {rows} readings, their sum is {total}")


asyncio.run(main())
