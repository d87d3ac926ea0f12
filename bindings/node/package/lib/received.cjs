"use strict";
// Events that came, read where a program asks for something of them: src/batch.rs.

const { invalid, made } = require("./errors.cjs");
const { whole } = require("./loop.cjs");
const { reasoned } = require("./pack.cjs");
const { settings, millis } = require("./said.cjs");
const { signalOf } = require("./signals.cjs");

const WORDS = 18;
const EXPIRES = 1 << 8, STREAM = 1 << 9, LOST = 1 << 10;
const POSITION = 1, ATTEMPT = 3, GAP = 4, STORED = 5, LAST = 7, START = 9, ID = 10, SOURCE = 11, TYPE = 12, DATA = 13, LENGTH = 14,
  NUMBER = 15, ATTRIBUTES = 17;

/** Events that came together. */
class Batch {
  constructor({ buffer, number }, topic, loop) {
    this.words = new Uint32Array(buffer, 0, (buffer.byteLength >>> 2));
    this.bytes = Buffer.from(buffer);
    this.number = number;
    this.topic = topic;
    this.loop = loop;
    this.count = this.words[0];
  }

  at(index) {
    return 2 + index * WORDS;
  }

  isLost(index) {
    return (this.words[this.at(index)] & LOST) !== 0;
  }

  numberOf(index) {
    const at = this.at(index) + NUMBER;
    return this.words[at + 1] * 0x100000000 + this.words[at];
  }

  wantsStream(index) {
    return (this.words[this.at(index)] & STREAM) !== 0;
  }

  big(word) {
    return Number(BigInt.asIntN(64, (BigInt(this.words[word + 1]) << 32n) | BigInt(this.words[word])));
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** An event: attributes and data, read in place. */
class Event {
  #batch;
  #at;
  #attributes;

  constructor(batch, index) {
    this.#batch = batch;
    this.#at = 2 + index * WORDS;
  }

  #word(which) {
    return this.#batch.words[this.#at + which];
  }

  #text(from, length) {
    return length === 0 ? "" : this.#batch.bytes.toString("utf8", from, from + length);
  }

  get specversion() {
    return "1.0";
  }

  get id() {
    return this.#text(this.#word(START), this.#word(ID));
  }

  get source() {
    return this.#text(this.#word(START) + this.#word(ID), this.#word(SOURCE));
  }

  get type() {
    return this.#text(this.#word(START) + this.#word(ID) + this.#word(SOURCE), this.#word(TYPE));
  }

  get topic() {
    return this.#batch.topic;
  }

  /** All attributes but id, source and type. */
  get attributes() {
    return (this.#attributes ??= this.#read());
  }

  #read() {
    const { bytes } = this.#batch;
    const read = {};
    const run = () => {
      const length = LITTLE ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
      const from = at + 4;
      at = from + length;
      return [from, at];
    };
    let at = this.#word(ATTRIBUTES);
    const end = this.#word(DATA);
    while (at < end) {
      const kind = bytes[at++];
      const name = bytes.toString("latin1", ...run());
      const [from, to] = run();
      const value = kind === 3 ? new Uint8Array(bytes.subarray(from, to)) : bytes.toString("utf8", from, to);
      read[name] = kind === 1 ? Number(value) : kind === 2 ? value === "true" : value;
    }
    return Object.freeze(read);
  }

  get key() {
    return this.attributes.partitionkey;
  }

  get subject() {
    return this.attributes.subject;
  }

  get time() {
    return this.attributes.time;
  }

  get datacontenttype() {
    return this.attributes.datacontenttype;
  }

  get dataschema() {
    return this.attributes.dataschema;
  }

