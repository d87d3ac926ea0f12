// Everything of the API, as a program in TypeScript uses it. It is not run.

import {
  connect, event, MeshwireError, nackAfter, onLog, reject, type BatchResult, type Delivery, type ErrorCode, type Mesh, type Receipt, type State,
} from "meshwire";
import { Gateway } from "meshwire/testing";

interface Order {
  id: number;
}
class BadOrder extends Error {}
declare function bill(order: Order): Promise<void>;
declare function fallback(): void;
declare const rows: Order[];
declare const signal: AbortSignal;

const mesh: Mesh = await connect();
const receipt: Receipt = await mesh.publish("orders", { id: 1 }, { type: "order.created", key: "customer-7" });
const position: string | undefined = receipt.position;
await Promise.all(rows.map((r) => mesh.publish("orders", r)));
const orders = await mesh.subscribe("orders", { group: "billing" });
for await (const d of orders) {
  try {
    await bill(d.json<Order>());
    d.ack();
  } catch (e) {
    e instanceof BadOrder ? d.reject(e.message) : d.nack({ delayMs: 5_000 });
  }
}
await mesh.consume("orders", { group: "billing", concurrency: 8, signal }, async (d) => bill(d.json()));
await mesh.consume("orders", (d) => (d.attempt > 2 ? reject("no") : nackAfter(100)));
try {
  await mesh.request("quote", { sku: 1 }, { timeoutMs: 2_000, signal });
} catch (e) {
  if (e instanceof MeshwireError && e.code === "NO_RESPONDERS") fallback();
  else throw e;
}
const results: BatchResult[] = await mesh.publishBatch("orders", ["a", event({ id: 2 }, { key: "k", attributes: { n: 1, on: true } })]);
for (const result of results) {
  const code: ErrorCode | undefined = result.ok ? undefined : result.error.code;
  console.log(code ?? result.ok);
}
const pending = await mesh.publishStart("orders", new Uint8Array(1), { deliverAfterMs: 5, signal });
console.log((await pending.receipt()).duplicate, position);
const batch: Delivery[] = await orders.batch(10, { timeoutMs: 5 });
await batch[0]?.ackConfirmed({ signal });
const bytes: Uint8Array | undefined = batch[0]?.data;
const replies = await mesh.requestStream("report", "x", { credit: 8 });
for await (const reply of replies) console.log(reply.text(), bytes);
await mesh.serve("quote", { concurrency: 4 }, async (request) => ({ sku: request.json<number>() }));
await mesh.serve("report", async function* (request) {
  yield `for ${request.id}`;
});
await mesh.serve("report", async (_request, replies) => replies.send("x"));
for await (const topic of mesh.topics.list()) console.log(topic.retentionMs);
await mesh.groups.seek("orders", "billing", { position: "7" });
for await (const letter of mesh.deadLetters.list("orders", { group: "billing", events: true })) console.log(letter.event?.id);
await mesh.deadLetters.redrive("orders", { group: "billing", all: true });
await mesh.limits.set({ publishRate: 5 });
const state: State = mesh.state;
console.log(state, mesh.stats().pendingBytes);
const stop = onLog((record) => console.error(record.level, record.text), { level: "warn" });
stop();
const gateway = await Gateway.start({ args: ["--memory"] });
const other = await connect({
  url: gateway.url,
  publishOffline: "buffer",
  onState: (now) => console.log(now),
  onPublish: (topic, draft) => void (draft.attributes["traceparent"] = topic),
  onDelivery: (delivery) => console.log(delivery.position),
  onSettle: (_, how) => console.log(how),
});
await other.flush();
await other.drain({ timeoutMs: 5_000 });
await other.close();
await gateway.stop();
await mesh.close();
{
  await using brief = await connect();
  console.log(brief.state);
}
