"""Takes five orders for the group ``billing``, acks each, and ends.

    python consumer.py mesh://127.0.0.1:7400
"""

import asyncio
import sys

import meshwire


async def main() -> None:
    # Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        # A new group starts at the earliest event of its topic.
        async with mesh.subscribe("orders", group="billing") as orders:
            count = 0
            async for delivery in orders:
                order = delivery.json()
                print(f"bill {order['customer']} for item {order['item']}")
                # Waits for the gateway's word; `ack` would not.
                await delivery.ack_confirmed()
                count += 1
                if count == 5:
                    break


asyncio.run(main())
