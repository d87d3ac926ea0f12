// Says itself when a delivery is done: one is acked, one comes again after a while, one is forgotten and comes again when its lease ends.
//
//     node manual_ack.mjs mesh://127.0.0.1:7400

import { connect } from "meshwire";

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);
for (const letter of ["a", "b", "c"]) await mesh.publish("letters", letter, { type: "letter.sent" });

// A delivery may stay unsettled for two seconds; the default is 30 s.
let left = 3;
for await (const delivery of await mesh.subscribe("letters", { group: "postmen", ackWaitMs: 2000 })) {
  const letter = delivery.text();
  if (letter === "b" && delivery.attempt === 1) {
    console.log("b: nobody at home, again in 100 ms");
    delivery.nack({ delayMs: 100 });
  } else if (letter === "c" && delivery.attempt === 1) {
    console.log("c: lost on the way");
    // Without a word it is leased until the ack wait ends.
    delivery.forget();
  } else {
    console.log(`${letter}: delivered at attempt ${delivery.attempt}`);
    // Answered when it can no longer come again.
    await delivery.ackConfirmed();
    if (--left === 0) break;
  }
}
await mesh.close();
