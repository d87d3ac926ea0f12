"""Bills three orders, one of which has no price: it is tried twice, becomes a dead letter, is looked at, given back once billing knows
what to do, and is done.

    python dead_letter.py mesh://127.0.0.1:7400
"""

import asyncio
import sys
from collections.abc import Callable

import meshwire
from meshwire import Delivery, Mesh


async def bill(mesh: Mesh, count: int, handler: Callable[[Delivery], None]) -> None:
    """Bills so many deliveries; what fails comes again, and after two failures no more."""
    subscription = mesh.subscribe("priced-orders", group="billing", max_failures=2, backoff_min=0.05, backoff_max=1)
    async with subscription as orders:
        for _ in range(count):
            delivery = await orders.__anext__()
            try:
                handler(delivery)
                await delivery.ack_confirmed()
            except ValueError as problem:
                print(f"{delivery.id} failed, attempt {delivery.attempt}: {problem}")
                # `reject` would give it up at once.
                await delivery.nack_confirmed()


def strict(delivery: Delivery) -> None:
    if "price" not in delivery.json():
        raise ValueError("it has no price")
    print(f"{delivery.id} costs {delivery.json()['price']}")


async def main() -> None:
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        for id, order in [("1", {"price": 5}), ("2", {}), ("3", {"price": 7})]:
            await mesh.publish("priced-orders", order, type="order.created", id=id)
        await bill(mesh, 4, strict)
        letters = mesh.dead_letters("priced-orders", group="billing")
        async for letter in letters.list(events=True):
            print(f"dead letter {letter.number}: order {(letter.event or {})['id']}, {letter.failures} failures")
        print(f"given back: {(await letters.redrive_all()).redriven}")
        await bill(mesh, 1, lambda delivery: print(f"{delivery.id} is free"))
        print(f"left: {(await letters.redrive_all()).redriven}")


asyncio.run(main())
