"""Says itself when a delivery is done: one is acked, one comes again after a while, one is forgotten and comes again when its lease ends.

    python manual_ack.py mesh://127.0.0.1:7400
"""

import asyncio
import sys

import meshwire


async def main() -> None:
    # Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        for text in "abc":
            await mesh.publish("letters", text, type="letter.sent")

        # A delivery may stay unsettled for two seconds; the default is 30 s.
        async with mesh.subscribe("letters", group="postmen", ack_wait=2) as letters:
            left = 3
            while left:
                delivery = await letters.__anext__()
                letter, attempt = delivery.text(), delivery.attempt
                if (letter, attempt) == ("b", 1):
                    print("b: nobody at home, again in 100 ms")
                    delivery.nack(delay=0.1)
                elif (letter, attempt) == ("c", 1):
                    print("c: lost on the way")
                    # Without a word it is leased until the ack wait ends.
                    del delivery
                else:
                    print(f"{letter}: delivered at attempt {attempt}")
                    # Answered when it can no longer come again.
                    await delivery.ack_confirmed()
                    left -= 1


asyncio.run(main())
