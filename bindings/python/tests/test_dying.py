"""A gateway that is killed in the middle of every call: each ends, by a result or by a typed error, and none hangs."""

import asyncio
import concurrent.futures
import functools
import os
import pathlib
import signal
import sys
import threading
from time import monotonic

import pytest

import meshwire
from meshwire import sync
from meshwire.testing import Gateway

#: Nothing here takes so long, though nearly a hundred clients do it at once.
LIMIT = 60
TIMEOUT = 0.5


def options(returns):
    """How clients connect: a publish ends by itself where no gateway comes any more."""
    return {"reconnect_min": 0.01, "reconnect_max": 0.1, "publish_timeout": 0 if returns else TIMEOUT}


class Of:
    """What a call is made with: a client of its own, which has a delivery in hand and a subscription that nothing comes to. Who closes its
    client has nothing in hand: that would be waited for."""

    topic, quiet = "held", "quiet"

    def handle(self, work):
        """Handles an event or a request, and ends the call that has it handled."""
        self.stop.set()


#: Calls that wait, by their names; each is begun while the gateway does not answer, and the gateway is killed then.
CALLS = {
    "connect": lambda of: of.connect(of.gateway.url),
    "connect_wait": lambda of: of.connect(of.gateway.url, connect_wait=TIMEOUT),
    "publish": lambda of: of.mesh.publish(of.topic, 1),
    "publish_nowait": lambda of: of.receipt(of.mesh.publish_nowait(of.topic, 1)),
    "publish_start": lambda of: of.receipt(of.mesh.publish_start(of.topic, 1)),
    "publish_batch": lambda of: of.mesh.publish_batch(of.topic, [1, 2]),
    "flush": lambda of: (of.mesh.publish_nowait(of.topic, 1), of.mesh.flush())[1],
    "request": lambda of: of.mesh.request(of.quiet, 1, timeout=TIMEOUT),
    "request_stream": lambda of: of.all(of.mesh.request_stream(of.quiet, 1, timeout=TIMEOUT)),
    "serve": lambda of: of.mesh.serve(of.quiet, of.handle, until=of.until()),
    "consume": lambda of: of.mesh.consume(of.quiet, of.handle, group="consume", until=of.until()),
    "subscribe": lambda of: of.mesh.subscribe(of.quiet, group="late"),
    "subscription.next": lambda of: of.next(of.idle),
    "subscription.next_batch": lambda of: of.idle.next_batch(),
    "subscription.next_batch in time": lambda of: of.idle.next_batch(wait=TIMEOUT),
    "delivery.ack_confirmed": lambda of: of.held.ack_confirmed(),
    "delivery.nack_confirmed": lambda of: of.held.nack_confirmed(),
    "delivery.reject_confirmed": lambda of: of.held.reject_confirmed("why"),
    "delivery.extend_confirmed": lambda of: of.held.extend_confirmed(),
    "states": lambda of: of.changed(of.mesh.states()),
    "connected": lambda of: of.again(of.mesh),
    "drain": lambda of: of.mesh.drain(TIMEOUT),
    "close": lambda of: of.mesh.close(),
    "topics.list": lambda of: of.all(of.mesh.topics.list()),
    "topics.get": lambda of: of.mesh.topics.get("none"),
    "topics.create": lambda of: of.mesh.topics.create("made"),
    "topics.update": lambda of: of.mesh.topics.update(of.topic, retention=60),
    "topics.delete": lambda of: of.mesh.topics.delete("none"),
    "groups.list": lambda of: of.all(of.mesh.groups(of.topic).list()),
    "groups.get": lambda of: of.mesh.groups(of.topic).get("g"),
    "groups.create": lambda of: of.mesh.groups(of.topic).create("made"),
    "groups.update": lambda of: of.mesh.groups(of.topic).update("g", max_failures=9),
    "groups.seek": lambda of: of.mesh.groups(of.topic).seek("g", "latest"),
    "groups.delete": lambda of: of.mesh.groups(of.topic).delete("none"),
    "groups.delete_member": lambda of: of.mesh.groups(of.topic).delete_member("none", "none"),
    "dead_letters.list": lambda of: of.all(of.mesh.dead_letters(of.topic).list()),
    "dead_letters.get": lambda of: of.mesh.dead_letters(of.topic, group="g").get(1),
    "dead_letters.redrive": lambda of: of.mesh.dead_letters(of.topic, group="g").redrive([1]),
    "dead_letters.redrive_all": lambda of: of.mesh.dead_letters(of.topic).redrive_all(),
    "dead_letters.purge": lambda of: of.mesh.dead_letters(of.topic, group="g").purge([1]),
    "dead_letters.purge_all": lambda of: of.mesh.dead_letters(of.topic).purge_all(),
    "limits.get": lambda of: of.mesh.limits.get(),
    "limits.set": lambda of: of.mesh.limits.set(publish_rate=0),
}
#: Those that end by themselves where no gateway comes any more, as the page says; the others when their client is drained.
BOUNDED = {
    "connect", "connect_wait", "publish", "request", "request_stream", "subscription.next_batch in time", "states", "drain", "close",
}  # fmt: skip
#: Those behind which there is no client.
ENDS = {"drain", "close"}
#: Those that end when something is published, or asked.
POKED = ("serve", "consume", "subscription.next", "subscription.next_batch")
#: What does not wait for a gateway.
AT_ONCE = {
    "mesh": {"state", "stats", "topics", "groups", "dead_letters", "limits"},
    "subscription": {"topic", "ended", "close"},
    "delivery": {"ack", "nack", "reject", "extend", "settled"},
}


