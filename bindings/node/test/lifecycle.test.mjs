import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as after } from "node:timers/promises";
import { connect, MeshwireError, onLog } from "meshwire";
import { Gateway } from "meshwire/testing";
import { coded, room, take } from "./rig.mjs";

test("without a gateway the error names the attempts and how to start one, at once", async () => {
  const began = Date.now();
  const error = await connect("mesh://127.0.0.1:1").catch((error) => error);
  assert.ok(error instanceof MeshwireError && error instanceof Error);
  assert.deepEqual([error.code, error.number, error.retry, error.retryable, error.operation, error.name], ["UNAVAILABLE", 13, "after", true, "connect", "MeshwireError"]);
  assert.match(error.message, /127\.0\.0\.1:1/);
  assert.match(error.message, /meshwire serve/);
  assert.match(error.stack, /lifecycle\.test\.mjs/);
  assert.ok(Date.now() - began < 3000);
  const { message, ...json } = JSON.parse(JSON.stringify(error));
  assert.equal(message, error.message);
  assert.equal(json.code, "UNAVAILABLE");
  await assert.rejects(connect({ url: "nonsense://x" }), coded("INVALID"));
  await assert.rejects(connect({ nothing: 1 }), coded("INVALID"));
  await assert.rejects(connect(7), coded("INVALID"));
});

test("after close every call is CLOSED, and a second close is fine", async (t) => {
  const { mesh } = await room(t);
  const orders = await mesh.subscribe("orders", { group: "g" });
  await mesh.publish("orders", "a");
  const [delivery] = await take(orders, 1);
  await assert.rejects(mesh.drain({ timeoutMs: 20 }), coded("TIMEOUT"));
  await Promise.all([mesh.close(), mesh.close()]);
  assert.equal(mesh.state, "closed");
  assert.deepEqual(await orders.next(), { value: undefined, done: true });
  delivery.ack();
  const calls = [
    () => mesh.publish("t", "x"), () => mesh.publishStart("t", "x"), () => mesh.publishBatch("t", ["x"]), () => mesh.flush(), () => mesh.connected(),
    () => mesh.subscribe("t"), () => mesh.consume("t", () => {}), () => mesh.serve("t", () => {}), () => mesh.request("t"), () => mesh.requestStream("t"),
    () => mesh.topics.list().all(), () => mesh.drain(), async () => mesh.stats(),
  ];
  for (const call of calls) await assert.rejects(call(), coded("CLOSED"), String(call));
});

test("an abort rejects with the signal's own reason, and the call is called off", async (t) => {
  const { mesh, gateway } = await room(t);
  const reason = new Error("enough");
  const aborted = () => AbortSignal.abort(reason);
  const orders = await mesh.subscribe("orders", { group: "g" });
  const calls = [
    (signal) => connect({ url: gateway.url, signal }), (signal) => mesh.publish("t", "x", { signal }), (signal) => mesh.publishStart("t", "x", { signal }),
    (signal) => mesh.flush({ signal }), (signal) => mesh.subscribe("t", { signal }), (signal) => mesh.request("t", "x", { signal }),
    (signal) => orders.next({ signal }), (signal) => orders.batch(1, { signal }), (signal) => mesh.topics.get("orders", { signal }),
  ];
  for (const call of calls) await assert.rejects(call(aborted()), (error) => error === reason, String(call));
  const later = () => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(reason), 20);
    return abort.signal;
  };
  await assert.rejects(orders.next({ signal: later() }), (error) => error === reason);
  await mesh.publish("orders", "a");
  assert.equal((await take(orders, 1))[0].text(), "a");
  await assert.rejects(orders.batch(5, { signal: AbortSignal.timeout(20) }), { name: "TimeoutError" });
  // One that gives up takes nothing from another one that waits.
  const others = orders.next();
  await assert.rejects(orders.next({ signal: later() }), (error) => error === reason);
  await mesh.publish("orders", "b");
  assert.equal((await others).value.text(), "b");
  const stop = new AbortController();
  const serving = mesh.serve("slow", { signal: stop.signal }, (request) => new Promise((resolve) => request.signal.addEventListener("abort", () => resolve("late"))));
  await after(20);
  await assert.rejects(mesh.request("slow", "x", { signal: later() }), (error) => error === reason);
  stop.abort();
  await serving;
});

test("a publish that waits for room can be called off, and nothing of it is published", async (t) => {
  const { gateway } = await room(t);
  const mesh = await connect({ url: gateway.url, publishWindowEvents: 1 });
  await mesh.publish("orders", "0");
  await gateway.kill();
  const first = assert.rejects(mesh.publish("orders", "1"), MeshwireError);
  const abort = new AbortController();
  const second = mesh.publish("orders", "2", { signal: abort.signal });
  await after(10);
  abort.abort();
  await assert.rejects(second, { name: "AbortError" });
  await mesh.close({ timeoutMs: 50 }).catch(() => {});
  await first;
});

