"use strict";
// Administration: names and units of docs/http-admin.md, as JavaScript writes them.

const { invalid } = require("./errors.cjs");
const { isRecord } = require("./pack.cjs");
const { shown, textOf } = require("./text.cjs");
const { signalOf } = require("./signals.cjs");

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Objects whose names are not ours: an event, groups. */
const FOREIGN = new Set(["event", "left"]);

/** An answer as JavaScript has it. */
function named(value, name) {
  if (typeof value !== "object" || value === null || FOREIGN.has(name)) return value ?? undefined;
  if (Array.isArray(value)) return value.map((one) => named(one));
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [camel(key), named(one, key)]));
}

/** A place, as text. */
function place(value) {
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString();
  if (typeof value === "object" && value !== null && "position" in value) return value.position;
  return value;
}

function written(operation, said) {
  const out = {};
  for (const [name, value] of Object.entries(said)) {
    if (name === "signal" || value === undefined) continue;
    out[snake(name)] = name === "start" || name === "to" ? place(value) : value;
  }
  try {
    return JSON.stringify(out, (_, value) => (typeof value === "bigint" ? String(value) : value));
  } catch (cause) {
    throw invalid(operation, `the arguments cannot be written as JSON: ${textOf(cause)}`, cause);
  }
}

/** A list that is asked for page by page. */
class Listing {
  #page;

  constructor(page) {
    this.#page = page;
  }

  async *[Symbol.asyncIterator]() {
    let cursor;
    do {
      const { items, next } = await this.#page(cursor);
      yield* items;
      cursor = next;
    } while (cursor !== undefined);
  }

  /** All of it at once. */
  async all() {
    const all = [];
    for await (const one of this) all.push(one);
    return all;
  }
}

/** The rooms of administration, over `ask(command, arguments, signal)`. */
function rooms(ask) {
  const command = async (name, more, options) => {
    if (options !== undefined && !isRecord(options)) throw invalid(name, `${shown(options)} is not an object`);
    return named(JSON.parse(await ask(name, written(name, { ...options, ...more }), signalOf(name, options))));
  };
  const list = (name, more, options) => new Listing((cursor) => command(name, { ...more, cursor }, options));
  const topics = {
    list: (options) => list("topics.list", {}, options),
    get: (topic, options) => command("topics.get", { topic }, options),
    create: (topic, settings) => command("topics.create", { topic }, settings),
    update: (topic, settings) => command("topics.update", { topic }, settings),
    delete: (topic, options) => command("topics.delete", { topic }, options),
  };
  const groups = {
    list: (topic, options) => list("groups.list", { topic }, options),
    get: (topic, group, options) => command("groups.get", { topic, group }, options),
    create: (topic, group, settings) => command("groups.create", { topic, group }, settings),
    update: (topic, group, settings) => command("groups.update", { topic, group }, settings),
    seek: (topic, group, to, options) => command("groups.seek", { topic, group, to }, options),
    delete: (topic, group, options) => command("groups.delete", { topic, group }, options),
    deleteMember: (topic, group, member, options) => command("groups.delete_member", { topic, group, member }, options),
  };
  const deadLetters = {
    list: (topic, options) => list("dead_letters.list", { topic }, options),
    get: (topic, number, options) => command("dead_letters.get", { topic, number }, options),
    redrive: (topic, options) => command("dead_letters.redrive", { topic }, options),
    purge: (topic, options) => command("dead_letters.purge", { topic }, options),
  };
  const limits = {
    get: (options) => command("limits.get", {}, options),
    set: (settings) => command("limits.set", {}, settings),
  };
  return [topics, groups, deadLetters, limits].map(Object.freeze);
}

module.exports = { rooms, named, Listing };
