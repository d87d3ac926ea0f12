"""Publishes five orders and prints their receipts.

    python publisher.py mesh://127.0.0.1:7400
"""

import asyncio
import sys

import meshwire


async def main() -> None:
    # Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        # Started one after the other, so that they share a write; awaited afterwards.
        receipts = [
            mesh.publish_nowait("orders", {"item": item, "customer": customer}, type="order.created", key=customer)
            for item, customer in enumerate(["ada", "ben", "ada", "cy", "ben"], 1)
        ]
        for item, receipt in enumerate(receipts, 1):
            await receipt
            print(f"order {item} is kept")


asyncio.run(main())
