"use strict";

const { Batch, Delivery } = require("./received.cjs");
const { SUBSCRIPTION } = require("./loop.cjs");
const { invalid } = require("./errors.cjs");
const { settings, millis } = require("./said.cjs");
const { signalOf, onAbort } = require("./signals.cjs");
const { textOf } = require("./text.cjs");
const { log } = require("./logs.cjs");

/** Most deliveries that are taken ahead of the program: until it is handed them the library looks after them. */
const MOST = 1024;

/** Most milliseconds that a timer takes. */
const LONGEST = 0x7fffffff;

const forgotten = new FinalizationRegistry(({ loop, number }) => loop.letGo(number));

const abandoned = new FinalizationRegistry(({ loop, number, open, weak }) => {
  open.delete(weak);
  loop.release(SUBSCRIPTION, number);
});

/** A stream of deliveries. */
class Subscription {
  #mesh;
  #loop;
  #number;
  #topic;
  #hooks;
  #batch;
  #at = 0;
  #claimed = 0;
  #claim = { batch: 0, index: 0, waits: false };
  #asking;
  #last;
  #weak;
  #over = false;

  constructor(mesh, loop, number, topic, hooks) {
    this.#mesh = mesh;
    this.#loop = loop;
    this.#number = number;
    this.#topic = topic;
    this.#hooks = hooks;
    this.#weak = new WeakRef(this);
    mesh.open.add(this.#weak);
    abandoned.register(this, { loop, number, open: mesh.open, weak: this.#weak }, this);
  }

  get topic() {
    return this.#topic;
  }

  get closed() {
    return this.#over;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** The next delivery. */
  next(options) {
    const now = Date.now();
    if (this.#batch !== undefined && options === undefined && this.#loop.mayGoOn(now)) {
      const delivery = this.#hand(now);
      if (delivery !== undefined) return Promise.resolve({ value: delivery, done: false });
    }
    return this.#wait(options);
  }

  async #wait(options) {
    const signal = signalOf("receive", settings("receive", options, ["signal"], "next({ signal })"));
    for (;;) {
      if (signal?.aborted) throw signal.reason;
      if (this.#batch !== undefined) {
        if (!this.#loop.mayGoOn(Date.now())) {
          await this.#loop.turn();
          // Others may have taken it meanwhile.
          continue;
        }
        const delivery = this.#hand(Date.now());
        if (delivery !== undefined) return { value: delivery, done: false };
        if (this.#batch !== undefined) continue;
      }
      if (this.#over) return { value: undefined, done: true };
      await this.#fetch(MOST, -1, signal);
    }
  }

  /** Several deliveries: as many as are at hand, else the first that comes. None came in time if it is empty. */
  async batch(most, options) {
    if (!Number.isInteger(most) || most < 1 || most > 4096) throw invalid("receive", `${String(most)} at once; from 1 to 4096 is accepted`);
    const { timeoutMs } = settings("receive", options, ["timeoutMs", "signal"], "batch(most, { timeoutMs: 1000 })");
    const signal = signalOf("receive", options);
    const until = timeoutMs === undefined ? Infinity : Date.now() + millis("receive", "timeoutMs", timeoutMs);
    const taken = [];
    let waited = false;
    for (;;) {
      if (signal?.aborted) throw signal.reason;
      while (taken.length < most && this.#batch !== undefined) this.#handBatch(most - taken.length, taken);
      if (taken.length > 0 || this.#over || (waited && Date.now() >= until)) return taken;
      const left = until === Infinity ? -1 : Math.max(0, until - Date.now());
      await this.#fetch(most, left, signal);
      waited = true;
    }
  }

  /** Takes what comes into the batch. Several may wait for it; when none does any more, nothing is asked for. */
  async #fetch(most, wait, signal) {
    // What another has asked may wait longer than this.
    const isOurs = this.#asking === undefined;
    const asking = (this.#asking ??= this.#ask(most, wait));
    asking.waiters++;
    try {
      await raced(asking.done, signal, isOurs ? -1 : wait);
    } finally {
      if (--asking.waiters === 0 && this.#asking === asking) {
        this.#asking = undefined;
        asking.operation.gone = true;
        this.#loop.bridge.cancel(asking.tag);
      }
    }
  }

  #ask(most, wait) {
    const asking = { waiters: 0, tag: undefined, operation: undefined, done: undefined };
    const start = (tag) => {
      this.#loop.bridge.next(tag, SUBSCRIPTION, this.#number, most, wait);
      asking.tag = tag;
      asking.operation = this.#loop.pending[tag];
    };
    const over = () => {
      if (this.#asking === asking) this.#asking = undefined;
    };
    const came = (batch) => {
      over();
      this.#came(batch);
    };
    const failed = (error) => {
      over();
      throw error;
    };
    asking.done = this.#loop.ask(start, { caller: this.next }).then(came, failed);
    // Whoever waits is told; perhaps nobody does.
    asking.done.catch(() => {});
    return asking;
  }

  #came(came) {
    if (came === undefined) return this.#end(false);
    const batch = new Batch(came, this.#topic, this.#loop);
    if (batch.count === 0) return;
    if (this.#over) return this.#loop.giveBackFrom(batch.number, 0);
    forgotten.register(batch, { loop: this.#loop, number: batch.number }, batch);
    this.#batch = batch;
    this.#at = 0;
    this.#claimed = -1;
  }

  #hand(now) {
    const batch = this.#batch;
    const index = this.#at;
    this.#at = index + 1;
    if (this.#at === batch.count) this.#batch = undefined;
    if (now === this.#claimed) {
      this.#loop.handed(this.#claim, batch.number, index);
    } else if (this.#loop.bridge.claim(batch.number, index)) {
      this.#claimed = now;
    } else {
      // It comes again. Others may as well.
      this.#claimed = -1;
      return undefined;
    }
    return this.#made(batch, index);
  }

  /** Hands out several at once, to be worked on one after the other. */
  #handBatch(most, taken) {
    const batch = this.#batch;
    let index = this.#at;
    const end = Math.min(batch.count, index + most);
    const gone = this.#loop.bridge.claimBatch(batch.number, index, end - index);
    // Before the hook, which may end the subscription.
    this.#at = end;
    this.#claimed = -1;
    if (end === batch.count) this.#batch = undefined;
    for (; index < end; index++) {
      const delivery = gone.includes(index) ? undefined : this.#made(batch, index);
      if (delivery !== undefined) taken.push(delivery);
    }
  }

  /** A delivery; nothing if the hook fails for it: then it comes again, and the loop goes on with the next. */
  #made(batch, index) {
    const delivery = new Delivery(batch, index, this.#hooks?.onSettle);
    this.#last = delivery;
    if (this.#hooks?.onDelivery === undefined) return delivery;
    try {
      this.#hooks.onDelivery(delivery);
      return delivery;
    } catch (error) {
      failed(delivery, error);
      return undefined;
    }
  }

  /** Gives back what the program was not handed. */
  static giveBack(subscription) {
    subscription.#giveBack();
  }

  #giveBack() {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    this.#loop.giveBackFrom(batch.number, this.#at);
  }

  #end(isLeft) {
    if (this.#over) return;
    this.#over = true;
    this.#giveBack();
    if (isLeft) this.#loop.leave(this.#number);
    else this.#loop.release(SUBSCRIPTION, this.#number);
    this.#mesh.open.delete(this.#weak);
    abandoned.unregister(this);
    this.#mesh = undefined;
  }

  /** Ends it: what is unsettled comes again at once. */
  close() {
    this.#end(false);
    return Promise.resolve();
  }

  /** A loop was left: what the program was handed, and has not settled, has failed. */
  return(value) {
    if (!this.#over && this.#last !== undefined) Delivery.drop(this.#last);
    this.#end(true);
    return Promise.resolve({ value, done: true });
  }
}

/** The hook failed for a delivery, which it may have settled itself. */
function failed(delivery, error) {
  const { topic, id, attempt } = delivery;
  const comes = delivery.settled ? "it had settled the event" : "the event comes again";
  log("warn", `the onDelivery hook failed; ${comes} topic=${topic} id=${id} attempt=${attempt} problem=${JSON.stringify(textOf(error))}`);
  if (!delivery.settled) delivery.nack();
}

/** What comes first: it, the signal, or the end of so many milliseconds; -1 is no end. */
function raced(promise, signal, wait) {
  if (!signal && wait < 0) return promise;
  let timer, forget;
  const first = new Promise((resolve, reject) => {
    if (wait >= 0) timer = setTimeout(resolve, Math.min(wait, LONGEST));
    if (signal) forget = onAbort(signal, () => reject(signal.reason));
    promise.then(resolve, reject);
  });
  return first.finally(() => {
    clearTimeout(timer);
    forget?.();
  });
}

/** A scope was left, as a loop is. */
async function leave() {
  await this.return();
}

if (Symbol.asyncDispose) {
  Object.defineProperty(Subscription.prototype, Symbol.asyncDispose, { value: leave, configurable: true, writable: true });
}

module.exports = { Subscription };
