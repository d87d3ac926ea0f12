// The same by nats.js: JetStream with memory storage, asynchronous publish, pull fetch with acks.
//
//     node theirs.mjs both URL [EVENTS]

import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { BYTES, both, FLIGHT, payload } from "./both.mjs";

const [, url, said] = process.argv.slice(2);
const COUNT = Number(said ?? 200_000);

const connection = await connect({ servers: url });
const manager = await jetstreamManager(connection);
const name = `bench-${process.pid}`;
await manager.streams.add({ name, subjects: [name], storage: "memory", num_replicas: 1 });
await manager.consumers.add(name, { durable_name: "bench", ack_policy: "explicit", max_ack_pending: 4 * FLIGHT });
const js = jetstream(connection);
const consumer = await js.consumers.get(name, "bench");
await both(
  COUNT,
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
