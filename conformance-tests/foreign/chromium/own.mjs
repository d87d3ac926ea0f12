// The gateway's own page at `/`, as a person sees it who opens the port in a browser: own.mjs HOST:PORT
//
// Real traffic first, then a line for each thing that the page must show or leave alone. A page has more topics than it shows at
// once: the topic's name comes first in the list.

import assert from "node:assert/strict";

import { start } from "./browser.mjs";

const origin = `http://${process.argv[2]}`;
const topic = `0-page-${process.pid}`;
const MARKUP = `<script>document.title = "taken"; console.log("taken")</script><img src=x onerror="console.log('taken')">`;
// Looks of a page that are closer together tell no rate.
const APART_MS = 1100;
const PATIENCE_MS = 20_000;

async function post(path, body, type = "application/json") {
  const options = { method: "POST", headers: { "content-type": type }, body: JSON.stringify(body) };
  const response = await fetch(`${origin}/v1/topics/${topic}/${path}`, options);
  assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
  return response.json();
}

async function publish(first, last) {
  const event = (n) => ({ specversion: "1.0", id: `${n}`, source: "/page", type: "t", subject: MARKUP, note: MARKUP, data: MARKUP });
  const events = Array.from({ length: last - first + 1 }, (_, n) => event(first + n));
  await post("events", events, "application/cloudevents-batch+json");
}

// Seven events, of which a group has one in flight, one is a dead letter and five wait.
async function traffic() {
  await post("groups/readers/fetch", { max_events: 1, wait_ms: 0 });
  await publish(1, 3);
  const { deliveries } = await post("groups/readers/fetch", { max_events: 2, wait_ms: 10_000 });
  const settlements = [{ lease: deliveries[0].lease, kind: "reject", reason: MARKUP }];
  const { results } = await post("groups/readers/settle", { settlements });
  assert.ok(results[0].settled, JSON.stringify(results));
}

const { call, page, evaluate, end, listen } = start();
const [requests, said] = [[], []];
listen("Network.requestWillBeSent", ({ request }) => requests.push(request.url));
listen("Network.webSocketCreated", ({ url }) => requests.push(url));
listen("Runtime.consoleAPICalled", ({ type, args }) => said.push(`${type}: ${JSON.stringify(args)}`));
listen("Runtime.exceptionThrown", ({ exceptionDetails }) => said.push(exceptionDetails.text));
listen("Log.entryAdded", ({ entry }) => said.push(`${entry.level}: ${entry.text} ${entry.url ?? ""}`));
let loaded;
listen("Page.loadEventFired", () => loaded?.());

async function open(tab) {
  const done = new Promise((resolve) => (loaded = resolve));
  await call("Page.navigate", { url: `${origin}/` }, tab);
  await done;
}

// What a person reads: the text of every cell, by the tables' names.
const READ = `(() => {
  const text = (element) => element.innerText.trim();
  const row = (tr) => [...tr.cells].map(text);
  const tables = [...document.querySelectorAll("table")].map((table) => [
    table.id,
    { title: text(table.previousElementSibling), columns: row(table.tHead.rows[0]), rows: [...table.tBodies[0].rows].map(row) },
  ]);
  const style = getComputedStyle(document.querySelector("table") ?? document.body);
  return {
    title: document.title, heading: text(document.querySelector("h1")), text: text(document.body),
    state: text(document.querySelector("#state")), version: text(document.querySelector("#version")),
    tables: Object.fromEntries(tables), styled: style.borderCollapse,
    scripts: document.scripts.length, images: document.images.length,
    handlers: [...document.querySelectorAll("*")].filter((e) => [...e.attributes].some((a) => /^on/i.test(a.name))).length,
    links: [...document.links].map((link) => link.href),
  };
})()`;

const tell = (table, ours) => Object.fromEntries(table.columns.map((column, n) => [column, ours[n]]));
const ours = (seen, table) => {
  const found = seen.tables[table]?.rows.find((row) => row[0] === topic);
  assert.ok(found, `no row of ${topic} in ${JSON.stringify(seen.tables[table])}`);
  return tell(seen.tables[table], found);
};

