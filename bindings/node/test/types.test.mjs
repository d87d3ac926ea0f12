import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
const room = path.join(here, "..");
const tools = process.env.MESHWIRE_NODE_TOOLS;
const skip = tools ? false : "needs typescript";

function run(tool, args, cwd = here) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(tools, "node_modules", tool), ...args], { cwd, encoding: "utf8" });
  return { status, said: stdout + stderr };
}

const strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--target", "es2022", "--lib", "es2023,esnext.disposable", "--types", "node"];
const compile = (module, resolution, files) =>
  run("typescript/bin/tsc", [...strict, "--typeRoots", path.join(tools ?? "", "node_modules/@types"), "--module", module, "--moduleResolution", resolution, ...files]);

test("a program that uses everything is right by its types, for import and require and bundlers", { skip }, () => {
  const files = ["sample.mts", "sample.cts"].map((file) => path.join(here, "types", file));
  for (const [module, resolution, of] of [["node16", "node16", files], ["esnext", "bundler", files.slice(0, 1)]]) {
    const { status, said } = compile(module, resolution, of);
    assert.equal(status, 0, said);
  }
});

test("what is wrong is found by its types", { skip }, () => {
  const { status, said } = compile("node16", "node16", [path.join(here, "types", "wrong.mts")]);
  assert.notEqual(status, 0);
  const lines = fs.readFileSync(path.join(here, "types", "wrong.mts"), "utf8").split("\n");
  for (const [n, line] of lines.entries()) {
    if (line.includes("// wrong")) assert.match(said, new RegExp(`wrong\\.mts\\(${n + 1},`), line);
  }
});

test("the examples are right by the types", { skip }, () => {
  const examples = path.join(room, "examples");
  const files = fs.readdirSync(examples).filter((file) => file.endsWith(".mjs"));
  const args = ["--allowJs", "--checkJs", "--noImplicitAny", "false", "--noUncheckedIndexedAccess", "false", "--useUnknownInCatchVariables", "false"];
  const { status, said } = compile("node16", "node16", [...args, ...files.map((file) => path.join(examples, file))]);
  assert.equal(status, 0, said);
});

test("the package is as its users' tools want it", { skip }, () => {
  const packed = path.join(room, "node_modules/meshwire");
  const lint = run("publint/src/cli.js", ["--strict", "--pack", "false", packed]);
  assert.equal(lint.status, 0, lint.said);
  const types = run("@arethetypeswrong/cli/dist/index.js", ["--pack", packed, "--no-emoji", "--profile", "node16"], tools);
  assert.equal(types.status, 0, types.said);
});

test("an object of the official CloudEvents SDK goes in as it is", { skip }, async (t) => {
  const { createRequire } = await import("node:module");
  const { CloudEvent } = createRequire(path.join(tools, "x.js"))("cloudevents");
  const { room: opened, take } = await import("./rig.mjs");
  const { mesh } = await opened(t);
  const orders = await mesh.subscribe("orders", { group: "g" });
  const sent = new CloudEvent({ type: "order.created", source: "/shop", data: { id: 1 }, tenant: "a", time: "2026-11-28T06:30:00.250Z" });
  await mesh.publish("orders", sent);
  const [came] = await take(orders, 1);
  const again = new CloudEvent({ ...came.toCloudEvent() });
  assert.deepEqual({ ...again.toJSON(), datacontenttype: undefined }, { ...sent.toJSON(), datacontenttype: undefined });
});

test("every option of the table has its type", () => {
  const packed = path.join(room, "node_modules/meshwire");
  const types = fs.readFileSync(path.join(packed, "index.d.cts"), "utf8");
  const table = fs.readFileSync(path.join(packed, "lib/options.cjs"), "utf8");
  const names = [...table.matchAll(/^ {2}(\w+): \[/gm)].map((match) => match[1]);
  assert.ok(names.length > 25);
  const elsewhere = { handlerConcurrency: "concurrency", requestTimeoutMs: "timeoutMs", replyCredit: "credit", drainTimeoutMs: "timeoutMs" };
  for (const name of names) assert.match(types, new RegExp(`\\b${elsewhere[name] ?? name}\\?:`), name);
});
