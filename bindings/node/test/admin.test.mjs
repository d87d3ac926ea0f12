import assert from "node:assert/strict";
import { test } from "node:test";
import { coded, room, take } from "./rig.mjs";

test("topics are made, shown, changed, listed and deleted", async (t) => {
  const { mesh } = await room(t);
  const made = await mesh.topics.create("orders", { durability: "memory", retentionMs: 60_000, retentionBytes: 65_536n, lagging: "block" });
  assert.deepEqual([made.name, made.retentionMs, made.lagging, made.next], ["orders", 60_000, "block", "1"]);
  assert.equal((await mesh.topics.update("orders", { retentionMs: 70_000 })).retentionMs, 70_000);
  assert.equal((await mesh.topics.get("orders")).retentionBytes, 65_536);
  const names = [];
  for await (const topic of mesh.topics.list()) names.push(topic.name);
  assert.deepEqual(names, ["orders"]);
  await mesh.topics.delete("orders", { force: true });
  await assert.rejects(mesh.topics.get("orders"), coded("TOPIC_NOT_FOUND"));
  await assert.rejects(mesh.topics.create("orders", { retention: 1 }), coded("INVALID"));
  await assert.rejects(mesh.topics.create(7), coded("INVALID"));
});

test("groups and their members are made, shown, moved and deleted", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", ["a", "b", "c"]);
  const made = await mesh.groups.create("orders", "g", { start: { position: "2" }, maxFailures: 3 });
  assert.deepEqual([made.settledThrough, made.maxFailures, made.mode], ["1", 3, "cluster"]);
  assert.equal((await mesh.groups.seek("orders", "g", "latest")).settledThrough, "3");
  assert.equal((await mesh.groups.seek("orders", "g", new Date(0))).settledThrough, "0");
  assert.equal((await mesh.groups.update("orders", "g", { ackWaitMs: 5000 })).ackWaitMs, 5000);
  await mesh.groups.create("orders", "caches", { member: "a", mode: "broadcast" });
  assert.deepEqual((await mesh.groups.list("orders").all()).map((group) => group.name), ["caches", "g"]);
  assert.equal((await mesh.groups.get("orders", "caches")).durableMembers[0].name, "a");
  assert.equal((await mesh.groups.get("orders", "caches", { member: "a" })).lag, 3);
  await mesh.groups.deleteMember("orders", "caches", "a");
  assert.equal((await mesh.groups.delete("orders", "g")).name, "g");
  await assert.rejects(mesh.groups.get("orders", "g"), coded("NOT_FOUND"));
});

test("dead letters are listed by pages, shown, given back and removed", async (t) => {
  const { mesh } = await room(t);
  await mesh.publishBatch("orders", Array.from({ length: 5 }, (_, n) => ({ n })));
  const orders = await mesh.subscribe("orders", { group: "g" });
  for (const delivery of await take(orders, 5)) await delivery.rejectConfirmed("no");
  const letters = [];
  for await (const letter of mesh.deadLetters.list("orders", { group: "g", events: true, limit: 2 })) letters.push(letter);
  assert.deepEqual(letters.map((letter) => letter.event.data), Array.from({ length: 5 }, (_, n) => ({ n })));
  const letter = await mesh.deadLetters.get("orders", 1, { group: "g" });
  assert.deepEqual([letter.number, letter.position, letter.error, letter.reason], [1, "1", "no", "rejected"]);
  assert.deepEqual(await mesh.deadLetters.purge("orders", { group: "g", numbers: [2] }), { purged: 1 });
  assert.deepEqual(await mesh.deadLetters.redrive("orders", { group: "g", numbers: ["1", 9] }), { redriven: 1, left: {}, notThere: 1 });
  await (await take(orders, 1))[0].ackConfirmed();
  assert.equal((await mesh.deadLetters.redrive("orders", { group: "g", all: true })).redriven, 3);
  assert.deepEqual((await take(orders, 3)).map((d) => d.json().n), [2, 3, 4]);
  await assert.rejects(mesh.deadLetters.redrive("orders", { group: "g" }), coded("INVALID"));
});

test("limits are shown and changed", async (t) => {
  const { mesh } = await room(t);
  assert.equal((await mesh.limits.set({ publishRate: 5000 })).publishRate, 5000);
  assert.equal((await mesh.limits.get()).publishRate, 5000);
});
