// Headless Chromium, driven over its debugging pipe.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

const quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];

// `call(method, params, session)` asks; `listen(method, each)` gives what it tells unasked, as `each(params, session)`.
export function start() {
  const profile = mkdtempSync(join(process.cwd(), "profile-"));
  const alone = ["--disable-component-update", "--disable-sync", `--user-data-dir=${profile}`];
  const chromium = spawn(
    "chromium",
    ["--headless", "--no-sandbox", "--remote-debugging-pipe", ...quiet, ...alone, "about:blank"],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
  );

  const waiting = new Map();
  const listeners = new Map();
  function take(message) {
    if (message.id === undefined) return listeners.get(message.method)?.(message.params, message.sessionId);
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  }

  // Messages of the pipe are JSON with a zero byte behind it.
  const pieces = [];
  chromium.stdio[4].on("data", (bytes) => {
    for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0)) {
      take(JSON.parse(Buffer.concat([...pieces.splice(0), bytes.subarray(0, end)])));
      bytes = bytes.subarray(end + 1);
    }
    pieces.push(bytes);
  });

  let last = 0;
  async function call(method, params, sessionId) {
    const id = (last += 1);
    const answered = new Promise((resolve) => waiting.set(id, resolve));
    chromium.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    const { result, error } = await answered;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  // A new page, empty.
  async function page() {
    const { targetId } = await call("Target.createTarget", { url: "about:blank" });
    return (await call("Target.attachToTarget", { targetId, flatten: true })).sessionId;
  }

  async function evaluate(sessionId, expression) {
    const asked = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails: thrown } = await call("Runtime.evaluate", asked, sessionId);
    if (thrown) throw new Error(thrown.exception?.description ?? thrown.text);
    return result.value;
  }

  async function end() {
    const gone = once(chromium, "exit");
    chromium.kill();
    await gone;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }

  return { call, page, evaluate, end, listen: (method, each) => listeners.set(method, each) };
}
