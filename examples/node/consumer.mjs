// Takes five orders for the group `billing`, acks each, and ends.
//
//     node consumer.mjs mesh://127.0.0.1:7400

import { connect } from "meshwire";

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);

// A new group starts at the earliest event of its topic.
let left = 5;
for await (const delivery of await mesh.subscribe("orders", { group: "billing" })) {
  const { item, customer } = delivery.json();
  console.log(`bill ${customer} for item ${item}`);
  // Waits for the gateway's word; `ack` would not.
  await delivery.ackConfirmed();
  if (--left === 0) break;
}
await mesh.close();
