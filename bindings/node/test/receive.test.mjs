import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as after } from "node:timers/promises";
import { coded, room, take } from "./rig.mjs";

test("a loop that is left by break gives back what it had in hand, as a failure, and the rest without one", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", ["a", "b", "c"]);
  const orders = await mesh.subscribe("orders", { group: "g", backoffMinMs: 60_000 });
  let left;
  for await (const delivery of orders) {
    left = delivery;
    break;
  }
  assert.ok(orders.closed && left.settled);
  assert.throws(() => left.ack(), coded("INVALID"));
  const again = await mesh.subscribe("orders", { group: "g" });
  assert.deepEqual((await take(again, 2)).map((d) => d.text()), ["b", "c"]);
  assert.equal((await mesh.groups.get("orders", "g")).failing, 1);
});

test("what a loop throws ends its subscription and is thrown on", async (t) => {
  const { mesh } = await room(t);
  await mesh.publish("orders", "a");
  const orders = await mesh.subscribe("orders", { group: "g" });
  const mistake = new Error("mine");
  await assert.rejects(async () => {
    for await (const _ of orders) throw mistake;
  }, mistake);
  assert.ok(orders.closed);
  assert.deepEqual(await orders.next(), { value: undefined, done: true });
});

test("a delivery is settled once: again is an error that says so", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", Array.from({ length: 6 }, (_, n) => String(n)));
  const orders = await mesh.subscribe("orders", { group: "g", backoffMinMs: 0 });
  const [a, b, c, d, e, f] = await take(orders, 6);
  a.ack();
  b.nack();
  c.nack({ delayMs: 10 });
  d.reject("bad");
  await e.ackConfirmed();
  await f.extendConfirmed();
  f.extend();
  await f.rejectConfirmed(new Error("worse"));
  for (const one of [a, b, c, d, e, f]) {
    for (const how of ["ack", "nack", "reject", "extend", "forget"]) assert.throws(() => one[how](), coded("INVALID"), how);
    for (const how of ["ackConfirmed", "nackConfirmed", "rejectConfirmed", "extendConfirmed"]) await assert.rejects(one[how](), coded("INVALID"), how);
  }
  const again = await take(orders, 2);
  assert.deepEqual(again.map((one) => [one.text(), one.attempt]).sort(), [["1", 2], ["2", 2]]);
  again.forEach((one) => one.ack());
  const letters = await mesh.deadLetters.list("orders", { group: "g" }).all();
  assert.deepEqual(letters.map((letter) => letter.error), ["bad", "worse"]);
  await mesh.publish("orders", "new");
  const [fresh] = await take(orders, 1);
  for (const delayMs of [-1, NaN, "soon", 1n]) assert.throws(() => fresh.nack({ delayMs }), coded("INVALID"));
  assert.ok(!fresh.settled);
});

test("a confirmed settle of a lease that is gone says so", async (t) => {
  const { mesh } = await room(t);
  await mesh.publish("orders", "a");
  const orders = await mesh.subscribe("orders", { group: "g", ackWaitMs: 1000, backoffMinMs: 0 });
  const [first] = await take(orders, 1);
  const [second] = await take(orders, 1);
  assert.equal(second.attempt, 2);
  await assert.rejects(first.ackConfirmed(), coded("LEASE_LOST", { operation: "ack_confirmed" }));
  second.ack();
});

test("what waits in a batch keeps its lease while its program is slow", async (t) => {
  const { mesh } = await room(t);
  const many = Array.from({ length: 40 }, (_, n) => String(n));
  await mesh.publishBatch("orders", many);
  const orders = await mesh.subscribe("orders", { group: "g", ackWaitMs: 1000, prefetchEvents: 64 });
  const seen = [];
  for await (const delivery of orders) {
    seen.push([delivery.text(), delivery.attempt]);
    delivery.ack();
    // Fast until a large batch is at hand, and then slow.
    if (seen.length >= 10 && seen.length < 15) await after(700);
    if (seen.length === 40) break;
  }
  assert.deepEqual(seen, many.map((text) => [text, 1]));
});

test("a program that is stuck has what it was not handed given back, without a failure", async (t) => {
  const { mesh, client } = await room(t);
  await mesh.publishBatch("orders", Array.from({ length: 30 }, (_, n) => String(n)));
  // One failure makes a dead letter.
  const orders = await mesh.subscribe("orders", { group: "g", ackWaitMs: 1000, maxFailures: 1 });
  for (const delivery of await orders.batch(5)) delivery.ack();
  const [stuck] = await take(orders, 1);
  const others = await (await client()).subscribe("orders", { group: "g" });
  const seen = [];
  while (seen.length < 30 - 6) for (const delivery of await others.batch(100)) (seen.push(delivery.text()), delivery.ack());
  assert.deepEqual(seen.map(Number).sort((a, b) => a - b), Array.from({ length: 24 }, (_, n) => n + 6));
  const letters = await mesh.deadLetters.list("orders").all();
  assert.ok(letters.every((letter) => letter.position === stuck.position), "but what it has in hand nothing has failed");
});

test("a slow loop lets timers and others have their turn", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", Array.from({ length: 400 }, (_, n) => String(n)));
  const orders = await mesh.subscribe("orders", { group: "g" });
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  let seen = 0;
  for await (const delivery of orders) {
    const until = performance.now() + 0.5;
    while (performance.now() < until);
    delivery.ack();
    if (++seen === 400) break;
  }
  clearInterval(timer);
  assert.ok(ticks >= 5, `${ticks}`);
});

