import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Gateway } from "meshwire/testing";

const examples = fileURLToPath(new URL("../examples/", import.meta.url));

/** What an example prints. */
function printed(name, url) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(examples, `${name}.mjs`), url], { encoding: "utf8", timeout: 60_000 });
  assert.equal(status, 0, stderr);
  return stdout;
}

// The same stories, with the same output, as in the other languages.
const stories = [
  ["what the publisher publishes the consumer bills", "publisher", "order 1 is kept\norder 2 is kept\norder 3 is kept\norder 4 is kept\norder 5 is kept\n",
    "consumer", "bill ada for item 1\nbill ben for item 2\nbill ada for item 3\nbill cy for item 4\nbill ben for item 5\n"],
  ["every host gets every change and goes on where it was", "broadcast",
    "north: apples 3\nsouth: apples 3\nnorth: pears 4\nguest: plums 5\nsouth: pears 4\nsouth: plums 5\nnorth has 1 waiting\nsouth has 0 waiting\n"],
  ["an order that cannot be billed is given up and given back", "dead_letter",
    "1 costs 5\n2 failed, attempt 1: it has no price\n3 costs 7\n2 failed, attempt 2: it has no price\ndead letter 1: order 2, 2 failures\ngiven back: 1\n2 is free\nleft: 0\n"],
  ["who subscribes without a group gets everything from then on", "publish_subscribe",
    "board: tea 1.90\nboard: coffee 2.40\nboard: cocoa 3.10\ntill: tea 1.90\ntill: coffee 2.40\ntill: cocoa 3.10\n"],
  ["members of a group share its jobs and keep the order of each customer", "consumer_group", "ada: [1, 4, 7, 10]\nben: [2, 5, 8, 11]\ncy: [3, 6, 9, 12]\n"],
  ["what is not acked comes again", "manual_ack",
    "a: delivered at attempt 1\nb: nobody at home, again in 100 ms\nc: lost on the way\nb: delivered at attempt 2\nc: delivered at attempt 2\n"],
  ["one event of a batch fails alone and the others are taken in batches", "batch", "one is refused: TOO_LARGE\n99 are kept\narchived 99 readings, their sum is 5008\n"],
  ["requests are answered or told why not", "request_reply", "sku 1 costs 2\nsku 21 costs 42\nrefused: there is no sku 0\nnobody serves discount\n"],
  ["a reply stream is read to its end or left in the middle", "reply_stream", "line 1\nline 2\nline 3\nall of it\nline 1\nline 2\nthat is enough\n"],
];

for (const [name, ...plays] of stories) {
  test(name, async (t) => {
    const gateway = await Gateway.start();
    t.after(() => gateway.kill());
    for (let n = 0; n < plays.length; n += 2) assert.equal(printed(plays[n], gateway.url), plays[n + 1], plays[n]);
  });
}

test("without a gateway an example says how to start one", () => {
  const { status, stderr } = spawnSync(process.execPath, [path.join(examples, "publisher.mjs"), "mesh://127.0.0.1:1"], { encoding: "utf8" });
  assert.notEqual(status, 0);
  assert.match(stderr, /meshwire serve/);
});
