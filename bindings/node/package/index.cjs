"use strict";

const { connect, Mesh, PendingReceipt } = require("./lib/mesh.cjs");
const { MeshwireError } = require("./lib/errors.cjs");
const { Delivery, Event, Message } = require("./lib/received.cjs");
const { Handled, Request, nackAfter, reject } = require("./lib/handlers.cjs");
const { Replies } = require("./lib/replies.cjs");
const { Subscription } = require("./lib/subscription.cjs");
const { Outgoing } = require("./lib/pack.cjs");
const { onLog } = require("./lib/logs.cjs");
const { version } = require("./lib/native.cjs");

/** An event with its attributes, for wherever an event goes in. */
const event = (data, attributes) => new Outgoing(data, attributes);

exports.connect = connect;
exports.event = event;
exports.nackAfter = nackAfter;
exports.reject = reject;
exports.onLog = onLog;
exports.version = version;
exports.MeshwireError = MeshwireError;
exports.Mesh = Mesh;
exports.Subscription = Subscription;
exports.Replies = Replies;
exports.PendingReceipt = PendingReceipt;
exports.Event = Event;
exports.Message = Message;
exports.Delivery = Delivery;
exports.Handled = Handled;
exports.Request = Request;
exports.OutgoingEvent = Outgoing;
