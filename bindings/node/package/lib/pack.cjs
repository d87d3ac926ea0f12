"use strict";
// Writes events and words as the native half reads them: src/event.rs and src/outgoing.rs.

const { types } = require("node:util");
const { invalid } = require("./errors.cjs");
const { shown, textOf, isError, isWellFormed } = require("./text.cjs");
const { json, isLater } = require("./json.cjs");

const CODE = { id: 0, source: 1, type: 2, partitionkey: 3, subject: 4, datacontenttype: 5, dataschema: 6, time: 7, specversion: 8 };
const NAMED = 16, INTEGER = 17, BOOLEAN = 18, BINARY = 19, TIME = 20;
const BYTES = 32, WORDS = 33, JSON_TEXT = 34;
const DELIVER_AT = 48, DELIVER_AFTER = 49, EXPIRES_IN = 50;

/** Room that is kept between turns. */
const ROOM = 1 << 16;

class Writer {
  constructor(room = ROOM) {
    this.used = 0;
    this.reset(room);
  }

  reset(size) {
    this.buffer = Buffer.allocUnsafeSlow(size);
    this.words = new Uint32Array(this.buffer.buffer);
    this.number = new Float64Array(1);
    this.eight = new Uint8Array(this.number.buffer);
  }

  /** Makes room for so many bytes more. */
  room(bytes) {
    const need = this.used + bytes + 8;
    if (need <= this.buffer.length) return;
    const old = this.buffer;
    this.reset(2 ** Math.ceil(Math.log2(need)));
    old.copy(this.buffer, 0, 0, this.used);
  }

  /** What was written, which the next write overwrites. */
  taken() {
    const taken = this.buffer.subarray(0, this.used);
    this.used = 0;
    if (this.buffer.length > 16 * ROOM) this.reset(ROOM);
    return taken;
  }

  byte(byte) {
    this.room(1);
    this.buffer[this.used++] = byte;
  }

  /** A word that need not be aligned. */
  word(word) {
    this.room(4);
    const { buffer, used } = this;
    if (LITTLE) {
      buffer[used] = word;
      buffer[used + 1] = word >>> 8;
      buffer[used + 2] = word >>> 16;
      buffer[used + 3] = word >>> 24;
    } else {
      buffer.writeUInt32BE(word >>> 0, used);
    }
    this.used += 4;
  }

  double(number) {
    this.room(8);
    this.number[0] = number;
    this.buffer.set(this.eight, this.used);
    this.used += 8;
  }

  /** Text without its length. Gives how many bytes it has. */
  chars(text) {
    const length = text.length;
    this.room(length * 3);
    const { buffer } = this;
    let at = this.used;
    if (length < 48) {
      let n = 0;
      for (; n < length; n++) {
        const char = text.charCodeAt(n);
        if (char > 127) break;
        buffer[at++] = char;
      }
      if (n === length) {
        this.used = at;
        return length;
      }
    }
    const written = buffer.write(text, this.used, "utf8");
    this.used += written;
    return written;
  }

  text(text) {
    const at = this.used;
    this.word(0);
    this.patch(at, this.chars(text));
  }

  patch(at, word) {
    const end = this.used;
    this.used = at;
    this.word(word);
    this.used = end;
  }

  run(bytes) {
    const length = lengthOf.call(bytes);
    this.word(length);
    this.room(length);
    this.buffer.set(bytes, this.used);
    this.used += length;
  }

  /** What another has written. */
  append(other) {
    const { used } = other;
    this.room(used);
    other.buffer.copy(this.buffer, this.used, 0, used);
    this.used += used;
  }

  /** A record of words; bytes may follow until its end. */
  begin(what, first, second) {
    this.room(16);
    const at = this.used >>> 2;
    this.words[at] = what;
    this.words[at + 2] = first;
    this.words[at + 3] = second;
    this.used += 16;
    return at;
  }

  end(at) {
    this.room(4);
    while (this.used & 3) this.buffer[this.used++] = 0;
    this.words[at + 1] = (this.used >>> 2) - at;
  }
}

/** As it is, whatever a class of the program's says. */
const lengthOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), "length").get;

const LITTLE = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

/** An event with its attributes, for wherever an event goes in. */
class Outgoing {
  constructor(data, attributes) {
    this.data = data;
    this.options = attributes;
  }
}

