import meshwire = require("meshwire");
import testing = require("meshwire/testing");

async function main(): Promise<void> {
  const gateway = await testing.Gateway.start();
  const mesh = await meshwire.connect({ url: gateway.url });
  const receipt: meshwire.Receipt = await mesh.publish("orders", "x");
  console.log(receipt.position, meshwire.version);
  await mesh.close();
}
void main();
