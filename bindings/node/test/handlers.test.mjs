import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { test } from "node:test";
import { setTimeout as after } from "node:timers/promises";
import { inspect } from "node:util";
import { event, nackAfter, reject } from "meshwire";
import { coded, room } from "./rig.mjs";

/** Asks until somebody serves. */
async function served(mesh, topic, ...more) {
  for (;;) {
    try {
      return await mesh.request(topic, ...more);
    } catch (error) {
      if (error.code !== "NO_RESPONDERS") throw error;
    }
  }
}

test("a handler that returns has acked, one that throws has nacked, and it may say otherwise", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", ["fine", "fails", "later", "never"]);
  const stop = new AbortController();
  const seen = [];
  await mesh.consume("orders", { group: "g", concurrency: 4, backoffMinMs: 0, signal: stop.signal }, async (message) => {
    const text = message.text();
    seen.push(`${text} ${message.attempt}`);
    if (seen.length === 6) stop.abort();
    if (message.attempt > 1) return undefined;
    if (text === "fails") throw new Error("not today");
    if (text === "later") return nackAfter(10);
    if (text === "never") return reject("bad");
  });
  assert.deepEqual(seen.sort(), ["fails 1", "fails 2", "fine 1", "later 1", "later 2", "never 1"]);
  assert.deepEqual((await mesh.deadLetters.list("orders", { group: "g" }).all()).map((letter) => letter.error), ["bad"]);
  assert.equal((await mesh.groups.get("orders", "g")).settledThrough, "4");
});

test("what a handler throws by reject() and nackAfter() holds as what it returns", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", ["never", "later", "never, at once", "last"]);
  const stop = new AbortController();
  const seen = [];
  await mesh.consume("orders", { group: "g", backoffMinMs: 60_000, signal: stop.signal }, (message) => {
    const text = message.text();
    seen.push(`${text} ${message.attempt}`);
    if (text === "never") return Promise.reject(reject("why"));
    if (text === "never, at once") throw reject(new Error("why not"));
    if (text === "later" && message.attempt === 1) throw nackAfter(10);
    if (text === "later") stop.abort();
  });
  assert.deepEqual(seen, ["never 1", "later 1", "never, at once 1", "last 1", "later 2"]);
  assert.deepEqual((await mesh.deadLetters.list("orders", { group: "g" }).all()).map((letter) => letter.error), ["why", "why not"]);
});

test("what is thrown and is no Error is told as it looks, in one bounded line", async (t) => {
  const { client, mesh } = await room(t);
  const hidden = { [inspect.custom]() { throw new Error("mine"); } };
  const thrown = [{ code: 7, why: "no stock" }, "bare", undefined, Symbol("s"), { lines: Array(5).fill("x".repeat(70)) }, new Error(), hidden];
  await mesh.publishBatch("orders", [...thrown.keys()]);
  const stop = new AbortController();
  await mesh.consume("orders", { group: "g", maxFailures: 1, signal: stop.signal }, (message) => {
    if (message.json() === thrown.length - 1) stop.abort();
    throw thrown[message.json()];
  });
  const told = (await mesh.deadLetters.list("orders", { group: "g" }).all()).map((letter) => letter.error);
  assert.deepEqual(told.slice(0, 4), ["{ code: 7, why: 'no stock' }", "bare", "undefined", "Symbol(s)"]);
  assert.ok(told[4].startsWith("{ lines: [ 'xxx") && told[4].length < 500 && !told[4].includes("\n"), told[4]);
  assert.deepEqual(told.slice(5), ["Error", "an object whose text cannot be made"]);
  const strict = await client({ onPublish() { throw { code: 7 }; } });
  await assert.rejects(strict.publish("orders", "x"), (error) => coded("INVALID")(error) && error.message.includes("refused: { code: 7 }"));
  await assert.rejects(mesh.publish("orders", { toJSON() { throw { code: 7 }; } }), (error) => coded("INVALID")(error) && error.message.includes("JSON: { code: 7 }"));
  await assert.rejects(mesh.publish({ id: 1 }, "orders"), (error) => coded("INVALID")(error) && error.message.includes("the topic is { id: 1 }"));
});

