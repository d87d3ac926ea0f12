"use strict";
// Options as the core reads them: names and values as text. Only the core knows which there are and what they may be.

const { OPTIONS } = require("./options.cjs");
const { invalid } = require("./errors.cjs");

/** What only this half reads. */
const OWN = new Set(["signal", "onState", "onPublish", "onDelivery", "onSettle"]);

function value(operation, name, given, unit) {
  switch (typeof given) {
    case "number":
    case "bigint":
      return `${given}${unit}`;
    case "string":
    case "boolean":
      return String(given);
  }
  throw invalid(operation, `option ${name}: ${given === null ? "null" : `a ${typeof given}`} is neither text, number nor boolean`);
}

/** Where to begin. */
function start(operation, given) {
  if (typeof given === "string") return given;
  if (given instanceof Date && !Number.isNaN(given.getTime())) return given.toISOString();
  if (typeof given === "object" && given !== null && "position" in given) return value(operation, "position", given.position, "");
  throw invalid(operation, `option start: say "earliest", "latest", a Date, or { position }`);
}

/** Names and values, one behind the other. */
function pairs(operation, options, aliases = {}) {
  if (options === undefined || options === null) return [];
  if (typeof options !== "object") throw invalid(operation, `options: a ${typeof options} is not an object`);
  const out = [];
  for (const name of Object.keys(options)) {
    const given = options[name];
    if (given === undefined || OWN.has(name)) continue;
    const known = OPTIONS[aliases[name] ?? name];
    if (name === "start") out.push("start", start(operation, given));
    else if (known) out.push(known[0], value(operation, name, given, known[1]));
    else out.push(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value(operation, name, given, ""));
  }
  return out;
}

module.exports = { pairs, start };
