"""Asks for prices of a responder that this program runs as well, and for what nobody serves.

    python request_reply.py mesh://127.0.0.1:7400
"""

import asyncio
import sys

import meshwire


async def quote(request: meshwire.Request) -> meshwire.Event:
    """Answers with twice the number of the sku; there is no sku 0."""
    sku = request.json()
    if sku == 0:
        raise LookupError("there is no sku 0")
    return meshwire.Event(2 * sku, type="quote.given")


async def ask(mesh: meshwire.Mesh, topic: str, sku: int) -> None:
    try:
        reply = await mesh.request(topic, sku, type="quote.asked")
        print(f"sku {sku} costs {reply.json()}")
    except meshwire.NoRespondersError:
        print(f"nobody serves {topic}")
    except meshwire.ResponderFailedError as error:
        print(f"refused: {error.message}")


async def main() -> None:
    # Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        serving = asyncio.create_task(mesh.serve("quote", quote, concurrency=4))
        # It begins first, and what one client says arrives in its order.
        await asyncio.sleep(0)
        for sku in (1, 21, 0):
            await ask(mesh, "quote", sku)
        await ask(mesh, "discount", 1)
        serving.cancel()


asyncio.run(main())
