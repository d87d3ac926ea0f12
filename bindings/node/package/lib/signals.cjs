"use strict";
// Calls that an AbortSignal ends: one listener on each signal, however many they are.

const { invalid } = require("./errors.cjs");
const { shown } = require("./text.cjs");

/** What is to be told, by its signal. */
const waiting = new WeakMap();

const isSignal = (value) =>
  typeof value === "object" && value !== null && typeof value.aborted === "boolean" && typeof value.addEventListener === "function";

/** The signal among options, if there is one. */
function signalOf(operation, options) {
  const signal = options?.signal;
  if (signal === undefined || isSignal(signal)) return signal;
  throw invalid(operation, `signal: ${shown(signal)} is no AbortSignal, such as new AbortController().signal or AbortSignal.timeout(ms)`);
}

/** Has `tell` called when the signal is aborted; gives a function that takes that back. */
function onAbort(signal, tell) {
  const told = waiting.get(signal) ?? listened(signal);
  // Of its own, so that one function may wait twice.
  const one = () => tell();
  told.all.add(one);
  return () => {
    if (!told.all.delete(one) || told.all.size > 0) return;
    waiting.delete(signal);
    signal.removeEventListener("abort", told.listener);
  };
}

function listened(signal) {
  const all = new Set();
  const listener = () => {
    waiting.delete(signal);
    for (const one of [...all]) if (all.delete(one)) one();
  };
  const told = { all, listener };
  waiting.set(signal, told);
  signal.addEventListener("abort", listener, { once: true });
  return told;
}

module.exports = { signalOf, onAbort };
