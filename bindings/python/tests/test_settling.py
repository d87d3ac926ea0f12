"""What a program says of events by what its handlers return, by its hooks, and by leaving."""

import asyncio
import threading

import pytest
from conftest import looped, script

import meshwire
from meshwire import sync

#: What a handler returns, and how its event is settled.
RETURNED = {
    "nack": (meshwire.Nack(delay=0), "nack"),
    "nack class": (meshwire.Nack, "nack"),
    "reject": (meshwire.Reject("it is bad"), "reject"),
    "reject class": (meshwire.Reject, "reject"),
    "odd": (meshwire.Nack(delay=-1), "nack"),
    "none": (None, "ack"),
    "text": ("nack", "ack"),
    "error": (ValueError("returned, not raised"), "ack"),
}
#: With one failure allowed, what has failed and what is rejected are dead letters.
DEAD = {name for name, (_, word) in RETURNED.items() if word != "ack"}


@pytest.mark.parametrize("is_async", [False, True])
@looped
async def test_a_settlement_that_a_handler_returns_counts_as_if_it_was_raised(gateway, topic, is_async):
    words = {}
    done = asyncio.Event()

    def handle(job):
        return RETURNED[job.text()][0]

    async def handle_async(job):
        return handle(job)

    def on_settle(job, word):
        words[job.text()] = word
        if len(words) == len(RETURNED):
            done.set()

    async with meshwire.connect(gateway.url, on_settle=on_settle) as mesh:
        await mesh.publish_batch(topic, list(RETURNED))
        handler = handle_async if is_async else handle
        await mesh.consume(topic, handler, group="g", max_failures=1, until=done.wait())
        letters = {letter.event["data"]: letter async for letter in mesh.dead_letters(topic).list(events=True)}
    assert words == {name: word for name, (_, word) in RETURNED.items()}
    assert set(letters) == DEAD and letters["reject"].error == "it is bad"


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_settlement_that_a_handler_without_asyncio_returns_counts_too(gateway, topic, concurrency):
    words = {}
    done = threading.Event()

    def on_settle(job, word):
        words[job.text()] = word
        if len(words) == len(RETURNED):
            done.set()

    with sync.connect(gateway.url, on_settle=on_settle) as mesh:
        mesh.publish_batch(topic, list(RETURNED))
        options = {"group": "g", "max_failures": 1, "concurrency": concurrency}
        mesh.consume(topic, lambda job: RETURNED[job.text()][0], until=done, **options)
        letters = {letter.event["data"]: letter for letter in mesh.dead_letters(topic).list(events=True)}
    assert words == {name: word for name, (_, word) in RETURNED.items()}
    assert set(letters) == DEAD and letters["reject"].error == "it is bad"


class Left(BaseException):
    """Leaves a block."""


@looped
async def test_what_is_in_hand_when_an_exception_leaves_the_clients_block_has_failed_at_once(gateway, topic):
    pending = []
    with pytest.raises(Left):
        async with meshwire.connect(gateway.url) as mesh:
            await mesh.publish_batch(topic, ["a", "b", "c"])
            one = await mesh.subscribe(topic, group="one", max_failures=1)
            held = await one.__anext__()
            many = await mesh.subscribe(topic, group="many", max_failures=1)
            batch = []
            while len(batch) < 3:
                batch += await many.next_batch()
            pending += [mesh.publish_nowait(topic + "-after", n) for n in range(100)]
            raise Left
    # Closing would have waited for them for 30 s.
    assert [each.result().position for each in pending] == list(range(1, 101)) and held.text() == "a"
    async with meshwire.connect(gateway.url) as mesh:
        letters = [letter async for letter in mesh.dead_letters(topic).list()]
        assert sorted(letter.group for letter in letters) == ["many", "many", "many", "one"]


def test_what_is_in_hand_without_asyncio_has_failed_at_once_too(gateway, topic):
    with pytest.raises(Left):
        with sync.connect(gateway.url) as mesh:
            mesh.publish_batch(topic, ["a", "b"])
            deliveries = mesh.subscribe(topic, group="g", max_failures=1)
            held = next(deliveries)
            raise Left
    # Closing would have waited for it for 30 s, and have given it back without a failure.
    assert held.text() == "a"
    with sync.connect(gateway.url) as mesh:
        assert [letter.position for letter in mesh.dead_letters(topic).list()] == [1]


@pytest.mark.parametrize("twin", ["asyncio", "sync"])
def test_ctrl_c_with_deliveries_in_hand_ends_the_program(gateway, topic, twin):
    # It has less time than closing would wait for what is in hand.
    ended = script(INTERRUPTED, gateway.url, topic, twin, timeout=25)
    assert "\nKeyboardInterrupt\n" in ended.stderr, ended.stderr


