// Two subscribers without a group get every event that is published while they are there.
//
//     node publish_subscribe.mjs mesh://127.0.0.1:7400

import { connect } from "meshwire";

/** Prints the next three events under a name. */
async function print(name, prices) {
  let left = 3;
  for await (const delivery of prices) {
    console.log(`${name}: ${delivery.text()}`);
    // Gives the place in the subscription's credit back. Without a group nothing else depends on it.
    delivery.ack();
    if (--left === 0) break;
  }
}

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);
await mesh.publish("prices", "tea 1.80", { type: "price.changed" });
// Without a start, from here on.
const board = await mesh.subscribe("prices");
const till = await mesh.subscribe("prices");
for (const price of ["tea 1.90", "coffee 2.40", "cocoa 3.10"]) {
  await mesh.publish("prices", price, { type: "price.changed" });
}
await print("board", board);
await print("till", till);
await mesh.close();