/** Whether it has the shape of a CloudEvents object, as that of the official SDK. */
function isCloudEvent(value) {
  return (
    typeof value === "object" && value !== null && typeof value.specversion === "string" &&
    typeof value.type === "string" && typeof value.source === "string"
  );
}

const PLAIN = new Set(["id", "source", "type", "specversion", "subject", "datacontenttype", "dataschema", "time", "data", "data_base64"]);

/** A CloudEvents object as an event of ours. What is said beside it holds. */
function ofCloudEvent(event, said) {
  const attributes = {};
  const options = { specversion: event.specversion, attributes };
  for (const name of Object.keys(event)) {
    const value = event[name];
    if (value === undefined || value === null || typeof value === "function") continue;
    if (!PLAIN.has(name)) attributes[name] = value;
    else if (name !== "data" && name !== "data_base64") options[name] = value;
  }
  for (const name of ["id", "source", "type", "subject", "datacontenttype", "dataschema", "time"]) {
    if (options[name] === undefined && event[name] !== undefined && event[name] !== null) options[name] = event[name];
  }
  let data = event.data;
  if ((data === undefined || data === null) && typeof event.data_base64 === "string") data = Buffer.from(event.data_base64, "base64");
  if (data === null) data = undefined;
  return new Outgoing(data, { ...options, ...said, attributes: { ...attributes, ...said?.attributes } });
}

function areAttributes(operation, said) {
  if (said !== undefined && said !== null && !isRecord(said)) throw invalid(operation, `${shown(said)} is not an object of attributes`);
}

/** Whatever a program hands in, as data and what is said of it. */
function outgoing(operation, value, said) {
  areAttributes(operation, said);
  if (value instanceof Outgoing) return said ? new Outgoing(value.data, { ...value.options, ...said }) : value;
  if (isCloudEvent(value)) {
    const event = typeof value.toCloudEvent === "function" ? value.toCloudEvent() : value;
    return ofCloudEvent(event, said);
  }
  return new Outgoing(value, said);
}

/** A text that can be written; half of a surrogate pair would become another character on its way. */
function wellFormed(operation, name, text) {
  if (isWellFormed(text)) return text;
  throw invalid(operation, `${name}: the text has half of a surrogate pair, which UTF-8 has no place for; toWellFormed() replaces it`);
}

/** Why a delivery is rejected: text as it is, and what an error says. */
function reasoned(operation, reason) {
  if (typeof reason === "string") return wellFormed(operation, "reason", reason);
  if (isError(reason)) return textOf(reason);
  throw invalid(operation, `reason: ${shown(reason)} is neither text nor an Error`);
}

/** Whether it is an object with names, and none of those whose content is elsewhere. */
function isRecord(value) {
  if (typeof value !== "object" || value === null) return false;
  const of = Object.getPrototypeOf(value);
  if (of === Object.prototype || of === null) return true;
  return !(Array.isArray(value) || types.isMap(value) || types.isSet(value) || isLater(value));
}

function textOption(operation, writer, name, value, as = `attribute ${name}`) {
  if (typeof value !== "string") {
    if (name === "time" && value instanceof Date) return time(operation, writer, name, value);
    throw invalid(operation, `${as}: ${shown(value)} is not text`);
  }
  writer.byte(CODE[name]);
  writer.text(wellFormed(operation, as, value));
}

function time(operation, writer, name, value) {
  const millis = value.getTime();
  if (Number.isNaN(millis)) throw invalid(operation, `attribute ${name}: an invalid Date`);
  writer.byte(TIME);
  writer.text(name);
  writer.double(millis);
}

function attribute(operation, writer, name, value) {
  switch (typeof value) {
    case "string":
      writer.byte(NAMED);
      writer.text(name);
      return writer.text(wellFormed(operation, `attribute ${name}`, value));
    case "number":
      if (!Number.isInteger(value)) throw invalid(operation, `attribute ${name}: ${value} is no whole number; make it text`);
      writer.byte(INTEGER);
      writer.text(name);
      return writer.double(value);
    case "boolean":
      writer.byte(BOOLEAN);
      writer.text(name);
      return writer.byte(value ? 1 : 0);
    case "undefined":
      return;
    case "bigint":
      throw invalid(operation, `attribute ${name}: a BigInt is no attribute; make it text`);
  }
  if (value instanceof Date) return time(operation, writer, name, value);
  const bytes = asBytes(value);
  if (!bytes) throw invalid(operation, `attribute ${name}: ${shown(value)} is neither text, whole number, boolean, Date nor bytes`);
  writer.byte(BINARY);
  writer.text(name);
  writer.run(bytes);
}

