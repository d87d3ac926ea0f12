"use strict";

const { connect, Mesh, PendingReceipt } = require("./lib/mesh.cjs");
const { MeshwireError } = require("./lib/errors.cjs");
const { Delivery, Event, Message } = require("./lib/received.cjs");
const { Subscription } = require("./lib/subscription.cjs");

module.exports = { connect, Mesh, PendingReceipt, MeshwireError, Delivery, Event, Message, Subscription };
