"use strict";
// Functions of a program that see every publish, delivery and settle. They are called and not awaited, and what they throw ends no program.

const { types } = require("node:util");
const { invalid } = require("./errors.cjs");
const { shown, textOf } = require("./text.cjs");
const { log } = require("./logs.cjs");

const NAMES = ["onPublish", "onDelivery", "onSettle"];

function isHook(name, hook) {
  if (hook === undefined || hook === null) return undefined;
  if (typeof hook !== "function") throw invalid("connect", `${name}: ${shown(hook)} is no function`);
  if (types.isAsyncFunction(hook) || types.isGeneratorFunction(hook)) throw waits("connect", name);
  return hook;
}

const waits = (operation, name) => invalid(operation, `the ${name} hook is called, and not awaited: it cannot be async, or give a promise`);

/** Calls a hook; who gives a promise is told so, and nobody else hears what becomes of it. */
function called(operation, name, hook, ...args) {
  const gave = hook(...args);
  if (typeof gave?.then !== "function") return;
  gave.then(undefined, () => {});
  throw waits(operation, name);
}

/** The hooks among the options of connect(); nothing if there are none. */
function hooks(options) {
  const [onPublish, onDelivery, onSettle] = NAMES.map((name) => isHook(name, options?.[name]));
  if (!onPublish && !onDelivery && !onSettle) return undefined;
  return {
    onPublish: onPublish && ((topic, event) => called("publish", "onPublish", onPublish, topic, event)),
    onDelivery: onDelivery && ((delivery) => called("receive", "onDelivery", onDelivery, delivery)),
    onSettle: onSettle && ((delivery, how) => settled(onSettle, delivery, how)),
  };
}

/** What was said of a delivery holds, whatever the hook throws. */
function settled(hook, delivery, how) {
  try {
    called("settle", "onSettle", hook, delivery, how);
  } catch (error) {
    log("error", `a hook failed error=${JSON.stringify(textOf(error))} hook=onSettle topic=${delivery.topic}`);
  }
}

module.exports = { hooks };