async function looked() {
  const tab = await page();
  for (const domain of ["Page", "Runtime", "Network", "Log"]) await call(`${domain}.enable`, {}, tab);
  await open(tab);
  await publish(4, 7);
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    // The page is for people, so a rate takes real time.
    await new Promise((resolve) => setTimeout(resolve, APART_MS));
    await open(tab);
    const seen = await evaluate(tab, READ);
    if (ours(seen, "topics")["Stored a second"] !== "-" || Date.now() > until) return { tab, seen };
  }
}

async function withoutScript(tab) {
  await call("Emulation.setScriptExecutionDisabled", { value: true }, tab);
  await open(tab);
  return evaluate(tab, READ);
}

async function cell(name, check) {
  try {
    await check();
    console.log(`ok      ${name}`);
  } catch (error) {
    console.log(`FAILED  ${name}: ${error.message.replaceAll("\n", " ")}`);
    process.exitCode = 1;
  }
}

await traffic();
const { tab, seen } = await looked();

await cell("it says what this is", () => {
  assert.deepEqual([seen.title, seen.heading], ["Meshwire", "Meshwire"]);
  assert.match(seen.text, /event gateway.*publish CloudEvents.*consume them/s);
});
await cell("it says its state and version", () => {
  assert.equal(seen.state, "ready");
  assert.match(seen.version, /^\d+\.\d+\.\d+/);
});
await cell("topics have their rates", () => {
  const { Events, "Stored a second": rate } = ours(seen, "topics");
  assert.equal(seen.tables.topics.title, "Topics");
  assert.equal(Events, "7");
  assert.match(rate, /^\d+\.\d$/);
  assert.ok(Number(rate) > 0, `four events were stored between two looks, at a rate of ${rate}`);
});
await cell("groups have their lag", () => {
  const { Group, "In flight": flying, Lag, "Dead letters": dead } = ours(seen, "groups");
  assert.equal(seen.tables.groups.title, "Groups");
  assert.deepEqual([Group, flying, dead], ["readers", "1", "1"]);
  assert.ok(Number(Lag) >= 5, `a lag of ${Lag}`);
});
await cell("a dead letter is shown, and markup in its data, attributes and reason is text", () => {
  const { Group, Number: number, Error: reason, Event } = ours(seen, "dead-letters");
  assert.deepEqual([Group, number], ["readers", "1"]);
  assert.ok(reason.includes("<script>") && reason.includes("<img src=x"), reason);
  assert.ok(Event.includes("<script>") && Event.includes(`"source":"/page"`), Event);
  assert.deepEqual([seen.scripts, seen.images, seen.handlers], [0, 0, 0]);
});
await cell("its style is let in by its own policy", () => assert.equal(seen.styled, "collapse"));
await cell("each of its links leads somewhere", async () => {
  const of = (link) => !link.includes("/v1/") || link.includes(topic);
  for (const link of seen.links.filter(of)) assert.equal((await fetch(link)).status, 200, link);
});
await cell("the same is read without script", async () => {
  const plain = await withoutScript(tab);
  for (const table of ["topics", "groups", "dead-letters"]) {
    const steady = ({ "Stored a second": rate, Oldest: age, ...others }) => others;
    assert.deepEqual(steady(ours(plain, table)), steady(ours(seen, table)));
  }
  assert.deepEqual([plain.title, plain.state], [seen.title, seen.state]);
});
await call("Emulation.setScriptExecutionDisabled", { value: false }, tab);
await cell("nothing is on the console", () => assert.deepEqual(said, []));
await cell("every request goes to the gateway", () => {
  assert.ok(requests.includes(`${origin}/`) && requests.includes(`${origin}/page.css`), `${requests}`);
  assert.deepEqual(requests.filter((url) => !url.startsWith(`${origin}/`) && !url.startsWith("data:")), []);
});
// Also the proof that the two before it would have seen something.
await cell("a script that got in would reach nobody, and be heard", async () => {
  const elsewhere = `fetch("http://127.0.0.1:9/").then(() => "reached", (error) => error.name)`;
  assert.equal(await evaluate(tab, `console.error("heard"); ${elsewhere}`), "TypeError");
  assert.ok(said.some((line) => line.includes("heard")), `${said}`);
  assert.ok(said.some((line) => line.includes("Content Security Policy")), `${said}`);
});
await end();
