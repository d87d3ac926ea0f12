// Bills three orders, one of which has no price: it is tried twice, becomes a dead letter, is looked at, given back once billing knows
// what to do, and is done.
//
//     node dead_letter.mjs mesh://127.0.0.1:7400

import { connect } from "meshwire";

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);

/** Bills so many deliveries; what fails comes again, and after two failures no more. */
async function bill(count, handler) {
  const settings = { group: "billing", maxFailures: 2, backoffMinMs: 50, backoffMaxMs: 1000 };
  for await (const delivery of await mesh.subscribe("priced-orders", settings)) {
    try {
      handler(delivery);
      await delivery.ackConfirmed();
    } catch (problem) {
      console.log(`${delivery.id} failed, attempt ${delivery.attempt}: ${problem.message}`);
      // `reject` would give it up at once.
      await delivery.nackConfirmed();
    }
    if (--count === 0) break;
  }
}

for (const [id, order] of Object.entries({ 1: { price: 5 }, 2: {}, 3: { price: 7 } })) {
  await mesh.publish("priced-orders", order, { id, type: "order.created" });
}
await bill(4, (delivery) => {
  const { price } = delivery.json();
  if (price === undefined) throw new Error("it has no price");
  console.log(`${delivery.id} costs ${price}`);
});

const billing = { group: "billing", all: true };
for await (const letter of mesh.deadLetters.list("priced-orders", { group: "billing", events: true })) {
  console.log(`dead letter ${letter.number}: order ${letter.event?.id}, ${letter.failures} failures`);
}
console.log(`given back: ${(await mesh.deadLetters.redrive("priced-orders", billing)).redriven}`);
await bill(1, (delivery) => console.log(`${delivery.id} is free`));
console.log(`left: ${(await mesh.deadLetters.redrive("priced-orders", billing)).redriven}`);
await mesh.close();
