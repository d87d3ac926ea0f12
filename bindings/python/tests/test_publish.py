"""Publishing: forms, windows, batches, and what an event may be."""

import asyncio
from datetime import datetime, timedelta, timezone

import pytest
from conftest import looped

import meshwire
from meshwire import Event, sync


async def received(mesh, topic, count, group="g"):
    seen = []
    async with mesh.subscribe(topic, group=group) as deliveries:
        async for delivery in deliveries:
            seen.append(delivery)
            delivery.ack()
            if len(seen) == count:
                return seen


@looped
async def test_what_is_published_has_a_receipt_and_comes(gateway, topic):
    async with meshwire.connect(gateway.url, name="suite") as mesh:
        receipt = await mesh.publish(topic, {"id": 1}, type="order.created", key="customer-7")
        assert receipt == meshwire.Receipt(1)
        [delivery] = await received(mesh, topic, 1)
        assert (delivery.type, delivery.key, delivery.json()) == ("order.created", "customer-7", {"id": 1})
        assert delivery.source.endswith("/suite") and delivery.content_type == "application/json"
        assert (delivery.topic, delivery.position, delivery.attempt, delivery.gap) == (topic, 1, 1, 0)
        assert abs((delivery.stored - datetime.now(timezone.utc)).total_seconds()) < 60


