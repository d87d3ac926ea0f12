"use strict";

const { loop: here, NOTHING, CLIENT, SUBSCRIPTION, REPLIES, STARTED } = require("./loop.cjs");
const { MeshwireError, invalid, native: call, told } = require("./errors.cjs");
const { alone, outgoing, Writer, event: write, wellFormed } = require("./pack.cjs");
const { shown, textOf } = require("./text.cjs");
const { pairs, settings, millis, isOptions } = require("./said.cjs");
const { signalOf } = require("./signals.cjs");
const { hooks: hooksOf } = require("./hooks.cjs");
const { Subscription } = require("./subscription.cjs");
const { Batch, Event } = require("./received.cjs");
const { rooms, named: camel } = require("./admin.cjs");
const { Replies } = require("./replies.cjs");
const { consume, serve, handled } = require("./handlers.cjs");
const { ending } = require("./handling.cjs");
const logs = require("./logs.cjs");

const STATES = ["disconnected", "connecting", "connected", "reconnecting", "draining", "closed"];

const abandoned = new FinalizationRegistry(({ loop, number }) => loop.release(CLIENT, number));

function named(topic, operation) {
  if (typeof topic !== "string") throw invalid(operation, `the topic is ${shown(topic)}, which is not text`);
  return wellFormed(operation, "topic", topic);
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
  /** The topic that was published to last, which is known to be one. */
  #topic;

  constructor(key, loop, number, hooks, onState) {
    if (key !== KEY) throw invalid("connect", "connect() makes clients");
    this.#loop = loop;
    this.#number = number;
    this.#hooks = hooks;
    abandoned.register(this, { loop, number }, this);
    const administer = (command, args, signal) => this.#call("administer", { command, arguments: args }, NOTHING, { signal });
    [this.topics, this.groups, this.deadLetters, this.limits] = rooms(administer);
    if (onState) watch(new WeakRef(this), loop, number, onState);
  }

  #call(name, more, event = NOTHING, options = {}) {
    const start = (tag) => this.#loop.bridge.call(tag, this.#number, { name, ...more }, event);
    return this.#loop.ask(start, { caller: this.#call, ...options });
  }

  /** A call that has no options but a signal. */
  #plain(name, operation, options, holds) {
    return promised(() => {
      const signal = signalOf(operation, settings(operation, options, ["signal"], `${operation}({ signal })`));
      return this.#call(name, {}, NOTHING, { signal, holds });
    });
  }

  #published(topic, value, said) {
    const hook = this.#hooks?.onPublish;
    if (!hook) return [value, said];
    const event = outgoing("publish", value, said);
    const draft = { data: event.data, ...event.options, attributes: { ...event.options?.attributes } };
    hook(topic, draft);
    const { data, ...options } = draft;
    return [data, options];
  }

  publish(topic, value, said) {
    let signal;
    try {
      if (topic !== this.#topic) this.#topic = named(topic, "publish");
      if (said?.signal !== undefined) signal = signalOf("publish", said);
      if (signal?.aborted) return Promise.reject(signal.reason);
      if (this.#hooks?.onPublish) [value, said] = this.#published(topic, value, said);
    } catch (error) {
      return Promise.reject(refused(error));
    }
    return this.#loop.publish(this.#number, topic, value, said, signal, this);
  }

  async publishStart(topic, value, said) {
    named(topic, "publish");
    const signal = signalOf("publish", said);
    let event;
    try {
      event = this.#hooks?.onPublish ? alone("publish", ...this.#published(topic, value, said)) : alone("publish", value, said);
    } catch (error) {
      throw refused(error);
    }
    const number = await this.#call("publish_start", { topic }, event, { signal, release: STARTED });
    return new PendingReceipt(this.#loop, number);
  }

  async publishBatch(topic, values, options) {
    named(topic, "publish");
    const signal = signalOf("publish", settings("publish", options, ["signal"], "publishBatch(topic, events, { signal })"));
    if (typeof values === "string" || ArrayBuffer.isView(values)) {
      throw invalid("publish", "a batch is an iterable of events; text and bytes are one event");
    }
    if (typeof values?.[Symbol.iterator] !== "function") {
      throw invalid("publish", `the events are ${shown(values)}, which is no iterable: publishBatch(topic, [one, two])`);
    }
    const writer = new Writer();
    const results = [];
    const sent = [];
    for (const one of values) {
      const at = writer.used;
      try {
        const [value, said] = this.#hooks?.onPublish ? this.#published(topic, one) : [one, undefined];
        writer.word(0);
        write("publish", writer, value, said);
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
    const answers = JSON.parse(await this.#loop.ask(start, { signal, caller: this.publishBatch, holds: this }));
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
    return this.#plain("flush", "flush", options, this);
  }

  connected(options) {
    return this.#plain("connected", "connected", options);
  }

  async subscribe(topic, options, handler) {
    named(topic, "subscribe");
    if (typeof options === "function" || handler !== undefined) {
      throw invalid("subscribe", "it calls no handler: consume(topic, options, handler) does; or loop over what subscribe(topic, options) gives");
    }
    const said = pairs("subscribe", options);
    const signal = signalOf("subscribe", options);
    const number = await this.#call("subscribe", { topic, options: said }, NOTHING, { signal, release: SUBSCRIPTION });
    const of = { mesh: this, open: this.#open };
    return new Subscription(of, this.#loop, number, topic, this.#hooks);
  }

  consume(topic, options, handler) {
    return promised(() => {
      [options, handler] = handled("consume", options, handler);
      const said = pairs("consume", options, { concurrency: "handlerConcurrency" });
      const signal = signalOf("consume", options);
      return consume(this.#loop, this.#number, named(topic, "consume"), said, signal, handler, this.#hooks);
    });
  }

  serve(topic, options, handler) {
    return promised(() => {
      [options, handler] = handled("serve", options, handler);
      const said = pairs("serve", options, { concurrency: "handlerConcurrency" });
      return serve(this.#loop, this.#number, named(topic, "serve"), said, signalOf("serve", options), handler);
    });
  }

  async request(topic, value, options) {
    named(topic, "request");
    const { said, event } = asked("request", value, options);
    const came = await this.#call("request", { topic, options: said }, event, { signal: signalOf("request", options) });
    return new Event(new Batch(came, topic, this.#loop), 0);
  }

  async requestStream(topic, value, options) {
    named(topic, "request_stream");
    const { said, event } = asked("request_stream", value, options);
    const signal = signalOf("request_stream", options);
    const number = await this.#call("request_stream", { topic, options: said }, event, { signal, release: REPLIES });
    return new Replies(this.#loop, number, topic, signal);
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
    return promised(() => {
      const { number, signal } = ends("drain", options);
      // What programs were not handed goes back first: it is not waited for.
      for (const one of this.#open) {
        const subscription = one.deref();
        if (subscription) Subscription.giveBack(subscription);
      }
      return this.#call("drain", { number }, NOTHING, { signal, holds: this });
    });
  }

  close(options) {
    try {
      // Before anything ends.
      ends("close", options);
    } catch (error) {
      return Promise.reject(error);
    }
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

/** What is said of an end. */
function ends(operation, options) {
  const { timeoutMs } = settings(operation, options, ["timeoutMs", "signal"], `${operation}({ timeoutMs: 5000 })`);
  return { number: timeoutMs === undefined ? undefined : millis(operation, "timeoutMs", timeoutMs), signal: signalOf(operation, options) };
}

/** What is said of a request, and what of its event. */
function asked(operation, value, options) {
  isOptions(operation, options ?? {});
  const { timeoutMs, retry, credit, signal, ...event } = options ?? {};
  const said = pairs(operation, { timeoutMs, retry, credit, signal }, { timeoutMs: "requestTimeoutMs", credit: "replyCredit" });
  return { said, event: alone(operation, value, event) };
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
  return invalid("publish", `the event was refused: ${textOf(error)}`, error);
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
    return promised(() => {
      const signal = signalOf("publish", settings("publish", options, ["signal"], "receipt({ signal })"));
      const start = (tag) => this.#loop.bridge.receipt(tag, this.#number);
      return (this.#receipt ??= this.#loop.ask(start, { signal, caller: this.receipt }));
    });
  }
}

/** Connects to a gateway. */
async function connect(options, more) {
  if (more !== undefined) throw invalid("connect", 'it takes one of both: connect("mesh://host"), or connect({ url: "mesh://host", ...options })');
  const said = typeof options === "string" || options instanceof URL ? { url: String(options) } : options;
  const loop = here();
  const written = pairs("connect", said);
  const [signal, hooks, onState] = [signalOf("connect", said), hooksOf(said), said?.onState];
  if (onState !== undefined && typeof onState !== "function") throw invalid("connect", `onState: ${shown(onState)} is no function`);
  logs.begin(loop);
  const start = (tag) => loop.bridge.connect(tag, written);
  const number = await loop.ask(start, { signal, release: CLIENT, caller: connect });
  return new Mesh(KEY, loop, number, hooks, onState);
}

if (Symbol.asyncDispose) {
  Object.defineProperty(Mesh.prototype, Symbol.asyncDispose, { value: Mesh.prototype.close, configurable: true, writable: true });
}

module.exports = { connect, Mesh, PendingReceipt, REPLIES };
