"use strict";
// What the core calls by names of its own, as a program of Node writes it: options, and what errors say of them.

const { OPTIONS } = require("./options.cjs");

const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Names of the core, and Node's. Those of one call alone are short there. */
const NAMES = new Map();
for (const [name, [core, unit]] of Object.entries(OPTIONS)) NAMES.set(core, { name, isMillis: unit === "ms" });
for (const core of ["hold_after_dead_letter", "strict_order", "max_in_flight", "max_rate", "deliver_at"]) NAMES.set(core, { name: camel(core) });
for (const [core, name] of [["handler_concurrency", "concurrency"], ["reply_credit", "credit"], ["partitionkey", "key"]]) NAMES.set(core, { name });
for (const [core, name] of [
  ["request_timeout", "timeoutMs"], ["drain_timeout", "timeoutMs"], ["deliver_after", "deliverAfterMs"], ["expires_in", "expiresInMs"],
]) NAMES.set(core, { name, isMillis: true });

/** What the core calls an option, by its name in Node. What it does not know is told as it was written. */
const CORE = new Map([...NAMES].map(([core, { name }]) => [name, core]));
const coreName = (name) => OPTIONS[name]?.[0] ?? CORE.get(name) ?? name;

const MILLIS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Names outside of quotes; what stands behind such a word is named by its program. */
const NAMED = /"(?:[^"\\]|\\.)*"|(?<!\b(?:topic|group|member) )\b(?:[a-z]+(?:_[a-z]+)+|partitionkey)\b/g;
const SPANS = /"(?:[^"\\]|\\.)*"|\b(\d+(?:\.\d+)?)(ms|s|m|h|d)\b/g;

/** A text of the core with the names of Node, and its units where it says what is accepted. */
function translated(text, accepts) {
  // Arguments of administration are all of them in camel case.
  const administers = /\bargument\b/.test(text);
  let isSpan = false;
  const argued = text.replace(/\bno argument "\w+"/, camel);
  const named = argued.replace(NAMED, (word) => {
    const known = NAMES.get(word);
    if (known?.isMillis) isSpan = true;
    return known?.name ?? (administers && word[0] !== '"' ? camel(word) : word);
  });
  if (!isSpan || !accepts) return named;
  const written = named.replace("write a whole number and ms, s, m, h or d, such as 30s", "write a number of milliseconds, such as 30000");
  return written.replace(SPANS, (all, number, unit) => (unit ? String(Math.round(number * MILLIS[unit])) : all));
}

const CONSUMES = [
  "ackWaitMs", "backoffMaxMs", "backoffMinMs", "broadcast", "group", "holdAfterDeadLetter", "maxAgeMs", "maxFailures", "maxInFlight", "maxRate",
  "member", "prefetchBytes", "prefetchEvents", "start", "strictOrder",
];

/** The options of each call. Only the core knows what they may be. */
const OF = {
  connect: [
    "connectTimeoutMs", "connectWaitMs", "name", "offlineFile", "offlineMaxAgeMs", "offlineMaxBytes", "offlineSync", "onDelivery", "onPublish", "onSettle",
    "onState", "proxy", "publishOffline", "publishTimeoutMs", "publishWindowBytes", "publishWindowEvents", "reconnectMaxMs", "reconnectMinMs",
    "requestWindow", "tlsCertificate", "tlsKey", "tlsRoots", "tlsServerName", "token", "tokenFile", "url",
  ],
  subscribe: CONSUMES,
  consume: ["concurrency", ...CONSUMES],
  serve: ["concurrency", "group", "prefetchBytes", "prefetchEvents"],
  request: ["retry", "timeoutMs"],
  request_stream: ["credit", "retry", "timeoutMs"],
};

module.exports = { translated, coreName, OF };
