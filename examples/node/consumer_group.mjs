// Three members of a group share its jobs; each job is done once, and the jobs of one customer stay in order.
//
//     node consumer_group.mjs mesh://127.0.0.1:7400

import { connect } from "meshwire";

const JOBS = 12;

// Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
const mesh = await connect(process.argv[2]);
for (let job = 1; job <= JOBS; job++) {
  await mesh.publish("jobs", job, { type: "job.asked", key: ["ada", "ben", "cy"][(job - 1) % 3] });
}

const done = { ada: [], ben: [], cy: [] };
const finished = new AbortController();
/** Returning acks; an error is a nack, and the job comes again after a while. */
function work(message) {
  done[message.key].push(message.json());
  if (Object.values(done).flat().length === JOBS) finished.abort();
}
// What a member is sent ahead of its handlers no other one can have meanwhile.
const options = { group: "workers", prefetchEvents: 2, signal: finished.signal };
await Promise.all([1, 2, 3].map(() => mesh.consume("jobs", options, work)));

for (const [customer, jobs] of Object.entries(done)) console.log(`${customer}: [${jobs.join(", ")}]`);
await mesh.close();
