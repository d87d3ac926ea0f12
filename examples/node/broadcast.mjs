// Two hosts keep a cache of prices: each gets every change. One goes away and comes back to where it was; a third one only looks on.
//
//     node broadcast.mjs mesh://127.0.0.1:7400

import { connect } from "meshwire";

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);
/** A durable member: its place is kept under its name. */
const host = (member) => mesh.subscribe("prices", { group: "caches", broadcast: true, member });
const change = (text) => mesh.publish("prices", text, { type: "price.changed" });

async function take(who, prices, changes) {
  for (let taken = 0; taken < changes; taken++) {
    const { value: delivery } = await prices.next();
    console.log(`${who}: ${delivery.text()}`);
    await delivery.ackConfirmed();
  }
}

const north = await host("north");
let south = await host("south");
await change("apples 3");
await take("north", north, 1);
await take("south", south, 1);

await south.close();
await change("pears 4");
await take("north", north, 1);

// Without a name it begins with the next change, and nothing is kept of it.
const guest = await mesh.subscribe("prices", { group: "caches", broadcast: true });
await change("plums 5");
await take("guest", guest, 1);

south = await host("south");
await take("south", south, 2);
for await (const group of mesh.groups.list("prices")) {
  for (const member of group.durableMembers ?? []) console.log(`${member.name} has ${member.lag} waiting`);
}
await mesh.close();
