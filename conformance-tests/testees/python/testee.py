"""The asyncio client behind the testee protocol (`conformance-tests/README.md`): one JSON object a line in, one a line out."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

import words
from words import Absent

import meshwire


ended = False


def say(line: dict[str, Any]) -> None:
    if ended:
        return
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Deliveries:
    """A subscription's loop, and what was not settled yet."""

    def __init__(self, name: str, gate: int | None) -> None:
        self.name = name
        self.gate = asyncio.Semaphore(1 << 20 if gate is None else gate)
        self.stop = asyncio.Event()
        self.held: dict[int, Any] = {}
        self.numbers = itertools.count(1)
        self.task: asyncio.Task[None] | None = None
        self.subscription: meshwire.Subscription | None = None
        self.left = False

    def came(self, delivery: meshwire.Delivery) -> None:
        n = next(self.numbers)
        say(words.message_told(self.name, n, delivery))
        self.held[n] = delivery

    async def stream(self, subscription: meshwire.Subscription) -> None:
        self.subscription = subscription
        try:
            while True:
                await self.gate.acquire()
                try:
                    delivery = await subscription.__anext__()
                except StopAsyncIteration:
                    return self.ended(None)
                except meshwire.MeshwireError as error:
                    say({"ev": "error", "on": self.name, "err": words.error_told(error)})
                    continue
                self.came(delivery)
                # Nobody but the table is to hold it.
                del delivery
        finally:
            if self.left:
                await subscription.__aexit__(None, None, None)
            subscription.close()

    async def handle(self, job: meshwire.Job) -> None:
        n, verdict = next(self.numbers), asyncio.get_running_loop().create_future()
        self.held[n] = verdict
        say(words.message_told(self.name, n, job))
        await verdict

    async def consume(self, mesh: meshwire.Mesh, topic: str, options: dict[str, Any]) -> None:
        try:
            await mesh.consume(topic, self.handle, until=self.stop.wait(), **options)
            self.ended(None)
        except meshwire.MeshwireError as error:
            self.ended(error)

    def ended(self, error: meshwire.MeshwireError | None) -> None:
        say({"ev": "end", "on": self.name, "err": error and words.error_told(error)})


