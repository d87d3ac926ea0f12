// A program that goes on for long: once it has done a thing a few times, doing it takes no more memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import { program, room } from "./rig.mjs";

const full = process.env.MESHWIRE_FULL === "1";

/** How often memory is looked at, and how often not yet, while the heaps become as large as they need to be. */
const [looks, before] = [8, 4];

/** One arena and a small nursery: else what they keep for later comes and goes by several MiB. */
const steady = { env: { MALLOC_ARENA_MAX: "1" }, flags: ["--expose-gc", "--max-semi-space-size=1"] };

/**
 * How many bytes the later half of the looks may find more than the earlier one, by their medians. Node itself takes 5 MiB more at some
 * moment. Events of 8 KiB that all stay pass the first in the shortest run; in the full one 200 bytes of each receive do.
 */
const most = { rss: 8 * 1024 * 1024, heapUsed: 512 * 1024 };

const median = (sizes) => sizes.sort((a, b) => a - b)[Math.floor(sizes.length / 2)];

// Run with the number of things between two looks. What is no more reachable is finalized in turns of their own.
const watched = `
  import net from "node:net";
  import { connect } from "meshwire";
  const [url, many] = [process.argv[2], Number(process.argv[3])];
  const data = "x".repeat(8192);
  async function watch(thing) {
    const seen = [];
    for (let look = 0; look < ${looks + before}; look++) {
      await thing();
      for (let turn = 0; turn < 3; turn++) {
        gc();
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (look >= ${before}) seen.push(process.memoryUsage());
    }
    console.log(JSON.stringify(seen));
    await mesh.close();
  }`;

const things = {
  "events that are received and acked": [full ? 12_500 : 500, `
    const mesh = await connect(url);
    const orders = await mesh.subscribe("orders", { group: "g" });
    await watch(async () => {
      for (let done = 0; done < many; ) {
        await mesh.publishBatch("orders", Array(100).fill(data));
        for (let left = 100; left > 0; left--, done++) (await orders.next()).value.ack();
      }
      await mesh.flush();
    });`],
  "requests that are answered": [full ? 2_500 : 300, `
    const mesh = await connect(url);
    const serving = mesh.serve("quote", { concurrency: 20 }, (request) => request.data);
    await watch(async () => {
      for (let done = 0; done < many; done += 20) {
        await Promise.all(Array.from({ length: 20 }, () => mesh.request("quote", data)));
      }
    });
    await serving;`],
  "connections that are lost and made again": [full ? 250 : 30, `
    const { hostname, port } = new URL(url.replace("mesh:", "http:"));
    const links = new Set();
    const between = net.createServer((near) => {
      const far = net.connect(Number(port), hostname);
      links.add(near);
      for (const [one, other] of [[near, far], [far, near]]) one.pipe(other).on("error", () => {}), one.on("close", () => other.destroy());
      near.on("close", () => links.delete(near));
    });
    await new Promise((resolve) => between.listen(0, "127.0.0.1", resolve));
    const mesh = await connect({ url: "tcp://127.0.0.1:" + between.address().port, reconnectMinMs: 1, reconnectMaxMs: 1 });
    const orders = await mesh.subscribe("orders", { group: "g" });
    await watch(async () => {
      for (let done = 0; done < many; done++) {
        const { reconnects } = mesh.stats();
        const published = mesh.publish("orders", data);
        for (const link of links) link.destroy();
        (await orders.next()).value.ack();
        await published;
        while (mesh.stats().reconnects === reconnects) await new Promise((resolve) => setImmediate(resolve));
      }
    });
    between.close();`],
};

for (const [name, [many, source]] of Object.entries(things)) {
  test(`${name} take no more memory the more there are`, async (t) => {
    const { gateway } = await room(t);
    const { code, out, err } = await program(watched + source, { args: [gateway.url, String(many)], limit: 300_000, ...steady });
    assert.deepEqual([code, err], [0, ""]);
    const seen = JSON.parse(out);
    for (const [kind, more] of Object.entries(most)) {
      const sizes = seen.map((look) => look[kind]);
      const [early, late] = [sizes.slice(0, looks / 2), sizes.slice(looks / 2)].map(median);
      t.diagnostic(`${kind} ${sizes.join(" ")}`);
      assert.ok(late - early <= more, `${kind} grew by ${late - early} bytes: ${sizes.join(" ")}`);
    }
  });
}
