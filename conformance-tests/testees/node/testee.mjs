// The Node client behind the testee protocol (conformance-tests/README.md): one JSON object a line in, one a line out.

import { createInterface } from "node:readline";
import { connect, event, MeshwireError, onLog, version } from "meshwire";

const CAPS = ["tcp", "iterator", "handler", "manual_ack", "confirmed", "admin", "dead_letters", "stats", "requests", "delays", "cancel"];
/** Data above this is told by its length alone. */
const SHOWN = 1024;

const clients = new Map();
const subscriptions = new Map();
const servings = new Map();
const asked = new Map();
const marks = new Map();

onLog(({ level, target, text }) => console.error(level, target, text), { level: "debug" });

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const absent = (what) => Object.assign(new Error(`the testee knows no ${what}`), { code: "ABSENT" });

function named(map, name) {
  const found = map.get(name);
  if (found === undefined) throw absent(name);
  return found;
}

const client = (name) => named(clients, name);

function problem(error) {
  if (!(error instanceof MeshwireError)) return { code: error?.code ?? "OTHER", message: String(error?.stack ?? error) };
  const { code, number: num, retry, operation, message } = error;
  // Cases know options by the names of the core.
  return { code, num, retry, operation, message: message.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`) };
}

// Events.

function specified(spec, timing = {}) {
  const { id, source, type, key, subject, attributes } = spec;
  const said = { id, source, type, key, subject, attributes };
  if (timing.deliver_at !== undefined) said.deliverAt = new Date(timing.deliver_at);
  if (timing.deliver_after_ms !== undefined) said.deliverAfterMs = timing.deliver_after_ms;
  if (timing.expires_in_ms !== undefined) said.expiresInMs = timing.expires_in_ms;
  if (spec.data !== undefined) return event(spec.data, said);
  if (spec.json !== undefined) return event(JSON.stringify(spec.json), { ...said, datacontenttype: "application/json" });
  if (spec.data_b64 !== undefined) return event(Buffer.from(spec.data_b64, "base64"), said);
  if (spec.zeros !== undefined) return event(new Uint8Array(spec.zeros), said);
  return event(undefined, said);
}

function canonical(value) {
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : String(value);
}

function shown(one) {
  const attributes = Object.fromEntries(Object.entries(one.attributes).map(([name, value]) => [name, canonical(value)]));
  const line = { id: one.id, source: one.source, type: one.type, attributes };
  if (one.dataKind === "absent") return line;
  if (one.data.length > SHOWN) line.data_bytes = one.data.length;
  else if (one.dataKind === "text") line.data = one.text();
  else line.data_b64 = Buffer.from(one.data).toString("base64");
  return line;
}

const receipt = ({ position, duplicate }) => ({ position: position === undefined ? null : Number(position), duplicate });

// Subscriptions.

class Deliveries {
  last = 0;
  held = new Map();
  stopped = false;
  waiting = [];

  constructor(name, gate = Infinity) {
    Object.assign(this, { name, gate });
  }

  open(more) {
    this.gate += more;
    for (const wake of this.waiting.splice(0)) wake();
  }

  message(one, held) {
    const n = ++this.last;
    this.held.set(n, held);
    const { attempt, gap } = one;
    const line = { ev: "msg", on: this.name, n, ...shown(one), attempt, position: Number(one.position), gap };
    if (one.expiresAt !== undefined) line.expires = true;
    tell(line);
  }

  ended(error) {
    tell({ ev: "end", on: this.name, err: error ? problem(error) : null });
  }

  async stream(subscription) {
    this.batch = async (most) => {
      for (const one of await subscription.batch(most)) this.message(one, one);
      return {};
    };
    this.stop = (left) => {
      this.stopped = true;
      this.open(0);
      return left ? subscription.return() : subscription.close();
    };
    for (;;) {
      while (this.gate <= 0 && !this.stopped) await new Promise((wake) => this.waiting.push(wake));
      if (this.stopped) return;
      try {
        const { value, done } = await subscription.next();
        if (this.stopped) return;
        if (done) return this.ended();
        this.gate--;
        this.message(value, value);
      } catch (error) {
        tell({ ev: "error", on: this.name, err: problem(error) });
      }
    }
  }

  take(numbers) {
    return numbers.map((n) => {
      const held = this.held.get(n);
      if (held === undefined) throw absent(`delivery ${n}`);
      this.held.delete(n);
      return held;
    });
  }
}

function start(spec) {
  if (spec === undefined || typeof spec === "string") return spec;
  if (spec.position !== undefined) return { position: spec.position };
  if (spec.ago_ms !== undefined) return new Date(Date.now() - spec.ago_ms);
  return named(marks, spec.mark);
}

function settings(said = {}) {
  const [backoffMinMs, backoffMaxMs] = said.backoff_ms ?? [];
  return {
    ackWaitMs: said.ack_wait_ms, maxFailures: said.max_failures, backoffMinMs, backoffMaxMs,
    holdAfterDeadLetter: said.hold_after_dead_letter, strictOrder: said.strict_order, maxInFlight: said.max_in_flight,
    maxRate: said.max_rate,
  };
}

function subscribing({ group, broadcast, member, start: place, prefetch, concurrency, settings: said }) {
  const [prefetchEvents, prefetchBytes] = prefetch ?? [];
  return { group, broadcast, member, start: start(place), prefetchEvents, prefetchBytes, concurrency, ...settings(said) };
}

/** Settles deliveries, or answers for their handlers. */
async function settle({ on, n, confirmed }, plain, waits, handler) {
  for (const held of named(subscriptions, on).take(n)) {
    if (held.verdict) handler(held.verdict);
    else if (confirmed) await waits(held);
    else plain(held);
  }
  return {};
}

// Administration.

function groupShown(group) {
  const { name, settledThrough, members, inFlight: in_flight, lag, delayed, failing, expired, deadLetters: dead_letters } = group;
  return {
    name, settled_through: Number(settledThrough), members, in_flight, lag, delayed, failing, expired, dead_letters,
    settings: {
      ack_wait_ms: group.ackWaitMs, max_failures: group.maxFailures, backoff_ms: [group.backoffMinMs, group.backoffMaxMs],
      hold_after_dead_letter: group.holdAfterDeadLetter, strict_order: group.strictOrder, max_in_flight: group.maxInFlight,
      max_rate: group.maxRate, mode: group.mode,
    },
    durable_members: (group.durableMembers ?? []).map((member) => ({
      name: member.name, connected: member.connected, settled_through: Number(member.settledThrough), in_flight: member.inFlight,
      lag: member.lag, delayed: member.delayed, dead_letters: member.deadLetters,
    })),
  };
}

function topicShown({ name, first, next, delayed, overtaken, requests }) {
  const line = { name, first: Number(first), next: Number(next), delayed, overtaken };
  if (requests) line.requests = { members: requests.members, open: requests.open, late_replies: requests.lateReplies };
  return line;
}

const KNOWN = ["specversion", "id", "source", "type", "data", "data_base64"];

function letterEvent(said) {
  if (said === undefined) return null;
  const attributes = Object.fromEntries(Object.entries(said).filter(([name]) => !KNOWN.includes(name)).map(([name, value]) => [name, String(value)]));
  const line = { id: said.id, source: said.source, type: said.type, attributes };
  if (said.data_base64 !== undefined) line.data_b64 = said.data_base64;
  else if (said.data !== undefined) line.data = typeof said.data === "string" ? said.data : JSON.stringify(said.data);
  return line;
}

function letterShown(letter) {
  const { number, group, member, position, reason, failures, attempts, error, redriven } = letter;
  return {
    number, group, member: member ?? null, position: Number(position), reason, failures, attempts, error: error ?? null, redriven,
    event: letterEvent(letter.event),
  };
}

const topicSettings = ({ durability, retention_ms: retentionMs, retention_bytes: retentionBytes, lagging }) => ({ durability, retentionMs, retentionBytes, lagging });
/** A durable member is its group's name and its own. */
function ofGroup({ group: said }) {
  const [group, member] = said?.split("/") ?? [];
  return { group, member };
}

const which = ({ numbers, ...said }) => ({ ...ofGroup(said), ...(numbers?.length > 0 ? { numbers } : { all: true }) });

// Requests.

class Serving {
  last = 0;
  handlers = new Map();
  abort = new AbortController();

  constructor(name) {
    this.name = name;
  }

  handle(request, replies) {
    const n = ++this.last;
    return new Promise((resolve, reject) => {
      this.handlers.set(n, { send: (reply) => replies.send(reply), end: (reason) => (reason === undefined ? resolve() : reject(new Error(reason))) });
      request.signal.addEventListener("abort", () => {
        if (this.handlers.delete(n)) tell({ ev: "cancelled", on: this.name, n });
        resolve();
      });
      tell({ ev: "asked", on: this.name, n, ...shown(request), stream: request.wantsStream });
    });
  }

  of(numbers, ends) {
    return numbers.map((n) => {
      const handler = this.handlers.get(n);
      if (handler === undefined) throw absent(`request ${n}: it is over`);
      if (ends) this.handlers.delete(n);
      return handler;
    });
  }
}

function asking({ timeout_ms: timeoutMs, retry, credit, event: spec }) {
  return [specified(spec), { timeoutMs, retry, credit }];
}

const ops = {
  hello: () => ({ lang: "node", api: "async", sdk: version, runtime: `node ${process.versions.node}`, caps: CAPS }),
  async connect({ as, url, client_name: name = "testee", timeout_ms: connectTimeoutMs, wait_ms: connectWaitMs, window_events: publishWindowEvents, tls_roots: tlsRoots, reconnect_ms }) {
    const [reconnectMinMs, reconnectMaxMs] = reconnect_ms ?? [];
    const onState = (state) => tell({ ev: "state", on: as, state });
    const said = { url, name, connectTimeoutMs, connectWaitMs, publishWindowEvents, tlsRoots, reconnectMinMs, reconnectMaxMs, onState };
    clients.set(as, await connect(said));
    return {};
  },
  publish: async ({ on, topic, event: spec, ...timing }) => receipt(await client(on).publish(topic, specified(spec, timing))),
  async publish_batch({ on, topic, events }) {
    const results = await client(on).publishBatch(topic, events.map((spec) => specified(spec)));
    return { receipts: results.map((result) => (result.ok ? receipt(result.receipt) : { err: problem(result.error) })) };
  },
  flush: async ({ on }) => (await client(on).flush(), {}),
  async subscribe(said) {
    const subscription = await client(said.on).subscribe(said.topic, subscribing(said));
    const deliveries = new Deliveries(said.as, said.gate);
    subscriptions.set(said.as, deliveries);
    deliveries.stream(subscription);
    return {};
  },
  consume(said) {
    const deliveries = new Deliveries(said.as);
    const abort = new AbortController();
    deliveries.stop = () => abort.abort();
    const handler = (message) => new Promise((resolve, reject) => deliveries.message(message, { verdict: { resolve, reject } }));
    const consuming = client(said.on).consume(said.topic, { ...subscribing(said), signal: abort.signal }, handler);
    subscriptions.set(said.as, deliveries);
    consuming.then(() => deliveries.ended(), (error) => deliveries.ended(error));
    return {};
  },
  gate: ({ on, open, batch }) => (batch ? named(subscriptions, on).batch(open) : (named(subscriptions, on).open(open), {})),
  async unsubscribe({ on, left }) {
    await named(subscriptions, on).stop(left);
    subscriptions.delete(on);
    return {};
  },
  ack: (said) => settle(said, (d) => d.ack(), (d) => d.ackConfirmed(), (verdict) => verdict.resolve()),
  nack: (said) => {
    const delay = { delayMs: said.delay_ms };
    return settle(said, (d) => d.nack(delay), (d) => d.nackConfirmed(delay), (verdict) => verdict.reject(new Error(said.reason ?? "")));
  },
  reject: (said) => settle(said, (d) => d.reject(said.reason), (d) => d.rejectConfirmed(said.reason), () => { throw absent("way to reject in a handler"); }),
  async extend(said) {
    const { held } = named(subscriptions, said.on);
    for (const delivery of said.n.map((n) => held.get(n))) said.confirmed ? await delivery.extendConfirmed() : delivery.extend();
    return {};
  },
  forget: (said) => settle({ ...said, confirmed: false }, (d) => d.forget()),
  stats({ on }) {
    const s = client(on).stats();
    return {
      pending: s.pending, published: s.published, reconnects: s.reconnects, resumes: s.resumes, replays: s.replays,
      protocol_errors: s.protocolErrors, silences: s.silences, settles_dropped: s.settlesDropped, leases_lost: s.leasesLost,
    };
  },
  state: ({ on }) => ({ state: client(on).state }),
  create_topic: async ({ on, topic, ...said }) => ({ name: (await client(on).topics.create(topic, topicSettings(said))).name }),
  async update_topic({ on, topic, ...said }) {
    const { name, retentionMs, retentionBytes, lagging } = await client(on).topics.update(topic, topicSettings(said));
    return { name, retention_ms: retentionMs, retention_bytes: retentionBytes, lagging };
  },
  delete_topic: async ({ on, topic, force }) => ({ name: (await client(on).topics.delete(topic, { force })).name }),
  topics: async ({ on }) => ({ topics: (await client(on).topics.list().all()).map(topicShown) }),
  groups: async ({ on, topic }) => ({ groups: (await client(on).groups.list(topic).all()).map(groupShown) }),
  update_group: async ({ on, topic, group, settings: said }) => groupShown(await client(on).groups.update(topic, group, settings(said))),
  create_group: async ({ on, topic, group, start: place, settings: said }) => groupShown(await client(on).groups.create(topic, group, { ...settings(said), start: start(place) })),
  seek_group: async ({ on, topic, group, to }) => groupShown(await client(on).groups.seek(topic, group, start(to))),
  delete_group: async ({ on, topic, group }) => groupShown(await client(on).groups.delete(topic, group)),
  mark: ({ as }) => (marks.set(as, new Date()), {}),
  serve({ on, as, topic, group, concurrency = 16 }) {
    const serving = new Serving(as);
    servings.set(as, serving);
    const served = client(on).serve(topic, { group, concurrency, signal: serving.abort.signal }, (request, replies) => serving.handle(request, replies));
    const ended = (error) => tell({ ev: "end", on: as, err: error ? problem(error) : null });
    served.then(() => ended(), ended);
    return {};
  },
  stop_serving: ({ on }) => (named(servings, on).abort.abort(), {}),
  async reply({ on, n, event: spec }) {
    for (const { send } of named(servings, on).of(n)) await send(specified(spec));
    return {};
  },
  end({ on, n, reason }) {
    for (const { end } of named(servings, on).of(n, true)) end(reason);
    return {};
  },
  async request(said) {
    const abort = new AbortController();
    if (said.as !== undefined) asked.set(said.as, { close: () => abort.abort() });
    const [value, options] = asking(said);
    try {
      return shown(await client(said.on).request(said.topic, value, { ...options, signal: abort.signal }));
    } catch (error) {
      if (error === abort.signal.reason) return { cancelled: true };
      throw error;
    }
  },
  async request_stream(said) {
    const [value, options] = asking(said);
    asked.set(said.as ?? "", await client(said.on).requestStream(said.topic, value, options));
    return {};
  },
  async next_reply({ on }) {
    const { value, done } = await named(asked, on).next();
    return done ? { end: true } : shown(value);
  },
  async cancel({ on }) {
    await named(asked, on).close();
    asked.delete(on);
    return {};
  },
  dead_letters: async ({ on, topic, group }) => ({ letters: (await client(on).deadLetters.list(topic, { ...ofGroup({ group }), events: true }).all()).map(letterShown) }),
  dead_letter: async ({ on, topic, group, numbers: [number] }) => letterShown(await client(on).deadLetters.get(topic, number, ofGroup({ group }))),
  async redrive({ on, topic, ...said }) {
    const { redriven: count, left } = await client(on).deadLetters.redrive(topic, which(said));
    return Object.keys(left).length > 0 ? { count, left } : { count };
  },
  purge: async ({ on, topic, ...said }) => ({ count: (await client(on).deadLetters.purge(topic, which(said))).purged }),
  drain: async ({ on, deadline_ms: timeoutMs }) => (await client(on).drain({ timeoutMs }), {}),
  close: async ({ on }) => (await client(on).close(), {}),
  abandon: ({ on }) => (clients.delete(on), {}),
};

async function obey({ id, op, ...said }) {
  if (!Object.hasOwn(ops, op)) return tell({ id, err: { code: "UNKNOWN_COMMAND", message: `there is no ${op}` } });
  try {
    tell({ id, ok: (await ops[op](said)) ?? {} });
  } catch (error) {
    tell({ id, err: problem(error) });
  }
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  if (command.op === "exit") process.stdout.write(`${JSON.stringify({ id: command.id, ok: {} })}\n`, () => process.exit(0));
  else obey(command);
});
