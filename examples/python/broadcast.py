"""Two hosts keep a cache of prices: each gets every change. One goes away and comes back to where it was; a third one only looks on.

    python broadcast.py mesh://127.0.0.1:7400
"""

import asyncio
import sys

import meshwire


async def take(who: str, prices: meshwire.Subscription, changes: int) -> None:
    for _ in range(changes):
        change = await prices.__anext__()
        print(f"{who}: {change.text()}")
        await change.ack_confirmed()


async def main() -> None:
    # Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        # A durable member: its place is kept under its name.
        north = await mesh.subscribe("prices", group="caches", broadcast=True, member="north")
        south = await mesh.subscribe("prices", group="caches", broadcast=True, member="south")
        await mesh.publish("prices", "apples 3", type="price.changed")
        await take("north", north, 1)
        await take("south", south, 1)

        south.close()
        await mesh.publish("prices", "pears 4", type="price.changed")
        await take("north", north, 1)

        # Without a name it begins with the next change, and nothing is kept of it.
        guest = await mesh.subscribe("prices", group="caches", broadcast=True)
        await mesh.publish("prices", "plums 5", type="price.changed")
        await take("guest", guest, 1)

        south = await mesh.subscribe("prices", group="caches", broadcast=True, member="south")
        await take("south", south, 2)
        async for group in mesh.groups("prices").list():
            for member in group.durable_members:
                print(f"{member.name} has {member.lag} waiting")


asyncio.run(main())
