// Where what the client logs goes when nobody asked for it. Programs of their own: the rig listens in this one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { program, room } from "./rig.mjs";

const head = `import { connect, onLog } from "meshwire"; const url = process.argv[2]; const mesh = await connect({ url, reconnectMaxMs: 20 });`;
/** Consumes one event, whose handler fails at first, and resolves when something more holds. */
const fails = `const stop = new AbortController();
  const handled = async (mesh, topic, until = () => true) => {
    await mesh.publish(topic, "x");
    await mesh.consume(topic, { group: "g", backoffMinMs: 0, signal: stop.signal }, async (message) => {
      if (message.attempt === 1) throw new Error("no stock");
      while (!until()) await new Promise((resolve) => setTimeout(resolve, 1));
      stop.abort();
    });
  };
  const warned = [];
  process.on("warning", (warning) => warned.push(warning.name + " " + warning.message));`;

const warnings = (err) => err.split("\n").filter((line) => line.includes("MeshwireWarning"));

test("what goes wrong is a warning of the process, once for all its clients", async (t) => {
  const { gateway } = await room(t);
  const source = `${head} ${fails} const others = [await connect(url), await connect(url)];
    await handled(mesh, "orders", () => warned.length > 0); for (const one of [mesh, ...others]) await one.close();`;
  const { code, err } = await program(source, { args: [gateway.url] });
  assert.equal(code, 0, err);
  assert.equal(warnings(err).length, 1, err);
  assert.match(err, /MeshwireWarning: the handler failed; the event comes again topic=orders .*problem="no stock"/);
});

test("a gateway that is gone is a warning", async (t) => {
  const { gateway, mesh } = await room(t);
  const source = `${head} process.on("warning", (warning) => console.log(warning.message) ?? process.exit(7));
    await mesh.publish("there", "x"); setTimeout(() => {}, 20_000);`;
  const running = program(source, { args: [gateway.url] });
  // It says so when it is connected.
  for await (const delivery of await mesh.subscribe("there", { group: "g" })) {
    delivery.ack();
    break;
  }
  await gateway.kill();
  const { code, out } = await running;
  assert.deepEqual([code, out.startsWith("no gateway can be reached")], [7, true], out);
});

test("who listens is told, and nobody else, until it ends", async (t) => {
  const { gateway } = await room(t);
  const source = `${head} ${fails} const told = []; const end = onLog((record) => told.push(record.text), { level: "warn" });
    await handled(mesh, "one", () => told.length > 0);
    end();
    const more = new AbortController();
    await mesh.publish("two", "x");
    await mesh.consume("two", { group: "g", backoffMinMs: 0, signal: more.signal }, async ({ attempt }) => {
      if (attempt === 1) throw new Error("no stock");
      while (warned.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      more.abort();
    });
    console.log(JSON.stringify([told.length, warned.length, /topic=one/.test(told[0]), /topic=two/.test(warned[0])])); await mesh.close();`;
  const { out, err } = await program(source, { args: [gateway.url] });
  assert.equal(out, "[1,1,true,true]\n", err);
});

test("a record is one warning of the process, however many threads have clients, and none where one of them listens", async (t) => {
  const { gateway } = await room(t);
  const listening = async (listens) => {
    const text = `import { Worker } from "node:worker_threads"; ${head} ${fails}
      const own = \`(async () => {
        const { parentPort, workerData } = await import("node:worker_threads"); const { connect, onLog } = await import("meshwire");
        const mesh = await connect(workerData); let told = 0;
        if (${listens}) onLog(() => { told++; parentPort.postMessage("told"); }, { level: "warn" });
        process.on("warning", () => parentPort.postMessage("warned"));
        parentPort.postMessage("ready");
        parentPort.once("message", () => mesh.close());
      })()\`;
      const said = [];
      const workers = [1, 2].map(() => new Worker(own, { eval: true, workerData: url }));
      await Promise.all(workers.map((one) => new Promise((ready) => one.on("message", (word) => (word === "ready" ? ready() : said.push(word))))));
      await handled(mesh, "orders", () => said.length + warned.length >= (${listens} ? 2 : 1));
      for (const one of workers) { const gone = new Promise((resolve) => one.once("exit", resolve)); one.postMessage("end"); await gone; }
      await mesh.close();
      console.log(JSON.stringify([...said, ...warned.map(() => "warned")]));`;
    return program(text, { args: [gateway.url] });
  };
  const [alone, heard] = [await listening(false), await listening(true)];
  assert.equal(alone.out, '["warned"]\n', alone.err);
  assert.equal(warnings(alone.err).length, 1, alone.err);
  assert.equal(heard.out, '["told","told"]\n', heard.err);
  assert.deepEqual(warnings(heard.err), []);
});
