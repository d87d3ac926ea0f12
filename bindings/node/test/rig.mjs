// What the tests share: a gateway and a client that end with their test, and programs of their own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { connect, onLog } from "meshwire";
import { Gateway } from "meshwire/testing";

const here = fileURLToPath(new URL(".", import.meta.url));

// Gateways are killed and handlers fail here on purpose: what clients warn of is no news.
onLog(() => {}, { level: "error" });

/** A gateway, and clients of it, for one test. */
export async function room(t, options = {}) {
  const gateway = await Gateway.start(options);
  t.after(() => gateway.kill());
  const client = async (more = {}) => {
    const mesh = await connect({ url: gateway.url, ...more });
    t.after(() => mesh.close({ timeoutMs: 1000 }).catch(() => {}));
    return mesh;
  };
  return { gateway, client, mesh: await client() };
}

/** So many deliveries of an iterator. */
export async function take(subscription, count) {
  const taken = [];
  while (taken.length < count) {
    const { value, done } = await subscription.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}

/** Runs a program of its own; what it said, and how it ended. One that never ends is ended when `until` is what it said last. */
export async function program(source, { args = [], flags = [], commonjs = false, env = {}, until, limit = 30_000, cwd = here } = {}) {
  const child = spawn(process.execPath, [...flags, `--input-type=${commonjs ? "commonjs" : "module"}`, "-", ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: "pipe",
  });
  const said = { out: "", err: "" };
  child.stdout.on("data", (text) => {
    said.out += text;
    if (until !== undefined && said.out.endsWith(until)) child.kill();
  });
  child.stderr.on("data", (text) => (said.err += text));
  const timer = setTimeout(() => child.kill("SIGKILL"), limit);
  child.stdin.end(source);
  const [code, signal] = await once(child, "close");
  clearTimeout(timer);
  return { ...said, code, signal };
}

/** An error by its code. */
export const coded = (code, more = {}) => (error) => {
  if (error?.code !== code) throw new Error(`expected ${code}: ${error?.stack}`);
  for (const [name, value] of Object.entries(more)) {
    if (error[name] !== value) throw new Error(`${name} is ${error[name]} instead of ${value}`);
  }
  return true;
};
