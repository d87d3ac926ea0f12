import assert from "node:assert/strict";
import { once } from "node:events";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { program, room } from "./rig.mjs";

const head = `import { connect } from "meshwire"; const mesh = await connect(process.argv[2]);`;

test("an idle client lets the process end, at once and with 0", async (t) => {
  const { gateway } = await room(t);
  const began = Date.now();
  const idle = `${head}
    const orders = await mesh.subscribe("orders", { group: "g" });
    await mesh.publish("orders", "x");
    console.log((await orders.next()).value.text());`;
  const { code, out, err } = await program(idle, { args: [gateway.url] });
  assert.deepEqual([code, out, err], [0, "x\n", ""]);
  assert.ok(Date.now() - began < 10_000);
});

test("what is open keeps the process: a publish, a request, a loop", async (t) => {
  const { gateway, mesh } = await room(t);
  const publishing = await program(`${head} mesh.publish("t", "x").then((receipt) => console.log(receipt.position));`, { args: [gateway.url] });
  assert.deepEqual([publishing.code, publishing.out], [0, "1\n"]);
  const loop = program(`${head} console.log("there"); for await (const d of await mesh.subscribe("orders", { group: "g" })) { console.log(d.text()); d.ack(); if (d.text() === "end") break; }`, { args: [gateway.url] });
  const asked = mesh.consume("nothing", () => {});
  await mesh.publish("orders", "one");
  await new Promise((resolve) => setTimeout(resolve, 300));
  await mesh.publish("orders", "end");
  const { code, out } = await loop;
  assert.deepEqual([code, out], [0, "there\none\nend\n"]);
  await mesh.close();
  await asked;
});

test("publishes that nobody awaits are sent before the process ends", async (t) => {
  const { gateway, mesh } = await room(t);
  for (const [topic, end] of [["natural", ""], ["exit", "process.exit(3);"], ["inner", "setImmediate(() => process.exit(3));"]]) {
    const { code, err } = await program(`${head} for (let n = 0; n < 1000; n++) mesh.publish("${topic}", String(n)); ${end}`, { args: [gateway.url] });
    assert.deepEqual([code, err], [end ? 3 : 0, ""]);
    assert.equal((await mesh.topics.get(topic)).events, 1000, topic);
  }
});

test("a process that ends while the gateway is away says how many publishes were not sent", async () => {
  const source = `import { connect } from "meshwire"; import { Gateway } from "meshwire/testing";
    const gateway = await Gateway.start(); const mesh = await connect(gateway.url); await gateway.kill();
    for (let n = 0; n < 7; n++) mesh.publish("t", "x").catch(() => {}); setImmediate(() => process.exit(0));`;
  const { code, err } = await program(source);
  assert.equal(code, 0);
  assert.match(err, /7 publishes whose receipt has not come/);
});

test("a process may exit in the middle of anything", async (t) => {
  const { gateway } = await room(t);
  const middle = [
    `mesh.consume("t", { group: "g" }, () => new Promise(() => {})); await mesh.publish("t", "x");`,
    `mesh.serve("t", () => new Promise(() => {})); mesh.request("t", "x").catch(() => {});`,
    `const s = await mesh.subscribe("t", { group: "h" }); s.next(); mesh.publish("t", "x");`,
    `mesh.subscribe("t").catch(() => {}); mesh.close(); mesh.flush().catch(() => {});`,
    `connect("tcp://10.255.255.1:1").catch(() => {});`,
    `mesh.close();`,
  ];
  const runs = middle.flatMap((body) => ["", "await new Promise((r) => setTimeout(r, 20));"].map((wait) => program(`${head} ${body} ${wait} process.exit(5);`, { args: [gateway.url] })));
  for (const { code, signal, err } of await Promise.all(runs)) assert.deepEqual([code, signal], [5, null], err);
});

test("a process that exits with an offline buffer open ends as it says, and keeps what is in its file", async (t) => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "meshwire-"));
  t.after(() => fs.rm(folder, { recursive: true }));
  const offlineFile = path.join(folder, "offline");
  const ends = ["process.exit(3);", "setImmediate(() => process.exit(3));", "new Worker('', { eval: true }); process.exit(3);"];
  for (const options of [{}, { offlineFile }]) {
    for (const end of ends) {
      const source = `import { connect } from "meshwire"; import { Worker } from "node:worker_threads";
        const mesh = await connect(${JSON.stringify({ url: "tcp://127.0.0.1:1", publishOffline: "buffer", ...options })});
        for (let n = 0; n < 3; n++) mesh.publish("t", String(n)).catch(() => {});
        await mesh.publishStart("t", "3");
        ${end}`;
      const { code, signal, err } = await program(source);
      assert.deepEqual([code, signal, /panick/.test(err)], [3, null, false], `${end} ${err}`);
    }
  }
  const { client } = await room(t);
  const restored = await client({ publishOffline: "buffer", offlineFile });
  await restored.flush();
  assert.equal((await restored.topics.get("t")).events, 4 * ends.length);
});

