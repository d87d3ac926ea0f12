// The same by nats.js: JetStream with memory storage, asynchronous publish, pull fetch with acks.
//
//     node theirs.mjs both URL [EVENTS]

import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const BYTES = 256;
const FLIGHT = 1024;
const [, url, said] = process.argv.slice(2);
const COUNT = Number(said ?? 200_000);
const payload = new Uint8Array(BYTES).fill(97);

const rate = (count, began) => Math.round((count / (performance.now() - began)) * 1000);

/** Publishes so many, as many at once as may be in flight. */
async function flood(count, publish) {
  let begun = 0;
  const one = async () => {
    while (begun++ < count) await publish();
  };
  await Promise.all(Array.from({ length: FLIGHT }, one));
}

/** Both are warm when they are measured. */
async function both(publish, receive) {
  const warm = Math.floor(COUNT / 5);
  await flood(warm, publish);
  let began = performance.now();
  await flood(COUNT, publish);
  console.log(`publish ${rate(COUNT, began)}`);
  await receive(warm);
  began = performance.now();
  await receive(COUNT);
  console.log(`receive ${rate(COUNT, began)}`);
}

const connection = await connect({ servers: url });
const manager = await jetstreamManager(connection);
const name = `bench-${process.pid}`;
await manager.streams.add({ name, subjects: [name], storage: "memory", num_replicas: 1 });
await manager.consumers.add(name, { durable_name: "bench", ack_policy: "explicit", max_ack_pending: 4 * FLIGHT });
const js = jetstream(connection);
const consumer = await js.consumers.get(name, "bench");
await both(
  () => js.publish(name, payload),
  async (count) => {
    let left = count;
    while (left > 0) {
      for await (const message of await consumer.fetch({ max_messages: Math.min(FLIGHT, left), expires: 5000 })) {
        if (message.data.length !== BYTES) throw new Error("not what was published");
        message.ack();
        left--;
      }
    }
  },
);
await connection.close();
