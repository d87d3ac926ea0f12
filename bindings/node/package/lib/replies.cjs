"use strict";

const { Batch, Event } = require("./received.cjs");
const { REPLIES } = require("./loop.cjs");
const { onAbort } = require("./signals.cjs");

const MOST = 256;

/** The replies to a request for many. */
class Replies {
  #loop;
  #number;
  #topic;
  #batch;
  #at = 0;
  #asking;
  #over = false;
  #signal;
  #forget;

  constructor(loop, number, topic, signal) {
    this.#loop = loop;
    this.#number = number;
    this.#topic = topic;
    this.#signal = signal;
    if (!signal) return;
    this.#forget = onAbort(signal, () => this.#end());
    if (signal.aborted) this.#end();
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next() {
    for (;;) {
      if (this.#batch !== undefined) {
        const event = new Event(this.#batch, this.#at++);
        if (this.#at === this.#batch.count) this.#batch = undefined;
        return { value: event, done: false };
      }
      if (this.#signal?.aborted) throw this.#signal.reason;
      if (this.#over) return { value: undefined, done: true };
      await this.#fetch();
    }
  }

  #fetch() {
    const start = (tag) => this.#loop.bridge.next(tag, REPLIES, this.#number, MOST, -1);
    this.#asking ??= this.#loop.ask(start, { caller: this.next }).then(
      (came) => {
        this.#asking = undefined;
        if (came === undefined) return this.#end();
        const batch = new Batch(came, this.#topic, this.#loop);
        this.#at = 0;
        this.#batch = batch.count > 0 && !this.#over ? batch : undefined;
      },
      (error) => {
        this.#asking = undefined;
        this.#end();
        throw error;
      },
    );
    return this.#asking;
  }

  #end() {
    if (this.#over) return;
    this.#over = true;
    this.#batch = undefined;
    this.#forget?.();
    this.#loop.release(REPLIES, this.#number);
  }

  /** Wants no more of them. */
  close() {
    this.#end();
    return Promise.resolve();
  }

  return(value) {
    this.#end();
    return Promise.resolve({ value, done: true });
  }
}

if (Symbol.asyncDispose) {
  Object.defineProperty(Replies.prototype, Symbol.asyncDispose, { value: Replies.prototype.close, configurable: true, writable: true });
}

module.exports = { Replies };
