// What a page does, with nothing but what browsers have.

// snippet: chromium
async function publish(topic, type, body) {
  const response = await fetch(`/v1/topics/${topic}/events`, { method: "POST", headers: { "content-type": type }, body });
  return { ok: response.ok, answer: await response.json() };
}

function receive(topic, each) {
  const source = new EventSource(`/v1/topics/${topic}/events?start=earliest`);
  source.onmessage = (message) => each(JSON.parse(message.data).event, source);
  return source;
}
// snippet end

// snippet: chromium-websocket
// Every event of the topic comes as a message, and a message publishes one. A refusal closes the connection: the code of the close is
// 4000 + our code's number, and the reason begins with the code.
function events(topic, each, start = "latest") {
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/v1/topics/${topic}/events?start=${start}`, "cloudevents.json");
  socket.onmessage = (message) => each(JSON.parse(message.data), socket);
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

function result(ok, { code, detail }) {
  return { ok: ok && !code, code, detail };
}

async function published({ mode, topic, events }) {
  if (mode === "batch") {
    const { ok, answer } = await publish(topic, "application/cloudevents-batch+json", `[${events.map(asJson)}]`);
    return (answer.results ?? [answer]).map((item) => result(ok, item));
  }
  const results = [];
  for (const event of events) {
    const { ok, answer } = await publish(topic, "application/cloudevents+json", asJson(event));
    results.push(result(ok, answer));
  }
  return results;
}

// An event is kept when it comes back.
async function publishedOverWebSocket({ topic, events: plain }) {
  const results = [];
  let came;
  const socket = events(topic, (event) => came?.(event.id));
  const closed = new Promise((resolve) => (socket.onclose = ({ reason }) => resolve({ reason })));
  await Promise.race([new Promise((resolve) => (socket.onopen = resolve)), closed]);
  for (const event of plain) {
    const back = new Promise((resolve) => (came = resolve));
    socket.send(asJson(event));
    const end = await Promise.race([back, closed]);
    results.push(end.reason === undefined ? { ok: true } : { code: end.reason.split(":")[0], detail: end.reason });
  }
  socket.close();
  return results;
}

function received({ mode, topic, count }) {
  return new Promise((resolve, reject) => {
    const got = [];
    const each = (event, source) => {
      got.push(plainOf(event));
      if (got.length === count) {
        source.close();
        resolve(got);
      }
    };
    const source = mode === "sse" ? receive(topic, each) : events(topic, each, "earliest");
    source.onerror = () => reject(new Error(`the stream ended after ${got.length} events`));
  });
}

// The subprotocol for calls: an answer has the id of its call, a delivery that of its subscription.
function connect() {
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/v1/ws`, "meshwire.v1.json");
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

async function publishByCalls({ topic, events: plain }) {
  const mesh = await connect();
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
async function receiveByCalls({ topic, count }) {
  const mesh = await connect();
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

const PUBLISH = { "ws-events": publishedOverWebSocket, "ws-calls": publishByCalls };

async function carryOut(task) {
  if (task.do === "publish") return { results: await (PUBLISH[task.mode] ?? published)(task) };
  return { events: await (task.mode === "ws-group" ? receiveByCalls : received)(task) };
}
