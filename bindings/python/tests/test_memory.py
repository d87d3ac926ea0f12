"""Memory does not grow, whatever goes through a client for however long."""

import os

import pytest
from conftest import script

IS_FULL = os.environ.get("MESHWIRE_FULL") == "1"
#: How often each is done once the process is warm.
ROUNDS = {"receive": 100_000, "request": 20_000, "reconnect": 200} if IS_FULL else {"receive": 8_000, "request": 1_000, "reconnect": 15}
#: Most that the process may grow by meanwhile, in MiB. Kept events would be 4 KiB each; where there are few rounds what is kept shows as blocks.
GROWTH = 6
PATIENCE = 900 if IS_FULL else 120

#: Does it a third as often first, and then says by how much the process and Python's blocks have grown by the rest.
MEASURED = """
import asyncio, gc, sys
import meshwire
from meshwire import sync
from meshwire.testing import Gateway

topic, rounds = sys.argv[1], int(sys.argv[2])
gateway = Gateway()
options = {"reconnect_min": 0.001, "reconnect_max": 0.01}
data = b"x" * 4096
grown = []

def measure():
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    grown.append((pages * 4096 / (1 << 20), sys.getallocatedblocks()))

def told():
    (memory, blocks), (memory_then, blocks_then) = grown
    print(memory_then - memory, blocks_then - blocks)

def again():
    global gateway
    gateway.kill()
    gateway = Gateway(listen=gateway.address)
"""

RECEIVE = """
async def receive(mesh, deliveries, count):
    came = asked = 0
    while came < count:
        while asked < count and asked - came < 256:
            mesh.publish_nowait(topic, data)
            asked += 1
        # One by one, and by the batch.
        one = await anext(deliveries)
        one.ack()
        came += 1
        for one in await deliveries.next_batch(64, wait=0):
            assert one.data == data
            one.ack()
            came += 1
    await mesh.flush()

async def main():
    async with meshwire.connect(gateway.url) as mesh:
        await mesh.topics.create(topic, retention_bytes=1 << 20)
        async with mesh.subscribe(topic, group="g") as deliveries:
            for count in (rounds // 3, rounds):
                await receive(mesh, deliveries, count)
                measure()

asyncio.run(main())
told()
"""

RECEIVE_SYNC = """
with sync.connect(gateway.url) as mesh:
    mesh.topics.create(topic, retention_bytes=1 << 20)
    with mesh.subscribe(topic, group="g") as deliveries:
        for count in (rounds // 3, rounds):
            came = asked = 0
            while came < count:
                while asked < count and asked - came < 256:
                    mesh.publish_nowait(topic, data)
                    asked += 1
                one = next(deliveries)
                one.ack()
                came += 1
                for one in deliveries.next_batch(64, wait=0):
                    assert one.data == data
                    one.ack()
                    came += 1
            mesh.flush()
            measure()
told()
"""

REQUEST = """
async def answer(request):
    return request.data

async def main():
    async with meshwire.connect(gateway.url) as mesh, meshwire.connect(gateway.url) as serving:
        task = asyncio.ensure_future(serving.serve(topic, answer, concurrency=16))
        while True:
            try:
                await mesh.request(topic, data)
                break
            except meshwire.NoRespondersError:
                pass

        async def ask(count):
            for _ in range(count):
                assert (await mesh.request(topic, data)).data == data

        for count in (rounds // 3, rounds):
            await asyncio.gather(*(ask(count // 16) for _ in range(16)))
            measure()
        task.cancel()

asyncio.run(main())
told()
"""

REQUEST_SYNC = """
import threading
with sync.connect(gateway.url) as mesh, sync.connect(gateway.url) as serving:
    stop = threading.Event()
    thread = threading.Thread(target=lambda: serving.serve(topic, lambda request: request.data, until=stop))
    thread.start()
    while True:
        try:
            mesh.request(topic, data)
            break
        except meshwire.NoRespondersError:
            pass
    for count in (rounds // 3, rounds):
        for _ in range(count):
            assert mesh.request(topic, data).data == data
        measure()
    stop.set()
    thread.join()
told()
"""

RECONNECT = """
async def main():
    mesh = await meshwire.connect(gateway.url, **options)
    deliveries = await mesh.subscribe(topic, group="g")
    for count in (rounds // 3, rounds):
        for _ in range(count):
            again()
            await mesh.publish(topic, data)
            (await anext(deliveries)).ack()
        measure()

asyncio.run(main())
told()
"""

RECONNECT_SYNC = """
mesh = sync.connect(gateway.url, **options)
deliveries = mesh.subscribe(topic, group="g")
for count in (rounds // 3, rounds):
    for _ in range(count):
        again()
        mesh.publish(topic, data)
        next(deliveries).ack()
    measure()
told()
"""

PROGRAMS = {
    "receive": (RECEIVE, RECEIVE_SYNC),
    "request": (REQUEST, REQUEST_SYNC),
    "reconnect": (RECONNECT, RECONNECT_SYNC),
}


@pytest.mark.parametrize("twin", ["asyncio", "sync"])
@pytest.mark.parametrize("what", PROGRAMS)
def test_the_process_does_not_grow_by_what_goes_through_it(topic, what, twin):
    program = PROGRAMS[what][twin == "sync"]
    ended = script(MEASURED + program, topic, str(ROUNDS[what]), timeout=PATIENCE)
    assert ended.returncode == 0, ended.stderr
    memory, blocks = ended.stdout.split()
    assert float(memory) < GROWTH, ended.stdout
    # Python's own caches have some; one object of each round would be as many as there are rounds.
    assert int(blocks) < max(ROUNDS[what] // 4, 400), ended.stdout
