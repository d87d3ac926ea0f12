import { connect, MeshwireError } from "meshwire";

const mesh = await connect();
mesh.publish(7); // wrong
mesh.publish("t", "x", { deliverAfterMs: "soon" }); // wrong
mesh.subscribe("t", { grupo: "x" }); // wrong
const n: number = (await mesh.publish("t", "x")).position; // wrong
if (new Error() instanceof MeshwireError) console.log(n);
const e = null as unknown as MeshwireError;
if (e.code === "NO_SUCH_CODE") console.log(e); // wrong
mesh.deadLetters.redrive("t", { numbers: 7 }); // wrong
mesh.consume("t", { concurrency: "8" }, () => {}); // wrong
