"use strict";
// What this environment (the main thread, a worker) has: one bridge to the native half. What a program says in one turn is written into
// one buffer and crosses in one call; what calls came to is taken when the native half wakes the loop, all of it at once.

const { native, version } = require("./native.cjs");
const { Writer, drafted } = require("./pack.cjs");
const { onAbort } = require("./signals.cjs");
const { textOf } = require("./text.cjs");
const { MeshwireError, told, at, native: call, made } = require("./errors.cjs");

const PUBLISH = 1, ACK = 2, NACK = 3, NACK_AFTER = 4, REJECT = 5, EXTEND = 6, DROP = 7, FAIL = 8, ANSWER = 9, RELEASE = 10, CLAIM = 11,
  GIVE_BACK_FROM = 12;
const RECEIPT = 1, FAILED = 2, HANDLE = 3, BATCH = 4, ENDED = 5, TEXT = 6, STATE = 7;
const DUPLICATE = 1 << 8, NO_POSITION = 1 << 9;

const CLIENT = 0, SUBSCRIPTION = 1, CONSUMER = 2, RESPONDER = 3, REPLIES = 4, STARTED = 5;

/** Completions that are taken at once. */
const TAKEN = 4096;
/** Bytes that are written before they cross in the middle of a turn. */
const FULL = 1 << 20;
/** Settles that wait before they cross in the middle of a turn, and how long. */
const SETTLES = 256;
const SETTLE_MS = 5;
/** How long a program may keep the loop from turning by events that are at hand. */
const TURN_MS = 12;
/** How long the end of a process waits for publishes without a receipt. */
const LINGER_MS = 2000;

const NOTHING = new Uint8Array(0);
const whole = (low, high) => (high < 0x200000 ? String(high * 0x100000000 + low) : String((BigInt(high) << 32n) | BigInt(low)));

/** What a call comes to. `begun` holds the loop alive until then. */
class Operation {
  constructor(resolve, reject, stack) {
    this.resolve = resolve;
    this.reject = reject;
    this.stack = stack;
    this.publishes = false;
    this.idle = false;
    this.release = -1;
    this.gone = false;
    this.holds = undefined;
  }
}

class Loop {
  constructor() {
    this.bridge = new native.Bridge(() => this.drain());
    this.scratch = new Uint8Array(16 + 16 * TAKEN);
    this.records = new Uint32Array(this.scratch.buffer);
    this.writer = new Writer();
    this.pending = [];
    this.free = [];
    this.open = 0;
    this.publishes = 0;
    this.unsent = 0;
    this.scheduled = false;
    this.settles = 0;
    this.settledAt = 0;
    this.acked = -1;
    this.turnedAt = Date.now();
    // It alone holds the loop, while something is open.
    this.keeper = setInterval(() => {}, 0x7fffffff).unref();
    this.flushed = () => {
      this.scheduled = false;
      this.send();
    };
    this.claims = [];
    process.on("exit", () => this.exit());
  }

  // Operations.

  begin(operation) {
    const tag = this.free.length > 0 ? this.free.pop() : this.pending.length;
    this.pending[tag] = operation;
    if (!operation.idle && this.open++ === 0) this.keeper.ref();
    return tag;
  }

  end(tag) {
    const operation = this.pending[tag];
    this.pending[tag] = undefined;
    this.free.push(tag);
    if (!operation.idle && --this.open === 0) this.keeper.unref();
    if (operation.publishes) this.publishes--;
    return operation;
  }

