throw new Error(
  "meshwire: this package is for Node, with threads and a native half. From browsers and workers at the edge, speak the WebSocket " +
    "subprotocol meshwire.v1.json to a gateway's /v1/ws (docs/http.md of the project), or its HTTP interface.",
);
export {};
