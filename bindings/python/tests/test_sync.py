"""The twin without asyncio, and that it is one."""

import inspect
import threading

import pytest

import meshwire
from meshwire import sync
from meshwire.testing import Gateway


def test_what_is_published_comes_and_is_settled(gateway, topic):
    with sync.connect(gateway.url) as mesh:
        assert mesh.publish(topic, {"id": 1}, key="k").position == 1
        pending = [mesh.publish_nowait(topic, n) for n in range(1_000)]
        mesh.flush()
        assert pending[-1].result().position == 1_001 and pending[0].done
        assert mesh.publish_start(topic, "x").result(timeout=20).position == 1_002
        receipts = mesh.publish_batch(topic, ["a", meshwire.Event("x" * (5 << 20))])
        assert isinstance(receipts[1], meshwire.TooLargeError)
        with mesh.subscribe(topic, group="g", prefetch_events=2_000) as deliveries:
            first = next(deliveries)
            first.extend_confirmed()
            first.ack_confirmed()
            count = 1
            for delivery in deliveries:
                delivery.ack()
                count += 1
                if count == 1_003:
                    break
            assert deliveries.next_batch(wait=0.02) == []
        assert list(deliveries) == []


def test_requests_are_answered_by_threads_of_python(gateway, topic):
    def shout(request):
        if request.wants_stream:
            return (line.upper() for line in request.text().split())
        return request.text().upper()

    with sync.connect(gateway.url) as mesh:
        stop = threading.Event()
        thread = threading.Thread(target=mesh.serve, args=(topic, shout), kwargs={"concurrency": 4, "until": stop})
        thread.start()
        while True:
            try:
                assert mesh.request(topic, "one", timeout=20).text() == "ONE"
                break
            except meshwire.NoRespondersError:
                pass
        with mesh.request_stream(topic, "one two three", credit=1) as replies:
            assert [reply.text() for reply in replies] == ["ONE", "TWO", "THREE"]
        stop.set()
        thread.join()


@pytest.mark.parametrize("concurrency", [1, 4])
def test_handlers_run_here_or_in_threads(gateway, topic, concurrency):
    seen = []
    threads = set()
    stop = threading.Event()

    def handle(job):
        threads.add(threading.current_thread())
        seen.append(job.json())
        if len(seen) == 20:
            stop.set()

    with sync.connect(gateway.url) as mesh:
        for n in range(20):
            mesh.publish(topic, n)
        mesh.consume(topic, handle, group="g", concurrency=concurrency, until=stop)
        assert sorted(seen) == list(range(20))
        assert (threading.current_thread() in threads) == (concurrency == 1)
        assert mesh.groups(topic).get("g").lag == 0


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_handler_that_ends_its_own_client_is_told_so_at_once(gateway, topic, concurrency):
    refused = []
    stop = threading.Event()

    with sync.connect(gateway.url) as mesh, sync.connect(gateway.url) as other:

        def close(job):
            for end in (mesh.close, mesh.drain, other.close):
                try:
                    end()
                except meshwire.InvalidError as error:
                    refused.append((error.operation, "would wait for itself" in error.message))
            stop.set()

        mesh.publish(topic, "x")
        mesh.consume(topic, close, group="g", until=stop, concurrency=concurrency)
        assert refused == [("close", True), ("drain", True)] and other.state == "closed"


@pytest.mark.parametrize("options", [{"concurrency": "3"}, {"concurrency": 3}, {"handler_concurrency": 3}])
def test_as_many_handlers_run_as_the_options_say(gateway, topic, options):
    together = threading.Barrier(3)
    stop = threading.Event()

    def handle(job):
        together.wait(20)
        stop.set()

    with sync.connect(gateway.url) as mesh:
        mesh.publish_batch(topic, ["a", "b", "c"])
        mesh.consume(topic, handle, group="g", until=stop, max_failures=1, **options)
        assert stop.is_set() and mesh.groups(topic).get("g").lag == 0
        for wrong in (0, -1, "many"):
            for begin in (mesh.consume, mesh.serve):
                with pytest.raises(meshwire.InvalidError):
                    begin(topic, print, group="h", concurrency=wrong)


