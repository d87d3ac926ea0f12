// A page in headless Chromium. What it does is in page.js.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { start } from "./browser.mjs";

const { call, page, evaluate, end } = start();
const script = readFileSync(new URL("page.js", import.meta.url), "utf8");
const pages = new Map();

// A page of the gateway's own origin.
async function pageAt({ gateway, ca }) {
  if (!pages.has(gateway)) {
    const opened = await page();
    // It takes an authority from its user's store only.
    if (ca) await call("Security.setIgnoreCertificateErrors", { ignore: true }, opened);
    await call("Page.navigate", { url: `${gateway}/v1/page-of-a-stranger` }, opened);
    await evaluate(opened, `new Promise((r) => document.readyState === "complete" ? r() : (onload = () => r()))`);
    await evaluate(opened, script);
    pages.set(gateway, opened);
  }
  return pages.get(gateway);
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const opened = await pageAt(JSON.parse(line));
    console.log(await evaluate(opened, `carryOut(${line}).then((answer) => JSON.stringify(answer))`));
  } catch (error) {
    console.log(JSON.stringify({ error: error.stack }));
  }
}
await end();
