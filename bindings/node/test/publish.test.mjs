import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { event, MeshwireError } from "meshwire";
import { coded, room, take } from "./rig.mjs";

test("a publish is answered with its position, as a string", async (t) => {
  const { mesh } = await room(t);
  assert.deepEqual(await mesh.publish("orders", { id: 1 }), { position: "1", duplicate: false });
  assert.deepEqual(await mesh.publish("orders", "x", { id: "a", source: "/s" }), { position: "2", duplicate: false });
  assert.deepEqual(await mesh.publish("orders", "x", { id: "a", source: "/s" }), { position: "2", duplicate: true });
});

test("many publishes at once keep their order and each has its receipt", async (t) => {
  const { mesh } = await room(t);
  const receipts = await Promise.all(Array.from({ length: 20_000 }, (_, n) => mesh.publish("orders", String(n))));
  assert.deepEqual(receipts.map((receipt) => receipt.position), receipts.map((_, n) => String(n + 1)));
  const orders = await mesh.subscribe("orders", { group: "g" });
  let n = 0;
  for await (const delivery of orders) {
    assert.equal(delivery.text(), String(n));
    delivery.ack();
    if (++n === 20_000) break;
  }
  await mesh.flush();
  assert.equal((await mesh.groups.get("orders", "g")).settledThrough, "20000");
});

test("what goes in comes out: bytes, text, JSON, nothing, and attributes of every type", async (t) => {
  const { mesh } = await room(t);
  const orders = await mesh.subscribe("orders", { group: "g" });
  const bytes = Uint8Array.from({ length: 256 }, (_, n) => n);
  const large = new Uint8Array(2 << 20).fill(7);
  const inputs = [bytes, new Uint8Array(0), large, "zażółć 🦀 \0 x", "", { a: [1, null, "ü"] }, [1], 5, true, null, undefined, bytes.buffer, new Uint16Array([1, 2])];
  for (const input of inputs) await mesh.publish("orders", input);
  const came = await take(orders, inputs.length);
  assert.deepEqual(came.map((d) => d.datacontenttype), [
    ...Array(3).fill("application/octet-stream"), ...Array(2).fill("text/plain"), ...Array(5).fill("application/json"), undefined,
    ...Array(2).fill("application/octet-stream"),
  ]);
  assert.deepEqual(came[0].data, bytes);
  assert.equal(came[1].data.length, 0);
  assert.deepEqual(came[2].data, large);
  assert.equal(came[3].text(), inputs[3]);
  assert.equal(came[4].text(), "");
  assert.deepEqual(came.slice(5, 10).map((d) => d.json()), inputs.slice(5, 10));
  assert.equal(came[10].dataKind, "absent");
  assert.deepEqual(came[11].data, bytes);
  assert.equal(came[12].data.length, 4);
  const time = new Date("2026-11-28T06:30:00.250Z");
  const attributes = { count: -7, most: 2147483647, last: true, note: "x", raw: bytes, due: time };
  await mesh.publish("orders", "x", {
    id: "é", source: "/s", type: "t", subject: "s", key: "k", time, dataschema: "https://x/y", datacontenttype: "text/csv", attributes,
  });
  const [all] = await take(orders, 1);
  assert.deepEqual(
    [all.id, all.source, all.type, all.subject, all.key, all.time, all.dataschema, all.datacontenttype, all.specversion, all.topic],
    ["é", "/s", "t", "s", "k", "2026-11-28T06:30:00.250Z", "https://x/y", "text/csv", "1.0", "orders"],
  );
  const { count, most, last, note, raw, due } = all.attributes;
  assert.deepEqual([count, most, last, note, due], [-7, 2147483647, true, "x", "2026-11-28T06:30:00.250Z"]);
  assert.deepEqual(raw, bytes);
  assert.ok(Object.isFrozen(all.attributes));
  assert.ok(Math.abs(all.stored - Date.now()) < 60_000);
});