def test_many_threads_share_a_client(gateway, topic):
    with sync.connect(gateway.url) as mesh:
        positions = []

        def publish():
            for n in range(100):
                positions.append(mesh.publish(topic, n).position)

        threads = [threading.Thread(target=publish) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(positions) == list(range(1, 801))


def test_a_client_is_closed_while_others_wait(gateway, topic):
    mesh = sync.connect(gateway.url)
    deliveries = mesh.subscribe(topic, group="g")
    came = []
    thread = threading.Thread(target=lambda: came.extend(deliveries))
    thread.start()
    mesh.close()
    thread.join()
    assert came == []
    mesh.close()
    with pytest.raises(meshwire.ClosedError):
        mesh.publish(topic, "x")


def test_calls_beside_one_that_ends_the_client_are_answered(gateway, topic):
    mesh = sync.connect(gateway.url)
    mesh.publish(topic, "x")
    deliveries = mesh.subscribe(topic, group="g")
    delivery = next(deliveries)
    # As at the end of a process: it waits for the delivery, which is unsettled.
    ending = threading.Thread(target=mesh._client.finish, args=(20.0,))
    ending.start()
    while mesh.state != "closed":
        pass
    for call in (mesh.publish, mesh.publish_nowait, mesh.publish_start, mesh.request):
        with pytest.raises(meshwire.ClosedError):
            call(topic, "x")
    with pytest.raises(meshwire.ClosedError):
        mesh.flush()
    assert ending.is_alive() and mesh.stats()["published"] == 1
    mesh.close()
    delivery.ack()
    ending.join(10)
    assert not ending.is_alive()


def shape(function):
    """A signature without what differs between the twins: the types of what is given back, and of what ends a handler."""
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]


def public(kind):
    """Names of a class that a program uses."""
    return {name for name in vars(kind) if not name.startswith("_")}


def test_a_program_finds_all_names_in_either_api():
    # Of asyncio alone is what stands for a client before it is awaited.
    assert set(meshwire.__all__) - set(sync.__all__) == {"Connecting", "__version__", "errors"}
    assert set(sync.__all__) <= set(meshwire.__all__)
    assert sync.Nack is meshwire.Nack and sync.TimeoutError is meshwire.TimeoutError


def test_both_apis_have_the_same_names_and_signatures():
    assert shape(meshwire.connect) == shape(sync.connect)
    for name in ("Mesh", "Subscription", "Replies", "Topics", "Groups", "DeadLetters", "Limits"):
        one, other = getattr(meshwire, name), getattr(sync, name)
        assert public(one) == public(other), name
        for member in sorted(public(one)):
            one_member, other_member = inspect.getattr_static(one, member), inspect.getattr_static(other, member)
            assert isinstance(one_member, property) == isinstance(other_member, property), (name, member)
            if not isinstance(one_member, property):
                assert shape(one_member) == shape(other_member), (name, member)
    waits = {name for name in dir(meshwire.Delivery) if not name.startswith("_")}
    assert waits == {name for name in dir(sync.Delivery) if not name.startswith("_")}


def test_options_are_those_of_the_table():
    from meshwire import _kinds, _options

    said = {}
    for kind in (_options.ConnectOptions, _options.ConsumeOptions, _options.ServeOptions):
        said.update(kind.__annotations__)
    named = {_options.SHORT.get(name, name) for name in said} | {"url", "request_timeout", "reply_credit"}
    # Those of a drain and of a session's requests are said where they are used.
    assert set(_kinds.KINDS) - named <= {"drain_timeout"}
    assert named - set(_kinds.KINDS) <= {"group", "broadcast", "member", "start", "name", "hold_after_dead_letter", "strict_order", "max_in_flight", "max_rate"}


def test_counts_are_those_that_their_type_has(gateway):
    with sync.connect(gateway.url) as mesh:
        assert set(mesh.stats()) == set(meshwire.Stats.__annotations__)


def test_a_gateway_for_tests_tells_what_it_logs():
    said = []
    heard = threading.Event()

    def on_log(line):
        said.append(line)
        heard.set()

    with Gateway(on_log=on_log):
        assert heard.wait(20) and not said[0].endswith("\n")
