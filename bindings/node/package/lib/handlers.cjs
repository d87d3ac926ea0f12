"use strict";
// Handlers of a program: events of a consumer, requests of a responder. They run in the context of who called consume() or serve().

const { types } = require("node:util");
const { Batch, Event, Message } = require("./received.cjs");
const { Handling, within } = require("./handling.cjs");
const { CONSUMER, RESPONDER } = require("./loop.cjs");
const { invalid, native: call } = require("./errors.cjs");
const { alone, reasoned } = require("./pack.cjs");
const { shown, textOf } = require("./text.cjs");
const { millis } = require("./said.cjs");
const { onAbort } = require("./signals.cjs");

/** How a handler may end other than by acking or failing: returned and thrown alike. */
class Settlement {
  constructor(how, delayMs, reason) {
    this.how = how;
    this.delayMs = delayMs;
    this.reason = reason;
  }
}

/** The event comes again after this time. */
function nackAfter(delayMs) {
  return new Settlement("nack", millis("nack", "delayMs", delayMs));
}

/** The event never comes again: a dead letter, with the reason. */
function reject(reason = "") {
  return new Settlement("reject", undefined, reasoned("reject", reason));
}

/** An event for a handler. */
class Handled extends Message {
  #abort;
  #lost = false;

  /** Aborted when the event was lost: it comes again, and what the handler still says is not heard. */
  get signal() {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#lost) this.#abort.abort(lost("consume", this.topic));
    }
    return this.#abort.signal;
  }

  get lost() {
    return this.#lost;
  }

  /** @internal */
  static lose(message) {
    message.#lost = true;
    message.#abort?.abort(lost("consume", message.topic));
  }
}

/** A request for a handler. */
class Request extends Event {
  #abort;
  #lost = false;
  #deadline;
  #wantsStream;

  constructor(batch, index) {
    super(batch, index);
    this.#deadline = Date.now() + batch.big(batch.at(index) + 7);
    this.#wantsStream = batch.wantsStream(index);
  }