  /** What the event has as data. */
  get dataKind() {
    return KINDS[this.#word(0) & 0xff];
  }

  /** The data's bytes, a part of the memory of the whole batch: copy them with slice() to keep them for long. */
  get data() {
    const { bytes } = this.#batch;
    return new Uint8Array(bytes.buffer, bytes.byteOffset + this.#word(DATA), this.#word(LENGTH));
  }

  text() {
    const { bytes } = this.#batch;
    const from = this.#word(DATA);
    const length = this.#word(LENGTH);
    // The native half has seen that text is UTF-8.
    if ((this.#word(0) & 0xff) === 1) return bytes.toString("utf8", from, from + length);
    try {
      return decoder.decode(bytes.subarray(from, from + length));
    } catch (cause) {
      throw unreadable(this, "the data is not UTF-8 text", cause);
    }
  }

  json() {
    const text = this.text();
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw unreadable(this, `the data is not JSON: ${cause.message}`, cause);
    }
  }

  /** It as a plain object of CloudEvents, as JSON has it. */
  toCloudEvent() {
    const { id, source, type, attributes } = this;
    const event = { specversion: "1.0", id, source, type, ...attributes };
    const kind = this.dataKind;
    if (kind === "absent") return event;
    if (kind === "text") {
      event.data = this.text();
      if (!/[/+]json\b/.test(this.datacontenttype ?? "")) return event;
      try {
        event.data = JSON.parse(event.data);
      } catch {
        // Then it is what it is.
      }
      return event;
    }
    event.data_base64 = Buffer.from(this.data).toString("base64");
    return event;
  }

  toJSON() {
    return this.toCloudEvent();
  }

  /** @internal */
  static about(event) {
    return event.#batch;
  }

  /** @internal */
  static big(event, which) {
    return event.#batch.big(event.#at + which);
  }

  /** @internal */
  static word(event, which) {
    return event.#word(which);
  }
}

const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
const KINDS = ["absent", "text", "binary", "proto"];

function unreadable(event, problem, cause) {
  const context = { topic: event.topic };
  if (event instanceof Message) context.position = event.position;
  const where = Object.entries(context).map(([name, value]) => `, ${name} ${value}`).join("");
  return made("INVALID", "read", problem, { cause, context, text: `read: ${problem} (INVALID${where})` });
}

/** An event of a topic, with its place there. */
class Message extends Event {
  get position() {
    return whole(Event.word(this, POSITION), Event.word(this, POSITION + 1));
  }

  get attempt() {
    return Event.word(this, ATTEMPT);
  }

  /** Events before this one that were removed before they were seen. */
  get gap() {
    return Event.word(this, GAP);
  }

  get stored() {
    return new Date(Event.big(this, STORED));
  }

  get expiresAt() {
    return Event.word(this, 0) & EXPIRES ? new Date(Event.big(this, LAST)) : undefined;
  }
}

/** One event in the hands of a subscription's program, which settles it. */
class Delivery extends Message {
  #index;
  #settled = false;
  #settle;

  constructor(batch, index, settle) {
    super(batch, index);
    this.#index = index;
    this.#settle = settle;
  }

  get settled() {
    return this.#settled;
  }

  #end(operation) {
    if (this.#settled) throw invalid(operation, "the delivery was settled before, or given back as its loop was left");
    this.#settled = true;
    return Event.about(this);
  }

  ack() {
    const batch = this.#end("ack");
    batch.loop.ack(batch.number, this.#index);
    this.#settle?.(this, "ack");
  }

  nack(options) {
    const delayMs = options === undefined ? undefined : delay("nack", options, ["delayMs"], "nack({ delayMs: 5000 })");
    const batch = this.#end("nack");
    batch.loop.nack(batch.number, this.#index, delayMs);
    this.#settle?.(this, "nack");
  }

  reject(reason = "") {
    const text = reasoned("reject", reason);
    const batch = this.#end("reject");
    batch.loop.reject(batch.number, this.#index, text);
    this.#settle?.(this, "reject");
  }

  extend() {
    if (this.#settled) throw invalid("extend", "the delivery was settled before, or given back as its loop was left");
    const { loop, number } = Event.about(this);
    loop.extend(number, this.#index);
  }

  /** Lets go of it without a word: it comes again when its ack wait ends, or has failed when its subscription ends before. */
  forget() {
    const batch = this.#end("forget");
    batch.loop.drop(batch.number, this.#index);
    this.#settle?.(this, "dropped");
  }

  #confirmed(how, options, more) {
    const operation = `${how}_confirmed`;
    let [batch, signal, delayMs, reason] = [undefined, undefined, -1, ""];
    try {
      if (options !== undefined) {
        delayMs = delay(operation, options, how === "nack" ? ["delayMs", "signal"] : ["signal"], `${how}Confirmed({ signal })`) ?? -1;
        signal = signalOf(operation, options);
      }
      if (more !== undefined) reason = reasoned(operation, more);
      if (signal?.aborted) throw signal.reason;
      if (how !== "extend") batch = this.#end(operation);
      else if (this.#settled) throw invalid(operation, "the delivery was settled before, or given back as its loop was left");
      else batch = Event.about(this);
    } catch (error) {
      return Promise.reject(error);
    }
    const { loop, number } = batch;
    if (how !== "extend") this.#settle?.(this, how);
    const start = (tag) => {
      try {
        loop.bridge.confirm(tag, number, this.#index, how, delayMs, reason);
      } catch (error) {
        // It did not even begin: the delivery is still the program's.
        this.#settled = false;
        throw error;
      }
    };
    return loop.ask(start, { signal, caller: this.#confirmed });
  }

  ackConfirmed(options) {
    return this.#confirmed("ack", options);
  }

  nackConfirmed(options) {
    return this.#confirmed("nack", options);
  }

  rejectConfirmed(reason, options) {
    return this.#confirmed("reject", options, reason);
  }

  extendConfirmed(options) {
    return this.#confirmed("extend", options);
  }

  /** @internal Lets go of it, if it is unsettled. */
  static drop(delivery) {
    if (!delivery.#settled) delivery.forget();
  }
}

/** The delay among options. */
function delay(operation, options, names, form) {
  const { delayMs } = settings(operation, options, names, form);
  return delayMs === undefined ? undefined : millis(operation, "delayMs", delayMs);
}

module.exports = { Batch, Event, Message, Delivery };
