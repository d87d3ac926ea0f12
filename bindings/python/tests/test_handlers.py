"""Handlers of events."""

import asyncio
import contextvars
import functools
import threading

import pytest
from conftest import looped

import meshwire
from meshwire import sync


@looped
async def test_a_handler_that_returns_has_acked_and_one_that_raises_has_not(gateway, topic):
    seen = []
    done = asyncio.Event()
    where = contextvars.ContextVar("where")

    async def handle(job):
        seen.append((job.text(), job.attempt, where.get()))
        if job.text() == "bad":
            raise meshwire.Reject("it is bad")
        if job.attempt == 1:
            raise meshwire.Nack(delay=0) if job.text() == "nack" else OSError("not today")
        if len(seen) >= 5:
            done.set()

    async with meshwire.connect(gateway.url) as mesh:
        where.set("here")
        for text in ("bad", "fails", "nack"):
            await mesh.publish(topic, text)
        options = {"group": "g", "backoff_min": 0, "concurrency": 8}
        await mesh.consume(topic, handle, until=done.wait(), **options)
        again = [("bad", 1), ("fails", 1), ("fails", 2), ("nack", 1), ("nack", 2)]
        assert sorted(seen) == [(*each, "here") for each in again]
        [letter] = [letter async for letter in mesh.dead_letters(topic, group="g").list(events=True)]
        assert (letter.reason, letter.error, letter.event["data"]) == ("rejected", "it is bad", "bad")


class Unspeakable(Exception):
    def __str__(self):
        raise OSError("no text")


ODD = {
    "negative": meshwire.Nack(delay=-1),
    "text": meshwire.Nack(delay="soon"),
    "surrogate": ValueError("half \ud800 a pair"),
    "unspeakable": Unspeakable(),
    "number": meshwire.Reject(7),
    "rejected": meshwire.Reject("half \ud800 a pair"),
}
#: What becomes of them, with one failure allowed.
ODD_ERRORS = {
    "negative": "delay",
    "text": "delay",
    "surrogate": "half ? a pair",
    "unspeakable": "a Unspeakable whose text cannot be made (OSError)",
    "number": "7",
    "rejected": "half ? a pair",
}


@pytest.mark.parametrize("concurrency", [1, 4])
def test_whatever_a_handler_raises_settles_its_event_and_the_others_go_on(gateway, topic, concurrency):
    asyncio.run(odd(gateway, topic, concurrency))
    odd_sync(gateway, topic + "-sync", concurrency)


async def odd(gateway, topic, concurrency):
    words = []
    done = asyncio.Event()

    def handle(job):
        if job.text() == "last":
            return done.set()
        raise ODD[job.text()]

    async with meshwire.connect(gateway.url, on_settle=lambda job, word: words.append(word)) as mesh:
        for text in (*ODD, "last"):
            await mesh.publish(topic, text)
        options = {"group": "g", "max_failures": 1, "concurrency": concurrency}
        await asyncio.wait_for(mesh.consume(topic, handle, until=done.wait(), **options), 20)
        letters = {letter.event["data"]: letter async for letter in mesh.dead_letters(topic).list(events=True)}
        assert sorted(words) == ["ack", *["nack"] * 4, *["reject"] * 2]
        assert set(letters) == set(ODD)
        assert all(text in letters[name].error for name, text in ODD_ERRORS.items())


def odd_sync(gateway, topic, concurrency):
    done = threading.Event()

    def handle(job):
        if job.text() == "last":
            return done.set()
        raise ODD[job.text()]

    with sync.connect(gateway.url) as mesh:
        for text in (*ODD, "last"):
            mesh.publish(topic, text)
        mesh.consume(topic, handle, until=done, group="g", max_failures=1, concurrency=concurrency)
        letters = {letter.event["data"]: letter for letter in mesh.dead_letters(topic).list(events=True)}
        assert set(letters) == set(ODD)
        assert all(text in letters[name].error for name, text in ODD_ERRORS.items())


@looped
async def test_events_of_a_key_are_handled_one_at_a_time_whatever_the_concurrency(gateway, topic):
    running, most, seen = {}, {}, []
    together, done = asyncio.Event(), asyncio.Event()

    async def handle(job):
        running[job.key] = running.get(job.key, 0) + 1
        most[job.key] = max(most.get(job.key, 0), running[job.key])
        if all(running.get(key) for key in "ab"):
            together.set()
        # Others of its key would have begun before the first of another one.
        await together.wait()
        await asyncio.sleep(0)
        seen.append((job.key, job.json()))
        running[job.key] -= 1
        if len(seen) == 40:
            done.set()

    async with meshwire.connect(gateway.url) as mesh:
        for n in range(40):
            await mesh.publish(topic, n, key="ab"[n % 2])
        await mesh.consume(topic, handle, group="g", concurrency=16, until=done.wait())
    assert most == {"a": 1, "b": 1}
    assert [n for key, n in seen if key == "a"] == list(range(0, 40, 2))


