"use strict";

const { CODES } = require("./codes.cjs");
const { textOf } = require("./text.cjs");
const { translated } = require("./names.cjs");

/** What went wrong, where, and what may be done about it. */
class MeshwireError extends Error {
  constructor(told) {
    super(told.text ?? told.message, told.cause === undefined || told.cause === null ? undefined : { cause: told.cause });
    this.reason = told.message;
    this.code = told.code;
    this.number = told.number;
    this.retry = told.retry;
    this.retryable = told.retryable;
    this.retryAfterMs = told.retryAfterMs ?? undefined;
    this.operation = told.operation;
    this.context = Object.freeze(told.context ?? {});
  }

  toJSON() {
    const { name, message, reason, code, number, retry, retryable, retryAfterMs, operation, context } = this;
    const cause = this.cause instanceof Error ? this.cause.message : this.cause;
    return { name, message, reason, code, number, retry, retryable, retryAfterMs, operation, context, cause };
  }
}
Object.defineProperty(MeshwireError.prototype, "name", { value: "MeshwireError", configurable: true, writable: true });

/** An error of this half, with what the table says of its code. */
function made(code, operation, message, more) {
  const [number, retry] = CODES[code];
  const retryable = retry === "now" || retry === "after";
  return new MeshwireError({ code, number, retry, retryable, operation, message, text: `${operation}: ${message} (${code})`, ...more });
}

/** Of what the native half tells. */
function told(json, stack) {
  const said = JSON.parse(json);
  // That text is a responder's.
  if (said.code !== "RESPONDER_FAILED") {
    const message = translated(said.message, said.code === "INVALID");
    said.text = said.text.replace(said.message, () => message);
    said.message = message;
  }
  const error = new MeshwireError(said);
  return stack ? at(error, stack) : error;
}

/** Lets an error say where its call was made. */
function at(error, from) {
  const lines = from.stack?.split("\n").slice(1).join("\n");
  if (lines) error.stack = `${error.name}: ${error.message}\n${lines}`;
  return error;
}

/** Calls the native half; what it throws is an error of ours. */
function native(call) {
  try {
    return call();
  } catch (error) {
    if (error instanceof MeshwireError) throw error;
    if (typeof error?.message === "string" && error.message.startsWith("{")) {
      const mine = told(error.message);
      Error.captureStackTrace?.(mine, native);
      throw mine;
    }
    throw made("INTERNAL", "native", textOf(error), { cause: error });
  }
}

const invalid = (operation, message, cause) => made("INVALID", operation, message, cause === undefined ? {} : { cause });
const closed = (operation) => made("CLOSED", operation, "the client was closed; connect a new one");

module.exports = { MeshwireError, made, told, at, native, invalid, closed };
