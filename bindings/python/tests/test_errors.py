"""Errors, bad input and calls behind the end."""

import asyncio
import builtins
import copy
import gc
import pickle
import queue

import pytest
from conftest import looped

import meshwire
from meshwire import errors, sync


def every_error():
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, meshwire.MeshwireError):
            yield kind


def test_errors_pickle_and_are_pythons_own_kinds_too():
    for kind in every_error():
        if kind is errors.PublishError:
            error = kind([errors.BusyError("a", retry="after"), errors.TimeoutError("b")], 5)
            assert "and 6 more failed" in str(error) and pickle.loads(pickle.dumps(error)).untold == 5
        else:
            error = kind("it failed", operation="publish", retry="after", retry_after=2.5, context={"topic": "t"})
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(again) is kind and str(again) == str(error) and again.retryable
            assert (again.code, again.number, again.operation) == (error.code, error.number, error.operation)
    assert issubclass(errors.TimeoutError, (builtins.TimeoutError,))
    assert issubclass(errors.TimeoutError, asyncio.TimeoutError)
    assert issubclass(errors.BufferFullError, asyncio.QueueFull) and issubclass(errors.BufferFullError, queue.Full)
    assert issubclass(errors.UnavailableError, ConnectionError) and issubclass(errors.InvalidError, ValueError)
    assert issubclass(errors.DeniedError, PermissionError) and issubclass(errors.NotFoundError, LookupError)
    assert errors.TimeoutError("x").errno is None


def test_what_a_program_holds_can_be_pickled():
    receipt = meshwire.Receipt(7, True)
    assert pickle.loads(pickle.dumps(receipt)) == receipt and repr(receipt) == "Receipt(position=7, duplicate=True)"
    event = meshwire.Event({"a": 1}, key="k")
    assert pickle.loads(pickle.dumps(event)) == event


@looped
async def test_without_a_gateway_the_error_names_what_was_tried_and_what_to_start():
    for connect in (meshwire.connect, lambda url: asyncio.to_thread(sync.connect, url)):
        with pytest.raises(ConnectionError) as refused:
            await connect("tcp://127.0.0.1:1")
        error = refused.value
        assert (error.code, error.operation, error.retry) == ("UNAVAILABLE", "connect", "after")
        assert "127.0.0.1:1" in str(error) and "meshwire serve" in str(error)