@looped
async def test_a_plain_function_is_a_handler_too(gateway, topic):
    seen = []
    done = asyncio.Event()

    def handle(job):
        seen.append(job.json())
        if len(seen) == 20:
            done.set()

    async with meshwire.connect(gateway.url) as mesh:
        for n in range(20):
            await mesh.publish(topic, n)
        await mesh.consume(topic, handle, group="g", until=done.wait())
        assert seen == list(range(20))
        assert (await mesh.groups(topic).get("g")).lag == 0


@looped
async def test_a_cancelled_consume_ends_its_handlers_and_what_they_had_comes_again(gateway, topic):
    began = asyncio.Event()
    ended, told = [], []

    async def handle(job):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(job.text())

    async with meshwire.connect(gateway.url, on_settle=lambda job, word: told.append((job.text(), word))) as mesh:
        await mesh.publish(topic, "x")
        consuming = asyncio.ensure_future(mesh.consume(topic, handle, group="g", backoff_min=0))
        await began.wait()
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consuming
        assert ended == ["x"] and told == [("x", "nack")]
        async with mesh.subscribe(topic, group="g") as deliveries:
            delivery = await deliveries.__anext__()
            assert delivery.text() == "x"
            delivery.ack()


@looped
async def test_what_until_raises_is_raised(gateway, topic):
    async def until():
        raise LookupError("there is no such thing")

    async with meshwire.connect(gateway.url) as mesh:
        with pytest.raises(LookupError, match="no such thing"):
            await mesh.consume(topic, print, group="g", until=until())
        with pytest.raises(LookupError, match="no such thing"):
            await mesh.serve(topic, print, until=until())
        never = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(never.cancel)
        await mesh.consume(topic, print, group="g", until=never)


@looped
async def test_what_was_lost_is_not_told_as_settled(gateway, topic):
    told = []
    done = asyncio.Event()

    async def handle(job):
        if job.attempt > 1:
            return done.set()
        # The client extends its lease ten times.
        await asyncio.Event().wait()

    async with meshwire.connect(gateway.url, on_settle=lambda job, word: told.append((job.attempt, word))) as mesh:
        await mesh.publish(topic, "x")
        await mesh.consume(topic, handle, group="g", ack_wait=1, backoff_min=0, until=done.wait())
    assert told == [(2, "ack")]


@looped
async def test_a_client_that_is_closed_by_a_handler_ends_its_consumer(gateway, topic):
    mesh = await meshwire.connect(gateway.url)
    await mesh.publish(topic, "x")
    closing = []

    async def handle(job):
        closing.append(asyncio.ensure_future(mesh.drain(5)))

    await mesh.consume(topic, handle, group="g")
    await closing[0]
    assert mesh.state == "closed"


@looped
async def test_a_handler_that_awaits_the_end_of_its_client_is_told_so_at_once(gateway, topic):
    refused = []
    stop = asyncio.Event()

    async with meshwire.connect(gateway.url) as mesh, meshwire.connect(gateway.url) as other:

        async def close(work):
            for end in (mesh.close, mesh.drain, other.close):
                try:
                    await end()
                except meshwire.InvalidError as error:
                    refused.append((error.operation, "would wait for itself" in error.message))
            stop.set()

        await mesh.publish(topic, "x")
        await mesh.consume(topic, close, group="g", until=stop.wait())
        assert refused == [("close", True), ("drain", True)] and other.state == "closed"
        stop.clear()
        serving = asyncio.ensure_future(mesh.serve(topic, close, until=stop.wait()))
        async with meshwire.connect(gateway.url) as asking:
            while not stop.is_set():
                try:
                    await asking.request(topic, "x")
                except meshwire.NoRespondersError:
                    pass
        await serving
        assert refused == [("close", True), ("drain", True)] * 2


