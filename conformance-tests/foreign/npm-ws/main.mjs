// The WebSocket library ws: CloudEvents as messages, and calls as JSON.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import WebSocket from "ws";

// snippet: npm-ws-cloudevents
// The subprotocol of CloudEvents: every event of the topic comes as a message, and a message publishes one. It has no answers: a
// refusal closes the connection, with 4000 + our code's number and a reason that begins with the code.
function events(gateway, topic, each, start = "latest", options = {}) {
  const url = `${gateway.replace("http", "ws")}/v1/topics/${topic}/events?start=${start}`;
  const socket = new WebSocket(url, "cloudevents.json", options);
  socket.on("message", (text) => each(String(text)));
  return socket;
}
// snippet end

// Whom to trust inside TLS.
const trust = (ca) => (ca ? { ca: readFileSync(ca) } : {});

// An event's JSON with its data's exact text in it.
function asJson({ attributes, data }) {
  const members = { specversion: "1.0", ...attributes };
  if (data?.base64 !== undefined) members.data_base64 = data.base64;
  if (data?.text !== undefined) members.data = data.text;
  const text = JSON.stringify(members);
  return data?.json === undefined ? text : `${text.slice(0, -1)},"data":${data.json}}`;
}

function plainOf({ specversion, data, data_base64: base64, ...attributes }) {
  const isJson = /[/+]json(;|$)/.test(attributes.datacontenttype ?? "application/json");
  if (base64 !== undefined) return { attributes, data: { base64 } };
  if (data === undefined) return { attributes, data: null };
  return { attributes, data: isJson ? { json: JSON.stringify(data) } : { text: data } };
}

function ended(socket) {
  return new Promise((_, reject) => {
    socket.on("error", reject);
    socket.on("close", (code, reason) => reject(Object.assign(new Error(`closed with ${code} ${reason}`), { code, reason: `${reason}` })));
    socket.on("unexpected-response", async (_, response) => {
      const body = Buffer.concat(await response.toArray());
      reject(Object.assign(new Error(`refused: ${body}`), { reason: JSON.parse(body).code }));
    });
  });
}

// An event is kept when it comes back.
async function publishEvents({ gateway, topic, ca, events: plain }) {
  const results = [];
  let came;
  const socket = events(gateway, topic, (text) => came?.(JSON.parse(text).id), "latest", trust(ca));
  const end = ended(socket);
  try {
    await Promise.race([once(socket, "open"), end]);
    for (const event of plain) {
      const back = new Promise((resolve) => (came = resolve));
      socket.send(asJson(event));
      await Promise.race([back, end]);
      results.push({ ok: true });
    }
  } catch (error) {
    if (!error.reason) throw error;
    results.push({ code: error.reason.split(":")[0], detail: error.message });
  }
  end.catch(() => {});
  socket.close();
  return results;
}

async function receiveEvents({ gateway, topic, ca, count }) {
  const got = [];
  let all;
  const done = new Promise((resolve) => (all = resolve));
  const each = (text) => got.push(plainOf(JSON.parse(text))) === count && all();
  const socket = events(gateway, topic, each, "earliest", trust(ca));
  const end = ended(socket);
  await Promise.race([done, end]);
  end.catch(() => {});
  socket.close();
  return got;
}

// snippet: npm-ws-calls
// The subprotocol for calls: an answer has the id of its call, a delivery that of its subscription.
function connect(gateway, options = {}) {
  const socket = new WebSocket(`${gateway.replace("http", "ws")}/v1/ws`, "meshwire.v1.json", options);
  const waiting = new Map();
  const subscriptions = new Map();
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id, ok, error, subscription, ...delivery } = JSON.parse(data);
    if (subscription !== undefined) return subscriptions.get(subscription)?.(delivery);
    // A message that no id can be read from is answered with null.
    const call = waiting.get(id);
    if (!call) return console.error("an answer to no call:", data);
    waiting.delete(id);
    return error ? call.reject(error) : call.resolve(ok);
  };
  // `event` is JSON text.
  const call = (op, members, event, each) =>
    new Promise((resolve, reject) => {
      const id = (last += 1);
      waiting.set(id, { resolve, reject });
      if (each) subscriptions.set(id, each);
      const text = JSON.stringify({ id, op, ...members });
      socket.send(event ? `${text.slice(0, -1)},"event":${event}}` : text);
    });
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve({ call, close: () => socket.close() });
    socket.onclose = ({ code, reason }) => {
      const error = new Error(`closed with ${code} ${reason}`);
      reject(error);
      for (const call of waiting.values()) call.reject(error);
    };
  });
}
// snippet end

async function publishByCalls({ gateway, topic, ca, events: plain }) {
  const mesh = await connect(gateway, trust(ca));
  const publish = (event) =>
    mesh.call("publish", { topic }, asJson(event)).then(
      () => ({ ok: true }),
      ({ code, detail, message }) => ({ code, detail: detail ?? message }),
    );
  const results = await Promise.all(plain.map(publish));
  mesh.close();
  return results;
}

// As the member of a group: each delivery is settled, and the gateway confirms it.
async function receiveByCalls({ gateway, topic, ca, count }) {
  const mesh = await connect(gateway, trust(ca));
  const got = [];
  let all, failed;
  const done = new Promise((resolve, reject) => ([all, failed] = [resolve, reject]));
  const each = async ({ lease, event }) => {
    const { results } = await mesh.call("settle", { topic, group: "strangers", settlements: [{ lease, kind: "ack" }] });
    if (!results[0].settled) throw new Error(`not settled: ${JSON.stringify(results)}`);
    if (got.push(plainOf(event)) === count) all();
  };
  const delivered = (delivery) => each(delivery).catch(failed);
  await mesh.call("subscribe", { topic, group: "strangers", start: "earliest" }, undefined, delivered);
  await done;
  mesh.close();
  return got;
}

const DO = {
  publish: { "ws-events": publishEvents, "ws-calls": publishByCalls },
  receive: { "ws-broadcast": receiveEvents, "ws-group": receiveByCalls },
};

async function carryOut(task) {
  const done = await DO[task.do][task.mode](task);
  return task.do === "receive" ? { events: done } : { results: done };
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await carryOut(JSON.parse(line)).catch((error) => ({ error: error.stack }));
  console.log(JSON.stringify(answer));
}
