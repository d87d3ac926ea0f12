// Publishes and receives 256 bytes by Meshwire with 1,024 in flight, and prints events a second:
//
//     node ours.mjs both|round-trip|slope URL [EVENTS]

import { connect } from "meshwire";
import { BYTES, both, FLIGHT, flood, payload } from "./both.mjs";

const [what, url, said] = process.argv.slice(2);
const COUNT = Number(said ?? 200_000);

/** Microseconds of a publish that is awaited, in the middle. */
async function roundTrip(publish) {
  const times = [];
  for (let n = 0; n < COUNT; n++) {
    const began = performance.now();
    await publish();
    times.push((performance.now() - began) * 1000);
  }
  times.sort((a, b) => a - b);
  console.log(`round-trip ${times[Math.floor(COUNT / 2)].toFixed(1)}`);
}

/** Bytes that stay of each publish, over the last four fifths. */
async function slope(publish) {
  const settled = async () => {
    for (let n = 0; n < 5; n++) (globalThis.gc?.(), await new Promise((resolve) => setTimeout(resolve, 20)));
    return process.memoryUsage().rss;
  };
  const last = COUNT - Math.floor(COUNT / 5);
  await flood(COUNT - last, publish);
  const before = await settled();
  await flood(last, publish);
  console.log(`slope ${(((await settled()) - before) / last).toFixed(3)}`);
}

const mesh = await connect(url);
const topic = `bench-${process.pid}`;
await mesh.topics.create(topic, { durability: "memory", retentionBytes: 1 << 30 });
const publish = () => mesh.publish(topic, payload);
if (what === "round-trip") await roundTrip(publish);
else if (what === "slope") await slope(publish);
else {
  const subscription = await mesh.subscribe(topic, { group: "bench", start: "earliest", prefetchEvents: FLIGHT });
  await both(COUNT, publish, async (count) => {
    for (let left = count; left > 0; left--) {
      const { value } = await subscription.next();
      if (value.data.length !== BYTES) throw new Error("not what was published");
      value.ack();
    }
  });
}
await mesh.close({ timeoutMs: 1000 }).catch(() => {});
