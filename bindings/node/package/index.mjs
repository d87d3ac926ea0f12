import meshwire from "./index.cjs";

export const {
  connect,
  event,
  nackAfter,
  reject,
  onLog,
  version,
  MeshwireError,
  Mesh,
  Subscription,
  Replies,
  PendingReceipt,
  Event,
  Message,
  Delivery,
  Handled,
  Request,
  OutgoingEvent,
} = meshwire;
