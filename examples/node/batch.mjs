// Publishes a hundred readings at once, one of which is wrong, and takes them in batches.
//
//     node batch.mjs mesh://127.0.0.1:7400

import { connect, event } from "meshwire";

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);

// They share writes of the log. Each has a result of its own, in their order.
const readings = Array.from({ length: 100 }, (_, n) => event(n + 1, { type: "reading" }));
readings[41] = event("x".repeat(5 << 20), { type: "reading" });
const results = await mesh.publishBatch("readings", readings);
for (const { ok, error } of results) if (!ok) console.log(`one is refused: ${error.code}`);
console.log(`${results.filter(({ ok }) => ok).length} are kept`);

const subscription = await mesh.subscribe("readings", { group: "archive" });
let [rows, sum] = [0, 0];
while (rows < 99) {
  // One is waited for; what else is at hand comes with it, up to a batch's size.
  const batch = await subscription.batch(32);
  for (const delivery of batch) sum += delivery.json();
  // The batch is done: here it would be written. Acks of neighbours are one word.
  rows += batch.length;
  for (const delivery of batch) delivery.ack();
}
console.log(`archived ${rows} readings, their sum is ${sum}`);
await mesh.close();
