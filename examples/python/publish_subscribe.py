"""Two subscribers without a group get every event that is published while they are there.

    python publish_subscribe.py mesh://127.0.0.1:7400
"""

import asyncio
import sys

import meshwire


async def show(name: str, prices: meshwire.Subscription) -> None:
    """Prints the next three events under a name."""
    for _ in range(3):
        delivery = await prices.__anext__()
        print(f"{name}: {delivery.text()}")
        # Gives the place in the subscription's credit back. Without a group nothing else depends on it.
        delivery.ack()


async def main() -> None:
    # Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        await mesh.publish("prices", "tea 1.80", type="price.changed")
        # Without a start, from here on.
        board = await mesh.subscribe("prices")
        till = await mesh.subscribe("prices")
        for price in ["tea 1.90", "coffee 2.40", "cocoa 3.10"]:
            await mesh.publish("prices", price, type="price.changed")
        await show("board", board)
        await show("till", till)


asyncio.run(main())
