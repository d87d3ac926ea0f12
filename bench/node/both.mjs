// What both programs do: publish and receive 256 bytes with 1,024 in flight, and print events a second.

export const BYTES = 256;
export const FLIGHT = 1024;
export const payload = new Uint8Array(BYTES).fill(97);

const rate = (count, began) => Math.round((count / (performance.now() - began)) * 1000);

/** Publishes so many, as many at once as may be in flight. */
export async function flood(count, publish) {
  let begun = 0;
  const one = async () => {
    while (begun++ < count) await publish();
  };
  await Promise.all(Array.from({ length: FLIGHT }, one));
}

/** Both are warm when they are measured. */
export async function both(count, publish, receive) {
  const warm = Math.floor(count / 5);
  await flood(warm, publish);
  let began = performance.now();
  await flood(count, publish);
  console.log(`publish ${rate(count, began)}`);
  await receive(warm);
  began = performance.now();
  await receive(count);
  console.log(`receive ${rate(count, began)}`);
}
