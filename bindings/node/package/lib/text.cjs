"use strict";
// Values of a program as text in one line, for errors and logs.

const { inspect, types } = require("node:util");

/** Most characters of a value that is no text. */
const LONGEST = 400;

const LOOK = { depth: 2, breakLength: Infinity, compact: true, maxArrayLength: 10, maxStringLength: 200 };

const isWellFormed =
  typeof String.prototype.isWellFormed === "function" ? (text) => text.isWellFormed() : (text) => !/\p{Surrogate}/u.test(text);

/** Any value, as it is looked at. */
function inspected(value) {
  let text;
  try {
    text = inspect(value, LOOK).replace(/\s*[\r\n]\s*/g, " ");
  } catch {
    return `${typeof value === "object" ? "an object" : `a ${typeof value}`} whose text cannot be made`;
  }
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}...` : text;
}

/** A value of a program in a sentence. */
const shown = (value) => (typeof value === "string" ? JSON.stringify(value) : inspected(value));

const isError = (value) => value instanceof Error || types.isNativeError(value);

/** What is said of an error, whatever was thrown, as text that can be written. */
function textOf(error) {
  const text = isError(error) ? ofError(error) : typeof error === "string" ? error : inspected(error);
  return isWellFormed(text) ? text : text.replace(/\p{Surrogate}/gu, "\ufffd");
}

function ofError(error) {
  try {
    return String(error.message) || String(error.name);
  } catch {
    return "an Error whose text cannot be made";
  }
}

module.exports = { shown, textOf, isError, isWellFormed };