  /** Until when the requester waits. */
  get deadline() {
    return new Date(this.#deadline);
  }

  get remainingMs() {
    return Math.max(0, this.#deadline - Date.now());
  }

  get wantsStream() {
    return this.#wantsStream;
  }

  /** Aborted when the requester waits no more. */
  get signal() {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#lost) this.#abort.abort(lost("serve", this.topic));
    }
    return this.#abort.signal;
  }

  get lost() {
    return this.#lost;
  }

  /** @internal */
  static lose(request) {
    request.#lost = true;
    request.#abort?.abort(lost("serve", request.topic));
  }
}

function lost(operation, topic) {
  const text = operation === "consume" ? "the lease of the event is gone: it comes again" : "the requester waits no more";
  return new DOMException(`${text} (topic ${topic})`, "AbortError");
}

/** Runs handlers until they are stopped, and the last of them has ended. */
async function run(kind, loop, client, topic, pairs, { signal, begin, lose }) {
  if (signal?.aborted) return;
  loop.send();
  const number = call(() => loop.bridge.handle(kind, client, topic, pairs));
  const stop = () => {
    loop.send();
    call(() => loop.bridge.stop(kind, number));
  };
  const forget = signal && onAbort(signal, stop);
  const running = new Map();
  try {
    for (;;) {
      const came = await loop.ask((tag) => loop.bridge.next(tag, kind, number, 1024, -1), { caller: run });
      if (came === undefined) return;
      const batch = new Batch(came, topic, loop);
      for (let index = 0; index < batch.count; index++) {
        const of = batch.numberOf(index);
        if (batch.isLost(index)) {
          const one = running.get(of);
          if (one) lose(one);
          running.delete(of);
        } else {
          begin(batch, index, of, running);
        }
      }
    }
  } finally {
    forget?.();
    for (const one of running.values()) lose(one);
    loop.release(kind, number);
  }
}

/** Consumes a topic; resolves when it was stopped. */
function consume(loop, client, topic, pairs, signal, handler, hooks) {
  const settle = (batch, index, message, how) => {
    if (how instanceof Settlement && how.how === "nack") loop.nack(batch.number, index, how.delayMs);
    else if (how instanceof Settlement) loop.reject(batch.number, index, how.reason);
    else loop.ack(batch.number, index);
    hooks?.onSettle?.(message, how instanceof Settlement ? how.how : "ack");
  };
  const begin = (batch, index, of, running) => {
    const message = new Handled(batch, index);
    const handling = new Handling(client);
    const ended = (how) => {
      handling.runs = false;
      if (running.delete(of)) settle(batch, index, message, how);
      else loop.drop(batch.number, index);
    };
    const failed = (error) => {
      if (error instanceof Settlement) return ended(error);
      handling.runs = false;
      if (!running.delete(of)) return loop.drop(batch.number, index);
      loop.fail(batch.number, index, textOf(error));
      hooks?.onSettle?.(message, "nack");
    };
    running.set(of, message);
    try {
      hooks?.onDelivery?.(message);
      const ends = within(handling, handler, message);
      if (ends instanceof Promise) ends.then(ended, failed);
      else ended(ends);
    } catch (error) {
      failed(error);
    }
  };
  return run(CONSUMER, loop, client, topic, pairs, { signal, begin, lose: Handled.lose });
}

/** Serves a topic; resolves when it was stopped. */
function serve(loop, client, topic, pairs, signal, handler) {
  const begin = (batch, index, of, running) => {
    const request = new Request(batch, index);
    const handling = new Handling(client);
    running.set(of, request);
    const send = (value) => {
      const packed = alone("reply", value);
      return loop.ask((tag) => loop.bridge.reply(tag, batch.number, index, packed), { caller: send });
    };
    within(handling, answer, request, handler, send).then(
      (last) => {
        handling.runs = false;
        if (!running.delete(of)) return loop.drop(batch.number, index);
        try {
          if (last === ENDED) loop.ack(batch.number, index);
          else loop.answer(batch.number, index, last);
        } catch (error) {
          loop.fail(batch.number, index, textOf(error));
        }
      },
      (error) => {
        handling.runs = false;
        if (running.delete(of)) loop.fail(batch.number, index, textOf(error));
        else loop.drop(batch.number, index);
      },
    );
  };
  return run(RESPONDER, loop, client, topic, pairs, { signal, begin, lose: Request.lose });
}

const ENDED = Symbol("ended");

/** What a handler replies last, when all before has been taken. */
async function answer(request, handler, send) {
  // Who sends replies has said all when it ends; of others nothing is an answer without data.
  let sends = handler.length > 1;
  const replies = await handler(request, { send: (reply) => ((sends = true), send(reply)) });
  const many = typeof replies?.[Symbol.asyncIterator] === "function" || types.isGeneratorObject(replies);
  if (!many) return replies === undefined && sends ? ENDED : replies;
  // An iterator whose requester is gone is ended, as by a break.
  for await (const reply of replies) {
    if (request.lost) break;
    await send(reply);
  }
  return ENDED;
}

/** Options and handler of consume and serve: (topic, handler), (topic, options, handler). */
function handled(operation, options, handler) {
  const form = `${operation}(topic, { group: "billing" }, handler)`;
  if (typeof options === "function") {
    if (handler !== undefined) throw invalid(operation, `options stand before the handler: ${form}`);
    [options, handler] = [undefined, options];
  }
  if (typeof handler !== "function") throw invalid(operation, `the handler is ${shown(handler)}, which is no function: ${form}`);
  if (operation === "consume" && types.isGeneratorFunction(handler)) {
    throw invalid(operation, "the handler is a generator, of which nothing would run: only serve() takes what a handler yields");
  }
  return [options, handler];
}

module.exports = { consume, serve, handled, nackAfter, reject, Settlement, Handled, Request };
