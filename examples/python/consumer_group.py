"""Three members of a group share its jobs; each job is done once, and the jobs of one customer stay in order.

    python consumer_group.py mesh://127.0.0.1:7400
"""

import asyncio
import sys

import meshwire

JOBS = 12


async def main() -> None:
    # Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    async with meshwire.connect(*sys.argv[1:2]) as mesh:
        for job in range(JOBS):
            await mesh.publish("jobs", job + 1, type="job.asked", key=["ada", "ben", "cy"][job % 3])

        done: dict[str, list[int]] = {"ada": [], "ben": [], "cy": []}
        finished = asyncio.Event()

        # Returning acks; an error is a nack, and the job comes again after a while.
        async def work(job: meshwire.Job) -> None:
            done[job.key or ""].append(job.json())
            if sum(map(len, done.values())) == JOBS:
                finished.set()

        # What a member is sent ahead of its handlers no other one can have meanwhile.
        members = (
            mesh.consume("jobs", work, group="workers", prefetch_events=2, until=finished.wait()) for _ in range(3)
        )
        await asyncio.gather(*members)
        for customer, jobs in done.items():
            print(f"{customer}: {jobs}")


asyncio.run(main())
