// A page in headless Chromium, driven over its debugging pipe. What the page does is in page.js.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const profile = mkdtempSync(join(process.cwd(), "profile-"));
const quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
const alone = ["--disable-component-update", "--disable-sync", `--user-data-dir=${profile}`];
const chromium = spawn(
  "chromium",
  ["--headless", "--no-sandbox", "--remote-debugging-pipe", ...quiet, ...alone, "about:blank"],
  { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
);

// Messages of the pipe are JSON with a zero byte behind it.
const waiting = new Map();
const pieces = [];
chromium.stdio[4].on("data", (bytes) => {
  for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0)) {
    const message = JSON.parse(Buffer.concat([...pieces.splice(0), bytes.subarray(0, end)]));
    bytes = bytes.subarray(end + 1);
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
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

const script = readFileSync(new URL("page.js", import.meta.url), "utf8");
const pages = new Map();

// A page of the gateway's own origin.
async function pageAt(address) {
  if (!pages.has(address)) {
    const { targetId } = await call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
    await call("Page.navigate", { url: `http://${address}/v1/page-of-a-stranger` }, sessionId);
    await evaluate(sessionId, `new Promise((r) => document.readyState === "complete" ? r() : (onload = () => r()))`);
    await evaluate(sessionId, script);
    pages.set(address, sessionId);
  }
  return pages.get(address);
}

async function evaluate(sessionId, expression) {
  const asked = { expression, awaitPromise: true, returnByValue: true };
  const { result, exceptionDetails: thrown } = await call("Runtime.evaluate", asked, sessionId);
  if (thrown) throw new Error(thrown.exception?.description ?? thrown.text);
  return result.value;
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const page = await pageAt(JSON.parse(line).address);
    console.log(await evaluate(page, `carryOut(${line}).then((answer) => JSON.stringify(answer))`));
  } catch (error) {
    console.log(JSON.stringify({ error: error.stack }));
  }
}
const gone = once(chromium, "exit");
chromium.kill();
await gone;
rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
