"""Event loops, forks, signals, and the end of the process at any moment."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import looped, script

import meshwire
from meshwire import sync


def test_a_client_belongs_to_its_event_loop_and_says_so_elsewhere(gateway, topic):
    kept = []

    async def first():
        kept.append(await meshwire.connect(gateway.url))
        await kept[0].publish(topic, 1)

    async def second():
        for call in (lambda: kept[0].publish(topic, 2), lambda: kept[0].flush(), kept[0].close):
            with pytest.raises(meshwire.InvalidError, match="event loop"):
                await call()
        with pytest.raises(meshwire.InvalidError, match="loop"):
            kept[0].publish_nowait(topic, 2)
        async with meshwire.connect(gateway.url) as mesh:
            await mesh.publish(topic, 3)

    asyncio.run(first())
    asyncio.run(second())
    with pytest.raises(meshwire.InvalidError, match="meshwire.sync"):
        kept[0].publish_nowait(topic, 4)


def test_connecting_needs_no_loop_until_it_is_awaited(gateway, topic):
    connecting = meshwire.connect(gateway.url)

    async def main():
        async with connecting as mesh:
            return (await mesh.publish(topic, 1)).position

    assert asyncio.run(main()) == 1


def test_uvloop_works(gateway, topic):
    uvloop = pytest.importorskip("uvloop", reason="needs uvloop")

    async def main():
        assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
        async with meshwire.connect(gateway.url) as mesh:
            receipts = await asyncio.gather(*(mesh.publish(topic, n) for n in range(500)))
            assert len(receipts) == 500
            async with mesh.subscribe(topic, group="g") as deliveries:
                async for delivery in deliveries:
                    delivery.ack()
                    if delivery.json() == 499:
                        return

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


FORK = """
import asyncio, os, sys, meshwire
from meshwire import sync
url, topic = sys.argv[1:]
parent = sync.connect(url)
parent.publish(topic, 1)
deliveries = parent.subscribe(topic, group="g")
held = next(deliveries)

def closed(call):
    try:
        call()
    except meshwire.ClosedError as error:
        assert "fork" in str(error), error
    else:
        raise AssertionError(call)

child = os.fork()
if child == 0:
    status = 1
    try:
        closed(lambda: parent.publish(topic, 2))
        closed(lambda: parent.publish_nowait(topic, 2))
        closed(lambda: next(deliveries))
        closed(held.ack)
        closed(parent.flush)
        with sync.connect(url) as own:
            assert own.publish(topic, "of the child").position == 2
        async def main():
            async with meshwire.connect(url) as own:
                await own.publish(topic, "also")
        asyncio.run(main())
        status = 0
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
held.ack_confirmed()
delivery = next(deliveries)
assert delivery.text() == "of the child"
delivery.ack()
deliveries.close()
parent.close()
print("good")
"""


def test_in_a_forked_child_what_the_parent_made_is_closed_and_a_new_client_works(gateway, topic):
    ended = script(FORK, gateway.url, topic)
    assert ended.stdout == "good\n", ended.stderr


PREFORK = """
import multiprocessing, sys
import meshwire
from meshwire import sync
url, topic = sys.argv[1:]

def work(n):
    with sync.connect(url) as mesh:
        return mesh.publish(topic, n).position

if __name__ == "__main__":
    with sync.connect(url) as mesh:
        mesh.publish(topic, 0)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(len(set(pool.map(work, range(4)))))
"""


def test_workers_of_a_prefork_server_have_clients_of_their_own(gateway, topic):
    ended = script(PREFORK, gateway.url, topic)
    assert ended.stdout == "4\n", ended.stderr


INTERRUPTED = """
import os, signal, sys, threading, time
from meshwire import sync
url, topic, what = sys.argv[1:]
# Whoever started this may have it ignore the signal, as a shell does in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
mesh = sync.connect(url)
waits_in = {"receive": "__next__", "consume": "run", "serve": "run", "state": "states"}[what]
def interrupt():
    main = threading.main_thread().ident
    # This thread only runs while that one waits, and then looks where.
    while sys._current_frames()[main].f_code.co_name != waits_in:
        os.sched_yield()
    began.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
began = []
threading.Thread(target=interrupt, daemon=True).start()
try:
    if what == "receive":
        next(mesh.subscribe(topic, group="g"))
    elif what == "consume":
        mesh.consume(topic, print, group="g")
    elif what == "serve":
        mesh.serve(topic, print)
    elif what == "state":
        list(mesh.states())
except KeyboardInterrupt:
    assert time.monotonic() - began[0] < 3
    mesh.publish(topic, "goes on")
    mesh.close()
    print("interrupted")
"""


@pytest.mark.parametrize("what", ["receive", "consume", "serve", "state"])
def test_ctrl_c_ends_whatever_waits_and_the_client_goes_on(gateway, topic, what):
    ended = script(INTERRUPTED, gateway.url, topic, what)
    assert ended.stdout == "interrupted\n", ended.stderr


def test_ctrl_c_takes_no_delivery_with_it(gateway, topic):
    previous = signal.getsignal(signal.SIGALRM)

    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    signal.signal(signal.SIGALRM, ring)
    try:
        with sync.connect(gateway.url) as mesh, mesh.subscribe(topic, group="g") as deliveries:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(Alarm):
                next(deliveries)
            mesh.publish(topic, "x")
            assert next(deliveries).text() == "x"
    finally:
        signal.signal(signal.SIGALRM, previous)


ENDS = """
import asyncio, sys, threading, meshwire
from meshwire import sync
url, topic, how = sys.argv[1:]
if how == "sync":
    mesh = sync.connect(url)
    for n in range(2000):
        mesh.publish_nowait(topic, n)