test("handlers of one key run one at a time, in order, those of others beside them", async (t) => {
  const { mesh } = await room(t);
  const events = ["a1", "b1", "a2", "b2", "a3"].map((text) => event(text, { key: text[0] }));
  await mesh.publishBatch("orders", events);
  const stop = new AbortController();
  const [running, order] = [new Map(), []];
  await mesh.consume("orders", { group: "g", concurrency: 8, signal: stop.signal }, async (message) => {
    assert.ok(!running.get(message.key));
    running.set(message.key, true);
    await after(5);
    running.set(message.key, false);
    order.push(message.text());
    if (order.length === 5) stop.abort();
  });
  assert.deepEqual(order.filter((text) => text[0] === "a"), ["a1", "a2", "a3"]);
  assert.deepEqual(order.filter((text) => text[0] === "b"), ["b1", "b2"]);
});

test("handlers run in the context of who called consume", async (t) => {
  const { mesh } = await room(t);
  const storage = new AsyncLocalStorage();
  const stop = new AbortController();
  const seen = [];
  const consuming = storage.run("mine", () =>
    mesh.consume("orders", { group: "g", signal: stop.signal }, async () => {
      seen.push(storage.getStore());
      await after(1);
      seen.push(storage.getStore());
      if (seen.length === 4) stop.abort();
    }),
  );
  await storage.run("theirs", () => mesh.publishBatch("orders", ["a", "b"]));
  await consuming;
  assert.deepEqual(seen, Array(4).fill("mine"));
});

test("a handler whose lease is lost is told by its signal, and what it says is not heard", async (t) => {
  const { mesh } = await room(t);
  await mesh.publish("orders", "a");
  const stop = new AbortController();
  let lost;
  await mesh.consume("orders", { group: "g", ackWaitMs: 1000, backoffMinMs: 0, concurrency: 2, signal: stop.signal }, async (message) => {
    if (message.attempt > 1) return stop.abort();
    await new Promise((resolve) => message.signal.addEventListener("abort", resolve));
    lost = [message.lost, message.signal.reason.name];
  });
  assert.deepEqual(lost, [true, "AbortError"]);
});

test("consume ends with why the gateway refused it, and with its client", async (t) => {
  const { mesh, client } = await room(t);
  await assert.rejects(mesh.consume("orders", { group: "no group!" }, () => {}), coded("INVALID", { operation: "consume" }));
  await assert.rejects(mesh.consume("orders", { nothing: 1 }, () => {}), coded("INVALID"));
  await assert.rejects(mesh.consume("orders", { group: "g" }), coded("INVALID"));
  await assert.rejects(mesh.serve("orders", {}, 7), coded("INVALID"));
  const other = await client();
  await other.publish("orders", "x");
  let closing;
  await other.consume("orders", { group: "g" }, () => {
    closing = other.close();
  });
  await closing;
});

test("a handler that awaits the end of its own client is told so at once, and the client ends behind it", async (t) => {
  const { client } = await room(t);
  const refused = (mesh) => async () => {
    await after(1);
    for (const end of ["drain", "close"]) {
      const ends = mesh[end]();
      await assert.rejects(ends, (error) => coded("INVALID", { operation: end })(error) && /wait for itself/.test(error.message));
      await assert.rejects(Promise.all([ends]), coded("INVALID"));
    }
  };
  const ways = [
    (mesh) => ({ then: (done, failed) => refused(mesh)().then(done, failed) }),
    (mesh) => mesh.close(),
    async (mesh) => mesh.close(),
    async (mesh) => { await mesh.close(); },
    async (mesh) => { await (await client()).close(); await refused(mesh)(); },
  ];
  for (const [n, way] of ways.entries()) {
    const mesh = await client();
    await mesh.publish(`orders-${n}`, "x");
    await mesh.consume(`orders-${n}`, { group: "g" }, () => way(mesh));
    await mesh.close();
    assert.equal(mesh.state, "closed");
    const serves = await client();
    const served = serves.serve(`orders-${n}`, () => way(serves));
    const asks = await client();
    while (true) {
      const why = await asks.request(`orders-${n}`, "x").then(() => "answered", (error) => error.code);
      if (why !== "NO_RESPONDERS") break;
    }
    await served;
    await serves.close();
  }
});