test("batches are as many as are at hand, or none in time", async (t) => {
  const { mesh } = await room(t);
  const orders = await mesh.subscribe("orders", { group: "g" });
  assert.deepEqual(await orders.batch(10, { timeoutMs: 20 }), []);
  await mesh.publishBatch("orders", Array.from({ length: 25 }, (_, n) => String(n)));
  const seen = [];
  while (seen.length < 25) {
    const batch = await orders.batch(10);
    assert.ok(batch.length >= 1 && batch.length <= 10);
    batch.forEach((delivery) => delivery.ack());
    seen.push(...batch.map((delivery) => delivery.text()));
  }
  assert.deepEqual(seen, Array.from({ length: 25 }, (_, n) => String(n)));
  for (const most of [0, -1, 5000, 1.5, "7", undefined]) await assert.rejects(orders.batch(most), coded("INVALID"));
  await orders.close();
  assert.deepEqual(await orders.batch(10), []);
});

test("the time of a batch ends though another waits for the same subscription without one", async (t) => {
  const { mesh } = await room(t);
  const orders = await mesh.subscribe("orders", { group: "g" });
  const waits = [orders.next(), orders.batch(10)];
  assert.deepEqual(await orders.batch(10, { timeoutMs: 100 }), []);
  const { signal } = new AbortController();
  assert.deepEqual(await orders.batch(10, { timeoutMs: 0, signal }), []);
  // More than a timer takes.
  waits.push(orders.batch(10, { timeoutMs: 2 ** 40 }));
  await mesh.publish("orders", "a");
  assert.equal((await waits[0]).value.text(), "a");
  await mesh.publish("orders", "b");
  assert.deepEqual((await waits[1]).map((delivery) => delivery.text()), ["b"]);
  await mesh.publish("orders", "c");
  assert.deepEqual((await waits[2]).map((delivery) => delivery.text()), ["c"]);
});

test("two loops over one subscription share it", async (t) => {
  const { mesh } = await room(t);
  const orders = await mesh.subscribe("orders", { group: "g" });
  const seen = [];
  const loop = async () => {
    for await (const delivery of orders) {
      seen.push(delivery.text());
      delivery.ack();
      if (seen.length === 50) await orders.close();
    }
  };
  const loops = [loop(), loop()];
  await mesh.publishBatch("orders", Array.from({ length: 50 }, (_, n) => String(n)));
  await Promise.all(loops);
  assert.equal(new Set(seen).size, 50);
});

test("two slow loops over one subscription share what is at hand, and its end", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", Array.from({ length: 9 }, (_, n) => String(n)));
  const orders = await mesh.subscribe("orders", { group: "g" });
  const seen = [];
  const loop = async () => {
    for await (const delivery of orders) {
      // So long that both wait for the same turn of the event loop.
      for (const until = performance.now() + 20; performance.now() < until; );
      seen.push(delivery.text());
      delivery.ack();
      if (seen.length === 9) await orders.close();
    }
  };
  await Promise.all([loop(), loop()]);
  assert.deepEqual(seen.sort(), Array.from({ length: 9 }, (_, n) => String(n)));
});

test("data that is not what it is asked for is an error with its place", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", [Uint8Array.of(255), "{"]);
  const orders = await mesh.subscribe("orders", { group: "g" });
  const [bytes, text] = await take(orders, 2);
  assert.throws(() => bytes.text(), (error) => coded("INVALID", { operation: "read" })(error) && error.context.position === "1" && error.cause instanceof Error);
  assert.throws(() => text.json(), (error) => coded("INVALID")(error) && error.context.topic === "orders");
  assert.equal(text.text(), "{");
});

test("a subscription that the gateway refuses and options that are none say why", async (t) => {
  const { mesh } = await room(t);
  await assert.rejects(mesh.subscribe("orders", { group: "no group!" }), coded("INVALID", { operation: "subscribe" }));
  await assert.rejects(mesh.subscribe("orders", { grupo: "x" }), (error) => coded("INVALID")(error) && /grupo is no option/.test(error.message));
  for (const options of [{ ackWaitMs: "soon" }, { ackWaitMs: -1 }, { ackWaitMs: NaN }, { maxFailures: 2n ** 70n }, { group: {} }, { group: null }, { start: "never" }, { start: new Date(NaN) }, { prefetchEvents: 0 }, 7, { group: "a\0b" }]) {
    await assert.rejects(mesh.subscribe("orders", { group: "g", ...(typeof options === "object" ? options : {}) , ...(options === 7 ? { start: 7 } : {}) }), coded("INVALID"));
  }
  await assert.rejects(mesh.subscribe(7), coded("INVALID"));
  await assert.rejects(mesh.subscribe("orders", 7), coded("INVALID"));
});

test("a subscription begins where it is told to", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", ["1", "2", "3"]);
  const first = async (start, group) => (await take(await mesh.subscribe("orders", { group, start }), 1))[0].text();
  assert.equal(await first({ position: "2" }, "a"), "2");
  assert.equal(await first({ position: 3n }, "b"), "3");
  assert.equal(await first("earliest", "c"), "1");
  assert.equal(await first(new Date(0), "d"), "1");
});

test("what a program forgets comes again when its ack wait ends", async (t) => {
  const { mesh } = await room(t);
  await mesh.publish("orders", "a");
  const orders = await mesh.subscribe("orders", { group: "g", ackWaitMs: 1000, backoffMinMs: 0 });
  (await take(orders, 1))[0].forget();
  const [again] = await take(orders, 1);
  assert.equal(again.attempt, 2);
});
