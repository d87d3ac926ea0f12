// The CloudEvents SDK for JavaScript over HTTP, with fetch of Node.

import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { CloudEvent, HTTP } from "cloudevents";

function eventOf(plain, mode) {
  const [[kind, data]] = Object.entries(plain.data ?? { none: undefined });
  const value = {
    none: () => undefined,
    text: () => data,
    base64: () => new Uint8Array(Buffer.from(data, "base64")),
    // In binary mode the data is the body, so its exact text can be sent.
    json: () => (mode === "binary" ? data : JSON.parse(data)),
  }[kind]();
  return new CloudEvent({ ...plain.attributes, data: value });
}

// snippet: npm-cloudevents
async function publish(gateway, topic, { headers, body }) {
  const url = `${gateway}/v1/topics/${topic}/events`;
  const response = await fetch(url, { method: "POST", headers, body });
  return { ok: response.ok, answer: await response.json() };
}
// snippet end

function binary(event) {
  const message = HTTP.binary(event);
  // The SDK leaves the percent-encoding of the HTTP binding to its user, and says JSON where an event says nothing.
  for (const [name, value] of Object.entries(message.headers)) {
    if (name.startsWith("ce-")) message.headers[name] = encoded(String(value));
  }
  if (!event.datacontenttype) delete message.headers["content-type"];
  // Without a type fetch calls a string text/plain, and bytes nothing.
  if (typeof message.body === "string") message.body = Buffer.from(message.body);
  return message;
}

function encoded(value) {
  return value.replace(/[^!#$&-~]|%/gu, (c) => encodeURIComponent(c));
}

function batch(events) {
  return { headers: { "content-type": "application/cloudevents-batch+json" }, body: JSON.stringify(events) };
}

function result({ ok, answer }) {
  return { ok: ok && !answer.code, code: answer.code, detail: answer.detail };
}

// snippet: npm-cloudevents-receive
async function* receive(gateway, topic) {
  const url = `${gateway}/v1/topics/${topic}/events?start=earliest`;
  const response = await fetch(url, { headers: { accept: "application/x-ndjson" } });
  for await (const line of createInterface({ input: Readable.fromWeb(response.body), crlfDelay: Infinity })) {
    // An empty line only says that the gateway is there.
    if (line) yield new CloudEvent(JSON.parse(line).event);
  }
}
// snippet end

function plainOf(event) {
  const { specversion, data, data_base64: base64, ...attributes } = event.toJSON();
  const isJson = /[/+]json(;|$)/.test(attributes.datacontenttype ?? "application/json");
  const kinds = () => (isJson ? { json: JSON.stringify(data) } : { text: data });
  const none = data === undefined && base64 === undefined;
  return { attributes, data: none ? null : base64 !== undefined ? { base64 } : kinds() };
}

async function received({ gateway, topic, count }) {
  const events = [];
  for await (const event of receive(gateway, topic)) {
    events.push(plainOf(event));
    if (events.length === count) return { events };
  }
  throw new Error(`the stream ended after ${events.length} events`);
}

async function carryOut(task) {
  if (task.do === "receive") return received(task);
  const { mode, gateway, topic, events } = task;
  const written = events.map((plain) => eventOf(plain, mode));
  if (mode === "batch") {
    const { ok, answer } = await publish(gateway, topic, batch(written));
    return { results: (answer.results ?? [answer]).map((item) => result({ ok, answer: item })) };
  }
  const results = [];
  for (const event of written) {
    const message = mode === "binary" ? binary(event) : HTTP.structured(event);
    results.push(result(await publish(gateway, topic, message)));
  }
  return { results };
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await carryOut(JSON.parse(line)).catch((error) => ({ error: `${error.stack} ${error.cause ?? ""}` }));
  console.log(JSON.stringify(answer));
}
