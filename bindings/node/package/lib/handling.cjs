"use strict";
// For which handler code runs: who ends a client in one of its handlers, and awaits that there, waits for itself.

const { AsyncLocalStorage } = require("node:async_hooks");
const { invalid } = require("./errors.cjs");

const handlers = new AsyncLocalStorage();

/** A handler of a client. */
class Handling {
  constructor(client) {
    this.client = client;
    this.runs = true;
  }
}

function called(handler, ...args) {
  const ends = handler(...args);
  // Here, so that one who gives back the end of the client itself is seen to await it.
  return typeof ends?.then === "function" ? Promise.resolve(ends) : ends;
}

/** Calls a handler. */
const within = (handling, handler, ...args) => handlers.run(handling, called, handler, ...args);

/** The end of a client, begun by a handler of it: others may await it. */
class Ending extends Promise {
  #handling;
  #operation;

  static get [Symbol.species]() {
    return Promise;
  }

  constructor(end, handling, operation) {
    super((resolve) => resolve(end));
    this.#handling = handling;
    this.#operation = operation;
  }

  then(done, failed) {
    if (handlers.getStore() !== this.#handling || !this.#handling.runs) return super.then(done, failed);
    // It has been told so; that the end fails too is no unhandled rejection.
    super.then(undefined, () => {});
    const text = "a handler would wait for itself: its client ends behind it, so it must not await that";
    return Promise.reject(invalid(this.#operation, text)).then(done, failed);
  }
}

/** The end of a client, as whoever asks for it may have it. */
function ending(client, operation, end) {
  const handling = handlers.getStore();
  return handling?.client === client && handling.runs ? new Ending(end, handling, operation) : end;
}

module.exports = { Handling, within, ending };
