// What a program hands in wrong is told it, with what is right, and is never passed over.

import assert from "node:assert/strict";
import fs from "node:fs/promises";
import { test } from "node:test";
import { inspect } from "node:util";
import { connect, event, MeshwireError, nackAfter, onLog, reject } from "meshwire";
import { program, room, take } from "./rig.mjs";

/** An error of ours that says this. */
const says = (text) => (error) => {
  assert.ok(error instanceof MeshwireError && error.code === "INVALID", String(error?.stack));
  assert.match(error.message, text);
  return true;
};

/** Whether a call throws or rejects so. */
const refused = (call, text) => assert.rejects(async () => call(), says(text), String(call));

test("swapped arguments are told the right form, and no group is passed over", async (t) => {
  const { mesh } = await room(t);
  const handler = () => {};
  const options = { group: "g" };
  const calls = [
    [() => mesh.consume("orders", handler, options), /consume\(topic, \{ group: "billing" \}, handler\)/],
    [() => mesh.serve("orders", handler, { concurrency: 2 }), /serve\(topic, .*, handler\)/],
    [() => mesh.consume("orders", "billing", handler), /consume\(topic, \{ group: "billing" \}, handler\)/],
    [() => mesh.consume("orders", options), /no function/],
    [() => mesh.consume("orders", options, function* () {}), /generator/],
    [() => mesh.consume("orders", options, async function* () {}), /generator/],
    [() => mesh.subscribe("orders", "billing"), /subscribe\(topic, \{ group: "billing" \}\)/],
    [() => mesh.subscribe("orders", handler), /consume\(topic, options, handler\)/],
    [() => mesh.subscribe("orders", options, handler), /consume\(topic, options, handler\)/],
    [() => connect("tcp://127.0.0.1:1", { name: "x" }), /connect\(\{ url/],
  ];
  for (const odd of [new Map([["group", "g"]]), new Set(), ["g"], Promise.resolve(options), 5]) {
    calls.push([() => mesh.subscribe("orders", odd), /not an object of options/], [() => mesh.consume("orders", odd, handler), /not an object of options/]);
    calls.push([() => mesh.request("orders", "x", odd), /not an object of options/], [() => connect(odd), /not an object of options/]);
    calls.push([() => mesh.publish("orders", "x", odd), /not an object of attributes/], [() => mesh.publish("orders", "x", { attributes: odd }), /attributes/]);
  }
  for (const [call, text] of calls) await refused(call, text);
  // What a prototype says is said.
  const orders = await mesh.subscribe("orders", Object.create({ group: "inherited" }));
  assert.equal((await mesh.groups.get("orders", "inherited")).members, 1);
  await orders.close();
});

test("a number, or a name that is none, in place of options is told the right form", async (t) => {
  const { mesh } = await room(t);
  await mesh.publish("orders", "x");
  const orders = await mesh.subscribe("orders", { group: "g" });
  const [delivery] = await take(orders, 1);
  const calls = [
    [() => delivery.nack(5000), /nack\(\{ delayMs: 5000 \}\)/],
    [() => delivery.nack({ delay: 5000 }), /delay is no option.*delayMs/],
    [() => delivery.nackConfirmed(5000), /nackConfirmed/],
    [() => delivery.nack({ delayMs: -1 }), /delayMs.*milliseconds/],
    [() => delivery.reject(5), /neither text nor an Error/],
    [() => delivery.rejectConfirmed({}), /neither text nor an Error/],
    [() => delivery.ackConfirmed(5), /ackConfirmed\(\{ signal \}\)/],
    [() => nackAfter(-1), /milliseconds/],
    [() => reject(5), /neither text nor an Error/],
    [() => mesh.drain(5000), /drain\(\{ timeoutMs: 5000 \}\)/],
    [() => mesh.drain({ timeoutMs: -1 }), /timeoutMs.*milliseconds/],
    [() => mesh.close(5000), /close\(\{ timeoutMs: 5000 \}\)/],
    [() => mesh.close({ timeout: 5000 }), /timeout is no option.*timeoutMs/],
    [() => orders.batch(10, 1000), /batch\(most, \{ timeoutMs: 1000 \}\)/],
    [() => orders.batch(10, { timeoutMs: -1 }), /timeoutMs.*milliseconds/],
    [() => orders.next(5), /next\(\{ signal \}\)/],
    [() => mesh.flush(5), /flush\(\{ signal \}\)/],
    [() => mesh.publishBatch("orders", ["x"], 5), /publishBatch/],
    [() => mesh.publish("orders", "x", { deliverAfterMs: -1 }), /deliverAfterMs.*milliseconds/],
    [() => mesh.publish("orders", "x", { expiresInMs: -1 }), /expiresInMs.*milliseconds/],
    [() => mesh.publish("orders", "x", { deliverAt: new Date(NaN) }), /deliverAt.*Date/],
    [() => mesh.publish("orders", "x", { timeoutMs: 5 }), /AbortSignal\.timeout/],
    [() => mesh.request("orders", "x", { timeoutMs: -1 }), /timeoutMs: -1 is not a whole number of milliseconds/],
    [() => onLog(() => {}, "debug"), /onLog\(listener, \{ level: "debug" \}\)/],
  ];
  for (const signal of [{}, 5, "x", new AbortController(), null]) {
    calls.push([() => mesh.publish("orders", "x", { signal }), /AbortSignal/], [() => mesh.publishStart("orders", "x", { signal }), /AbortSignal/]);
    calls.push([() => mesh.subscribe("orders", { signal }), /AbortSignal/], [() => mesh.consume("orders", { signal }, () => {}), /AbortSignal/]);
    calls.push([() => mesh.request("orders", "x", { signal }), /AbortSignal/], [() => mesh.requestStream("orders", "x", { signal }), /AbortSignal/]);
    calls.push([() => mesh.flush({ signal }), /AbortSignal/], [() => mesh.close({ signal }), /AbortSignal/], [() => mesh.serve("orders", { signal }, () => {}), /AbortSignal/]);
    calls.push([() => orders.next({ signal }), /AbortSignal/], [() => orders.batch(1, { signal }), /AbortSignal/], [() => delivery.ackConfirmed({ signal }), /AbortSignal/]);
    calls.push([() => mesh.topics.get("orders", { signal }), /AbortSignal/], [() => connect({ url: "tcp://127.0.0.1:1", signal }), /AbortSignal/]);
  }
  for (const [call, text] of calls) await refused(call, text);
  assert.ok(!delivery.settled && mesh.state === "connected");
  await delivery.ackConfirmed();
  assert.equal((await mesh.topics.get("orders")).events, 1);
});

test("an option that a call does not have is told before what is wrong with its value", async (t) => {
  const { mesh, gateway } = await room(t);
  const handler = () => {};
  for (const odd of [{}, () => {}, [1], null, new Date()]) {
    await refused(() => mesh.subscribe("orders", { handler: odd }), /handler is no option of subscribe; those are ackWaitMs, .*signal/);
    await refused(() => mesh.consume("orders", { onMessage: odd }, handler), /onMessage is no option of consume; those are concurrency, /);
    await refused(() => connect({ url: gateway.url, options: odd }), /options is no option of connect; those are connectTimeoutMs, /);
    await refused(() => mesh.subscribe("orders", { group: odd }), /option group: .* is neither text, number nor boolean/);
  }
  await refused(() => mesh.subscribe("orders", { onDelivery: handler }), /onDelivery is no option of subscribe/);
  await refused(() => mesh.serve("orders", { start: { position: 1 } }, handler), /start is no option of serve/);
  await refused(() => mesh.subscribe("orders", { concurrency: 3 }), /concurrency is no option of subscribe; those are ackWaitMs, backoffMaxMs/);
  await refused(() => mesh.subscribe("orders", { ackWait: 5 }), /ackWait is no option of subscribe; those are ackWaitMs/);
  await refused(() => connect({ tokn: "x" }), /tokn is no option of connect; those are tlsCertificate/);
});

test("the options that errors list are those of the page, for each call", async (t) => {
  const { mesh, gateway } = await room(t);
  const page = await fs.readFile(new URL("../node.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `(\w+)` \| (`\w+`(?:, `\w+`)*) \|/gm)].map(([, name, calls]) => [name, calls.match(/\w+/g)]);
  const calls = {
    connect: (options) => connect({ url: gateway.url, ...options }), subscribe: (options) => mesh.subscribe("t", options),
    consume: (options) => mesh.consume("t", options, () => {}), serve: (options) => mesh.serve("t", options, () => {}),
  };
  const own = ["onDelivery", "onPublish", "onSettle", "onState", "signal"];
  for (const [call, begin] of Object.entries(calls)) {
    const wanted = rows.filter(([, of]) => of.includes(call)).map(([name]) => name).sort();
    // This half lists them where a value is no text, the core otherwise.
    for (const value of [{}, 1]) {
      const { message } = await begin({ nonsense: value }).catch((error) => error);
      const listed = message.match(/those are (.*) \(INVALID\)/)[1].split(", ").filter((name) => !own.includes(name));
      assert.deepEqual(listed.sort(), wanted, call);
    }
  }
});

test("errors have the names and units of Node", async (t) => {
  const { mesh, gateway } = await room(t);
  const handler = () => {};
  const calls = [
    [() => mesh.subscribe("orders", { group: "g", ackWaitMs: 1 }), /ackWaitMs is 1; from 1000 to 43200000 is accepted/],
    [() => mesh.subscribe("orders", { group: "g", backoffMinMs: 10_000, backoffMaxMs: 1 }), /backoffMinMs 10000 is more than backoffMaxMs 1 /],
    [() => mesh.consume("orders", { concurrency: 0 }, handler), /: concurrency is 0; from 1 to/],
    [() => mesh.request("orders", "x", { timeoutMs: 0 }), /timeoutMs is 0; from 1 to 43200000/],
    [() => mesh.request("orders", "x", { timeoutMs: "soon" }), /option timeoutMs: "soon" is not a duration; write a number of milliseconds/],
    [() => connect({ url: gateway.url, publishWindowEvents: 0 }), /publishWindowEvents is 0/],
    [() => connect({ url: gateway.url, offlineFile: "/nowhere" }), /option offlineFile .* publishOffline=buffer/],
    [() => mesh.publish("orders", "x", { key: "" }), /attribute key is empty/],
    [() => mesh.publish("orders", "x", { key: 5 }), /: key: 5 is not text/],
    [() => mesh.publish("orders", "x", { deliverAt: new Date(), deliverAfterMs: 1 }), /deliverAt: is said beside deliverAfterMs/],
    [() => mesh.request("orders", "x", { deliverAfterMs: 5 }), /^request: .*deliverAfterMs and expiresInMs are for events that are published/],
    [() => mesh.topics.create("orders", { keepMs: 1 }), /no argument "keepMs"; there is topic, durability, retentionMs/],
    [() => mesh.topics.create("orders", { retentionMs: -1 }), /argument retentionMs is -1/],
  ];
  for (const ms of [-1, 1.5, NaN, 1e300]) calls.push([() => connect({ url: gateway.url, connectTimeoutMs: ms }), /option connectTimeoutMs: .* is not a whole number of milliseconds/]);
  for (const [call, text] of calls) await refused(call, text);
  // What a program named is told as it is.
  await assert.rejects(mesh.groups.get("max_age", "ack_wait"), { code: "TOPIC_NOT_FOUND", message: /max_age/ });
});

test("a URL object is where a gateway is, and what is no list of events is told", async (t) => {
  const { mesh, gateway } = await room(t);
  for (const options of [new URL(gateway.url), { url: new URL(gateway.url) }]) {
    const other = await connect(options);
    assert.equal(other.state, "connected");
    await other.close();
  }
  for (const odd of [5, { a: 1 }, null, undefined]) await refused(() => mesh.publishBatch("orders", odd), /the events are .*publishBatch\(topic, \[/);
});

test("data that JSON would make nothing of is refused with what to do", async (t) => {
  const { mesh } = await room(t);
  const odd = [
    [Promise.resolve({ id: 1 }), /await/], [(async () => ({}))(), /await/], [new (class { then() {} })(), /await/], [new Map([["id", 1]]), /Object\.fromEntries/],
    [new Set([1]), /\[\.\.\.set\]/], [(function* () {})(), /generator/], [new Error("x"), /error\.message/],
    [new DOMException("x"), /error\.message/], [new Blob(["x"]), /arrayBuffer\(\)/], [new URLSearchParams("a=1"), /Object\.fromEntries/], [/x/, /String\(/],
    [new WeakMap(), /WeakMap.*JSON would make \{\}/], [new WeakSet(), /WeakSet/], [new FormData(), /FormData/], [new Headers(), /Headers/], [[1].values(), /an Array Iterator/],
    [new ReadableStream(), /ReadableStream/], [NaN, /NaN.*null/], [-Infinity, /-Infinity.*null/], [new Date(NaN), /Invalid Date.*null/], [new Number(NaN), /NaN/],
  ];
  for (const [data, text] of odd) {
    await refused(() => mesh.publish("orders", data), text);
    await refused(() => mesh.publishStart("orders", data), text);
    await refused(() => mesh.request("orders", data), text);
    assert.ok(says(text)((await mesh.publishBatch("orders", [data]))[0].error));
    assert.ok(says(text)((await mesh.publishBatch("orders", [event(data)]))[0].error));
  }
  // What says how it is written is written so.
  class Money extends Map {
    toJSON() {
      return { cents: 5 };
    }
  }
  await mesh.publish("orders", new Money());
  await mesh.publish("orders", new (class Order { id = 1; })());
  // What is inside is JSON's own affair.
  for (const data of [{}, [], null, { n: NaN, at: new Date(NaN), of: /x/ }, new (class Empty {})()]) await mesh.publish("orders", data);
  const came = await take(await mesh.subscribe("orders", { group: "g" }), 7);
  assert.deepEqual(came.map((delivery) => delivery.json()), [{ cents: 5 }, { id: 1 }, {}, [], null, { n: null, at: null, of: {} }, {}]);
});

test("half of a surrogate pair in a text is refused where it would be another text", async (t) => {
  const { mesh } = await room(t);
  await mesh.publish("orders", "x");
  const orders = await mesh.subscribe("orders", { group: "g" });
  const [delivery] = await take(orders, 1);
  for (const half of ["\ud800", "half \udfff", `${"long ".repeat(50)}\ud83e`]) {
    const calls = [
      () => mesh.publish("orders", half), () => mesh.publish("orders", "x", { id: half }), () => mesh.publish("orders", "x", { key: half }),
      () => mesh.publish("orders", "x", { attributes: { note: half } }), () => mesh.publishStart("orders", half), () => mesh.publish(half, "x"),
      () => mesh.subscribe(half), () => mesh.subscribe("orders", { group: half }), () => mesh.request("orders", half), () => delivery.reject(half),
      () => connect({ url: "tcp://127.0.0.1:1", name: half }),
    ];
    for (const call of calls) await refused(call, /surrogate/);
  }
  // JSON has a way to write it, and whole pairs are fine.
  await mesh.publish("orders", { half: "\ud800" });
  await mesh.publish("orders", "🦀");
  const [json, text] = await take(orders, 2);
  assert.deepEqual([json.json(), text.text()], [{ half: "\ud800" }, "🦀"]);
  // What is said of errors is said as well as it can be.
  delivery.reject(new Error("half \ud800"));
  const stop = new AbortController();
  await mesh.publishBatch("others", ["half", "bare", "last"]);
  await mesh.consume("others", { group: "g", maxFailures: 1, signal: stop.signal }, (message) => {
    if (message.text() === "last") stop.abort();
    else throw message.text() === "bare" ? { [inspect.custom]: () => assert.fail() } : new Error("half \ud800");
  });
  const errors = async (topic) => (await mesh.deadLetters.list(topic).all()).map((letter) => letter.error);
  assert.deepEqual(await errors("orders"), ["half \ufffd"]);
  const [replaced, bare] = await errors("others");
  assert.ok(replaced.includes("half \ufffd") && bare.includes("whose text cannot be made"));
});

test("many waits on one signal are one listener, and none when they are over", async (t) => {
  const { mesh, gateway } = await room(t);
  const warned = [];
  const warn = (warning) => warned.push(warning.name);
  process.on("warning", warn);
  t.after(() => process.off("warning", warn));
  const abort = new AbortController();
  const { signal } = abort;
  let [listeners, most] = [0, 0];
  for (const [name, by] of [["addEventListener", 1], ["removeEventListener", -1]]) {
    const own = signal[name];
    Object.defineProperty(signal, name, {
      value(...args) {
        listeners += by;
        most = Math.max(most, listeners);
        return own.apply(this, args);
      },
    });
  }
  const orders = await mesh.subscribe("orders", { group: "g", signal });
  await Promise.all(Array.from({ length: 100 }, (_, n) => mesh.publish("orders", String(n), { signal })));
  assert.deepEqual([listeners, most], [0, 1]);
  await take(orders, 100);
  const waits = Array.from({ length: 50 }, (_, n) => (n % 2 ? orders.next({ signal }) : mesh.consume(`t${n}`, { signal }, () => {})));
  const settled = Promise.allSettled(waits);
  assert.equal(listeners, 1);
  abort.abort(new Error("enough"));
  const ends = await settled;
  assert.ok(ends.every((end, n) => (n % 2 ? end.reason?.message === "enough" : end.status === "fulfilled")));
  await new Promise(setImmediate);
  assert.deepEqual(warned, []);
  const { err } = await program(
    `import { connect } from "meshwire"; const mesh = await connect(process.argv[2]); const { signal } = new AbortController();
     await Promise.all(Array.from({ length: 100 }, () => mesh.publish("t", "x", { signal }))); await mesh.close();`,
    { args: [gateway.url] },
  );
  assert.equal(err, "");
});