test("a request is answered by what its handler returns, in every form", async (t) => {
  const { mesh } = await room(t);
  const stop = new AbortController();
  const serving = mesh.serve("quote", { concurrency: 8, signal: stop.signal }, async (request) => {
    assert.ok(request.remainingMs > 0 && request.deadline > new Date() && !request.wantsStream && !request.lost);
    switch (request.text()) {
      case "text": return "TEXT";
      case "json": return { a: 1 };
      case "bytes": return Uint8Array.of(0, 255);
      case "event": return event("x", { type: "quote.given", attributes: { n: 1 } });
      case "nothing": return undefined;
      case "wrong": return { n: 1n };
      default: throw new Error("no such thing");
    }
  });
  assert.equal((await served(mesh, "quote", "text")).text(), "TEXT");
  assert.deepEqual((await mesh.request("quote", "json")).json(), { a: 1 });
  assert.deepEqual([...(await mesh.request("quote", "bytes", { type: "quote.asked" })).data], [0, 255]);
  const reply = await mesh.request("quote", "event", { timeoutMs: 2000, retry: true });
  assert.deepEqual([reply.type, reply.attributes.n], ["quote.given", 1]);
  assert.equal((await mesh.request("quote", "nothing")).dataKind, "absent");
  await assert.rejects(mesh.request("quote", "wrong"), (error) => coded("RESPONDER_FAILED")(error) && /BigInt/.test(error.message));
  await assert.rejects(mesh.request("quote", "else"), (error) => coded("RESPONDER_FAILED", { operation: "request" })(error) && /no such thing/.test(error.message));
  stop.abort();
  await serving;
  await assert.rejects(mesh.request("quote", "text"), coded("NO_RESPONDERS", { retryable: true }));
});

test("who sends replies itself, and returns nothing, has said all", async (t) => {
  const { mesh } = await room(t);
  const stop = new AbortController();
  const counting = mesh.serve("count", { signal: stop.signal }, async (request, replies) => {
    for (let n = 0; n < request.json(); n++) await replies.send(n);
  });
  const listing = mesh.serve("list", { signal: stop.signal }, function* () {
    yield* ["a", "b"];
  });
  await served(mesh, "count", 1);
  const all = async (topic, data) => {
    const seen = [];
    for await (const reply of await mesh.requestStream(topic, data)) seen.push(reply.text());
    return seen;
  };
  assert.deepEqual([await all("count", 2), await all("count", 0)], [["0", "1"], []]);
  await served(mesh, "list");
  assert.deepEqual(await all("list"), ["a", "b"]);
  await assert.rejects(mesh.request("count", 0), coded("RESPONDER_FAILED"));
  stop.abort();
  await Promise.all([counting, listing]);
});

test("many replies are yielded, taken one by one, and left in the middle", async (t) => {
  const { mesh } = await room(t);
  const stop = new AbortController();
  const ended = [];
  const serving = mesh.serve("report", { concurrency: 4, signal: stop.signal }, async function* (request) {
    const lines = request.json();
    try {
      for (let line = 1; line <= lines; line++) {
        if (line === 666) throw new Error("halfway");
        yield `line ${line}`;
      }
    } finally {
      ended.push(lines);
    }
  });
  await served(mesh, "report", 1);
  const all = [];
  for await (const reply of await mesh.requestStream("report", 50, { credit: 4 })) all.push(reply.text());
  assert.deepEqual(all, Array.from({ length: 50 }, (_, n) => `line ${n + 1}`));
  for await (const reply of await mesh.requestStream("report", 600)) if (reply.text() === "line 2") break;
  while (!ended.includes(600)) await after(1);
  await assert.rejects(async () => {
    for await (const reply of await mesh.requestStream("report", 700, { timeoutMs: 30_000 })) assert.ok(reply.type);
  }, (error) => coded("RESPONDER_FAILED", { operation: "request_stream" })(error) && /halfway/.test(error.message));
  stop.abort();
  await serving;
});

test("a handler that sends replies itself is told when nobody waits any more", async (t) => {
  const { mesh, client } = await room(t);
  const asking = await client();
  let told;
  const gone = new Promise((resolve) => (told = resolve));
  const serving = mesh.serve("report", async (request, replies) => {
    if (request.text() === "there?") return "yes";
    await replies.send("one");
    await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
    told(await replies.send("two").catch((error) => error.code));
  });
  await served(asking, "report", "there?");
  const replies = await asking.requestStream("report", "go");
  assert.equal((await replies.next()).value.text(), "one");
  await replies.close();
  assert.equal(await gone, "CANCELLED");
  await mesh.close();
  await serving;
});
