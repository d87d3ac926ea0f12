import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Gateway } from "meshwire/testing";
import { program } from "./rig.mjs";

const page = fs.readFileSync(fileURLToPath(new URL("../node.md", import.meta.url)), "utf8");
const snippets = [...page.matchAll(/## (.+)\n(?:(?!\n## )[^])*?```js\n([^]*?)```/g)].map(([, title, source]) => [title, source]);
const said = {
  "Ten lines": "kept at 1\norder.created { id: 1 }\n",
  "Publish many": "1000 kept\nfalse\n",
  Consume: "an order without an id\n",
  "Ask and answer": "42\n1\n2\n3\n",
  Hooks: "came with 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n1 ack\n",
  Errors: /^NO_RESPONDERS request /,
};

// The page's commands install the package: who runs the suite runs them.
test("every program of the page is run", () => {
  assert.deepEqual(snippets.map(([title]) => title), Object.keys(said));
  assert.equal(page.match(/```js/g).length, snippets.length);
});

for (const [title, source] of snippets) {
  test(`the program of "${title}" does as the page says`, async (t) => {
    const gateway = await Gateway.start();
    t.after(() => gateway.kill());
    const { code, out, err } = await program(source, { env: { MESHWIRE_URL: gateway.url } });
    assert.equal(code, 0, err);
    if (said[title] instanceof RegExp) assert.match(out, said[title]);
    else assert.equal(out, said[title]);
  });
}

test("the program of the README that is installed prints what it published and waits for more", async (t) => {
  const readme = fs.readFileSync(fileURLToPath(new URL("../node_modules/meshwire/README.md", import.meta.url)), "utf8");
  const programs = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, source]) => source);
  assert.deepEqual([programs.length, readme.match(/^```./gm).length], [1, 1]);
  const gateway = await Gateway.start();
  t.after(() => gateway.kill());
  // One that ends by itself has no signal, and one that is out of time another one.
  const { signal, out, err } = await program(programs[0], { env: { MESHWIRE_URL: gateway.url }, until: "{ id: 1 }\n" });
  assert.deepEqual([signal, out, err], ["SIGTERM", "{ id: 1 }\n", ""]);
});

test("the pipelined form is faster by far", async (t) => {
  const { connect } = await import("meshwire");
  const gateway = await Gateway.start();
  t.after(() => gateway.kill());
  const mesh = await connect(gateway.url);
  const timed = async (run) => {
    const began = performance.now();
    await run();
    return performance.now() - began;
  };
  const one = async () => {
    for (let n = 0; n < 2000; n++) await mesh.publish("t", "x");
  };
  const all = () => Promise.all(Array.from({ length: 2000 }, () => mesh.publish("t", "x")));
  await all();
  // The best of several, in turn: what else runs on the machine makes both slower, never faster.
  let [slow, fast] = [Infinity, Infinity];
  for (let round = 0; round < 3; round++) [slow, fast] = [Math.min(slow, await timed(one)), Math.min(fast, await timed(all))];
  t.diagnostic(`${(slow / fast).toFixed(1)} times`);
  assert.ok(slow > 3 * fast, `${slow} ms one by one, ${fast} ms together`);
  await mesh.close();
});
