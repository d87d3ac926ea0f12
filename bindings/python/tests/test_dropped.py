"""What on_settle is told of a delivery that nobody settled and nobody holds any more."""

import asyncio
import gc

import pytest
from conftest import looped, script

import meshwire
from meshwire import sync


class Told(list):
    """A hook that keeps what it is told; what is given to it can be read, and is settled."""

    def __call__(self, delivery, word):
        assert delivery.settled and delivery.topic and delivery.attempt == 1
        with pytest.raises(meshwire.InvalidError):
            delivery.ack()
        self.append((type(delivery), delivery.text(), delivery.position, word))


def holds(told, kind):
    """Whether each event was told of once, in the order in which the program let go of them."""
    words = [("a", 1, "dropped"), ("b", 2, "ack"), ("c", 3, "dropped"), ("d", 4, "dropped"), ("e", 5, "dropped")]
    assert told == [(kind, *said) for said in words]


@looped
async def test_a_delivery_that_is_let_go_of_is_dropped_for_the_hook(gateway, topic):
    told = Told()
    async with meshwire.connect(gateway.url, on_settle=told) as mesh:
        await mesh.publish_batch(topic, list("abcdef"))
        async with mesh.subscribe(topic, group="g") as deliveries:
            one = await anext(deliveries)
            assert told == []
            del one
            (await anext(deliveries)).ack()
            # Letting go by an error leaves the error as it is.
            with pytest.raises(TypeError, match="unsupported operand"):
                await anext(deliveries) + 1
            ring = [await anext(deliveries)]
            ring.append(ring)
            del ring
            gc.collect()
            async for delivery in deliveries:
                break
        # Leaving fails what is in hand; it is let go of here.
        assert len(told) == 4
        del delivery
        holds(told, meshwire.Delivery)


def test_a_delivery_that_is_let_go_of_without_asyncio_is_dropped_too(gateway, topic):
    told = Told()
    with sync.connect(gateway.url, on_settle=told) as mesh:
        mesh.publish_batch(topic, list("abcdef"))
        with mesh.subscribe(topic, group="g") as deliveries:
            one = next(deliveries)
            assert told == []
            del one
            next(deliveries).ack()
            with pytest.raises(TypeError, match="unsupported operand"):
                next(deliveries) + 1
            ring = [next(deliveries)]
            ring.append(ring)
            del ring
            gc.collect()
            for delivery in deliveries:
                break
        assert len(told) == 4
        del delivery
        holds(told, sync.Delivery)


@pytest.mark.parametrize("twin", ["asyncio", "sync"])
def test_what_was_taken_by_the_batch_is_dropped_one_by_one_and_what_the_program_was_not_handed_is_not(gateway, topic, twin):
    told = Told()

    async def by_asyncio():
        batch = []
        async with meshwire.connect(gateway.url, on_settle=told) as mesh:
            async with mesh.subscribe(topic, group="g") as deliveries:
                while len(batch) < 2:
                    batch += await deliveries.next_batch(2 - len(batch))
        return batch

    def by_sync():
        batch = []
        with sync.connect(gateway.url, on_settle=told) as mesh, mesh.subscribe(topic, group="g") as deliveries:
            while len(batch) < 2:
                batch += deliveries.next_batch(2 - len(batch))
        return batch

    with sync.connect(gateway.url) as mesh:
        mesh.publish_batch(topic, ["a", "b", "c"])
    batch = asyncio.run(by_asyncio()) if twin == "asyncio" else by_sync()
    while batch:
        batch.pop()
    assert [said[1:] for said in told] == [("b", 2, "dropped"), ("a", 1, "dropped")]


def test_a_hook_that_fails_for_what_is_let_go_of_is_logged_and_nothing_else(gateway, topic, caplog):
    def fails(delivery, word):
        raise LookupError(word)

    with sync.connect(gateway.url, on_settle=fails) as mesh:
        mesh.publish(topic, "x")
        with mesh.subscribe(topic, group="g") as deliveries:
            next(deliveries)
    [record] = [record for record in caplog.records if record.getMessage() == "a hook failed"]
    assert str(record.exc_info[1]) == "dropped"


def test_neither_the_end_of_the_process_nor_a_forked_child_tells_the_hook(gateway, topic):
    text = """
    import os, sys
    from meshwire import sync
    mesh = sync.connect(sys.argv[1], on_settle=lambda delivery, word: print(word, delivery.text(), flush=True))
    mesh.publish_batch(sys.argv[2], ["held", "let go"])
    deliveries = mesh.subscribe(sys.argv[2], group="g")
    held, one = next(deliveries), next(deliveries)
    child = os.fork()
    del one
    if child == 0:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    """
    ended = script(text, gateway.url, topic, env={"PYTHONWARNINGS": "ignore"})
    assert (ended.returncode, ended.stdout) == (0, "dropped let go\n"), ended.stderr
    assert "Exception ignored" not in ended.stderr and "Traceback" not in ended.stderr, ended.stderr