elif how == "loop":
    async def main():
        global mesh
        mesh = await meshwire.connect(url)
        for n in range(2000):
            mesh.publish_nowait(topic, n)
    asyncio.run(main())
elif how == "waiting":
    mesh = sync.connect(url)
    deliveries = mesh.subscribe(topic, group="g")
    threading.Thread(target=lambda: list(deliveries), daemon=True).start()
    threading.Thread(target=lambda: mesh.consume(topic, print, group="h"), daemon=True).start()
elif how == "task":
    async def wait(mesh):
        async for delivery in mesh.subscribe(topic, group="g"):
            pass
    async def main():
        mesh = await meshwire.connect(url)
        tasks = [asyncio.ensure_future(wait(mesh)) for _ in range(3)]
        members = 0
        while members < 3:
            try:
                members = (await mesh.groups(topic).get("g")).members
            except LookupError:
                pass
        mesh.publish_nowait(topic, 1)
        sys.exit(0)
    asyncio.run(main())
elif how == "raises":
    mesh = sync.connect(url)
    mesh.publish_nowait(topic, 1)
    raise SystemExit(0)
"""


@pytest.mark.parametrize("how", ["sync", "loop", "waiting", "task", "raises"])
def test_the_process_ends_at_any_moment_and_what_was_published_is_flushed(gateway, topic, how):
    began = time.monotonic()
    ended = script(ENDS, gateway.url, topic, how)
    assert ended.returncode == 0 and "Fatal" not in ended.stderr and "panicked" not in ended.stderr, ended.stderr
    assert time.monotonic() - began < 10
    if how in ("sync", "loop"):
        with sync.connect(gateway.url) as mesh:
            assert mesh.topics.get(topic).next == 2001


def test_a_process_that_is_killed_in_the_middle_leaves_nothing_that_hangs(gateway, topic):
    text = "import signal, sys\nfrom meshwire import sync\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nmesh = sync.connect(sys.argv[1])\nprint('up', flush=True)\nwhile True: mesh.publish(sys.argv[2], 1)"
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", text, gateway.url, topic], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        assert "KeyboardInterrupt" in said and "Fatal" not in said and "panicked" not in said, said


def test_the_end_tells_how_many_publishes_have_no_receipt(topic):
    text = """
    import sys, logging
    logging.basicConfig()
    from meshwire import sync
    from meshwire.testing import Gateway
    gateway = Gateway()
    mesh = sync.connect(gateway.url)
    gateway.kill()
    mesh.publish_nowait(sys.argv[1], 1)
    """
    ended = script(text, topic)
    assert ended.returncode == 0 and "unanswered=1" in ended.stderr, ended.stderr


def test_logs_go_where_python_logs(topic):
    text = """
    import sys, logging, threading, time
    records, told = [], threading.Event()
    class Keep(logging.Handler):
        def emit(self, record):
            if "without ack" in record.getMessage():
                records.append(record)
                told.set()
    logging.getLogger("meshwire").addHandler(Keep())
    logging.getLogger("meshwire").setLevel(logging.DEBUG)
    from meshwire import sync
    from meshwire.testing import Gateway
    gateway = Gateway()
    mesh = sync.connect(gateway.url)
    mesh.publish(sys.argv[1], 1)
    deliveries = mesh.subscribe(sys.argv[1], group="g")
    next(deliveries)
    assert told.wait(20)
    [record] = records
    print(record.levelname, record.name.partition(".")[0], abs(record.created - time.time()) < 60)
    """
    ended = script(text, topic)
    assert ended.stdout == "WARNING meshwire True\n", ended.stderr


def test_a_logger_that_wants_more_later_gets_it(topic):
    text = """
    import logging, threading
    told = threading.Event()
    class Hear(logging.Handler):
        def emit(self, record):
            if record.levelno == logging.DEBUG:
                told.set()
    logging.getLogger("meshwire").addHandler(Hear())
    from meshwire import sync
    from meshwire.testing import Gateway
    gateway = Gateway()
    mesh = sync.connect(gateway.url, reconnect_max=0.05)
    logging.getLogger("meshwire").setLevel(logging.DEBUG)
    # It says each time that there is no gateway.
    gateway.kill()
    print(told.wait(20))
    """
    ended = script(text, topic)
    assert ended.stdout == "True\n", ended.stderr


@looped
async def test_only_threads_of_python_are_there_and_one_pump_serves_all_clients(gateway, topic):
    import threading

    clients = [await meshwire.connect(gateway.url) for _ in range(5)]
    for mesh in clients:
        await mesh.publish(topic, 1)
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("meshwire")]
    assert names.count("meshwire-pump") == 1
    assert not any(isinstance(thread, threading._DummyThread) for thread in threading.enumerate())
    for mesh in clients:
        await mesh.close()


def test_a_gateway_ends_with_the_process_that_started_it():
    text = "from meshwire.testing import Gateway\nimport os\ngateway = Gateway()\nprint(gateway.address, flush=True)\nos._exit(0)"
    ended = script(text)
    deadline = time.monotonic() + 20
    while True:
        try:
            sync.connect(f"tcp://{ended.stdout.strip()}", connect_timeout=1).close()
        except meshwire.MeshwireError:
            return
        assert time.monotonic() < deadline, "it lives on"


def test_without_a_program_both_places_are_named(monkeypatch):
    monkeypatch.setenv("MESHWIRE_BIN", "/nowhere/meshwire")
    with pytest.raises(meshwire.NotFoundError, match="MESHWIRE_BIN.*PATH"):
        meshwire.testing.Gateway()


assert os.name == "posix"