INTERRUPTED = """
import asyncio, os, signal, sys, meshwire
from meshwire import sync
url, topic, twin = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    async with meshwire.connect(url) as mesh:
        await mesh.publish(topic, "x")
        deliveries = await mesh.subscribe(topic, group="g")
        async for delivery in deliveries:
            os.kill(os.getpid(), signal.SIGINT)

if twin == "asyncio":
    asyncio.run(main())
else:
    with sync.connect(url) as mesh:
        mesh.publish(topic, "x")
        deliveries = mesh.subscribe(topic, group="g")
        for delivery in deliveries:
            os.kill(os.getpid(), signal.SIGINT)
"""


def on_delivery(delivery):
    if delivery.text() == "bad" and delivery.attempt == 1:
        raise LookupError("not this one")
    if delivery.text() == "over":
        raise Left


def on_settle(delivery, word):
    raise LookupError("nor that")


def warnings(caplog):
    """What was said of events that on_delivery fails for."""
    return [record.getMessage() for record in caplog.records if "on_delivery" in record.getMessage()]


@looped
async def test_what_on_delivery_raises_nacks_its_event_and_the_loop_goes_on(gateway, topic, caplog):
    async with meshwire.connect(gateway.url, on_delivery=on_delivery, on_settle=on_settle) as mesh:
        await mesh.publish_batch(topic, ["bad", "a", "b"])
        seen = []
        async with mesh.subscribe(topic, group="g", backoff_min=0) as deliveries:
            async for delivery in deliveries:
                seen.append((delivery.text(), delivery.attempt))
                delivery.ack()
                if len(seen) == 3:
                    break
        assert sorted(seen) == [("a", 1), ("b", 1), ("bad", 2)]
        assert (await mesh.groups(topic).get("g")).lag == 0
        assert warnings(caplog) == [f"on_delivery failed for an event of {topic}, which is nacked: not this one"]
        # What is no failure comes out.
        await mesh.publish(topic, "over")
        async with mesh.subscribe(topic, group="g") as deliveries:
            with pytest.raises(Left):
                await deliveries.__anext__()


@looped
async def test_a_batch_leaves_out_what_on_delivery_fails_for_and_waits_on_if_that_is_all(gateway, topic):
    async with meshwire.connect(gateway.url, on_delivery=on_delivery, on_settle=on_settle) as mesh:
        await mesh.publish(topic, "bad")
        async with mesh.subscribe(topic, group="g", backoff_min=0) as deliveries:
            [again] = await deliveries.next_batch()
            assert (again.text(), again.attempt) == ("bad", 2)
            again.ack()
            await mesh.publish(topic, "bad")
            [again] = await deliveries.next_batch(wait=20)
            assert again.attempt == 2
            again.ack()
            assert await deliveries.next_batch(wait=0.02) == []


def test_what_on_delivery_raises_without_asyncio_does_the_same(gateway, topic, caplog):
    with sync.connect(gateway.url, on_delivery=on_delivery, on_settle=on_settle) as mesh:
        mesh.publish_batch(topic, ["bad", "a"])
        with mesh.subscribe(topic, group="g", backoff_min=0) as deliveries:
            seen = []
            for delivery in deliveries:
                seen.append((delivery.text(), delivery.attempt))
                delivery.ack()
                if len(seen) == 2:
                    break
            assert sorted(seen) == [("a", 1), ("bad", 2)] and len(warnings(caplog)) == 1
            mesh.publish(topic, "bad")
            [again] = deliveries.next_batch(wait=20)
            assert again.attempt == 2
            again.ack()
            assert deliveries.next_batch(wait=0.02) == []
            mesh.publish(topic, "over")
            with pytest.raises(Left):
                next(deliveries)


def on_publish(topic, event):
    if event.data == "refused":
        raise PermissionError("not that")
    if event.data == "denied":
        raise meshwire.DeniedError("nor that")
    return meshwire.Event(event.data, key="k")


def holds_for_a_batch(results, refused):
    """Whether each event that the hook refuses has its error in its place, and the others are kept."""
    positions = [getattr(result, "position", None) for result in results]
    assert positions == [None, 1, None, None, 2]
    assert isinstance(results[0], meshwire.InvalidError) and "PermissionError: not that" in str(results[0])
    assert isinstance(results[0].__cause__, PermissionError) and results[0].operation == "publish"
    assert type(results[2]) is meshwire.DeniedError
    assert isinstance(results[3], meshwire.InvalidError) and "not JSON" in str(results[3])
    assert [type(result) for result in refused] == [meshwire.InvalidError]


BATCH = ["refused", "a", "denied", {1, 2}, "b"]


@looped
async def test_an_event_of_a_batch_that_on_publish_refuses_fails_alone(gateway, topic):
    async with meshwire.connect(gateway.url, on_publish=on_publish) as mesh:
        results = await mesh.publish_batch(topic, iter(BATCH))
        holds_for_a_batch(results, await mesh.publish_batch(topic, ["refused"]))
    with sync.connect(gateway.url, on_publish=on_publish) as mesh:
        holds_for_a_batch(mesh.publish_batch(topic + "-sync", BATCH), mesh.publish_batch(topic, ["refused"]))
