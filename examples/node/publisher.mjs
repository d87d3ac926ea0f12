// Publishes five orders and prints their receipts.
//
//     node publisher.mjs mesh://127.0.0.1:7400

import { connect } from "meshwire";

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);

// All are on their way at once, so that they share a write; awaited afterwards.
const customers = ["ada", "ben", "ada", "cy", "ben"];
const receipts = customers.map((customer, n) =>
  mesh.publish("orders", { item: n + 1, customer }, { type: "order.created", key: customer }),
);
for (const [n, receipt] of receipts.entries()) {
  await receipt;
  console.log(`order ${n + 1} is kept`);
}
await mesh.close();