class Serving:
    """Requests that came to one who serves."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stop = asyncio.Event()
        self.open: dict[int, asyncio.Queue[Any]] = {}
        self.numbers = itertools.count(1)

    async def handle(self, request: meshwire.Request) -> Any:
        n, said = next(self.numbers), asyncio.Queue[Any]()
        self.open[n] = said
        told = words.event_told(request)
        say({"ev": "asked", "on": self.name, "n": n, "stream": request.wants_stream, **told})
        ended = False
        try:
            while True:
                reply, answer = await said.get()
                if isinstance(reply, meshwire.Event):
                    try:
                        yield reply
                        answer.set_result(None)
                    except GeneratorExit:
                        # The requester did not take it.
                        text = "the requester waits no more"
                        answer.set_exception(meshwire.CancelledError(text, operation="reply", retry="unknown_outcome"))
                        raise
                    continue
                ended = True
                if reply is not None:
                    raise RuntimeError(reply)
                return
        finally:
            del self.open[n]
            if not ended:
                say({"ev": "cancelled", "on": self.name, "n": n})

    async def serve(self, mesh: meshwire.Mesh, topic: str, options: dict[str, Any]) -> None:
        err = None
        try:
            await mesh.serve(topic, self.handle, until=self.stop.wait(), **options)
        except meshwire.MeshwireError as error:
            err = words.error_told(error)
        say({"ev": "end", "on": self.name, "err": err})


class Room:
    """Clients and subscriptions by the names that the runner gave them, and a method for each command."""

    def __init__(self) -> None:
        self.clients: dict[str, meshwire.Mesh] = {}
        self.subscriptions: dict[str, Deliveries] = {}
        self.servings: dict[str, Serving] = {}
        self.asked: dict[str, Any] = {}
        self.marks: dict[str, datetime] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self.watches: dict[str, asyncio.Task[None]] = {}

    def begin(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def obey(self, line: dict[str, Any]) -> None:
        try:
            op = line["op"]
            method = self.do_list if op in words.LISTS else self.do_admin if op in words.ADMIN else getattr(self, f"do_{op}", None)
            if method is None:
                say({"id": line["id"], "err": {"code": "UNKNOWN_COMMAND", "message": line["op"]}})
                return
            say({"id": line["id"], "ok": await method(line) or {}})
        except Exception as error:
            say({"id": line["id"], "err": words.error_told(error)})

    def find(self, table: Any, name: Any, take: bool = False) -> Any:
        if name not in table:
            raise Absent(f"no {name!r}")
        return table.pop(name) if take else table[name]

    def client(self, c: dict[str, Any]) -> meshwire.Mesh:
        found: meshwire.Mesh = self.find(self.clients, c["on"])
        return found

    async def do_hello(self, c: dict[str, Any]) -> Any:
        return words.hello("async")

    async def do_connect(self, c: dict[str, Any]) -> Any:
        mesh = await meshwire.connect(c["url"], **words.connect_options(c))

        async def watch() -> None:
            async for state in mesh.states():
                say({"ev": "state", "on": c["as"], "state": state})

        self.clients[c["as"]] = mesh
        self.watches[c["as"]] = self.begin(watch())

    async def do_publish(self, c: dict[str, Any]) -> Any:
        return words.receipt_told(await self.client(c).publish(c["topic"], words.event_of(c["event"], c)))

    async def do_publish_batch(self, c: dict[str, Any]) -> Any:
        receipts = await self.client(c).publish_batch(c["topic"], [words.event_of(spec) for spec in c["events"]])
        return {"receipts": [words.receipt_told(each) for each in receipts]}

    async def do_flush(self, c: dict[str, Any]) -> Any:
        await self.client(c).flush()

    async def do_subscribe(self, c: dict[str, Any]) -> Any:
        subscription = await self.client(c).subscribe(c["topic"], **words.subscribe_options(c, self.marks))
        deliveries = self.subscriptions[c["as"]] = Deliveries(c["as"], c.get("gate"))
        deliveries.task = self.begin(deliveries.stream(subscription))

    async def do_consume(self, c: dict[str, Any]) -> Any:
        deliveries = self.subscriptions[c["as"]] = Deliveries(c["as"], None)
        self.begin(deliveries.consume(self.client(c), c["topic"], words.subscribe_options(c, self.marks)))

    async def do_gate(self, c: dict[str, Any]) -> Any:
        deliveries: Deliveries = self.find(self.subscriptions, c["on"])
        if c.get("batch") and deliveries.subscription is not None:
            for delivery in await deliveries.subscription.next_batch(c["open"]):
                deliveries.came(delivery)
        else:
            for _ in range(c["open"]):
                deliveries.gate.release()

    async def do_unsubscribe(self, c: dict[str, Any]) -> Any:
        deliveries: Deliveries = self.find(self.subscriptions, c["on"], take=True)
        deliveries.left = c.get("left", False)
        deliveries.stop.set()
        if deliveries.task is not None:
            deliveries.task.cancel()
            await asyncio.wait([deliveries.task])

    async def settle(self, c: dict[str, Any], how: Any) -> None:
        deliveries: Deliveries = self.find(self.subscriptions, c["on"])
        for n, held in [(n, self.find(deliveries.held, n, take=True)) for n in c["n"]]:
            if isinstance(held, asyncio.Future):
                if not held.done():
                    how(held)
            else:
                await (how(held, "_confirmed" if c.get("confirmed") else "") or asyncio.sleep(0))

    async def do_ack(self, c: dict[str, Any]) -> Any:
        def how(held: Any, form: str | None = None) -> Any:
            return held.set_result(None) if form is None else getattr(held, f"ack{form}")()

        await self.settle(c, how)

    async def do_nack(self, c: dict[str, Any]) -> Any:
        def how(held: Any, form: str | None = None) -> Any:
            if form is None:
                return held.set_exception(RuntimeError(c.get("reason", "")))
            return getattr(held, f"nack{form}")(words.seconds(c.get("delay_ms")))

        await self.settle(c, how)

    async def do_reject(self, c: dict[str, Any]) -> Any:
        await self.settle(c, lambda held, form: getattr(held, f"reject{form}")(c.get("reason", "")))

    async def do_extend(self, c: dict[str, Any]) -> Any:
        deliveries: Deliveries = self.find(self.subscriptions, c["on"])
        for n in c["n"]:
            held = self.find(deliveries.held, n)
            await (held.extend_confirmed() if c.get("confirmed") else held.extend() or asyncio.sleep(0))

    async def do_forget(self, c: dict[str, Any]) -> Any:
        for n in c["n"]:
            self.find(self.find(self.subscriptions, c["on"]).held, n, take=True)

    async def do_stats(self, c: dict[str, Any]) -> Any:
        return words.stats_told(self.client(c).stats())

    async def do_state(self, c: dict[str, Any]) -> Any:
        return {"state": self.client(c).state}

    async def do_admin(self, c: dict[str, Any]) -> Any:
        call, told = words.ADMIN[c["op"]]
        return told(await call(self.client(c), c, self.marks))

    async def do_list(self, c: dict[str, Any]) -> Any:
        name, of, told = words.LISTS[c["op"]]
        return {name: [told(each) async for each in of(self.client(c), c)]}

    async def do_mark(self, c: dict[str, Any]) -> Any:
        self.marks[c["as"]] = datetime.now(timezone.utc)

    async def do_serve(self, c: dict[str, Any]) -> Any:
        serving = self.servings[c["as"]] = Serving(c["as"])
        options = {"group": c.get("group"), "concurrency": c.get("concurrency", 16)}
        self.begin(serving.serve(self.client(c), c["topic"], options))

    async def do_stop_serving(self, c: dict[str, Any]) -> Any:
        self.find(self.servings, c["on"]).stop.set()

    async def do_reply(self, c: dict[str, Any]) -> Any:
        for handler in [self.find(self.find(self.servings, c["on"]).open, n) for n in c["n"]]:
            answer = asyncio.get_running_loop().create_future()
            handler.put_nowait((words.event_of(c["event"]), answer))
            await answer

    async def do_end(self, c: dict[str, Any]) -> Any:
        for n in c["n"]:
            self.find(self.find(self.servings, c["on"]).open, n).put_nowait((c.get("reason"), None))

    async def do_request(self, c: dict[str, Any]) -> Any:
        options = words.request_options(c)
        asked = self.begin(self.client(c).request(c["topic"], words.event_of(c["event"]), **options))
        if c.get("as"):
            self.asked[c["as"]] = asked
        try:
            return words.event_told(await asked)
        except asyncio.CancelledError:
            return {"cancelled": True}

    async def do_request_stream(self, c: dict[str, Any]) -> Any:
        options = {**words.request_options(c), "credit": c.get("credit")}
        event = words.event_of(c["event"])
        self.asked[c.get("as", "")] = await self.client(c).request_stream(c["topic"], event, **options)

    async def do_next_reply(self, c: dict[str, Any]) -> Any:
        try:
            return words.event_told(await self.find(self.asked, c["on"]).__anext__())
        except StopAsyncIteration:
            return {"end": True}

    async def do_cancel(self, c: dict[str, Any]) -> Any:
        asked = self.find(self.asked, c["on"], take=True)
        asked.cancel() if isinstance(asked, asyncio.Future) else asked.close()

    async def do_drain(self, c: dict[str, Any]) -> Any:
        await self.client(c).drain(c["deadline_ms"] / 1000)

    async def do_close(self, c: dict[str, Any]) -> Any:
        await self.client(c).close()

    async def do_abandon(self, c: dict[str, Any]) -> Any:
        self.watches.pop(c["on"]).cancel()
        del self.clients[c["on"]]


async def main() -> None:
    global ended
    reader = asyncio.StreamReader(1 << 26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    room = Room()
    while line := await reader.readline():
        command = json.loads(line)
        if command["op"] == "exit":
            say({"id": command["id"], "ok": {}})
            break
        room.begin(room.obey(command))
    # Calls that are not done end with the loop.
    ended = True


logging.basicConfig(level=logging.INFO)
asyncio.run(main())