  /** Begins a call of the native half, `start(tag)`, and gives a promise of what it comes to. */
  ask(start, { signal, idle = false, release = -1, caller = this.ask, cancel, holds } = {}) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    // It holds whoever is on it, so what waits idly has none.
    const stack = idle ? undefined : {};
    if (stack) Error.captureStackTrace(stack, caller);
    this.send();
    return new Promise((resolve, reject) => {
      const operation = new Operation(resolve, reject, stack);
      operation.idle = idle;
      operation.release = release;
      operation.holds = holds;
      const tag = this.begin(operation);
      try {
        call(() => start(tag));
      } catch (error) {
        this.end(tag);
        return reject(stack ? at(error, stack) : error);
      }
      if (signal) this.abortable(operation, tag, signal, cancel ?? (() => this.bridge.cancel(tag)));
    });
  }

  /** Lets a signal end an operation; what it comes to then is let go. */
  abortable(operation, tag, signal, cancel) {
    const { resolve, reject } = operation;
    const aborted = () => {
      if (operation.gone || this.pending[tag] !== operation) return;
      operation.gone = true;
      reject(signal.reason);
      cancel();
    };
    const forget = onAbort(signal, aborted);
    const over = (then) => (value) => {
      forget();
      then(value);
    };
    operation.resolve = over(resolve);
    operation.reject = over(reject);
  }

  /** Takes all that calls came to. */
  drain() {
    this.turnedAt = Date.now();
    const { records } = this;
    do {
      const large = this.bridge.take(this.scratch);
      const count = records[0];
      for (let n = 0, word = 4; n < count; n++, word += 4) {
        this.completed(records[word], records[word + 1], records[word + 2], records[word + 3], large);
      }
    } while (records[1] !== 0);
  }

  completed(tag, what, low, high, large) {
    const operation = this.end(tag);
    switch (what & 0xff) {
      case RECEIPT: {
        const position = what & NO_POSITION ? undefined : whole(low, high);
        return operation.resolve({ position, duplicate: (what & DUPLICATE) !== 0 });
      }
      case FAILED:
        if (operation.publishes) this.unsent++;
        return operation.reject(told(large[low], operation.stack));
      case HANDLE:
        if (operation.gone && operation.release >= 0) return this.release(operation.release, low);
        return operation.resolve(low);
      case BATCH:
        if (operation.gone) return high && this.giveBackFrom(high, 0);
        return operation.resolve({ buffer: large[low], number: high });
      case ENDED:
        return operation.resolve(undefined);
      case TEXT:
        return operation.resolve(large[low]);
      case STATE:
        return operation.resolve(low);
      default:
        return operation.resolve(undefined);
    }
  }

  release(kind, number) {
    this.send();
    call(() => this.bridge.release(kind, number));
  }

  /** Ends a subscription whose loop was left. */
  leave(number) {
    this.send();
    call(() => this.bridge.leave(number));
  }

  // What is said in one turn.

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    // Behind all that is ready in this turn, promises too.
    process.nextTick(this.flushed);
  }

  /** Hands over what was written. */
  send() {
    if (this.claims.length > 0) this.claim();
    if (this.writer.used === 0) return;
    this.settles = 0;
    this.acked = -1;
    let failed;
    try {
      failed = call(() => this.bridge.send(this.writer.taken()));
    } catch (error) {
      // It is of a settle, which nobody waits for: no reason to end the program.
      process.emitWarning(error.message, "MeshwireWarning");
    }
    if (failed) this.drain();
  }

  publish(client, topic, value, said, signal, holds) {
    return new Promise((resolve, reject) => {
      let draft;
      try {
        // Before anything is written: it may run code of the program's, which may call this.
        draft = drafted("publish", value, said);
      } catch (error) {
        const ours = error instanceof MeshwireError;
        return reject(ours ? error : made("INVALID", "publish", textOf(error), { cause: error }));
      }
      const operation = new Operation(resolve, reject, undefined);
      operation.publishes = true;
      operation.holds = holds;
      const { writer } = this;
      const start = writer.used;
      const tag = this.begin(operation);
      this.publishes++;
      try {
        const record = writer.begin(PUBLISH, client, tag);
        writer.word(0);
        writer.word(0);
        const topicBytes = writer.chars(topic);
        const from = writer.used;
        draft.write(writer);
        writer.words[record + 4] = topicBytes;
        writer.words[record + 5] = writer.used - from;
        writer.end(record);
      } catch (error) {
        // There is no memory for it.
        writer.used = start;
        this.end(tag);
        return reject(made("INVALID", "publish", String(error.message), { cause: error }));
      }
      this.acked = -1;
      this.schedule();
      if (signal) {
        this.abortable(operation, tag, signal, () => {
          this.send();
          if (this.pending[tag] === operation) this.bridge.cancelPublish(client, tag);
        });
      }
      if (writer.used > FULL) this.send();
    });
  }

  settled() {
    if (this.settles++ === 0) this.settledAt = Date.now();
    else if (this.settles >= SETTLES) return this.send();
    this.schedule();
  }

  ack(batch, index) {
    const { writer } = this;
    const last = this.acked;
    // The neighbour of the last one is in the same record.
    if (last >= 0 && writer.words[last + 2] === batch && writer.words[last + 3] + writer.words[last + 4] === index) {
      writer.words[last + 4]++;
    } else {
      const record = writer.begin(ACK, batch, index);
      writer.word(1);
      writer.end(record);
      this.acked = record;
    }
    this.settled();
  }

  say(what, batch, index, more) {
    const { writer } = this;
    const record = writer.begin(what, batch, index);
    if (typeof more === "string") writer.text(more);
    else if (typeof more === "number") writer.double(more);
    writer.end(record);
    this.acked = -1;
    this.settled();
  }

  nack(batch, index, delayMs) {
    if (delayMs === undefined) this.say(NACK, batch, index);
    else this.say(NACK_AFTER, batch, index, delayMs);
  }

  reject(batch, index, reason) {
    this.say(REJECT, batch, index, reason);
  }

  extend(batch, index) {
    this.say(EXTEND, batch, index);
  }

  drop(batch, index) {
    this.say(DROP, batch, index);
  }

  fail(batch, index, problem) {
    this.say(FAIL, batch, index, problem);
  }

  answer(batch, index, value, said) {
    const draft = drafted("reply", value, said);
    const { writer } = this;
    const start = writer.used;
    try {
      const record = writer.begin(ANSWER, batch, index);
      const length = writer.used;
      writer.word(0);
      draft.write(writer);
      writer.patch(length, writer.used - length - 4);
      writer.end(record);
    } catch (error) {
      writer.used = start;
      throw error;
    }
    this.acked = -1;
    this.settled();
  }

  letGo(batch) {
    this.say(RELEASE, batch, 0);
  }

  /** Up to here a subscription has handed out what it has: said once a turn. */
  handed(claim, batch, index) {
    claim.batch = batch;
    claim.index = index;
    if (claim.waits) return;
    claim.waits = true;
    this.claims.push(claim);
    this.schedule();
  }

  claim() {
    const { writer } = this;
    for (const claim of this.claims) {
      claim.waits = false;
      writer.end(writer.begin(CLAIM, claim.batch, claim.index));
    }
    this.claims.length = 0;
  }

  // Time.

  /** Whether the program has had the loop for long: then settles cross, and the loop turns before more is at hand. */
  mayGoOn(now) {
    if (this.settles > 0 && now - this.settledAt >= SETTLE_MS) this.send();
    return now - this.turnedAt < TURN_MS;
  }

  turn() {
    return new Promise((resolve) => {
      setImmediate(() => {
        this.turnedAt = Date.now();
        resolve();
      });
    });
  }

  giveBackFrom(batch, index) {
    this.say(GIVE_BACK_FROM, batch, index);
  }

  /** The process or the worker ends: what was begun is sent, for a short time. */
  exit() {
    try {
      this.send();
      this.unsent = 0;
      if (this.publishes === 0) return;
      this.bridge.linger(LINGER_MS);
      this.drain();
    } finally {
      const lost = this.publishes + this.unsent;
      if (lost > 0) {
        process.stderr.write(`meshwire: the process ends with ${lost} publishes whose receipt has not come; await them, flush() or close()\n`);
      }
    }
  }
}

let one;
/** That of this environment. */
const loop = () => (one ??= new Loop());

module.exports = { loop, whole, NOTHING, version, CLIENT, SUBSCRIPTION, CONSUMER, RESPONDER, REPLIES, STARTED };
