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

function received({ topic, count }) {
  return new Promise((resolve, reject) => {
    const events = [];
    const source = receive(topic, (event) => {
      events.push(plainOf(event));
      if (events.length === count) {
        source.close();
        resolve(events);
      }
    });
    source.onerror = () => reject(new Error(`the stream ended after ${events.length} events`));
  });
}

async function carryOut(task) {
  return task.do === "receive" ? { events: await received(task) } : { results: await published(task) };
}
