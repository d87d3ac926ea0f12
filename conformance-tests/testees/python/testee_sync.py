"""The client without asyncio behind the testee protocol (`conformance-tests/README.md`): a thread for each command that is on its way."""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import words
from words import Absent

import meshwire
from meshwire import sync

_output = threading.Lock()


def say(line: dict[str, Any]) -> None:
    text = json.dumps(line) + "\n"
    with _output:
        sys.stdout.write(text)
        sys.stdout.flush()


class Told:
    """An answer that another thread gives."""

    def __init__(self) -> None:
        self.said: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def tell(self, error: BaseException | None = None) -> None:
        self.said.put(error)

    def wait(self) -> None:
        error = self.said.get()
        if error is not None:
            raise error


class Deliveries:
    """A subscription's loop, and what was not settled yet."""

    def __init__(self, name: str, gate: int | None) -> None:
        self.name = name
        self.gate = threading.Semaphore(1 << 20 if gate is None else gate)
        self.stop = threading.Event()
        self.held: dict[int, Any] = {}
        self.numbers = itertools.count(1)
        self.subscription: sync.Subscription | None = None

    def came(self, delivery: sync.Delivery) -> None:
        n = next(self.numbers)
        told = words.message_told(self.name, n, delivery)
        self.held[n] = delivery
        say(told)

    def stream(self, subscription: sync.Subscription) -> None:
        while True:
            self.gate.acquire()
            if self.stop.is_set():
                return
            try:
                delivery = next(subscription)
            except StopIteration:
                return None if self.stop.is_set() else self.ended(None)
            except meshwire.MeshwireError as error:
                say({"ev": "error", "on": self.name, "err": words.error_told(error)})
                continue
            self.came(delivery)
            # Nobody but the table is to hold it.
            del delivery

    def handle(self, job: meshwire.Job) -> None:
        n, verdict = next(self.numbers), Told()
        self.held[n] = verdict
        say(words.message_told(self.name, n, job))
        verdict.wait()

    def consume(self, mesh: sync.Mesh, topic: str, options: dict[str, Any]) -> None:
        try:
            mesh.consume(topic, self.handle, until=self.stop, **options)
            self.ended(None)
        except meshwire.MeshwireError as error:
            self.ended(error)

    def ended(self, error: meshwire.MeshwireError | None) -> None:
        say({"ev": "end", "on": self.name, "err": error and words.error_told(error)})


