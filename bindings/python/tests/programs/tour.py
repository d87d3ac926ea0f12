"""The program of the first page, and types as a reader of it expects them."""

import asyncio
from typing import Any

import meshwire
from meshwire import sync


class Busy(Exception): ...


class BadOrder(Exception): ...


def bill(order: Any) -> None: ...


async def on_order(job: meshwire.Job) -> None:
    bill(job.json())


async def main() -> None:
    async with meshwire.connect() as mesh:
        receipt = await mesh.publish("orders", {"id": 1}, type="order.created", key="customer-7")
        position: int | None = receipt.position
        pending = [mesh.publish_nowait("orders", {"id": n}) for n in range(10_000)]
        await mesh.flush()
        first: meshwire.Receipt = await pending[0]
        answer = await mesh.request("quote", {"sku": 1}, timeout=2)
        async for part in mesh.request_stream("quote", 1):
            text: str = part.text()
        async with mesh.subscribe("orders", group="billing") as orders:
            async for d in orders:
                try:
                    bill(d.json())
                    d.ack()
                except Busy:
                    d.nack(delay=5)
                except BadOrder as e:
                    d.reject(str(e))
        await mesh.consume("orders", on_order, group="billing", concurrency=8)
        print(position, first, answer, text)


def twin() -> None:
    with sync.connect() as mesh:
        receipt: meshwire.Receipt = mesh.publish("orders", {"id": 1})
        for d in mesh.subscribe("orders", group="billing"):
            d.ack_confirmed()
        print(receipt)


if __name__ == "__main__":
    asyncio.run(main())
