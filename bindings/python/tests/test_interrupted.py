"""Ctrl-C ends whatever waits, also for a gateway that is gone, and the program goes on."""

import pytest
from conftest import script

#: Interrupts the main thread once it waits: another thread only runs then, and looks where it does.
BEGIN = """
import asyncio, os, signal, sys, threading, time
import meshwire
from meshwire import sync
from meshwire.testing import Gateway

topic, what, waits_in = sys.argv[1:]
# Whoever started this may have it ignore the signal, as a shell does in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
began, calling = [], threading.Event()

def interrupt():
    main = threading.main_thread().ident
    calling.wait()
    while sys._current_frames()[main].f_code.co_name != waits_in:
        os.sched_yield()
    began.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
gateway = Gateway()
options = {"publish_window_events": 2, "reconnect_min": 0.01, "reconnect_max": 0.1}
"""

SYNC = """
mesh = sync.connect(gateway.url, **options)
deliveries = mesh.subscribe(topic, group="g")
mesh.publish(topic, 1)
held = next(deliveries)
gateway.kill()

def full():
    for n in range(2):
        mesh.publish_nowait(topic, n)
    return True

calls = {
    "publish": lambda: mesh.publish(topic, 2),
    "publish with no room": lambda: full() and mesh.publish_start(topic, 2),
    "publish_batch": lambda: mesh.publish_batch(topic, [2, 3]),
    "result": lambda: mesh.publish_nowait(topic, 2).result(),
    "flush": lambda: full() and mesh.flush(),
    "request": lambda: mesh.request(topic, timeout=600),
    "request_stream": lambda: list(mesh.request_stream(topic, timeout=600)),
    "connect": lambda: sync.connect(gateway.url, connect_wait=600),
    "connected": mesh.connected,
    "subscribe": lambda: mesh.subscribe(topic, group="h"),
    "next": lambda: next(deliveries),
    "next_batch": lambda: deliveries.next_batch(),
    "ack_confirmed": lambda: held.ack_confirmed(),
    "administration": lambda: mesh.topics.get(topic),
    "close": mesh.close,
}
while mesh.state == "connected":
    os.sched_yield()
calling.set()
try:
    calls[what]()
except KeyboardInterrupt:
    assert time.monotonic() - began[0] < 3
    with Gateway(listen=gateway.address):
        if what != "close":
            mesh.publish(topic, "goes on")
        with sync.connect(gateway.url) as other:
            other.publish(topic, "goes on")
        try:
            # What is in hand is of the gateway that is gone.
            mesh.drain(0)
        except meshwire.MeshwireError:
            pass
    print("interrupted")
"""

#: The calls, each with the function in which the main thread waits.
WAITS = {
    "publish": "publish",
    "publish with no room": "publish_start",
    "publish_batch": "publish_batch",
    "result": "wait",
    "flush": "flush",
    "request": "request",
    # It has begun by then, and waits for the first reply.
    "request_stream": "<lambda>",
    "connect": "connect",
    "connected": "connected",
    "subscribe": "subscribe",
    "next": "__next__",
    "next_batch": "next_batch",
    "ack_confirmed": "<lambda>",
    "administration": "_ask",
    "close": "drain",
}


@pytest.mark.parametrize("what", WAITS)
def test_ctrl_c_ends_a_call_that_waits_for_a_gateway_that_is_gone(topic, what):
    ended = script(BEGIN + SYNC, topic, what, WAITS[what])
    assert ended.stdout == "interrupted\n", ended.stderr


LOOP = """
async def full(mesh):
    for n in range(2):
        mesh.publish_nowait(topic, n)

async def main():
    mesh = await meshwire.connect(gateway.url, **options)
    deliveries = await mesh.subscribe(topic, group="g")
    await mesh.publish(topic, 1)
    held = await anext(deliveries)
    gateway.kill()
    async for state in mesh.states():
        if state != "connected":
            break

    async def all_of(them):
        return [one async for one in them]

    calls = {
        "publish": lambda: mesh.publish(topic, 2),
        "publish with no room": lambda: mesh.publish_start(topic, 2),
        "publish_batch": lambda: mesh.publish_batch(topic, [2, 3]),
        "result": lambda: mesh.publish_nowait(topic, 2),
        "flush": mesh.flush,
        "request": lambda: mesh.request(topic, timeout=600),
        "request_stream": lambda: all_of(mesh.request_stream(topic, timeout=600)),
        "connect": lambda: meshwire.connect(gateway.url, connect_wait=600),
        "connected": mesh.connected,
        "subscribe": lambda: mesh.subscribe(topic, group="h"),
        "next": lambda: anext(deliveries),
        "next_batch": lambda: deliveries.next_batch(),
        "ack_confirmed": lambda: held.ack_confirmed(),
        "administration": lambda: mesh.topics.get(topic),
        "close": mesh.close,
        "consume": lambda: mesh.consume(topic, print, group="h"),
        "serve": lambda: mesh.serve(topic, print),
    }
    if what in ("publish with no room", "flush"):
        await full(mesh)
    calling.set()
    await calls[what]()

async def after():
    async with meshwire.connect(gateway.url) as mesh:
        await mesh.publish(topic, "goes on")

try:
    asyncio.run(main())
except KeyboardInterrupt:
    assert time.monotonic() - began[0] < 3
    with Gateway(listen=gateway.address):
        asyncio.run(after())
    print("interrupted")
"""


@pytest.mark.parametrize("what", [*WAITS, "consume", "serve"])
def test_ctrl_c_ends_a_call_of_asyncio_that_waits_for_a_gateway_that_is_gone(topic, what):
    # The loop waits for all that its tasks do.
    ended = script(BEGIN + LOOP, topic, what, "select")
    assert ended.stdout == "interrupted\n", ended.stderr