class Serving:
    """Requests that came to one who serves."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stop = threading.Event()
        self.open: dict[int, queue.SimpleQueue[Any]] = {}
        self.numbers = itertools.count(1)

    def handle(self, request: meshwire.Request) -> Iterator[meshwire.Event]:
        n, said = next(self.numbers), queue.SimpleQueue[Any]()
        self.open[n] = said
        say({"ev": "asked", "on": self.name, "n": n, "stream": request.wants_stream, **words.event_told(request)})
        ended = False
        try:
            while True:
                try:
                    reply, answer = said.get(timeout=0.02)
                except queue.Empty:
                    if request.lost:
                        return
                    continue
                if isinstance(reply, meshwire.Event):
                    try:
                        yield reply
                        answer.tell()
                    except GeneratorExit:
                        # The requester did not take it.
                        text = "the requester waits no more"
                        answer.tell(meshwire.CancelledError(text, operation="reply", retry="unknown_outcome"))
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

    def serve(self, mesh: sync.Mesh, topic: str, options: dict[str, Any]) -> None:
        err = None
        try:
            mesh.serve(topic, self.handle, until=self.stop, **options)
        except meshwire.MeshwireError as error:
            err = words.error_told(error)
        say({"ev": "end", "on": self.name, "err": err})


class Room:
    """Clients and subscriptions by the names that the runner gave them, and a method for each command."""

    def __init__(self) -> None:
        self.clients: dict[str, sync.Mesh] = {}
        self.subscriptions: dict[str, Deliveries] = {}
        self.servings: dict[str, Serving] = {}
        self.asked: dict[str, sync.Replies] = {}
        self.marks: dict[str, datetime] = {}

    def begin(self, work: Any, *args: Any) -> None:
        threading.Thread(target=work, args=args, daemon=True).start()

    def obey(self, line: dict[str, Any]) -> None:
        try:
            op = line["op"]
            method = self.do_list if op in words.LISTS else self.do_admin if op in words.ADMIN else getattr(self, f"do_{op}", None)
            if method is None:
                say({"id": line["id"], "err": {"code": "UNKNOWN_COMMAND", "message": line["op"]}})
                return
            say({"id": line["id"], "ok": method(line) or {}})
        except Exception as error:
            say({"id": line["id"], "err": words.error_told(error)})

    def find(self, table: Any, name: Any, take: bool = False) -> Any:
        if name not in table:
            raise Absent(f"no {name!r}")
        return table.pop(name) if take else table[name]

    def client(self, c: dict[str, Any]) -> sync.Mesh:
        found: sync.Mesh = self.find(self.clients, c["on"])
        return found

    def do_hello(self, c: dict[str, Any]) -> Any:
        return words.hello("sync")

    def do_connect(self, c: dict[str, Any]) -> Any:
        mesh = sync.connect(c["url"], **words.connect_options(c))

        def watch(states: Iterator[str]) -> None:
            for state in states:
                say({"ev": "state", "on": c["as"], "state": state})

        self.clients[c["as"]] = mesh
        self.begin(watch, mesh.states())

    def do_publish(self, c: dict[str, Any]) -> Any:
        return words.receipt_told(self.client(c).publish(c["topic"], words.event_of(c["event"], c)))

    def do_publish_batch(self, c: dict[str, Any]) -> Any:
        receipts = self.client(c).publish_batch(c["topic"], [words.event_of(spec) for spec in c["events"]])
        return {"receipts": [words.receipt_told(each) for each in receipts]}

    def do_flush(self, c: dict[str, Any]) -> Any:
        self.client(c).flush()

    def do_subscribe(self, c: dict[str, Any]) -> Any:
        subscription = self.client(c).subscribe(c["topic"], **words.subscribe_options(c, self.marks))
        deliveries = self.subscriptions[c["as"]] = Deliveries(c["as"], c.get("gate"))
        deliveries.subscription = subscription
        self.begin(deliveries.stream, subscription)

    def do_consume(self, c: dict[str, Any]) -> Any:
        deliveries = self.subscriptions[c["as"]] = Deliveries(c["as"], None)
        self.begin(deliveries.consume, self.client(c), c["topic"], words.subscribe_options(c, self.marks))

    def do_gate(self, c: dict[str, Any]) -> Any:
        deliveries: Deliveries = self.find(self.subscriptions, c["on"])
        if c.get("batch") and deliveries.subscription is not None:
            for delivery in deliveries.subscription.next_batch(c["open"]):
                deliveries.came(delivery)
        else:
            deliveries.gate.release(c["open"])

    def do_unsubscribe(self, c: dict[str, Any]) -> Any:
        deliveries: Deliveries = self.find(self.subscriptions, c["on"], take=True)
        deliveries.stop.set()
        deliveries.gate.release()
        if deliveries.subscription is not None:
            if c.get("left"):
                deliveries.subscription.__exit__(None, None, None)
            deliveries.subscription.close()

    def settle(self, c: dict[str, Any], handled: Any, settled: Any) -> None:
        deliveries: Deliveries = self.find(self.subscriptions, c["on"])
        form = "_confirmed" if c.get("confirmed") else ""
        for held in [self.find(deliveries.held, n, take=True) for n in c["n"]]:
            handled(held) if isinstance(held, Told) else settled(held, form)

    def do_ack(self, c: dict[str, Any]) -> Any:
        self.settle(c, lambda held: held.tell(), lambda held, form: getattr(held, f"ack{form}")())

    def do_nack(self, c: dict[str, Any]) -> Any:
        delay, reason = words.seconds(c.get("delay_ms")), c.get("reason", "")
        failed = RuntimeError(reason)
        self.settle(c, lambda held: held.tell(failed), lambda held, form: getattr(held, f"nack{form}")(delay))

    def do_reject(self, c: dict[str, Any]) -> Any:
        reason = c.get("reason", "")
        rejected = meshwire.Reject(reason)
        self.settle(c, lambda held: held.tell(rejected), lambda held, form: getattr(held, f"reject{form}")(reason))

    def do_extend(self, c: dict[str, Any]) -> Any:
        deliveries: Deliveries = self.find(self.subscriptions, c["on"])
        for n in c["n"]:
            held = self.find(deliveries.held, n)
            held.extend_confirmed() if c.get("confirmed") else held.extend()

    def do_forget(self, c: dict[str, Any]) -> Any:
        for n in c["n"]:
            self.find(self.find(self.subscriptions, c["on"]).held, n, take=True)

    def do_stats(self, c: dict[str, Any]) -> Any:
        return words.stats_told(self.client(c).stats())

    def do_state(self, c: dict[str, Any]) -> Any:
        return {"state": self.client(c).state}

    def do_admin(self, c: dict[str, Any]) -> Any:
        call, told = words.ADMIN[c["op"]]
        return told(call(self.client(c), c, self.marks))

    def do_list(self, c: dict[str, Any]) -> Any:
        name, of, told = words.LISTS[c["op"]]
        return {name: [told(each) for each in of(self.client(c), c)]}

    def do_mark(self, c: dict[str, Any]) -> Any:
        self.marks[c["as"]] = datetime.now(timezone.utc)

    def do_serve(self, c: dict[str, Any]) -> Any:
        serving = self.servings[c["as"]] = Serving(c["as"])
        options = {"group": c.get("group"), "concurrency": c.get("concurrency", 16)}
        self.begin(serving.serve, self.client(c), c["topic"], options)

    def do_stop_serving(self, c: dict[str, Any]) -> Any:
        self.find(self.servings, c["on"]).stop.set()

    def do_reply(self, c: dict[str, Any]) -> Any:
        for handler in [self.find(self.find(self.servings, c["on"]).open, n) for n in c["n"]]:
            answer = Told()
            handler.put((words.event_of(c["event"]), answer))
            answer.wait()

    def do_end(self, c: dict[str, Any]) -> Any:
        for n in c["n"]:
            self.find(self.find(self.servings, c["on"]).open, n).put((c.get("reason"), None))

    def do_request(self, c: dict[str, Any]) -> Any:
        options = words.request_options(c)
        return words.event_told(self.client(c).request(c["topic"], words.event_of(c["event"]), **options))

    def do_request_stream(self, c: dict[str, Any]) -> Any:
        options = {**words.request_options(c), "credit": c.get("credit")}
        event = words.event_of(c["event"])
        self.asked[c.get("as", "")] = self.client(c).request_stream(c["topic"], event, **options)

    def do_next_reply(self, c: dict[str, Any]) -> Any:
        try:
            return words.event_told(next(self.find(self.asked, c["on"])))
        except StopIteration:
            return {"end": True}

    def do_cancel(self, c: dict[str, Any]) -> Any:
        self.find(self.asked, c["on"]).close()

    def do_drain(self, c: dict[str, Any]) -> Any:
        self.client(c).drain(c["deadline_ms"] / 1000)

    def do_close(self, c: dict[str, Any]) -> Any:
        self.client(c).close()

    def do_abandon(self, c: dict[str, Any]) -> Any:
        del self.clients[c["on"]]


def main() -> None:
    room = Room()
    for line in sys.stdin:
        command = json.loads(line)
        if command["op"] == "exit":
            say({"id": command["id"], "ok": {}})
            # Calls that are not done end with the process.
            os._exit(0)
        room.begin(room.obey, command)


logging.basicConfig(level=logging.INFO)
main()
