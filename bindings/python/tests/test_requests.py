"""Requests, replies and who serves them."""

import asyncio
import contextvars

import pytest
from conftest import looped

import meshwire


async def served(mesh, topic, value=b""):
    """Asks until somebody serves the topic."""
    while True:
        try:
            return await mesh.request(topic, value)
        except meshwire.NoRespondersError:
            await asyncio.sleep(0)


@looped
async def test_a_request_has_its_reply(gateway, topic):
    where = contextvars.ContextVar("where", default="nowhere")

    async def quote(request):
        sku = request.json()
        if sku == 0:
            raise ValueError("there is no sku 0")
        if sku < 0:
            raise ValueError("half \ud800 a pair")
        assert request.remaining > 0 and not request.wants_stream and request.topic == topic
        return meshwire.Event({"price": 2 * sku, "where": where.get()}, type="quote.given")

    async with meshwire.connect(gateway.url) as mesh:
        where.set("here")
        stop = asyncio.Event()
        serving = asyncio.ensure_future(mesh.serve(topic, quote, concurrency=4, until=stop.wait()))
        reply = await served(mesh, topic, 21)
        assert (reply.json(), reply.type) == ({"price": 42, "where": "here"}, "quote.given")
        with pytest.raises(meshwire.ResponderFailedError) as failed:
            await mesh.request(topic, 0)
        assert failed.value.message == "there is no sku 0"
        with pytest.raises(meshwire.ResponderFailedError) as failed:
            await mesh.request(topic, -1)
        assert failed.value.message == "half ? a pair"
        stop.set()
        await serving
        with pytest.raises(meshwire.NoRespondersError):
            await mesh.request(topic, 1)


@looped
async def test_a_handler_that_returns_nothing_answers_without_data(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        serving = asyncio.ensure_future(mesh.serve(topic, lambda request: None))
        reply = await served(mesh, topic)
        assert (reply.data, reply.data_kind) == (b"", "absent")
        assert [reply.data_kind async for reply in mesh.request_stream(topic)] == ["absent"]
        serving.cancel()


@looped
async def test_many_replies_come_one_by_one_and_leaving_ends_the_handler(gateway, topic):
    ended = asyncio.Event()

    async def report(request):
        try:
            for line in range(request.json()):
                yield f"line {line}"
        finally:
            ended.set()

    async with meshwire.connect(gateway.url) as mesh:
        serving = asyncio.ensure_future(mesh.serve(topic, report))
        await served(mesh, topic, 1)
        lines = [reply.text() async for reply in mesh.request_stream(topic, 50, credit=4, timeout=10)]
        assert lines == [f"line {n}" for n in range(50)]
        ended.clear()
        async with mesh.request_stream(topic, 1_000_000, credit=8) as replies:
            async for reply in replies:
                if reply.text() == "line 20":
                    break
        await ended.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


@looped
async def test_a_request_times_out_and_a_cancelled_one_says_that_its_outcome_is_unknown(gateway, topic):
    came = asyncio.Event()

    async def never(request):
        came.set()
        await asyncio.Event().wait()

    async with meshwire.connect(gateway.url) as mesh:
        serving = asyncio.ensure_future(mesh.serve(topic, never))
        while True:
            try:
                await mesh.request(topic, timeout=0.05)
            except meshwire.NoRespondersError:
                continue
            except TimeoutError as late:
                assert late.code == "TIMEOUT" and isinstance(late, asyncio.TimeoutError)
                break
        said = []

        async def ask():
            # Whoever awaits a task gets a CancelledError of its own before Python 3.11, and none of its text.
            try:
                await mesh.request(topic)
            except asyncio.CancelledError as cancelled:
                said.append(str(cancelled))
                raise

        came.clear()
        asked = asyncio.ensure_future(ask())
        await came.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert len(said) == 1 and "outcome unknown" in said[0], said
        serving.cancel()


@looped
async def test_wrong_options_of_a_request_are_typed(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        for timeout in (0, "soon", float("nan"), float("inf"), -1):
            with pytest.raises(meshwire.InvalidError, match="timeout"):
                await mesh.request(topic, timeout=timeout)
        with pytest.raises(meshwire.InvalidError):
            await mesh.request(topic, meshwire.Event("x", deliver_after=1))