@looped
async def test_what_the_gateway_refuses_is_raised(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        await mesh.topics.create(topic)
        await mesh.groups(topic).create("g", max_failures=3)
        with pytest.raises(meshwire.GroupConflictError):
            await mesh.consume(topic, print, group="g", max_failures=4)
        with pytest.raises(meshwire.InvalidError):
            await mesh.consume(topic, print, group="g", concurrency=0)


@looped
async def test_hooks_see_every_publish_delivery_and_settlement(gateway, topic):
    told = []

    def on_publish(to, event):
        told.append(("publish", to))
        if event.data == "refused":
            raise PermissionError("not that")
        return meshwire.Event(event.data, type=event.type, attributes={**event.attributes, "traceparent": "00-1"})

    hooks = {
        "on_publish": on_publish,
        "on_delivery": lambda delivery: told.append(("delivery", delivery.text())),
        "on_settle": lambda delivery, word: told.append((word, delivery.text())),
    }
    async with meshwire.connect(gateway.url, **hooks) as mesh:
        await mesh.publish(topic, "a", type="t")
        mesh.publish_nowait(topic, "b")
        assert len(await mesh.publish_batch(topic, ["c"])) == 1
        with pytest.raises(PermissionError):
            await mesh.publish(topic, "refused")
        async with mesh.subscribe(topic, group="g") as deliveries:
            one = await deliveries.__anext__()
            assert (one.attributes["traceparent"], one.type) == ("00-1", "t")
            one.ack()
            for delivery in await deliveries.next_batch(1):
                await delivery.nack_confirmed()
            done = asyncio.Event()
        await mesh.consume(topic, lambda job: done.set(), group="h", until=done.wait())
    assert [word for word, _ in told].count("publish") == 4
    assert ("delivery", "a") in told and ("ack", "a") in told and ("nack", "b") in told


@pytest.mark.parametrize("twin", ["asyncio", "sync"])
def test_a_hook_that_gives_back_nothing_has_the_event_published_as_it_is(gateway, topic, twin):
    def on_publish(to, event):
        if event.type == "text":
            return "what is this"
        if event.type == "soon":
            return later()

    async def both():
        connecting = meshwire.connect if twin == "asyncio" else sync.connect
        mesh = connecting(gateway.url, on_publish=on_publish)
        mesh = await mesh if twin == "asyncio" else mesh
        for publish in (mesh.publish, mesh.publish_start):
            receipt = publish(topic, {"id": 1}, type="none", key="k")
            await receipt if twin == "asyncio" else receipt
            for wrong in ("text", "soon"):
                with pytest.raises(TypeError, match="on_publish"):
                    published = publish(topic, {"id": 1}, type=wrong)
                    await published
        with pytest.raises(TypeError, match="on_publish"):
            mesh.publish_nowait(topic, "x", type="text")
        close = mesh.close()
        await close if twin == "asyncio" else close

    asyncio.run(both())
    with sync.connect(gateway.url) as mesh, mesh.subscribe(topic, group="g") as deliveries:
        for delivery in deliveries.next_batch(2):
            assert (delivery.json(), delivery.type, delivery.key) == ({"id": 1}, "none", "k")
            delivery.ack()


async def later(*_):
    pass


async def yields(*_):
    yield


class Later:
    async def __call__(self, *_):
        pass


@pytest.mark.parametrize("hook", ["on_publish", "on_delivery", "on_settle"])
@pytest.mark.parametrize("wrong", [later, yields, Later(), functools.partial(later, 1), 7, "print"])
def test_a_hook_that_cannot_be_called_as_it_is_meant_is_refused_at_connect(hook, wrong):
    for connect in (meshwire.connect, sync.connect):
        with pytest.raises(TypeError, match=hook):
            connect("tcp://127.0.0.1:1", **{hook: wrong})


def test_a_handler_that_is_none_is_refused_at_the_call(gateway, topic):
    async def both():
        async with meshwire.connect(gateway.url) as mesh:
            for wrong in (None, 7, "print", yields):
                with pytest.raises(TypeError, match="consume calls"):
                    await mesh.consume(topic, wrong, group="g")
            with pytest.raises(TypeError, match="serve calls"):
                await mesh.serve(topic, None)

    asyncio.run(both())
    with sync.connect(gateway.url) as mesh:
        for wrong in (None, 7, yields, lambda job: (yield), later, Later()):
            with pytest.raises(TypeError, match="consume"):
                mesh.consume(topic, wrong, group="g")
        for wrong in (None, later, Later()):
            with pytest.raises(TypeError, match="serve"):
                mesh.serve(topic, wrong)


def test_what_a_handler_without_asyncio_gives_to_await_is_a_failure(gateway, topic):
    stop = threading.Event()

    def handle(job):
        if job.text() == "last":
            return stop.set()
        return later()

    with sync.connect(gateway.url) as mesh:
        mesh.publish_batch(topic, ["x", "last"])
        mesh.consume(topic, handle, group="g", max_failures=1, until=stop)
        [letter] = mesh.dead_letters(topic).list()
        assert "not awaited" in letter.error


class Over(BaseException):
    """Nothing that a handler fails by."""


@looped
async def test_what_is_no_failure_of_a_handler_ends_consume_and_is_raised(gateway, topic):
    async def handle(job):
        raise Over

    async with meshwire.connect(gateway.url) as mesh:
        await mesh.publish(topic, "x")
        with pytest.raises(Over):
            await mesh.consume(topic, handle, group="g", max_failures=1)
        [letter] = [letter async for letter in mesh.dead_letters(topic).list()]
        assert "Over" in letter.error