function asBytes(value) {
  if (ArrayBuffer.isView(value)) return value instanceof Uint8Array ? value : new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer || (typeof SharedArrayBuffer !== "undefined" && value instanceof SharedArrayBuffer)) {
    return new Uint8Array(value);
  }
  return undefined;
}

function span(operation, writer, kind, name, value) {
  const millis = value instanceof Date ? value.getTime() : value;
  const isTime = kind === DELIVER_AT ? value instanceof Date && !Number.isNaN(millis) : typeof millis === "number" && millis >= 0;
  if (!isTime) {
    throw invalid(operation, `${name}: ${shown(value)} is not ${kind === DELIVER_AT ? "a Date" : "a number of milliseconds from 0"}`);
  }
  writer.byte(kind);
  writer.double(millis);
}

/** Writes what is said of an event, and gives its data. */
function attributes(operation, writer, value, said) {
  areAttributes(operation, said);
  if (value instanceof Outgoing || isCloudEvent(value)) ({ data: value, options: said } = outgoing(operation, value, said));
  if (said) {
    for (const name in said) {
      const given = said[name];
      if (given === undefined || given === null) continue;
      switch (name) {
        case "type": case "id": case "specversion": case "source": case "subject": case "datacontenttype": case "dataschema": case "time":
          textOption(operation, writer, name, given);
          break;
        case "key":
          textOption(operation, writer, "partitionkey", given, "key");
          break;
        case "attributes":
          if (!isRecord(given)) throw invalid(operation, `attributes: ${shown(given)} is not an object of names and values`);
          for (const one of Object.keys(given)) attribute(operation, writer, one, given[one]);
          break;
        case "deliverAt":
          span(operation, writer, DELIVER_AT, name, given);
          break;
        case "deliverAfterMs":
          span(operation, writer, DELIVER_AFTER, name, given);
          break;
        case "expiresInMs":
          span(operation, writer, EXPIRES_IN, name, given);
          break;
        case "signal":
          break;
        case "timeoutMs":
          throw invalid(operation, "timeoutMs is no part of an event: signal: AbortSignal.timeout(ms) bounds a call, publishTimeoutMs of connect() all");
        default:
          throw invalid(operation, `${name} is no part of an event; an extension attribute goes into attributes`);
      }
    }
  }
  return value;
}

/** An event that was read: what it is made of may be code of the program's (toJSON, a getter), which may publish and settle itself. Writing
 * it runs none. */
class Draft {
  constructor() {
    this.said = new Writer(1 << 10);
    this.kind = 0;
    this.data = undefined;
  }

  read(operation, value, said) {
    this.said.used = 0;
    const data = attributes(operation, this.said, value, said);
    if (data === undefined) return this.has(0, undefined);
    if (typeof data === "string") return this.has(WORDS, wellFormed(operation, "data", data));
    const bytes = asBytes(data);
    return bytes ? this.has(BYTES, bytes) : this.has(JSON_TEXT, json(operation, data));
  }

  has(kind, data) {
    this.kind = kind;
    this.data = data;
  }

  /** Once. */
  write(writer) {
    const { said, kind, data } = this;
    if (said.used > 0) writer.append(said);
    if (kind !== 0) {
      writer.byte(kind);
      if (kind === BYTES) writer.run(data);
      else writer.text(data);
    }
    this.data = undefined;
    said.taken();
    drafts.push(this);
  }
}

/** Those that nobody uses: one, as a rule. */
const drafts = [];

/** Reads an event, for a call that its errors name. */
function drafted(operation, value, said) {
  const draft = drafts.pop() ?? new Draft();
  try {
    draft.read(operation, value, said);
  } catch (error) {
    drafts.push(draft);
    throw error;
  }
  return draft;
}

/** Writes an event. */
function event(operation, writer, value, said) {
  drafted(operation, value, said).write(writer);
}

/** One event alone, for a call that is not packed. */
function alone(operation, value, said) {
  const writer = new Writer();
  event(operation, writer, value, said);
  return writer.taken();
}

module.exports = { Writer, Outgoing, outgoing, drafted, event, alone, reasoned, wellFormed, isRecord };
