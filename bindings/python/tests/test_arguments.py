"""What is wrong with an argument is said with its name, in the words of Python."""

import asyncio
import re

import pytest
from conftest import looped

import meshwire
from meshwire import sync

#: Calls of a client, by what they are wrong in; what is raised, and what it says.
WRONG = [
    (lambda m: m.subscribe("t", colour={}), meshwire.InvalidError, "colour is no option of subscribe"),
    (lambda m: m.consume("t", print, colour=[1]), meshwire.InvalidError, "colour is no option of consume"),
    (lambda m: m.subscribe("t", token={}), meshwire.InvalidError, "token is no option of subscribe"),
    (lambda m: m.subscribe("t", concurrency=3), meshwire.InvalidError, "subscribe: concurrency is no option of"),
    (lambda m: m.consume("t", print, timeout=3), meshwire.InvalidError, "group, concurrency, hold_after"),
    (lambda m: m.consume("t", print, concurrency=0), meshwire.InvalidError, "consume: concurrency is 0;"),
    (lambda m: m.request("t", 1, timeout=0), meshwire.InvalidError, "request: timeout is 0s"),
    (lambda m: m.request("t", 1, timeout={}), TypeError, "timeout is seconds, .* and not dict"),
    (lambda m: m.subscribe("t", ack_wait=-1), meshwire.InvalidError, "ack_wait: -1 s is no length of time"),
    (lambda m: m.subscribe("t", start={}), TypeError, "start is a position, .* and not dict"),
    (lambda m: m.publish({"id": 1}, "t"), TypeError, "topic is text and the first argument, and not dict"),
    (lambda m: m.publish_start({"id": 1}, "t"), TypeError, "topic is text"),
    (lambda m: m.publish_batch(["a"], "t"), TypeError, "topic is text"),
    (lambda m: m.request(None, "t"), TypeError, "topic is text"),
    (lambda m: m.consume(print, "t"), TypeError, "consume calls a function, and not str: topic, then handler"),
    (lambda m: m.publish_batch("t", 5), TypeError, "events is a list of events, .* and not int"),
    (lambda m: m.consume("t", print, until=5), TypeError, "until is .* and not int"),
    (lambda m: m.serve("t", print, until="soon"), TypeError, "until is .* and not str"),
    (lambda m: m.dead_letters("t").redrive(5), TypeError, "numbers is a list .* and not int"),
    (lambda m: m.dead_letters("t").purge([object()]), TypeError, "numbers is a list .* and not object"),
    (lambda m: m.topics.create("t", retention={}), TypeError, "retention is a number of seconds .* and not dict"),
    (lambda m: m.topics.create("t", retention=-1), meshwire.InvalidError, "retention: -1 s is no length of time"),
    (lambda m: m.topics.create("t", colour=object()), TypeError, "colour is text or a number, and not object"),
    (lambda m: m.topics.create("t", colour=1), meshwire.InvalidError, "durability, retention, retention_bytes"),
    (lambda m: m.groups("t").create("g", ack_wait=0.5), meshwire.InvalidError, "ack_wait is 0.5; from 1 to 43200 is"),
    (lambda m: m.drain("soon"), TypeError, "deadline is a number of seconds or a timedelta, and not str"),
]
BATCHES = [
    ((-1,), meshwire.InvalidError, "most is -1; from 1 to 4096"),
    ((1 << 70,), meshwire.InvalidError, "most is 1180591620717411303424; from 1 to 4096"),
    (("many",), TypeError, "most is a number of deliveries, and not str"),
    ((1, -1), meshwire.InvalidError, "wait: -1 s is no length of time"),
    ((1, "soon"), TypeError, "wait is a number of seconds or a timedelta, and not str"),
]


@looped
async def test_what_is_wrong_with_an_argument_names_it(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        for call, kind, said in WRONG:
            with pytest.raises(kind, match=said):
                await call(mesh)
        with pytest.raises(TypeError, match="topic is text"):
            mesh.publish_nowait({"id": 1}, topic)
        async with mesh.subscribe(topic, group="g") as deliveries:
            for said, kind, text in BATCHES:
                with pytest.raises(kind, match=text):
                    await deliveries.next_batch(*said)
        # A mistake has not ended it.
        assert (await mesh.publish(topic, 1)).position == 1


def test_what_is_wrong_with_an_argument_without_asyncio_names_it_too(gateway, topic):
    with sync.connect(gateway.url) as mesh:
        for call, kind, said in WRONG:
            with pytest.raises(kind, match=said):
                call(mesh)
        with pytest.raises(TypeError, match="topic is text"):
            mesh.publish_nowait({"id": 1}, topic)
        with mesh.subscribe(topic, group="g") as deliveries:
            for said, kind, text in BATCHES:
                with pytest.raises(kind, match=text):
                    deliveries.next_batch(*said)
        assert mesh.publish(topic, 1).position == 1


def test_options_of_connect_are_named_as_they_are_written():
    for connect in (meshwire.connect, sync.connect):
        with pytest.raises(TypeError, match="url is text, and not int"):
            connect(5)
    with pytest.raises(meshwire.InvalidError, match="colour is no option of connect"):
        sync.connect(colour={})


def test_a_client_that_is_not_awaited_says_what_to_do():
    connecting = meshwire.connect("tcp://127.0.0.1:1")
    with pytest.raises(AttributeError, match="await it, or use `async with`"):
        connecting.publish_nowait("t", 1)


@looped
async def test_what_is_no_dict_of_attributes_is_refused_by_that_name(gateway, topic):
    async with meshwire.connect(gateway.url) as mesh:
        for wrong in (5, "text"):
            with pytest.raises(TypeError, match="attributes are a dict"):
                await mesh.publish(topic, 1, attributes=wrong)
            with pytest.raises(TypeError, match="attributes are a dict"):
                mesh.publish_nowait(topic, meshwire.Event(1, attributes=wrong))


@looped
async def test_what_a_responder_says_is_not_put_into_other_words(gateway, topic):
    def fail(request):
        raise LookupError("request_timeout and ack_wait_ms are mine")

    async with meshwire.connect(gateway.url) as mesh:
        serving = asyncio.ensure_future(mesh.serve(topic, fail))
        while True:
            try:
                await mesh.request(topic, 1)
            except meshwire.NoRespondersError:
                continue
            except meshwire.ResponderFailedError as failed:
                assert re.search("request_timeout and ack_wait_ms are mine", failed.message)
                break
        serving.cancel()
