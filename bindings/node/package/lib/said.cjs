"use strict";
// Options as the core reads them: names and values as text. Only the core knows which there are and what they may be.

const { OPTIONS } = require("./options.cjs");
const { invalid } = require("./errors.cjs");
const { wellFormed, isRecord } = require("./pack.cjs");
const { shown } = require("./text.cjs");
const { coreName, OF } = require("./names.cjs");

/** What only this half reads. */
const OWN = new Set(["onState", "onPublish", "onDelivery", "onSettle"]);

function value(operation, name, given, unit) {
  switch (typeof given) {
    case "number":
      if (unit && !(Number.isSafeInteger(given) && given >= 0)) {
        throw invalid(operation, `option ${name}: ${given} is not a whole number of milliseconds from 0`);
      }
      return `${given}${unit}`;
    case "bigint":
      return `${given}${unit}`;
    case "string":
      return wellFormed(operation, `option ${name}`, given);
    case "boolean":
      return String(given);
  }
  if (name === "url" && given instanceof URL) return given.href;
  const names = OF[operation];
  if (names && name !== "position" && !names.includes(name)) {
    throw invalid(operation, `${name} is no option of ${operation}; those are ${names.join(", ")}, signal`);
  }
  throw invalid(operation, `option ${name}: ${shown(given)} is neither text, number nor boolean`);
}

/** Where to begin. */
function start(operation, given) {
  if (typeof given === "string") return given;
  if (given instanceof Date && !Number.isNaN(given.getTime())) return given.toISOString();
  if (typeof given === "object" && given !== null && "position" in given) return value(operation, "position", given.position, "");
  throw invalid(operation, `option start: say "earliest", "latest", a Date, or { position }`);
}

/** How calls are written whose options were something else. */
const FORMS = {
  connect: 'connect({ url: "mesh://host", name: "shop" })',
  subscribe: 'subscribe(topic, { group: "billing" })',
  consume: 'consume(topic, { group: "billing" }, handler)',
  serve: "serve(topic, { concurrency: 4 }, handler)",
  request: "request(topic, data, { timeoutMs: 2000 })",
  request_stream: "requestStream(topic, data, { timeoutMs: 2000 })",
};

/** What is no object of options, such as a number or a Map, would be passed over. */
function isOptions(operation, options, form = FORMS[operation]) {
  if (!isRecord(options)) throw invalid(operation, `options: ${shown(options)} is not an object of options; write ${form}`);
}

/** Options that only this half reads, of those names. */
function settings(operation, options, names, form) {
  if (options === undefined) return {};
  isOptions(operation, options, form);
  for (const name in options) {
    if (!names.includes(name) && options[name] !== undefined) {
      throw invalid(operation, `${name} is no option: there is ${names.join(", ")}; write ${form}`);
    }
  }
  return options;
}

/** How long, of those options. */
function millis(operation, name, value) {
  if (typeof value === "number" && value >= 0) return value;
  throw invalid(operation, `${name}: ${shown(value)} is not a number of milliseconds from 0`);
}

/** Names and values, one behind the other. */
function pairs(operation, options, aliases = {}) {
  if (options === undefined || options === null) return [];
  isOptions(operation, options);
  const out = [];
  for (const name in options) {
    const given = options[name];
    if (given === undefined || name === "signal" || (operation === "connect" && OWN.has(name))) continue;
    const known = OPTIONS[aliases[name] ?? name];
    if (name === "start" && OF[operation].includes(name)) out.push("start", start(operation, given));
    else if (known) out.push(known[0], value(operation, name, given, known[1]));
    else out.push(OF[operation].includes(name) ? coreName(name) : name, value(operation, name, given, ""));
  }
  return out;
}

module.exports = { pairs, start, settings, millis, isOptions };
