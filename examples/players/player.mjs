// The demo's player in Node: publishes events, and receives those of the players in all languages.
//
//     node player.mjs URL NAME EVENTS ALL
import { connect } from "meshwire";

const [url, name, events, all] = process.argv.slice(2);
const language = `Node ${process.version.slice(1)}`;

const mesh = await connect(url);
const came = await mesh.subscribe("languages", { group: `in-${name}`, start: "earliest" });
const greetings = Array.from({ length: Number(events) }, (_, n) =>
  mesh.publish("languages", { n }, { id: `${name}-${n}`, type: "greeting", attributes: { language } }),
);
await Promise.all(greetings);

const received = {};
let count = 0;
for await (const delivery of came) {
  const who = delivery.attributes.language;
  received[who] = (received[who] ?? 0) + 1;
  await delivery.ackConfirmed();
  if (++count === Number(all)) break;
}
console.log(JSON.stringify({ language, received }));
await mesh.close();