test("a rejected publish that nobody awaits is an ordinary unhandled rejection with our code", async (t) => {
  const { gateway } = await room(t);
  const { code, err } = await program(`${head} mesh.publish("no topic!", "x");`, { args: [gateway.url] });
  assert.equal(code, 1);
  assert.match(err, /MeshwireError/);
  assert.match(err, /code: 'INVALID'/);
});

test("it is there for require too, and is the same", async (t) => {
  const { gateway } = await room(t);
  const source = `const { connect, MeshwireError } = require("meshwire");
    (async () => {
      const other = await import("meshwire");
      console.log(other.MeshwireError === MeshwireError, typeof require("meshwire/testing").Gateway.start);
      const mesh = await connect(process.argv[2]);
      console.log((await mesh.publish("t", "x")).position);
      await mesh.close();
    })();`;
  const { code, out, err } = await program(source, { commonjs: true, args: [gateway.url] });
  assert.deepEqual([code, out, err], [0, "true function\n1\n", ""]);
});

test("workers have clients of their own, and may be ended at any moment", async (t) => {
  const { gateway, mesh } = await room(t);
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { connect } = require("meshwire");
    (async () => {
      const mesh = await connect(workerData.url);
      await Promise.all(Array.from({ length: 100 }, (_, n) => mesh.publish(workerData.topic, String(n))));
      if (workerData.stay) {
        mesh.consume(workerData.topic, { group: "g" }, () => new Promise(() => {}));
        for (const loop = await mesh.subscribe(workerData.topic, { group: "h" }); ; ) { await loop.next(); parentPort.postMessage("up"); }
      }
      parentPort.postMessage("done");
    })();`;
  const worker = (workerData) => new Worker(source, { eval: true, workerData: { url: gateway.url, ...workerData } });
  for (let round = 0; round < 3; round++) {
    const workers = [0, 1].map((n) => worker({ topic: `w${round}${n}` }));
    const codes = await Promise.all(workers.map((one) => once(one, "exit")));
    assert.deepEqual(codes.flat(), [0, 0]);
    const staying = worker({ topic: `s${round}`, stay: true });
    await once(staying, "message");
    await staying.terminate();
  }
  assert.equal((await mesh.topics.get("w21")).events, 100);
  await mesh.publish("still", "here");
});

test("a worker alone may load it, and end, and another one after it", async (t) => {
  const { gateway } = await room(t);
  const source = `
    import { Worker } from "node:worker_threads"; import { once } from "node:events";
    for (let n = 0; n < 3; n++) {
      const worker = new Worker('const { connect } = require("meshwire"); connect(' + JSON.stringify(process.argv[2]) + ').then((m) => m.publish("t", "x"))', { eval: true, execArgv: [] });
      await once(worker, "exit");
    }
    console.log("ended");`;
  const { code, out, err } = await program(source, { args: [gateway.url] });
  assert.deepEqual([code, out, err], [0, "ended\n", ""]);
});

test("a native half that is not there is named with what to do", async () => {
  const { code, err } = await program(`import "meshwire";`, { env: { MESHWIRE_NATIVE_PATH: "/nowhere/meshwire.node" } });
  assert.equal(code, 1);
  assert.match(err, /MESHWIRE_NATIVE_PATH is \/nowhere\/meshwire\.node/);
});

// The root package by itself, as npm leaves it with --omit=optional: the runner of the suite has npm do so in an empty folder.
const alone = process.env.MESHWIRE_NODE_ALONE;
const importing = { 'import "meshwire";': false, 'require("meshwire");': true };

test("a package whose native half was left out names it, where it is for, and the command that brings it", async () => {
  assert.ok(alone, "set MESHWIRE_NODE_ALONE to a folder into which the root package was installed with --omit=optional");
  const { version } = JSON.parse(await fs.readFile(path.join(alone, "node_modules/meshwire/package.json"), "utf8"));
  for (const [source, commonjs] of Object.entries(importing)) {
    const { code, out, err } = await program(source, { commonjs, cwd: alone });
    assert.deepEqual([code, out], [1, ""]);
    assert.match(err, /^Error: meshwire: the native package @meshwire\/linux-x64-gnu is not installed /m);
    assert.ok(err.includes(`(platform linux, architecture x64, libc gnu, Node ${process.versions.node})`), err);
    assert.ok(err.includes(`\`npm install @meshwire/linux-x64-gnu@${version}\``), err);
  }
});