test("states are told as they change, and counts are there", async (t) => {
  const gateway = await Gateway.start();
  t.after(() => gateway.kill());
  const states = [];
  const mesh = await connect({ url: gateway.url, name: "test", onState: (state) => states.push(state) });
  await mesh.connected();
  await mesh.publish("orders", "x");
  assert.deepEqual([mesh.state, mesh.stats().published, mesh.stats().carrier], ["connected", 1, "tcp"]);
  await gateway.kill();
  while (!states.includes("reconnecting")) await after(1);
  await mesh.close({ timeoutMs: 100 }).catch(() => {});
  while (!states.includes("closed")) await after(1);
  assert.equal(states[0], "connected");
});

test("hooks see every publish, delivery and settle, and may change or refuse an event", async (t) => {
  const { client } = await room(t);
  const seen = [];
  const mesh = await client({
    onPublish(topic, event) {
      if (event.data === "no") throw new Error("not this one");
      event.attributes.traceparent = `00-${topic}`;
    },
    onDelivery: (delivery) => seen.push(`came ${delivery.text()}`),
    onSettle: (delivery, how) => seen.push(`${how} ${delivery.text()}`),
  });
  await mesh.publish("orders", "a");
  await mesh.publishStart("orders", "b");
  const [one, no] = await mesh.publishBatch("orders", ["c", "no"]);
  assert.ok(one.ok && no.error.code === "INVALID");
  for (const publish of ["publish", "publishStart"]) {
    await assert.rejects(mesh[publish]("orders", "no"), (error) => coded("INVALID", { operation: "publish" })(error) && error.cause.message === "not this one");
  }
  const orders = await mesh.subscribe("orders", { group: "g" });
  const [a, b, c] = await take(orders, 3);
  assert.deepEqual([a, b, c].map((d) => d.attributes.traceparent), Array(3).fill("00-orders"));
  a.ack();
  b.nack({ delayMs: 0 });
  c.reject();
  assert.deepEqual(seen, ["came a", "came b", "came c", "ack a", "nack b", "reject c"]);
});

test("a hook that fails for an event nacks it and is logged, and the loop goes on with the next", async (t) => {
  const { client, mesh } = await room(t);
  const records = [];
  t.after(onLog((record) => records.push(`${record.level} ${record.text}`), { level: "warn" }));
  await mesh.publishBatch("orders", ["a", "bad", "b"]);
  const strict = await client({ onDelivery(delivery) { if (delivery.text() === "bad" && delivery.attempt < 3) throw new Error("not this one"); } });
  const seen = [];
  for await (const delivery of await strict.subscribe("orders", { group: "g", backoffMinMs: 0 })) {
    seen.push(`${delivery.text()} ${delivery.attempt}`);
    delivery.ack();
    if (seen.length === 3) break;
  }
  assert.deepEqual(seen.sort(), ["a 1", "b 1", "bad 3"]);
  assert.equal(records.length, 2);
  assert.match(records[0], /^warn the onDelivery hook failed; the event comes again topic=orders id=\S+ attempt=1 problem="not this one"$/);
});

test("a hook that has settled the event and throws is logged, and the program is handed the next", async (t) => {
  const { client, mesh } = await room(t);
  const records = [];
  t.after(onLog((record) => records.push(record.text), { level: "warn" }));
  await mesh.publishBatch("orders", ["a", "b", "c", "d"]);
  const settles = [];
  const mistaken = ["a", "c"];
  const strict = await client({
    onDelivery(delivery) {
      if (!mistaken.includes(delivery.text())) return;
      settles.push(delivery.rejectConfirmed("bad"));
      throw new Error("the hook's");
    },
  });
  const orders = await strict.subscribe("orders", { group: "g" });
  assert.equal((await orders.next()).value.text(), "b");
  assert.deepEqual((await orders.batch(10)).map((delivery) => delivery.text()), ["d"]);
  await Promise.all(settles);
  assert.deepEqual((await mesh.deadLetters.list("orders", { group: "g" }).all()).map((letter) => letter.error), ["bad", "bad"]);
  assert.equal(records.filter((text) => text.includes("it had settled the event")).length, 2);
});

