"""Asks for a report that comes line by line, and leaves another one in the middle.

    python reply_stream.py mesh://127.0.0.1:7400
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import meshwire


async def report(request: meshwire.Request) -> AsyncIterator[meshwire.Event]:
    """As many lines as are asked for. Sending waits for a reader that is slower."""
    for line in range(1, request.json() + 1):
        yield meshwire.Event(f"line {line}", type="report.line")


async def read(mesh: meshwire.Mesh, lines: int, most: int) -> None:
    async with mesh.request_stream("report", lines, type="report.asked", credit=8) as replies:
        count = 0
        async for reply in replies:
            print(reply.text())
            count += 1
            if count == most:
                # Leaving cancels the rest: the handler is told.
                print("that is enough")
                return
    print("all of it")


async def main() -> None:
    # Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        serving = asyncio.create_task(mesh.serve("report", report))
        # It begins first, and what one client says arrives in its order.
        await asyncio.sleep(0)
        await read(mesh, 3, 1_000_000)
        await read(mesh, 1_000_000, 2)
        serving.cancel()


asyncio.run(main())
