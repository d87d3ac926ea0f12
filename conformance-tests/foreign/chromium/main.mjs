// A page in headless Chromium. What it does is in page.js.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { start } from "./browser.mjs";

const { call, page, evaluate, end } = start();
const script = readFileSync(new URL("page.js", import.meta.url), "utf8");
const pages = new Map();

// A page of the gateway's own origin.
async function pageAt(address) {
  if (!pages.has(address)) {
    const opened = await page();
    await call("Page.navigate", { url: `http://${address}/v1/page-of-a-stranger` }, opened);
    await evaluate(opened, `new Promise((r) => document.readyState === "complete" ? r() : (onload = () => r()))`);
    await evaluate(opened, script);
    pages.set(address, opened);
  }
  return pages.get(address);
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const opened = await pageAt(JSON.parse(line).address);
    console.log(await evaluate(opened, `carryOut(${line}).then((answer) => JSON.stringify(answer))`));
  } catch (error) {
    console.log(JSON.stringify({ error: error.stack }));
  }
}
await end();