test("a hook that gives a promise is refused, and one that throws ends nothing", async (t) => {
  const { gateway, client, mesh } = await room(t);
  const refused = [
    ["onPublish", async () => {}], ["onDelivery", async () => {}], ["onSettle", async () => {}], ["onPublish", 7], ["onDelivery", {}], ["onState", "x"],
    ["onSettle", function* () {}],
  ];
  for (const [name, hook] of refused) {
    await assert.rejects(connect({ url: gateway.url, [name]: hook }), (error) => coded("INVALID", { operation: "connect" })(error) && error.message.includes(name));
  }
  const later = await client({ onPublish: () => Promise.reject(new Error("nobody hears it")) });
  const asynchronous = (error) => coded("INVALID", { operation: "publish" })(error) && /onPublish.*not awaited/.test(error.message);
  await assert.rejects(later.publish("orders", "x"), asynchronous);
  await assert.rejects(later.publishStart("orders", "x"), asynchronous);
  assert.ok(asynchronous((await later.publishBatch("orders", ["x"]))[0].error));

  const records = [];
  t.after(onLog((record) => records.push(record), { level: "error" }));
  await mesh.publishBatch("orders", ["a", "b", "c"]);
  const throws = await client({ onSettle() { throw new Error("mine"); } });
  const orders = await throws.subscribe("orders", { group: "g" });
  const [a, b] = await take(orders, 2);
  a.ack();
  await b.ackConfirmed();
  await orders.close();
  await throws.consume("orders", { group: "g", signal: AbortSignal.timeout(10_000) }, () => void throws.close());
  await throws.close();
  assert.equal((await mesh.groups.get("orders", "g")).lag, 0);
  assert.deepEqual(records.map(({ level, text }) => [level, text]), Array(3).fill(["error", 'a hook failed error="mine" hook=onSettle topic=orders']));
});

test("a batch leaves out what a hook fails for, and waits on within its time when nothing is left", async (t) => {
  const { client, mesh } = await room(t);
  await mesh.publishBatch("orders", ["a", "bad", "b"]);
  const strict = await client({ onDelivery(delivery) { if (delivery.text() === "bad" && delivery.attempt === 1) throw new Error("not this one"); } });
  const orders = await strict.subscribe("orders", { group: "g", backoffMinMs: 0 });
  const seen = [];
  while (seen.length < 3) {
    for (const delivery of await orders.batch(10)) {
      seen.push(`${delivery.text()} ${delivery.attempt}`);
      delivery.ack();
    }
  }
  assert.deepEqual(seen.sort(), ["a 1", "b 1", "bad 2"]);
  await mesh.publish("orders", "bad");
  const [again] = await orders.batch(10, { timeoutMs: 10_000 });
  assert.equal(`${again.text()} ${again.attempt}`, "bad 2");
  again.ack();
  const never = await client({ onDelivery() { throw new Error("never"); } });
  await mesh.publish("others", "x");
  const others = await never.subscribe("others", { group: "g", backoffMinMs: 60_000 });
  assert.deepEqual(await others.batch(10, { timeoutMs: 100 }), []);
  assert.equal((await mesh.groups.get("others", "g")).failing, 1);
});

test("what the client logs is told to who listens, until it does not", async (t) => {
  const records = [];
  const stop = onLog((record) => records.push(record), { level: "info" });
  const { mesh } = await room(t);
  await mesh.subscribe("orders");
  while (!records.some((record) => /without a group/.test(record.text))) await after(1);
  // Another one may ask for more.
  const debug = [];
  const quiet = onLog((record) => debug.push(record.level), { level: "trace" });
  const gateway = await Gateway.start();
  const mesh2 = await connect({ url: gateway.url, reconnectMaxMs: 20 });
  await gateway.kill();
  while (!debug.includes("debug")) await after(1);
  quiet();
  await mesh2.close({ timeoutMs: 0 }).catch(() => {});
  assert.ok(!records.some((record) => record.level === "debug"));
  const [record] = records;
  assert.ok(record.time instanceof Date && record.target.startsWith("meshwire") && record.level === "info");
  stop();
  assert.throws(() => onLog(7), coded("INVALID"));
  assert.throws(() => onLog(() => {}, { level: "loud" }), coded("INVALID"));
});

test("a gateway that dies in the middle of every call leaves typed errors or answers, never a hang", async (t) => {
  const gateway = await Gateway.start();
  const mesh = await connect({ url: gateway.url, reconnectMaxMs: 50 });
  await mesh.publish("orders", "x");
  const orders = await mesh.subscribe("orders", { group: "g" });
  const [delivery] = await take(orders, 1);
  const all = Promise.allSettled([
    mesh.publish("orders", "y"), mesh.publishBatch("orders", ["z"]), mesh.flush(), mesh.subscribe("other"), mesh.request("quote", "x", { timeoutMs: 500 }),
    delivery.ackConfirmed(), mesh.topics.list().all(), orders.next(), mesh.consume("orders", { group: "h" }, () => {}),
    (async () => {
      for await (const _ of await mesh.requestStream("report", "x", { timeoutMs: 500 }));
    })(),
  ]);
  await gateway.kill();
  await after(100);
  await mesh.close({ timeoutMs: 200 }).catch(() => {});
  for (const { status, reason } of await all) {
    if (status === "rejected") assert.ok(reason instanceof MeshwireError, String(reason?.stack));
  }
});

test("with an offline buffer a client begins without a gateway", async (t) => {
  const mesh = await connect({ url: "tcp://127.0.0.1:1", publishOffline: "buffer" });
  const published = mesh.publish("orders", "x");
  await after(10);
  assert.equal(mesh.stats().buffered, 1);
  const gone = assert.rejects(published, MeshwireError);
  await mesh.close({ timeoutMs: 10 }).catch(() => {});
  await gone;
  t.diagnostic("closed");
});