test("an event that is wrong is a typed error, and the others go on", async (t) => {
  const { mesh } = await room(t);
  const big = mesh.publish("orders", { n: 1n });
  await assert.rejects(big, (error) => coded("INVALID", { operation: "publish" })(error) && /BigInt.*positions/.test(error.message));
  const cycle = {};
  cycle.cycle = cycle;
  const wrong = [
    ["orders", cycle], ["orders", () => {}], ["orders", Symbol("x")], ["no topic!", "x"], ["", "x"], [7, "x"], [undefined, "x"], ["a\0b", "x"],
    ["orders", "x", { attributes: { Bad: "x" } }], ["orders", "x", { attributes: { n: 1.5 } }], ["orders", "x", { attributes: { n: 2 ** 31 } }],
    ["orders", "x", { attributes: { n: 1n } }], ["orders", "x", { attributes: { n: {} } }], ["orders", "x", { attributes: { id: "x" } }],
    ["orders", "x", { time: "yesterday" }], ["orders", "x", { time: new Date(NaN) }], ["orders", "x", { id: 7 }], ["orders", "x", { nothing: 1 }],
    ["orders", "x", 7], ["orders", "x", { deliverAfterMs: "soon" }], ["orders", "x", { deliverAt: 5 }],
  ];
  for (const [topic, data, options] of wrong) {
    await assert.rejects(mesh.publish(topic, data, options), (error) => error instanceof MeshwireError && error.code === "INVALID", String(topic));
  }
  await assert.rejects(mesh.publish("orders", new Uint8Array(9 << 20)), coded("TOO_LARGE"));
  await assert.rejects(mesh.publish("orders", "x", { type: "t".repeat(1 << 20) }), coded("TOO_LARGE"));
  assert.equal((await mesh.publish("orders", "fine")).position, "1");
});

test("what is wrong with an event names the call that the event was made for", async (t) => {
  const { mesh } = await room(t);
  const ends = new AbortController();
  const refusals = [];
  const serving = mesh.serve("quote", { signal: ends.signal }, async (_, { send }) => {
    for (const wrong of [5n, event("x", { attributes: { Bad: "x" } })]) {
      await assert.rejects(async () => send(wrong), (error) => refusals.push(error.operation) > 0);
    }
    await send("fine");
  });
  await mesh.request("quote", "x", { retry: true });
  ends.abort();
  await serving;
  assert.deepEqual(refusals, ["reply", "reply"]);
  // The first is found out by this half, the second by the native one.
  for (const attributes of [{ n: 1.5 }, { Bad: "x" }]) {
    const says = (operation) => (error) => coded("INVALID", { operation })(error) && error.message.startsWith(`${operation}: `);
    await assert.rejects(mesh.publish("orders", "x", { attributes }), says("publish"));
    await assert.rejects(mesh.publishStart("orders", "x", { attributes }), says("publish"));
    await assert.rejects(mesh.request("orders", "x", { attributes }), says("request"));
    await assert.rejects(mesh.requestStream("orders", "x", { attributes }), says("request_stream"));
    const [result] = await mesh.publishBatch("orders", [event("x", { attributes })]);
    assert.ok(says("publish")(result.error));
  }
});

test("code of the program that runs while an event is read may publish, settle and fail", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("acked", ["a", "b"]);
  const acked = await take(await mesh.subscribe("acked", { group: "g" }), 2);
  const inner = [];
  const publish = (text) => inner.push(mesh.publish("inner", text));
  const sends = () => (inner.push(mesh.flush()), acked.pop().ack());
  const said = {
    get subject() {
      publish("by an option");
      return "s";
    },
    attributes: {
      get note() {
        publish("by an attribute");
        sends();
        return "n";
      },
    },
  };
  const outer = [
    mesh.publish("outer", "first"),
    mesh.publish("outer", { toJSON: () => (publish("by the data"), sends(), { a: 1 }) }),
    mesh.publish("outer", "said", said),
    mesh.publish("outer", { toJSON: () => mesh.publish("outer", { toJSON: () => 5 }) && 6 }),
  ];
  const refuses = (more) => assert.rejects(mesh.publish("outer", "x", more), coded("INVALID"));
  const wrong = () => (publish("by what fails"), "text of it");
  await refuses({ attributes: { bad: { [inspect.custom]: wrong } } });
  await refuses({ get subject() { throw wrong(); } });
  await assert.rejects(mesh.publish("outer", { toJSON: () => { throw new Error(wrong()); } }), coded("INVALID"));
  assert.deepEqual((await Promise.all(outer)).map((receipt) => receipt.position), ["1", "2", "3", "5"]);
  await Promise.all(inner);
  const came = await take(await mesh.subscribe("outer", { group: "g" }), 5);
  assert.deepEqual(came.map((one) => one.text()), ["first", '{"a":1}', "said", "5", "6"]);
  assert.deepEqual([came[2].subject, came[2].attributes.note], ["s", "n"]);
  const others = await take(await mesh.subscribe("inner", { group: "g" }), 6);
  const texts = ["by the data", "by an option", "by an attribute", ...Array(3).fill("by what fails")];
  assert.deepEqual(others.map((one) => one.text()), texts);
  assert.equal((await mesh.groups.get("acked", "g")).lag, 0);
});

