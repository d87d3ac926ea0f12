// Asks for prices of a responder that this program runs as well, and for what nobody serves.
//
//     node request_reply.mjs mesh://127.0.0.1:7400

import { connect, event } from "meshwire";

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);

/** Answers with twice the number of the sku; there is no sku 0. */
function quote(request) {
  const sku = request.json();
  if (sku === 0) throw new Error(`there is no sku ${sku}`);
  return event(2 * sku, { type: "quote.given" });
}

async function ask(topic, sku) {
  try {
    const reply = await mesh.request(topic, sku, { type: "quote.asked" });
    console.log(`sku ${sku} costs ${reply.json()}`);
  } catch (error) {
    if (error.code === "NO_RESPONDERS") console.log(`nobody serves ${topic}`);
    else if (error.code === "RESPONDER_FAILED") console.log(`refused: ${error.reason}`);
    else throw error;
  }
}

// It begins first, and what one client says arrives in its order.
const serving = mesh.serve("quote", { concurrency: 4 }, quote);
for (const sku of [1, 21, 0]) await ask("quote", sku);
await ask("discount", 1);
await mesh.close();
await serving;
