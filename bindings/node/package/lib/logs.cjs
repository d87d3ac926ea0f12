"use strict";
// What the client logs: for the program's listeners, and without one what goes wrong is a warning of the process.

const { loop: here } = require("./loop.cjs");
const { invalid, native: call } = require("./errors.cjs");
const { settings } = require("./said.cjs");

const LEVELS = ["trace", "debug", "info", "warn", "error"];
/** What is told without a listener. */
const WRONG = LEVELS.indexOf("warn");

const listeners = new Set();
/** From which level on this environment is told, and whether it is for a listener; nothing yet. */
let heard = { least: LEVELS.length, listens: false };

function hear(loop) {
  const { records, dropped } = JSON.parse(call(() => loop.bridge.logs()));
  for (const { time, ...rest } of records) spread(Object.freeze({ ...rest, time: new Date(time), dropped }));
}

function spread(record) {
  const grave = LEVELS.indexOf(record.level);
  if (listeners.size === 0 && grave >= WRONG) process.emitWarning(record.text, "MeshwireWarning");
  for (const { tell, level } of listeners) {
    if (grave < level) continue;
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

/** Has the native half tell what somebody wants to hear, and no more than that. */
function attend(loop) {
  const listens = listeners.size > 0;
  const least = listens ? Math.min(...[...listeners].map(({ level }) => level)) : WRONG;
  if (least === heard.least && listens === heard.listens) return;
  call(() => loop.bridge.listen(LEVELS[least], () => hear(loop), !listens));
  heard = { least, listens };
}

/** Tells of something that this half logs. */
function log(level, text) {
  spread(Object.freeze({ level, target: "meshwire", text, time: new Date(), dropped: 0 }));
}

/** From now on there is a client, which may log. */
function begin(loop) {
  if (heard.least < LEVELS.length) return;
  try {
    attend(loop);
  } catch {
    // Clients go on without logs.
  }
}

/** Tells of what the client logs; gives a function that ends it. */
function onLog(tell, options) {
  if (typeof tell !== "function") throw invalid("logs", "the listener is no function");
  const { level = "info" } = settings("logs", options, ["level"], 'onLog(listener, { level: "debug" })');
  const least = LEVELS.indexOf(level);
  if (least < 0) throw invalid("logs", `level ${String(level)}: there is ${LEVELS.join(", ")}`);
  const loop = here();
  // What was logged before is not for it.
  hear(loop);
  const listener = { tell, level: least };
  listeners.add(listener);
  try {
    attend(loop);
  } catch (error) {
    listeners.delete(listener);
    throw error;
  }
  return () => {
    if (!listeners.has(listener)) return;
    hear(loop);
    listeners.delete(listener);
    attend(loop);
  };
}

module.exports = { onLog, log, begin };
