"""The demo's player in Python: publishes events, and receives those of the players in all languages.

    player.py URL NAME EVENTS ALL
"""

import asyncio
import json
import platform
import sys
from collections import Counter

import meshwire

LANGUAGE = f"Python {platform.python_version()}"


async def main(url: str, name: str, events: int, count: int) -> None:
    async with meshwire.connect(url) as mesh:
        async with mesh.subscribe("languages", group=f"in-{name}", start="earliest") as came:
            for n in range(events):
                mesh.publish_nowait(
                    "languages", {"n": n}, id=f"{name}-{n}", type="greeting", attributes={"language": LANGUAGE}
                )
            await mesh.flush()
            received: Counter[str] = Counter()
            async for delivery in came:
                received[str(delivery.attributes["language"])] += 1
                await delivery.ack_confirmed()
                if received.total() == count:
                    break
    print(json.dumps({"language": LANGUAGE, "received": received}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