test("a native half that is there and is none says why it cannot be loaded", async (t) => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), "meshwire-"));
  t.after(() => fs.rm(folder, { recursive: true }));
  const native = path.join(folder, "node_modules/@meshwire/linux-x64-gnu");
  await fs.cp(path.join(alone, "node_modules"), path.join(folder, "node_modules"), { recursive: true });
  await fs.mkdir(native, { recursive: true });
  await fs.writeFile(path.join(native, "package.json"), '{ "main": "meshwire.node" }');
  await fs.writeFile(path.join(native, "meshwire.node"), "a letter");
  for (const [source, commonjs] of Object.entries(importing)) {
    const { code, err } = await program(source, { commonjs, cwd: folder });
    assert.equal(code, 1);
    assert.match(err, /the native package @meshwire\/linux-x64-gnu cannot be loaded \(.*meshwire\.node.*\) \(platform linux/);
  }
});

test("on another system the native half of that one is named", async () => {
  const systems = {
    "process.report.getReport = () => ({ header: {} });": /@meshwire\/linux-x64-musl is not installed \(platform linux, architecture x64, libc musl, /,
    'Object.defineProperty(process, "arch", { value: "arm64" });': /@meshwire\/linux-arm64-gnu is not installed \(platform linux, architecture arm64, libc gnu, /,
    'Object.defineProperty(process, "platform", { value: "darwin" });': /@meshwire\/darwin-x64 is not installed \(platform darwin, architecture x64, Node /,
  };
  for (const [pretend, named] of Object.entries(systems)) {
    const { code, err } = await program(`${pretend} require("meshwire");`, { commonjs: true });
    assert.equal(code, 1);
    assert.match(err, named);
  }
});

test("browsers and workers at the edge are told of the subprotocol", async () => {
  for (const condition of ["browser", "workerd"]) {
    const { code, err } = await program(`import { spawnSync } from "node:child_process";
      const { status, stderr } = spawnSync(process.execPath, ["-C", "${condition}", "--input-type=module", "-e", 'import "meshwire"'], { encoding: "utf8" });
      console.error(stderr); process.exit(status);`);
    assert.equal(code, 1);
    assert.match(err, /meshwire\.v1\.json/);
  }
});

test("a client that is let go of is collected", async (t) => {
  const { gateway } = await room(t);
  const source = `import { connect } from "meshwire"; import v8 from "node:v8"; import vm from "node:vm";
    v8.setFlagsFromString("--expose-gc"); const gc = vm.runInNewContext("gc");
    const refs = [];
    for (let n = 0; n < 5; n++) refs.push(new WeakRef(await connect({ url: process.argv[2], onState() {} })));
    const turn = () => new Promise((r) => setTimeout(r, 5));
    // What was looked at lives until the turn is over; the last is still on the stack of that loop.
    do { await turn(); gc(); await turn(); } while (refs.filter((ref) => ref.deref()).length > 1);
    console.log("collected");`;
  const { code, out, err } = await program(source, { args: [gateway.url] });
  assert.deepEqual([code, out, err], [0, "collected\n", ""]);
});

test("every delivery that a program was handed and forgot has failed, also of those that came in one turn", async (t) => {
  const { gateway } = await room(t);
  const source = `import { connect } from "meshwire"; import v8 from "node:v8"; import vm from "node:vm";
    v8.setFlagsFromString("--expose-gc"); const gc = vm.runInNewContext("gc");
    const mesh = await connect({ url: process.argv[2] });
    await mesh.publishBatch("orders", Array.from({ length: 200 }, (_, n) => String(n)));
    // One failure makes a dead letter, of which nothing comes again.
    const orders = await mesh.subscribe("orders", { group: "g", ackWaitMs: 1000, maxFailures: 1 });
    await (async () => {
      for (let n = 0; n < 200; n++) await orders.next();
    })();
    // The subscription knows the last delivery: that is another's now.
    await mesh.publish("orders", "last");
    (await orders.next()).value.ack();
    let again;
    orders.next().then(({ value }) => (again = value));
    const turn = () => new Promise((r) => setTimeout(r, 5));
    let letters;
    do {
      await turn(); gc(); await turn();
      letters = await mesh.deadLetters.list("orders", { group: "g" }).all();
    } while (letters.length < 200 && again === undefined);
    console.log(again === undefined ? letters.length : "again: " + again.text());
    await orders.close();
    await mesh.close();`;
  const { code, out, err } = await program(source, { args: [gateway.url] });
  assert.deepEqual([code, out], [0, "200\n"], err);
});
