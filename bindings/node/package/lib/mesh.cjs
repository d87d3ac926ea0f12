"use strict";

const { loop: here, NOTHING, CLIENT, SUBSCRIPTION, REPLIES, STARTED } = require("./loop.cjs");
const { MeshwireError, invalid, native: call, told } = require("./errors.cjs");
const { alone, outgoing, Writer, event: write, shown } = require("./pack.cjs");
const { pairs } = require("./said.cjs");
const { Subscription } = require("./subscription.cjs");
const { Batch, Event } = require("./received.cjs");
const { rooms, named: camel } = require("./admin.cjs");
const { Replies } = require("./replies.cjs");
const { consume, serve, isHandler } = require("./handlers.cjs");
const { ending } = require("./handling.cjs");

const STATES = ["disconnected", "connecting", "connected", "reconnecting", "draining", "closed"];

const abandoned = new FinalizationRegistry(({ loop, number }) => loop.release(CLIENT, number));

function named(topic, operation) {
  if (typeof topic !== "string") throw invalid(operation, `the topic is ${shown(topic)}, which is not text`);
  return topic;
}

/** A promise of what a function gives, which fails where it throws. */
function promised(then) {
  try {
    return Promise.resolve(then());
  } catch (error) {
    return Promise.reject(error);
  }
}

/** A client of a gateway. */
class Mesh {
  #loop;
  #number;
  #hooks;
  #closing;
  #open = new Set();

  constructor(key, loop, number, { onState, ...hooks }) {
    if (key !== KEY) throw invalid("connect", "connect() makes clients");
    this.#loop = loop;
    this.#number = number;
    this.#hooks = Object.values(hooks).some(Boolean) ? hooks : undefined;
    abandoned.register(this, { loop, number }, this);
    const administer = (command, args, signal) => this.#call("administer", { command, arguments: args }, NOTHING, { signal });
    [this.topics, this.groups, this.deadLetters, this.limits] = rooms(administer);
    if (onState) watch(new WeakRef(this), loop, number, onState);
  }

