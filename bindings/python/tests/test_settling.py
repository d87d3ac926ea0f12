"""What a program says of events by what its handlers return, by its hooks, and by leaving."""

import asyncio
import threading

import pytest
from conftest import looped

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
