"use strict";

const { loop: here } = require("./loop.cjs");
const { invalid, native: call } = require("./errors.cjs");
const { settings } = require("./said.cjs");

const LEVELS = ["trace", "debug", "info", "warn", "error"];
const listeners = new Set();
let finest = LEVELS.length;

function hear(loop) {
  const { records, dropped } = JSON.parse(call(() => loop.bridge.logs()));
  for (const { time, ...rest } of records) spread(Object.freeze({ ...rest, time: new Date(time), dropped }));
}

function spread(record) {
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

/** Tells listeners of something that this half logs; where there are none it is a warning of the process. */
function log(level, text) {
  const record = Object.freeze({ level, target: "meshwire", text, time: new Date(), dropped: 0 });
  if (listeners.size === 0) process.emitWarning(text, "MeshwireWarning");
  else spread(record);
}

/** Tells of what the client logs; gives a function that ends it. */
function onLog(tell, options) {
  if (typeof tell !== "function") throw invalid("logs", "the listener is no function");
  const { level = "info" } = settings("logs", options, ["level"], 'onLog(listener, { level: "debug" })');
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

module.exports = { onLog, log };
