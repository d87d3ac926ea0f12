"""Receiving: streams, settles, leases, batches."""

import asyncio

import pytest
from conftest import looped

import meshwire
from meshwire.testing import Gateway


@looped
async def test_what_fails_comes_again_or_never(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        for text in ("again", "never"):
            await mesh.publish(topic, text)
        seen = []
        async with mesh.subscribe(topic, group="g", backoff_min=0) as deliveries:
            async for delivery in deliveries:
                seen.append((delivery.text(), delivery.attempt))
                delivery.extend()
                if delivery.text() == "never":
                    delivery.reject("no")
                elif delivery.attempt == 1:
                    delivery.nack(delay=0)
                else:
                    delivery.ack()
                if len(seen) == 3:
                    break
        assert sorted(seen) == [("again", 1), ("again", 2), ("never", 1)]
        letters = [letter async for letter in mesh.dead_letters(topic, group="g").list()]
        assert [letter.error for letter in letters] == ["no"]


@looped
async def test_a_confirmed_settle_is_the_gateways_word_and_a_lost_lease_is_an_error(topic):
    with Gateway(["--memory"]) as gateway:
        async with meshwire.connect(gateway.url) as mesh:
            for n in range(3):
                await mesh.publish(topic, n)
            async with mesh.subscribe(topic, group="g") as deliveries:
                one, two, three = [await deliveries.__anext__() for _ in range(3)]
                await one.extend_confirmed()
                await one.ack_confirmed()
                await two.nack_confirmed(delay=60)
                deliveries.close()
                async with mesh.subscribe(topic, group="g") as others:
                    again = await others.__anext__()
                    assert again.position == three.position
                    with pytest.raises(meshwire.LeaseLostError) as lost:
                        await three.reject_confirmed("no")
                    await again.ack_confirmed()
                assert lost.value.operation == "reject_confirmed" and lost.value.number == 8


@looped
async def test_what_is_in_hand_when_a_loop_is_left_has_failed_and_the_rest_comes_again_at_once(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        for n in range(10):
            await mesh.publish(topic, n)

        async def leave():
            async for delivery in mesh.subscribe(topic, group="g", backoff_min=0):
                return delivery.json(), delivery.attempt

        assert await leave() == (0, 1)
        assert (await mesh.groups(topic).get("g")).failing == 1
        others = []
        with pytest.raises(ZeroDivisionError):
            async with mesh.subscribe(topic, group="g") as deliveries:
                async for delivery in deliveries:
                    if delivery.json() == 0:
                        # It may have come once more to the loop that was left, which has not failed it.
                        assert delivery.attempt >= 2
                        raise ZeroDivisionError
                    others.append(delivery.json())
                    delivery.ack()
        assert (await mesh.groups(topic).get("g")).failing == 1
        deliveries = await mesh.subscribe(topic, group="g")
        seen = [await deliveries.__anext__() for _ in range(10 - len(others))]
        assert sorted(others + [delivery.json() for delivery in seen]) == list(range(10))
        deliveries.close()
        assert (await mesh.groups(topic).get("g")).failing == 1, "what is closed has not failed"


@looped
async def test_batches_come_as_they_are_and_an_empty_one_when_none_came_in_time(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        pending = [mesh.publish_nowait(topic, n) for n in range(1_000)]
        await mesh.flush()
        assert pending[-1].done
        deliveries = await mesh.subscribe(topic, group="g", prefetch_events=1_000)
        seen = []
        while len(seen) < 1_000:
            batch = await deliveries.next_batch(300)
            assert 1 <= len(batch) <= 300
            for delivery in batch:
                seen.append(delivery.json())
                delivery.ack()
        assert seen == list(range(1_000))
        assert await deliveries.next_batch(1, wait=0.02) == []
        deliveries.close()
        assert await deliveries.next_batch(1) == [] and deliveries.ended


@looped
async def test_a_cancelled_wait_takes_no_delivery_with_it(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        async with mesh.subscribe(topic, group="g") as deliveries:
            for _ in range(3):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(deliveries.__anext__(), 0.01)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(deliveries.next_batch(), 0.01)
            await mesh.publish(topic, "x")
            assert (await deliveries.__anext__()).text() == "x"


@looped
async def test_several_tasks_share_a_subscription(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        async with mesh.subscribe(topic, group="g") as deliveries:
            waits = [asyncio.ensure_future(deliveries.next_batch(1)) for _ in range(5)]
            await asyncio.sleep(0)
            for n in range(50):
                await mesh.publish(topic, n)
            batches = await asyncio.gather(*waits)
            assert all(len(batch) <= 1 for batch in batches) and any(batches)


@looped
async def test_closing_ends_who_waits(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        deliveries = await mesh.subscribe(topic, group="g")

        async def read():
            return [delivery async for delivery in deliveries]

        task = asyncio.ensure_future(read())
        while not deliveries._stream.asking:
            await asyncio.sleep(0)
        deliveries.close()
        deliveries.close()
        assert await task == [] and deliveries.ended


@looped
async def test_a_subscription_says_what_is_wrong_with_its_options(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        for options, said in [
            ({"groop": "g"}, "groop"),
            ({"group": "no group!"}, "group"),
            ({"start": "tomorrow"}, "start"),
            ({"ack_wait": "soon"}, "ack_wait"),
            ({"prefetch_events": -1}, "prefetch_events"),
        ]:
            with pytest.raises(meshwire.InvalidError, match=said):
                await mesh.subscribe(topic, **options)
        with pytest.raises(TypeError, match="group"):
            await mesh.subscribe(topic, group=b"g")


@looped
async def test_an_event_is_read_behind_its_settlement(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        await mesh.publish(topic, {"a": 1}, id="1", subject="s")
        async with mesh.subscribe(topic, group="g") as deliveries:
            delivery = await deliveries.__anext__()
            delivery.ack()
            assert (delivery.id, delivery.subject, delivery.json(), delivery.topic) == ("1", "s", {"a": 1}, topic)
            assert delivery.settled
        assert delivery.data == b'{"a":1}' and "Delivery" in repr(delivery)


@looped
async def test_the_gateway_dies_and_comes_again(tmp_path, topic):
    gateway = Gateway(["--data-dir", str(tmp_path)])
    mesh = await meshwire.connect(gateway.url, reconnect_max=0.1)
    address = gateway.address
    await mesh.publish(topic, 1)
    states = mesh.states()
    assert await states.__anext__() == "connected"
    deliveries = await mesh.subscribe(topic, group="g")
    delivery = await deliveries.__anext__()
    gateway.kill()
    state = "connected"
    while state != "reconnecting":
        state = await states.__anext__()
    pending = mesh.publish_nowait(topic, 2)
    with Gateway(["--data-dir", str(tmp_path)], listen=address):
        await mesh.connected()
        assert (await pending).position == 2
        delivery.ack()
        seen = set()
        while 2 not in seen:
            delivery = await deliveries.__anext__()
            seen.add(delivery.json())
            delivery.ack()
        await mesh.close()
    assert mesh.state == "closed" and mesh.stats()["reconnects"] >= 1
    await states.aclose()