@looped
async def test_data_is_bytes_text_nothing_or_json(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        values = [b"\0\xff", "täxt", None, [1, "ä"], 7, bytearray(b"x"), memoryview(b"y"), True]
        for value in values:
            await mesh.publish(topic, value)
        seen = await received(mesh, topic, len(values))
        kinds = [(delivery.data_kind, delivery.content_type, delivery.data) for delivery in seen]
        octets, text, json = "application/octet-stream", "text/plain", "application/json"
        assert kinds == [
            ("bytes", octets, b"\0\xff"),
            ("text", text, "täxt".encode()),
            ("absent", None, b""),
            ("text", json, '[1,"ä"]'.encode()),
            ("text", json, b"7"),
            ("bytes", octets, b"x"),
            ("bytes", octets, b"y"),
            ("text", json, b"true"),
        ]
        assert seen[1].text() == "täxt"


@looped
async def test_an_event_keeps_its_attributes_and_can_be_published_again(gateway, topic):
    at = datetime(2026, 11, 29, 12, 0, 0, 5000, tzinfo=timezone.utc)
    event = Event(
        "x",
        id="1",
        source="//s",
        type="t",
        subject="s",
        time=at,
        schema="https://x/y",
        content_type="text/csv",
        attributes={"count": -7, "last": True, "raw": b"\0", "due": at, "key": "no key", "word": "w"},
    )
    async with meshwire.connect(gateway.url) as mesh:
        await mesh.publish(topic, event)
        [one] = await received(mesh, topic, 1)
        assert (one.id, one.source, one.type, one.subject, one.time, one.schema) == (
            ("1", "//s", "t", "s", at, "https://x/y")
        )
        extensions = {name: one.attributes[name] for name in event.attributes}
        assert extensions == event.attributes and one.key is None
        assert (await mesh.publish(topic, one)).duplicate
        again = await mesh.publish(topic, one.event(), id="2")
        assert not again.duplicate
        [two] = await received(mesh, topic, 1)
        assert two.attributes == one.attributes and two.text() == "x"


@looped
async def test_an_object_with_the_shape_of_a_cloudevent_is_one(gateway, topic):
    class Shaped:
        """As the second version of the official SDK has it."""

        def get_attributes(self):
            return {"specversion": "1.0", "id": "a", "source": "//sdk", "type": "sdk.made", "subject": None, "x": 1}

        def get_data(self):
            return {"n": 1}

    class Older:
        """As the first one has it."""

        _attributes = {"specversion": "1.0", "id": "b", "source": "//sdk", "type": "sdk.made"}
        data = b"x"

    async with meshwire.connect(gateway.url) as mesh:
        await mesh.publish(topic, Shaped())
        await mesh.publish(topic, Older(), type="mine")
        one, two = await received(mesh, topic, 2)
        assert (one.id, one.source, one.type, one.json(), one.attributes["x"]) == ("a", "//sdk", "sdk.made", {"n": 1}, 1)
        assert (two.id, two.type, two.data) == ("b", "mine", b"x")


@looped
async def test_the_events_of_the_official_sdk_are_accepted(gateway, topic):
    sdk = pytest.importorskip("cloudevents.http", reason="needs cloudevents")
    event = sdk.CloudEvent({"type": "sdk.made", "source": "//sdk", "time": "2026-11-29T12:00:00Z"}, {"n": 1})
    async with meshwire.connect(gateway.url) as mesh:
        await mesh.publish(topic, event)
        [one] = await received(mesh, topic, 1)
        assert (one.id, one.type, one.json()) == (event["id"], "sdk.made", {"n": 1})


@looped
async def test_ten_thousand_pipelined_publishes_are_flushed_and_each_has_its_receipt(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        pending = [mesh.publish_nowait(topic, {"id": n}) for n in range(10_000)]
        await mesh.flush()
        assert all(each.done for each in pending)
        assert [each.result().position for each in pending] == list(range(1, 10_001))
        assert (await pending[7]).position == (await pending[7]).position == 8
        assert mesh.stats()["published"] == 10_000


@looped
async def test_many_publishes_at_once_are_each_answered(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        receipts = await asyncio.gather(*(mesh.publish(topic, b"x") for _ in range(3_000)))
        assert sorted(receipt.position for receipt in receipts) == list(range(1, 3_001))


@looped
async def test_a_full_window_refuses_what_does_not_wait_and_holds_back_what_does(gateway, topic):
    async with meshwire.connect(gateway.url, publish_window_events=2) as mesh:
        with pytest.raises(asyncio.QueueFull) as full:
            for _ in range(10_000):
                mesh.publish_nowait(topic, b"x")
        assert isinstance(full.value, meshwire.BufferFullError) and full.value.retryable
        await mesh.flush()
        pending = [await mesh.publish_start(topic, b"y") for _ in range(100)]
        assert len({(await each).position for each in pending}) == 100


@looped
async def test_a_batch_has_a_receipt_or_an_error_for_each_in_order(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        events = [Event(n, id=str(n)) for n in range(3)] + [Event("x" * (5 << 20)), Event(0, id="0")]
        one, two, three, large, again = await mesh.publish_batch(topic, events)
        assert [one.position, two.position, three.position] == [1, 2, 3]
        assert isinstance(large, meshwire.TooLargeError) and large.context["index"] == "3"
        assert again.duplicate and again.position == 1


@looped
async def test_a_flush_lists_each_failure_that_nobody_awaited(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        await mesh.topics.create(topic)
        settings = {"durability": "memory", "retention": 60, "retention_bytes": 65_536, "lagging": "block"}
        await mesh.topics.create(f"{topic}-full", **settings)
        await mesh.groups(f"{topic}-full").create("g")
        pending = [mesh.publish_nowait(f"{topic}-full", bytes(20_000)) for _ in range(10)]
        good = mesh.publish_nowait(topic, "x")
        with pytest.raises(meshwire.PublishError) as raised:
            await mesh.flush()
        failed = [each for each in pending if each.failed]
        assert failed and len(raised.value.errors) == len(failed)
        assert all(isinstance(error, meshwire.TopicFullError) for error in raised.value.errors)
        assert good.result().position == 1
        await mesh.flush()


@looped
async def test_behind_a_batch_that_is_answered_there_is_room(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        large = bytes(9 << 20)
        for _ in range(50):
            # One of them is refused at once, so that the other is answered before anybody has moved on.
            await mesh.publish_batch(topic, ["a", large])
            mesh.publish_nowait(topic, "b")
        await mesh.flush()
        assert (await mesh.publish(topic, "c")).position == 101


@looped
async def test_a_flush_counts_the_failures_that_it_cannot_list(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        settings = {"durability": "memory", "retention": 60, "retention_bytes": 65_536, "lagging": "block"}
        await mesh.topics.create(topic, **settings)
        await mesh.groups(topic).create("g")
        while True:
            pending = mesh.publish_nowait(topic, bytes(10_000))
            try:
                await pending
            except meshwire.TopicFullError:
                break
        pendings = []
        while len(pendings) < 17_000:
            try:
                pendings.append(mesh.publish_nowait(topic, bytes(10_000)))
            except meshwire.BufferFullError:
                while not pendings[-1].done:
                    await asyncio.sleep(0)
        with pytest.raises(meshwire.PublishError) as raised:
            await mesh.flush()
        told = raised.value
        assert len(told.errors) == 16_384 and len(told.errors) + told.untold == sum(each.failed for each in pendings)
        assert f"and {len(pendings) - 1} more failed" in str(told)
        await mesh.flush()


@pytest.mark.parametrize("one", ["abc", b"abc", bytearray(b"abc"), {"a": 1}])
def test_one_event_is_no_batch(gateway, topic, one):
    with sync.connect(gateway.url) as mesh:
        with pytest.raises(meshwire.InvalidError, match="one event"):
            mesh.publish_batch(topic, one)
        assert [receipt.position for receipt in mesh.publish_batch(topic, (one for _ in range(2)))] == [1, 2]

    async def batch():
        async with meshwire.connect(gateway.url) as mesh:
            with pytest.raises(meshwire.InvalidError, match="one event"):
                await mesh.publish_batch(topic, one)

    asyncio.run(batch())


@looped
async def test_an_event_may_come_later_and_may_expire(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        await mesh.publish(topic, "later", deliver_after=timedelta(milliseconds=80))
        await mesh.publish(topic, "at", deliver_at=datetime.now(timezone.utc) + timedelta(milliseconds=40))
        await mesh.publish(topic, "soon gone", expires_in=60)
        seen = await received(mesh, topic, 3)
        assert [delivery.text() for delivery in seen] == ["soon gone", "at", "later"]
        assert seen[0].expires_at is not None and seen[1].expires_at is None


@looped
async def test_a_cancelled_publish_says_whether_something_left(topic):
    from meshwire.testing import Gateway

    gateway = Gateway()
    mesh = await meshwire.connect(gateway.url, publish_window_events=1)
    gateway.kill()
    left, next_one, waits = (asyncio.ensure_future(mesh.publish(topic, n)) for n in range(3))
    await asyncio.sleep(0)
    for task in (waits, next_one, left):
        task.cancel()
    with pytest.raises(asyncio.CancelledError) as called_back:
        await waits
    assert "unknown" not in str(called_back.value)
    for task in (left, next_one):
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(meshwire.TimeoutError):
        await mesh.drain(0)


@looped
async def test_an_offline_buffer_takes_publishes_without_a_gateway(tmp_path, topic):
    from meshwire.testing import Gateway

    options = {"publish_offline": "buffer", "offline_file": tmp_path / "offline", "connect_timeout": 1}
    mesh = await meshwire.connect("tcp://127.0.0.1:1", **options)
    pending = await mesh.publish_start(topic, "kept")
    assert not pending.done and mesh.state != "connected"
    await mesh.close()
    assert isinstance(pending.error(), meshwire.MeshwireError)
    with Gateway() as gateway:
        async with meshwire.connect(gateway.url, **options) as mesh:
            await mesh.connected()
            [one] = await received(mesh, topic, 1)
            assert one.text() == "kept" and mesh.stats()["restored"] == 1
