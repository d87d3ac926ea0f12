// Publishes and receives 256 bytes with 1,024 in flight, and prints events a second:
//
//     node bench.mjs meshwire mesh://127.0.0.1:7400 [COUNT]
//     node bench.mjs nats nats://127.0.0.1:4222 [COUNT]
//     node bench.mjs latency mesh://127.0.0.1:7400 [COUNT]
//     node bench.mjs memory mesh://127.0.0.1:7400 [COUNT]
//
// The gateway needs room for all of them: serve --memory --memory-ring-bytes 1GiB --memory-budget 4GiB. Level memory; publishes with receipts, events in batches with acks. It needs the package `meshwire`, and for the peer
// `@nats-io/transport-node` and `@nats-io/jetstream`, beside it or above it. Clients are warm when they are measured.

const [what, url, said] = process.argv.slice(2);
const COUNT = Number(said ?? 200_000);
const WARM = Math.floor(COUNT / 5);
const FLIGHT = 1024;
const payload = new Uint8Array(256).fill(97);

const rate = (count, began) => Math.round((count / (performance.now() - began)) * 1000);

/** Publishes so many, as many at once as may be in flight. */
async function flood(count, publish) {
  let begun = 0;
  const one = async () => {
    while (begun++ < count) await publish();
  };
  await Promise.all(Array.from({ length: FLIGHT }, one));
}

async function measured(publish, receive) {
  await flood(WARM, publish);
  let began = performance.now();
  await flood(COUNT, publish);
  const published = rate(COUNT, began);
  await receive(WARM);
  began = performance.now();
  await receive(COUNT);
  console.log(JSON.stringify({ client: what, publish: published, receive: rate(COUNT, began) }));
}

async function meshwire() {
  const { connect } = await import("meshwire");
  const mesh = await connect(url);
  const topic = `bench-${process.pid}`;
  await mesh.topics.create(topic, { durability: "memory", retentionBytes: 1 << 30 });
  // A group that begins behind what is there.
  const subscription = await mesh.subscribe(topic, { group: "g", prefetchEvents: FLIGHT });
  const receive = async (count) => {
    for (let left = count; left > 0; left--) {
      const { value } = await subscription.next();
      if (value.data.length !== payload.length) throw new Error("not what was published");
      value.ack();
    }
  };
  await measured(() => mesh.publish(topic, payload), receive);
  await mesh.close({ timeoutMs: 1000 }).catch(() => {});
}

async function nats() {
  const { connect } = await import("@nats-io/transport-node");
  const { jetstream, jetstreamManager } = await import("@nats-io/jetstream");
  const connection = await connect({ servers: url });
  const manager = await jetstreamManager(connection);
  const name = `bench-${process.pid}`;
  await manager.streams.add({ name, subjects: [name], storage: "memory", num_replicas: 1 });
  await manager.consumers.add(name, { durable_name: "g", ack_policy: "explicit", max_ack_pending: 4 * FLIGHT });
  const js = jetstream(connection);
  const consumer = await js.consumers.get(name, "g");
  const receive = async (count) => {
    let left = count;
    while (left > 0) {
      for await (const message of await consumer.fetch({ max_messages: Math.min(FLIGHT, left), expires: 5000 })) {
        if (message.data.length !== payload.length) throw new Error("not what was published");
        message.ack();
        left--;
      }
    }
  };
  await measured(() => js.publish(name, payload), receive);
  await connection.close();
}

/** Of one publish after the other, in microseconds. */
async function latency() {
  const { connect } = await import("meshwire");
  const mesh = await connect(url);
  const times = [];
  for (let n = 0; n < COUNT; n++) {
    const began = performance.now();
    await mesh.publish(`latency-${process.pid}`, payload);
    times.push((performance.now() - began) * 1000);
  }
  times.sort((a, b) => a - b);
  const at = (part) => Math.round(times[Math.floor(times.length * part)]);
  console.log(JSON.stringify({ client: "meshwire", p50_us: at(0.5), p99_us: at(0.99) }));
  await mesh.close();
}

/** Bytes that stay for each publish, over the last four fifths. */
async function memory() {
  const { connect } = await import("meshwire");
  const mesh = await connect(url);
  const publish = () => mesh.publish(`memory-${process.pid}`, payload);
  const settled = async () => {
    for (let n = 0; n < 5; n++) (globalThis.gc?.(), await new Promise((resolve) => setTimeout(resolve, 20)));
    return process.memoryUsage().rss;
  };
  await flood(COUNT / 5, publish);
  const before = await settled();
  await flood((COUNT * 4) / 5, publish);
  const after = await settled();
  console.log(JSON.stringify({ client: "meshwire", bytes_per_publish: Number(((after - before) / ((COUNT * 4) / 5)).toFixed(3)), rss: after }));
  await mesh.close();
}

const modes = { meshwire, nats, latency, memory };
if (!Object.hasOwn(modes, what) || !url) throw new Error(`node bench.mjs ${Object.keys(modes).join("|")} URL [COUNT]`);
await modes[what]();
