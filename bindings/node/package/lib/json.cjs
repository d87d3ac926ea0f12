"use strict";
// Data of a program as JSON, and what of it JSON would lose without a word.

const { types } = require("node:util");
const { invalid } = require("./errors.cjs");
const { shown, textOf, isError } = require("./text.cjs");

const isLater = (value) => types.isPromise(value) || (typeof value?.then === "function" && typeof value.toJSON !== "function");

/** What JSON would make nothing of, and what to do. */
function emptied(value) {
  if (isLater(value)) return "a promise: await it first";
  if (types.isMap(value)) return "a Map: make it an object, as by Object.fromEntries(map)";
  if (types.isSet(value)) return "a Set: make it an array, as by [...set]";
  if (types.isGeneratorObject(value)) return "a generator, which was not run: make it an array";
  if (isError(value)) return "an Error: say what of it is the data, such as { message: error.message }";
  return undefined;
}

/** What to do with some of those that JSON writes as `{}`, by the names that they have. */
const INSTEAD = {
  RegExp: "make it text, as by String(pattern)",
  Blob: "its bytes are data, as await blob.arrayBuffer()",
  File: "its bytes are data, as await file.arrayBuffer()",
  URLSearchParams: "make it text, as by String(params), or an object, as by Object.fromEntries(params)",
  FormData: "make it an object, as by Object.fromEntries(form)",
  Headers: "make it an object, as by Object.fromEntries(headers)",
};

/** What of a program's data is not in the text that JSON made of it, and what to do. Inside of it that is JSON's own affair. */
function lost(value, text) {
  if (text === "null" && value !== null) {
    if (typeof value !== "number" && !types.isDate(value) && !types.isNumberObject(value)) return undefined;
    return `${shown(value)}, of which JSON makes null: say null, or make it text`;
  }
  if (text !== "{}") return undefined;
  const name = Object.prototype.toString.call(value).slice(8, -1);
  if (name === "Object" || typeof value.toJSON === "function") return undefined;
  return `${/^[AEIOU]/.test(name) ? "an" : "a"} ${name}, of which JSON would make {}: ${INSTEAD[name] ?? "say what of it is the data"}`;
}

function json(operation, value) {
  if (typeof value === "object" && value !== null) {
    const of = Object.getPrototypeOf(value);
    const what = of === Object.prototype || of === Array.prototype || typeof value.toJSON === "function" ? undefined : emptied(value);
    if (what) throw invalid(operation, `the data is ${what}`);
  }
  let text;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    const big = cause instanceof TypeError && /BigInt/.test(cause.message);
    const why = big ? "it has a BigInt, which JSON does not have: make it text, as positions are" : textOf(cause);
    throw invalid(operation, `the data cannot be written as JSON: ${why}`, cause);
  }
  if (text === undefined) throw invalid(operation, `the data cannot be written as JSON: it is a ${typeof value}`);
  const what = text === "null" || text === "{}" ? lost(value, text) : undefined;
  if (what) throw invalid(operation, `the data is ${what}`);
  return text;
}

module.exports = { json, isLater };