test("a batch has one result for each event, in order, and never fails for one of them", async (t) => {
  const { mesh } = await room(t);
  const results = await mesh.publishBatch("orders", ["a", { b: 1n }, event("c", { id: "c" }), new Uint8Array(9 << 20), "e"]);
  assert.deepEqual(results.map((result) => (result.ok ? result.receipt.position : result.error.code)), ["1", "INVALID", "2", "TOO_LARGE", "3"]);
  assert.ok(results[1].error instanceof MeshwireError && results[3].error instanceof MeshwireError);
  assert.deepEqual(await mesh.publishBatch("orders", []), []);
  for (const one of [7, "abc", Uint8Array.of(1, 2)]) await assert.rejects(mesh.publishBatch("orders", one), coded("INVALID", { operation: "publish" }));
});

test("a publish can be started, and its receipt asked for later", async (t) => {
  const { mesh } = await room(t);
  const pending = await mesh.publishStart("orders", "x");
  assert.deepEqual(await pending.receipt(), { position: "1", duplicate: false });
  assert.deepEqual(await pending.receipt(), { position: "1", duplicate: false });
  await mesh.publishStart("orders", "y");
  await mesh.flush();
  await assert.rejects(mesh.publishStart("no topic!", "x"), coded("INVALID"));
});

test("publishes that are started together keep their order, among others too", async (t) => {
  const { mesh } = await room(t);
  const begun = [];
  for (let n = 0; n < 300; n += 3) {
    begun.push(mesh.publishStart("orders", String(n)), mesh.publish("orders", String(n + 1)), mesh.publishStart("orders", String(n + 2)));
  }
  const receipts = await Promise.all(begun.map(async (one) => (await one).receipt?.() ?? one));
  assert.deepEqual(receipts.map((receipt) => receipt.position), receipts.map((_, n) => String(n + 1)));
  const orders = await take(await mesh.subscribe("orders", { group: "g", prefetchEvents: 300 }), 300);
  assert.deepEqual(orders.map((one) => one.text()), orders.map((_, n) => String(n)));
});

test("events are delivered when they are to be, and not when they have expired", async (t) => {
  const { mesh } = await room(t);
  const orders = await mesh.subscribe("orders", { group: "g" });
  await mesh.publish("orders", "later", { deliverAfterMs: 300 });
  await mesh.publish("orders", "then", { deliverAt: new Date(Date.now() + 150) });
  await mesh.publish("orders", "now", { expiresInMs: 60_000 });
  const came = await take(orders, 3);
  assert.deepEqual(came.map((d) => d.text()), ["now", "then", "later"]);
  assert.ok(came[0].expiresAt > new Date() && came[1].expiresAt === undefined);
});

test("objects of CloudEvents go in by their shape, and come out as such", async (t) => {
  const { mesh } = await room(t);
  const orders = await mesh.subscribe("orders", { group: "g" });
  class CloudEvent {
    constructor(fields) {
      Object.assign(this, fields);
    }
    toString() {
      return "not this";
    }
  }
  const time = "2026-11-28T06:30:00.250Z";
  await mesh.publish("orders", new CloudEvent({ specversion: "1.0", id: "1", source: "/s", type: "t", time, traceparent: "00-1", partitionkey: "k", data: { a: 1 } }));
  await mesh.publish("orders", { specversion: "1.0", id: "2", source: "/s", type: "t", data_base64: "AP8=" }, { key: "k" });
  const [one, two] = await take(orders, 2);
  assert.deepEqual(one.toCloudEvent(), {
    specversion: "1.0", id: "1", source: "/s", type: "t", time, traceparent: "00-1", partitionkey: "k", datacontenttype: "application/json", data: { a: 1 },
  });
  assert.equal(one.key, "k");
  assert.deepEqual([...two.data], [0, 255]);
  assert.equal(two.toCloudEvent().data_base64, "AP8=");
  await mesh.publish("others", one);
  const others = await mesh.subscribe("others", { group: "g" });
  const [again] = await take(others, 1);
  assert.deepEqual(again.toCloudEvent(), one.toCloudEvent());
  await assert.rejects(mesh.publish("orders", { specversion: "0.3", id: "1", source: "/s", type: "t" }), coded("INVALID"));
});

test("the memory of what was handed in may be changed at once", async (t) => {
  const { mesh } = await room(t);
  const bytes = Uint8Array.of(1, 2, 3);
  const published = mesh.publish("orders", bytes);
  bytes.fill(9);
  await published;
  const orders = await mesh.subscribe("orders", { group: "g" });
  const [delivery] = await take(orders, 1);
  assert.deepEqual([...delivery.data], [1, 2, 3]);
});
