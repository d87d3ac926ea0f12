// Asks for a report that comes line by line, and leaves another one in the middle.
//
//     node reply_stream.mjs mesh://127.0.0.1:7400

import { connect, event } from "meshwire";

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);

/** As many lines as are asked for. What is yielded waits for a reader that is slower. */
async function* report(request) {
  const lines = request.json();
  for (let line = 1; line <= lines; line++) yield event(`line ${line}`, { type: "report.line" });
}

async function read(lines, most) {
  let count = 0;
  for await (const reply of await mesh.requestStream("report", lines, { type: "report.asked", credit: 8 })) {
    console.log(reply.text());
    // Leaving the loop cancels the rest: the handler is ended.
    if (++count === most) return console.log("that is enough");
  }
  console.log("all of it");
}

// It begins first, and what one client says arrives in its order.
const serving = mesh.serve("report", report);
await read(3);
await read(1_000_000, 2);
await mesh.close();
await serving;
