// The WebSocket library ws: CloudEvents as messages, and calls as JSON.

import { once } from "node:events";
import { createInterface } from "node:readline";
import WebSocket from "ws";

// snippet: npm-ws-cloudevents
// The subprotocol of CloudEvents: every event of the topic comes as a message, and a message publishes one. It has no answers: a
// refusal closes the connection, with 4000 + our code's number and a reason that begins with the code.
function events(address, topic, each, start = "latest") {
  const socket = new WebSocket(`ws://${address}/v1/topics/${topic}/events?start=${start}`, "cloudevents.json");
  socket.on("message", (text) => each(String(text)));
  return socket;
}
// snippet end

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
async function publishEvents({ address, topic, events: plain }) {
  const results = [];
  let came;
  const socket = events(address, topic, (text) => came?.(JSON.parse(text).id));
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

async function receiveEvents({ address, topic, count }) {
  const got = [];
  let all;
  const done = new Promise((resolve) => (all = resolve));
  const each = (text) => got.push(plainOf(JSON.parse(text))) === count && all();
  const socket = events(address, topic, each, "earliest");
  const end = ended(socket);
  await Promise.race([done, end]);
  end.catch(() => {});
  socket.close();
  return got;
}

async function carryOut(task) {
  return task.do === "receive" ? { events: await receiveEvents(task) } : { results: await publishEvents(task) };
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await carryOut(JSON.parse(line)).catch((error) => ({ error: error.stack }));
  console.log(JSON.stringify(answer));
}