@looped
async def test_wrong_values_are_typed_errors(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        for event, kind in [
            (meshwire.Event("x", id="a\0b"), meshwire.InvalidError),
            (meshwire.Event("x", attributes={"Bad": "x"}), meshwire.InvalidError),
            (meshwire.Event("x", attributes={"n": 1 << 31}), meshwire.InvalidError),
            (meshwire.Event("x", attributes={"n": 1 << 100}), meshwire.InvalidError),
            (meshwire.Event("x", attributes={"n": -(1 << 31)}), None),
            (meshwire.Event("x", attributes={"n": 1.5}), TypeError),
            (meshwire.Event("x", attributes={"n": object()}), TypeError),
            (meshwire.Event("x", time="yesterday"), meshwire.InvalidError),
            (meshwire.Event("x", deliver_after=-1), meshwire.InvalidError),
            (meshwire.Event("x", deliver_after=float("nan")), meshwire.InvalidError),
            (meshwire.Event("x", deliver_after="soon"), TypeError),
            (meshwire.Event("x", deliver_after=1, deliver_at=0), TypeError),
            (object(), TypeError),
            ({1: {2, 3}}, TypeError),
            (float("inf"), ValueError),
            ("half \ud800", meshwire.InvalidError),
            ({"half": "\udfff"}, meshwire.InvalidError),
            (meshwire.Event("x", id="half \ud800"), meshwire.InvalidError),
            (meshwire.Event("x", attributes={"half": "\ud800"}), meshwire.InvalidError),
            (b"x" * (9 << 20), meshwire.TooLargeError),
        ]:
            if kind is None:
                await mesh.publish(topic, event)
                continue
            for publish in (mesh.publish, mesh.publish_start):
                with pytest.raises(kind):
                    await publish(topic, event)
            # One bad item fails alone, whatever it is.
            good, bad = await mesh.publish_batch(topic, ["good", event])
            assert good.position and isinstance(bad, (meshwire.InvalidError, meshwire.TooLargeError)), event
            with pytest.raises(kind):
                mesh.publish_nowait(topic, event)
        for wrong in ("no topic!", "", "a\0b", "x" * 1_000, "half \ud800"):
            for call in (mesh.publish, mesh.publish_start, mesh.request, mesh.subscribe):
                with pytest.raises(meshwire.InvalidError, match="topic"):
                    await call(wrong)
            for call in (mesh.consume, mesh.serve):
                with pytest.raises(meshwire.InvalidError, match="topic"):
                    await call(wrong, lambda _: None)
            with pytest.raises(meshwire.InvalidError, match="topic"):
                mesh.publish_nowait(wrong)
            with pytest.raises(meshwire.InvalidError):
                await mesh.topics.get(wrong)
        with pytest.raises(meshwire.InvalidError, match="group"):
            await mesh.subscribe(topic, group="half \ud800")
        async with mesh.subscribe(topic, group="g") as deliveries:
            delivery = await deliveries.__anext__()
            for reject in (delivery.reject, delivery.reject_confirmed):
                with pytest.raises(meshwire.InvalidError, match="reason"):
                    reject("half \ud800")
            assert not delivery.settled
            delivery.ack()
        for wrong in (7, None, b"t"):
            with pytest.raises(TypeError):
                await mesh.publish(wrong, "x")
        with pytest.raises(TypeError, match="colour"):
            await mesh.publish(topic, "x", colour="red")
        assert (await mesh.publish(topic, b"")).position


def test_options_of_a_client_are_checked_by_the_client():
    for options, said in [
        ({"url": "gopher://x"}, "gopher"),
        ({"conect_timeout": 5}, "conect_timeout"),
        ({"connect_timeout": -5}, "connect_timeout"),
        ({"publish_window_events": 0}, "publish_window_events"),
        ({"publish_window_events": 1 << 70}, "publish_window_events"),
        ({"offline_file": "x"}, "publish_offline"),
        ({"client_tls_key": "x"}, "client_tls_certificate"),
    ]:
        with pytest.raises(meshwire.InvalidError, match=said):
            sync.connect(**options)
    with pytest.raises(TypeError, match="name"):
        sync.connect(name=b"x")


@looped
async def test_calls_behind_the_end_are_closed(gateway, topic):
    mesh = await meshwire.connect(gateway.url)
    await mesh.publish(topic, "x")
    deliveries = await mesh.subscribe(topic, group="g")
    held = await deliveries.__anext__()
    with pytest.raises(meshwire.TimeoutError, match="unsettled deliveries of 1"):
        await mesh.drain(0.05)
    await mesh.close()
    await mesh.close()
    for call in (
        lambda: mesh.publish(topic, "x"),
        lambda: mesh.publish_start(topic, "x"),
        lambda: mesh.publish_batch(topic, ["x"]),
        mesh.flush,
        mesh.connected,
        mesh.drain,
        lambda: mesh.request(topic),
        lambda: mesh.subscribe(topic).__aenter__(),
        lambda: mesh.consume(topic, print),
        lambda: mesh.serve(topic, print),
        lambda: mesh.topics.get(topic),
        lambda: held.ack_confirmed(),
    ):
        with pytest.raises((meshwire.ClosedError, meshwire.LeaseLostError)):
            await call()
    with pytest.raises(meshwire.ClosedError):
        mesh.publish_nowait(topic, "x")
    assert mesh.state == "closed" and mesh.stats()["published"] == 1
    assert [each async for each in deliveries] == []
    assert held.text() == "x"
    with pytest.raises(meshwire.InvalidError):
        held.ack()


@looped
async def test_what_is_let_go_without_a_close_is_given_back(gateway, topic):
    mesh = await meshwire.connect(gateway.url)
    for n in range(500):
        mesh.publish_nowait(topic, n)
    del mesh
    gc.collect()
    async with meshwire.connect(gateway.url) as mesh:
        async with mesh.subscribe(topic, group="g", prefetch_events=500) as deliveries:
            count = 0
            while count < 500:
                count += len(await deliveries.next_batch())


@looped
async def test_huge_payloads_come_whole(gateway, topic):
    data = bytes(range(256)) * 4_000
    async with meshwire.connect(gateway.url) as mesh:
        await mesh.publish(topic, data)
        async with mesh.subscribe(topic, group="g") as deliveries:
            delivery = await deliveries.__anext__()
            assert delivery.data == data
            with pytest.raises(meshwire.InvalidError):
                delivery.text()
            with pytest.raises(meshwire.InvalidError):
                delivery.json()
            with pytest.raises(meshwire.InvalidError):
                delivery.nack(delay=-1)
            with pytest.raises(TypeError):
                delivery.reject(7)
            delivery.ack()