@pytest.mark.parametrize("twin", [meshwire, sync])
def test_every_call_that_waits_is_in_the_table(twin):
    def public(kind, name):
        return {each for each in vars(kind) if not each.startswith("_")} - AT_ONCE.get(name, set())

    waits = public(twin.Mesh, "mesh") | {"connect", "connect_wait"} | {"subscription.next", "subscription.next_batch in time"}
    for name in ("subscription", "delivery", "topics", "groups", "limits"):
        waits |= {f"{name}.{each}" for each in public(getattr(twin, name.capitalize()), name)}
    waits |= {f"dead_letters.{each}" for each in public(twin.DeadLetters, "dead_letters")}
    assert waits == set(CALLS) and BOUNDED < set(CALLS)


def freeze(gateway):
    """Stops the gateway, so that nothing is answered any more."""
    watcher = gateway._process.pid
    children = pathlib.Path(f"/proc/{watcher}/task/{watcher}/children").read_text().split()
    programs = {child: os.readlink(f"/proc/{child}/exe") for child in children}
    [own] = [child for child, program in programs.items() if "meshwire" in pathlib.Path(program).name]
    os.kill(int(own), signal.SIGSTOP)
    threads = list(pathlib.Path(f"/proc/{own}/task").iterdir())
    # The signal reaches them one by one.
    while any(thread.joinpath("stat").read_text().rpartition(") ")[2][0] not in "Tt" for thread in threads):
        os.sched_yield()


def holds(ended, returns):
    """Whether each call came to a result or to a typed error."""
    assert set(ended) == set(CALLS)
    for name, came in ended.items():
        if isinstance(came, BaseException):
            assert isinstance(came, meshwire.MeshwireError) and came.message, (name, came)
    if returns:
        # What was asked of the other one is asked of this one.
        for name in ("publish", "publish_nowait", "publish_start", "subscribe", "consume", "serve", "subscription.next"):
            assert not isinstance(ended[name], BaseException), (name, ended[name])
        assert isinstance(ended["topics.get"], meshwire.TopicNotFoundError), ended["topics.get"]
    else:
        assert isinstance(ended["connect"], meshwire.UnavailableError), ended["connect"]
        assert isinstance(ended["publish"], meshwire.TimeoutError), ended["publish"]
        assert isinstance(ended["topics.get"], meshwire.ClosedError), ended["topics.get"]


class OfLoop(Of):
    """The same for asyncio."""

    def __init__(self):
        self.stop = asyncio.Event()

    async def prepare(self, name, gateway, returns):
        self.gateway = gateway
        self.mesh = await meshwire.connect(gateway.url, **options(returns))
        if name == "close":
            return self
        self.deliveries = await self.mesh.subscribe(self.topic)
        self.idle = await self.mesh.subscribe(self.quiet, group="idle")
        await self.mesh.publish(self.topic, 1)
        self.held = await anext(self.deliveries)
        return self

    def connect(self, *args, **options):
        return meshwire.connect(*args, **options)

    def until(self):
        return self.stop.wait()

    async def receipt(self, pending):
        came = await pending
        return came if isinstance(came, meshwire.Receipt) else await came

    async def all(self, them):
        return [each async for each in them]

    async def next(self, them):
        # Loops end where their client does.
        return await anext(them, None)

    async def changed(self, states):
        async for state in states:
            if state != "connected":
                return state

    async def again(self, mesh):
        await self.changed(mesh.states())
        return await mesh.connected()


async def awaited(call):
    """What a call comes to, an error too."""
    try:
        return await call()
    except BaseException as error:
        return error