  #call(name, more, event = NOTHING, options = {}) {
    const start = (tag) => this.#loop.bridge.call(tag, this.#number, { name, ...more }, event);
    return this.#loop.ask(start, { caller: this.#call, ...options });
  }

  #published(topic, value, said) {
    const hook = this.#hooks?.onPublish;
    if (!hook) return [value, said];
    const event = outgoing(value, said);
    const draft = { data: event.data, ...event.options, attributes: { ...event.options?.attributes } };
    hook(topic, draft);
    const { data, ...options } = draft;
    return [data, options];
  }

  publish(topic, value, said) {
    if (typeof topic !== "string") return promised(() => named(topic, "publish"));
    const signal = said?.signal;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#hooks?.onPublish) {
      try {
        [value, said] = this.#published(topic, value, said);
      } catch (error) {
        return Promise.reject(refused(error));
      }
    }
    return this.#loop.publish(this.#number, topic, value, said, signal, this);
  }

  async publishStart(topic, value, said) {
    named(topic, "publish");
    const signal = said?.signal;
    let event;
    try {
      event = this.#hooks?.onPublish ? alone(...this.#published(topic, value, said)) : alone(value, said);
    } catch (error) {
      throw refused(error);
    }
    const number = await this.#call("publish_start", { topic }, event, { signal, release: STARTED });
    return new PendingReceipt(this.#loop, number);
  }

  async publishBatch(topic, values, options) {
    named(topic, "publish");
    if (typeof values === "string" || ArrayBuffer.isView(values)) {
      throw invalid("publish", "a batch is an iterable of events; text and bytes are one event");
    }
    const writer = new Writer();
    const results = [];
    const sent = [];
    for (const one of values) {
      const at = writer.used;
      try {
        const [value, said] = this.#hooks?.onPublish ? this.#published(topic, one) : [one, undefined];
        writer.word(0);
        write(writer, value, said);
        writer.patch(at, writer.used - at - 4);
        sent.push(results.length);
      } catch (error) {
        writer.used = at;
        results.push({ ok: false, error: refused(error) });
        continue;
      }
      results.push(undefined);
    }
    if (sent.length === 0) return results;
    const start = (tag) => this.#loop.bridge.publishBatch(tag, this.#number, topic, writer.taken());
    const answers = JSON.parse(await this.#loop.ask(start, { signal: options?.signal, caller: this.publishBatch, holds: this }));
    sent.forEach((place, n) => {
      const answer = answers[n];
      results[place] =
        typeof answer === "string"
          ? { ok: false, error: told(answer) }
          : { ok: true, receipt: { position: answer.position ?? undefined, duplicate: answer.duplicate } };
    });
    return results;
  }

  flush(options) {
    return this.#call("flush", {}, NOTHING, { signal: options?.signal, holds: this });
  }

  connected(options) {
    return this.#call("connected", {}, NOTHING, { signal: options?.signal });
  }

  async subscribe(topic, options) {
    named(topic, "subscribe");
    const said = pairs("subscribe", options);
    const number = await this.#call("subscribe", { topic, options: said }, NOTHING, { signal: options?.signal, release: SUBSCRIPTION });
    const of = { mesh: this, open: this.#open };
    return new Subscription(of, this.#loop, number, topic, this.#hooks);
  }

  consume(topic, options, handler) {
    if (typeof options === "function") [options, handler] = [undefined, options];
    return promised(() => {
      const said = pairs("consume", options, { concurrency: "handlerConcurrency" });
      isHandler(handler, "consume");
      return consume(this.#loop, this.#number, named(topic, "consume"), said, options?.signal, handler, this.#hooks);
    });
  }

  serve(topic, options, handler) {
    if (typeof options === "function") [options, handler] = [undefined, options];
    return promised(() => {
      const said = pairs("serve", options, { concurrency: "handlerConcurrency" });
      isHandler(handler, "serve");
      return serve(this.#loop, this.#number, named(topic, "serve"), said, options?.signal, handler);
    });
  }

  async request(topic, value, options) {
    named(topic, "request");
    const { said, event } = asked("request", value, options);
    const came = await this.#call("request", { topic, options: said }, event, { signal: options?.signal });
    return new Event(new Batch(came, topic, this.#loop), 0);
  }

  async requestStream(topic, value, options) {
    named(topic, "request_stream");
    const { said, event } = asked("request_stream", value, options);
    const more = { signal: options?.signal, release: REPLIES };
    const number = await this.#call("request_stream", { topic, options: said }, event, more);
    return new Replies(this.#loop, number, topic, options?.signal);
  }

  get state() {
    return STATES[call(() => this.#loop.bridge.state(this.#number))];
  }

  stats() {
    return camel(JSON.parse(call(() => this.#loop.bridge.stats(this.#number))));
  }

  drain(options) {
    return ending(this.#number, "drain", this.#drain(options));
  }

  #drain(options) {
    const number = options?.timeoutMs;
    if (number !== undefined && (typeof number !== "number" || !(number >= 0))) {
      return Promise.reject(invalid("drain", `timeoutMs: ${shown(number)} is not a number of milliseconds`));
    }
    // What programs were not handed goes back first: it is not waited for.
    for (const one of this.#open) {
      const subscription = one.deref();
      if (subscription) Subscription.giveBack(subscription);
    }
    return this.#call("drain", { number }, NOTHING, { signal: options?.signal, holds: this });
  }

  close(options) {
    this.#closing ??= this.#close(options);
    return ending(this.#number, "close", this.#closing);
  }

  async #close(options) {
    try {
      await this.#drain(options);
    } finally {
      abandoned.unregister(this);
      this.#loop.release(CLIENT, this.#number);
    }
  }
}

const KEY = Symbol("connect");

/** What is said of a request, and what of its event. */
function asked(operation, value, options) {
  const { timeoutMs, retry, credit, signal, ...event } = options ?? {};
  const said = pairs(operation, { timeoutMs, retry, credit, signal }, { timeoutMs: "requestTimeoutMs", credit: "replyCredit" });
  return { said, event: alone(value, event) };
}

/** Tells of states as they change, for as long as somebody has the client; it does not hold the process. */
async function watch(mesh, loop, number, tell) {
  let now = -1;
  const say = (state) => {
    if (state === now) return;
    now = state;
    try {
      tell(STATES[now]);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  };
  say(call(() => loop.bridge.state(number)));
  while (STATES[now] !== "closed" && mesh.deref()) {
    try {
      const start = (tag) => loop.bridge.call(tag, number, { name: "state", number: now }, NOTHING);
      say(await loop.ask(start, { idle: true }));
    } catch {
      return say(5);
    }
  }
}

function refused(error) {
  if (error instanceof MeshwireError) return error;
  return invalid("publish", `the event was refused: ${error?.message ?? error}`, error);
}

/** A publish on its way, which goes on whether its receipt is asked for or not. */
class PendingReceipt {
  #loop;
  #number;
  #receipt;

  constructor(loop, number) {
    this.#loop = loop;
    this.#number = number;
  }

  receipt(options) {
    const start = (tag) => this.#loop.bridge.receipt(tag, this.#number);
    return (this.#receipt ??= this.#loop.ask(start, { signal: options?.signal, caller: this.receipt }));
  }
}

/** Connects to a gateway. */
async function connect(options) {
  const said = typeof options === "string" ? { url: options } : options;
  const loop = here();
  const written = pairs("connect", said);
  const start = (tag) => loop.bridge.connect(tag, written);
  const number = await loop.ask(start, { signal: said?.signal, release: CLIENT, caller: connect });
  const { onState, onPublish, onDelivery, onSettle } = said ?? {};
  return new Mesh(KEY, loop, number, { onState, onPublish, onDelivery, onSettle });
}

if (Symbol.asyncDispose) {
  Object.defineProperty(Mesh.prototype, Symbol.asyncDispose, { value: Mesh.prototype.close, configurable: true, writable: true });
}

module.exports = { connect, Mesh, PendingReceipt, REPLIES };
