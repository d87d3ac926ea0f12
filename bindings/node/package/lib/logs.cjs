"use strict";

const { loop: here } = require("./loop.cjs");
const { invalid, native: call } = require("./errors.cjs");

const LEVELS = ["trace", "debug", "info", "warn", "error"];
const listeners = new Set();
let finest = LEVELS.length;

function hear(loop) {
  const { records, dropped } = JSON.parse(call(() => loop.bridge.logs()));
  for (const { time, ...rest } of records) {
    const record = Object.freeze({ ...rest, time: new Date(time), dropped });
    for (const { tell, level } of listeners) {
      if (LEVELS.indexOf(record.level) < level) continue;
      try {
        tell(record);
      } catch (error) {
        // A listener's mistake is its program's, not that of whoever logs.
        process.nextTick(() => {
          throw error;
        });
      }
    }
  }
}

/** Tells of what the client logs; gives a function that ends it. */
function onLog(tell, { level = "info" } = {}) {
  if (typeof tell !== "function") throw invalid("logs", "the listener is no function");
  const least = LEVELS.indexOf(level);
  if (least < 0) throw invalid("logs", `level ${String(level)}: there is ${LEVELS.join(", ")}`);
  const loop = here();
  if (least < finest) {
    call(() => loop.bridge.listen(level, () => hear(loop)));
    finest = least;
  }
  const listener = { tell, level: least };
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    loop.bridge.deafen();
    finest = LEVELS.length;
  };
}

module.exports = { onLog };