@pytest.mark.parametrize("returns", [False, True])
def test_a_gateway_that_dies_in_the_middle_of_every_call_of_asyncio_leaves_none_that_hangs(gateway, returns):
    async def main():
        mortal = Gateway()
        try:
            of = {name: await OfLoop().prepare(name, mortal, returns) for name in CALLS}
            freeze(mortal)
            calls = {name: asyncio.ensure_future(awaited(functools.partial(CALLS[name], of[name]))) for name in CALLS}
            # All have begun then.
            await asyncio.sleep(0)
            assert not any(call.done() for call in calls.values())
        finally:
            mortal.kill()
        if returns:
            with Gateway(listen=mortal.address) as again:
                await poked(again, calls)
                await ended(calls)
                await asyncio.gather(*(one.mesh.publish("after", 1) for name, one in of.items() if name not in ENDS))
                await drained(of)
        else:
            await ended({name: calls[name] for name in BOUNDED})
            await drained(of)
            await ended(calls)
        holds({name: call.result() for name, call in calls.items()}, returns)
        async with meshwire.connect(gateway.url) as mesh:
            await mesh.publish("after", 1)

    async def drained(of):
        await asyncio.gather(*(one.mesh.drain(0) for one in of.values()), return_exceptions=True)

    async def ended(calls):
        _, hang = await asyncio.wait(calls.values(), timeout=LIMIT)
        assert not hang, [name for name, call in calls.items() if call in hang]

    async def poked(gateway, calls):
        async with meshwire.connect(gateway.url) as mesh:
            until = monotonic() + LIMIT
            while waiting := [name for name in POKED if not calls[name].done()]:
                assert monotonic() < until, waiting
                await mesh.publish(Of.quiet, 1)
                await awaited(lambda: mesh.request(Of.quiet, 1, timeout=1))

    asyncio.run(main())


class OfThread(Of):
    """The same without."""

    def __init__(self, name, gateway, returns):
        self.stop = threading.Event()
        self.gateway = gateway
        self.mesh = sync.connect(gateway.url, **options(returns))
        if name == "close":
            return
        self.deliveries = self.mesh.subscribe(self.topic)
        self.idle = self.mesh.subscribe(self.quiet, group="idle")
        self.mesh.publish(self.topic, 1)
        self.held = next(self.deliveries)

    def connect(self, *args, **options):
        return sync.connect(*args, **options)

    def until(self):
        return self.stop

    def receipt(self, pending):
        return pending.result()

    def all(self, them):
        return list(them)

    def next(self, them):
        return next(them, None)

    def changed(self, states):
        return next(state for state in states if state != "connected")

    def again(self, mesh):
        self.changed(mesh.states())
        return mesh.connected()


class Calling(threading.Thread):
    """Makes a call in a thread of its own."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self._call = call
        self.came = None
        self.begun = False

    def run(self):
        try:
            self.begun = True
            self.came = self._call()
        except BaseException as error:
            self.came = error


def begin(calls):
    """Begins them: with such an interval another thread runs when one waits, and not before."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(LIMIT)
    try:
        for call in calls:
            call.start()
    finally:
        sys.setswitchinterval(interval)
    assert all(call.begun and call.is_alive() for call in calls)


@pytest.mark.parametrize("returns", [False, True])
def test_a_gateway_that_dies_in_the_middle_of_every_call_without_asyncio_leaves_none_that_hangs(gateway, returns):
    mortal = Gateway()
    try:
        of = {name: OfThread(name, mortal, returns) for name in CALLS}
        freeze(mortal)
        calls = {name: Calling(functools.partial(CALLS[name], of[name])) for name in CALLS}
        begin(calls.values())
    finally:
        mortal.kill()

    def ended(names):
        until = monotonic() + LIMIT
        for name in names:
            calls[name].join(until - monotonic())
        assert [name for name in names if calls[name].is_alive()] == []

    def drained():
        with concurrent.futures.ThreadPoolExecutor(len(of)) as draining:
            for one in of.values():
                draining.submit(one.mesh.drain, 0)

    if returns:
        with Gateway(listen=mortal.address) as again:
            with sync.connect(again.url) as mesh:
                until = monotonic() + LIMIT
                while waiting := [name for name in POKED if calls[name].is_alive()]:
                    assert monotonic() < until, waiting
                    mesh.publish(Of.quiet, 1)
                    Calling(lambda: mesh.request(Of.quiet, 1, timeout=1)).run()
            ended(calls)
            for name, one in of.items():
                if name not in ENDS:
                    one.mesh.publish("after", 1)
            drained()
    else:
        ended(BOUNDED)
        drained()
        ended(calls)
    holds({name: call.came for name, call in calls.items()}, returns)
    with sync.connect(gateway.url) as mesh:
        mesh.publish("after", 1)
