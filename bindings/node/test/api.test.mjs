// What the types say is there, is there, and nothing else: `api.txt` is what they say, an item a line.

import assert from "node:assert/strict";
import fs from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as imported from "meshwire";
import * as testing from "meshwire/testing";
import { room, take } from "./rig.mjs";

const items = fs
  .readFileSync(new URL("../api.txt", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line && !line.startsWith("#"))
  .map((line) => line.split(" | "));
const required = createRequire(import.meta.url)("meshwire");

/** Names of what exists when a program runs, below a prefix. */
const said = (prefix) =>
  items
    .filter(([name, signature]) => name.startsWith(prefix) && !name.slice(prefix.length).includes(".") && /^(class|function|const) /.test(signature))
    .map(([name]) => name.slice(prefix.length))
    .sort();

/** Names of the members of a class or an interface. */
const members = (type, wanted = () => true) => {
  const found = items.filter(([name, signature]) => name.startsWith(`${type}.`) && wanted(signature));
  return [...new Set(found.map(([name]) => name.slice(type.length + 1)))].sort();
};

const isStatic = (signature) => signature.startsWith("static ");
const wellKnown = (symbol) => Object.getOwnPropertyNames(Symbol).find((name) => Symbol[name] === symbol);
const shown = (key) => (typeof key === "symbol" ? `[Symbol.${wellKnown(key)}]` : key);

test("the package exports what its types declare, by import and by require", () => {
  assert.ok(items.length > 300);
  assert.deepEqual(Object.keys(imported).sort(), said(""));
  assert.deepEqual(Object.keys(required).sort(), said(""));
  assert.deepEqual(Object.keys(testing).sort(), said("testing."));
});

test("objects have the members that their types declare, and no others", async (t) => {
  const { mesh, gateway } = await room(t);
  const orders = await mesh.subscribe("orders", { group: "g" });
  await mesh.publish("orders", { id: 1 });
  const [delivery] = await take(orders, 1);
  const pending = await mesh.publishStart("orders", {});
  await pending.receipt();
  const error = await mesh.publish("no topic", {}).catch((error) => error);
  let request;
  let handled;
  const stop = new AbortController();
  const answering = mesh.serve("quote", { signal: stop.signal }, (came) => ((request = came), {})).catch(() => {});
  const consuming = mesh.consume("orders", { group: "h", signal: stop.signal }, (came) => void (handled = came)).catch(() => {});
  const event = await ask(mesh);
  const replies = await mesh.requestStream("quote", {});
  while (handled === undefined) await new Promise(setImmediate);
  const objects = { mesh, orders, delivery, pending, error, request, handled, event, replies, gateway };
  const prefix = (object) => (object === gateway ? "testing." : "");
  for (const object of Object.values(objects)) {
    const type = object.constructor;
    // Of the class itself, as its types tell what it inherits elsewhere.
    const own = Reflect.ownKeys(type.prototype).filter((key) => key !== "constructor");
    const public_ = new Set([...own, ...Object.keys(object)].map(shown));
    const declared = members(prefix(object) + type.name, (signature) => !isStatic(signature));
    for (const name of declared) {
      const key = name.startsWith("[Symbol.") ? Symbol[name.slice(8, -1)] : name;
      // `Symbol.asyncDispose` is not in every Node, and a cause not in every error.
      if (key !== undefined && name !== "cause") assert.ok(key in object, `${type.name}.${name} is declared, and not there`);
    }
    for (const name of public_) assert.ok(declared.includes(name), `${type.name}.${name} is there, and not declared`);
  }
  stop.abort();
  await Promise.all([answering, consuming]);
});

/** A reply, once somebody serves. */
async function ask(mesh) {
  for (;;) {
    const came = await mesh.request("quote", {}).catch((error) => error);
    if (came.code !== "NO_RESPONDERS") return came;
  }
}

test("counts and the rooms of administration have what their types declare", async (t) => {
  const { mesh } = await room(t);
  assert.deepEqual(Object.keys(mesh.stats()).sort(), members("Stats"));
  for (const [type, object] of Object.entries({ Topics: mesh.topics, Groups: mesh.groups, DeadLetters: mesh.deadLetters, Limits: mesh.limits })) {
    assert.deepEqual(Object.keys(object).sort(), members(type));
  }
  await mesh.subscribe("orders", { group: "g" });
  const topic = await mesh.topics.get("orders");
  assert.deepEqual(Object.keys({ requests: 0, ...topic }).sort(), members("Topic"));
  const group = await mesh.groups.get("orders", "g");
  assert.deepEqual(Object.keys({ oldestMs: 0, durableMembers: 0, ...group }).sort(), members("Group"));
});
