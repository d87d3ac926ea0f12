/// <reference lib="esnext.disposable" />
// Types of the public API. They are written by hand, as the documentation is.

import type { ErrorCode } from "./lib/codes.d.cts";

export type { ErrorCode };

/** The version of this package. */
export declare const version: string;

/** Lets a call be ended: it rejects with the signal's own reason. */
export interface Cancellable {
  signal?: AbortSignal | undefined;
}

/** Whether and how to try again: `unknown_outcome` says that the call may have been carried out. */
export type Retry = "never" | "now" | "after" | "unknown_outcome";

/** Every failure of this package. */
export declare class MeshwireError extends Error {
  private constructor();
  readonly name: "MeshwireError";
  /** What happened, without the call, the code and what it was about, which the message has as well. */
  readonly reason: string;
  /** What went wrong, as a stable name. */
  readonly code: ErrorCode;
  /** The same as a number. */
  readonly number: number;
  readonly retry: Retry;
  /** Whether the same call may succeed later without risk of happening twice. */
  readonly retryable: boolean;
  /** How long the gateway asks to wait before the same call, where it said so. */
  readonly retryAfterMs: number | undefined;
  /** The call that failed, such as `publish`. */
  readonly operation: string;
  /** What it was about: topic, position, address and the like. */
  readonly context: Readonly<Record<string, string>>;
  readonly cause: unknown;
  toJSON(): {
    name: string;
    message: string;
    reason: string;
    code: ErrorCode;
    number: number;
    retry: Retry;
    retryable: boolean;
    retryAfterMs?: number | undefined;
    operation: string;
    context: Readonly<Record<string, string>>;
    cause?: unknown;
  };
}

/** A value of an extension attribute. What comes as a time or a URI comes as text. */
export type AttributeValue = string | number | boolean | Uint8Array;

/** What is said of an event; absent is left to the client: `id` a UUIDv7, `source` the client, `type` the topic, `time` now. */
export interface EventAttributes {
  id?: string | undefined;
  source?: string | undefined;
  type?: string | undefined;
  subject?: string | undefined;
  /** RFC 3339. */
  time?: string | Date | undefined;
  datacontenttype?: string | undefined;
  dataschema?: string | undefined;
  /** Events of one key keep their order. CloudEvents attribute `partitionkey`. */
  key?: string | undefined;
  /** Extension attributes. */
  attributes?: Readonly<Record<string, AttributeValue | Date | undefined>> | undefined;
}

/** When an event is delivered. */
export interface Timing {
  deliverAt?: Date | undefined;
  deliverAfterMs?: number | undefined;
  expiresInMs?: number | undefined;
}

export interface PublishOptions extends EventAttributes, Timing, Cancellable {}

/** An event with its attributes, of {@link event}. */
export declare class OutgoingEvent {
  private constructor();
  private readonly brand: never;
}

/** An object of CloudEvents, by its shape: that of the official SDK, or plain. */
export interface CloudEventLike {
  specversion: string;
  id: string;
  source: string;
  type: string;
  time?: string | undefined;
  subject?: string | undefined;
  datacontenttype?: string | undefined;
  dataschema?: string | undefined;
  data?: unknown;
  data_base64?: string | undefined;
}

/**
 * What goes in as an event: bytes, text, a CloudEvents object, what {@link event} made, or any other value, which is written as JSON.
 */
export type EventInput = Uint8Array | ArrayBuffer | string | OutgoingEvent | CloudEventLike | unknown;

/** An event with its attributes, for wherever an event goes in. */
export declare function event(data: unknown, attributes?: EventAttributes & Timing): OutgoingEvent;

/** The gateway's word that an event is kept. */
export interface Receipt {
  /** Where the event is in its topic; absent where the gateway was known to have it only after a reconnect, or it is delivered later. */
  position: string | undefined;
  /** The topic had an event of the same source and id. */
  duplicate: boolean;
}

export type BatchResult = { ok: true; receipt: Receipt; error?: undefined } | { ok: false; error: MeshwireError; receipt?: undefined };

/** A publish on its way. */
export declare class PendingReceipt {
  private constructor();
  receipt(options?: Cancellable): Promise<Receipt>;
}

/** An event that came. Attributes and data are read where they are asked for. */
export declare class Event {
  protected constructor();
  readonly specversion: "1.0";
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly topic: string;
  /** All attributes but id, source and type. */
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly key: string | undefined;
  readonly subject: string | undefined;
  readonly time: string | undefined;
  readonly datacontenttype: string | undefined;
  readonly dataschema: string | undefined;
  /** Whether the data is text or bytes, where there is any. */
  readonly dataKind: "absent" | "text" | "binary" | "proto";
  /** The data's bytes: a view of the memory of the whole batch. `slice()` copies them, to keep them for long. */
  readonly data: Uint8Array;
  /** The data as text; `INVALID` if it is not UTF-8. */
  text(): string;
  /** The data as JSON; `INVALID` if it is not. It is not compared with `T`. */
  json<T = any>(): T;
  /** It as a plain object of CloudEvents, as JSON has it. */
  toCloudEvent(): CloudEventLike & Record<string, unknown>;
  toJSON(): CloudEventLike & Record<string, unknown>;
}

/** An event of a topic, with its place there. */
export declare class Message extends Event {
  readonly position: string;
  /** How often it was delivered, this time too: 1 the first time. */
  readonly attempt: number;
  /** Events before this one that were removed before they were seen. */
  readonly gap: number;
  /** When the gateway stored it. */
  readonly stored: Date;
  readonly expiresAt: Date | undefined;
}

export interface NackOptions {
  /** After this time, in place of the group's back-off. */
  delayMs?: number | undefined;
}

/** One event in the hands of a program, which settles it once. Plain settles never wait and never fail for the network. */
export declare class Delivery extends Message {
  readonly settled: boolean;
  /** It is done. */
  ack(): void;
  /** It failed, and comes again. */
  nack(options?: NackOptions): void;
  /** It is never to come again: a dead letter, with the reason. */
  reject(reason?: string | Error): void;
  /** Still working: its lease begins anew. */
  extend(): void;
  /** Lets go of it without a word: it comes again when its ack wait ends. */
  forget(): void;
  /** As {@link ack}, and waits for the gateway's word: `LEASE_LOST` if it comes again all the same. */
  ackConfirmed(options?: Cancellable): Promise<void>;
  nackConfirmed(options?: NackOptions & Cancellable): Promise<void>;
  rejectConfirmed(reason?: string | Error, options?: Cancellable): Promise<void>;
  extendConfirmed(options?: Cancellable): Promise<void>;
}

/** An event for a handler of {@link Mesh.consume}. */
export declare class Handled extends Message {
  /** Aborted when its lease is lost: it comes again, and what the handler says is not heard. */
  readonly signal: AbortSignal;
  readonly lost: boolean;
}

/** How a handler ends that neither acks nor fails. */
export interface Settlement {
  readonly how: "nack" | "reject";
}

/** For a handler to return or throw: the event comes again after this time. */
export declare function nackAfter(delayMs: number): Settlement;
/** For a handler to return or throw: the event never comes again, and is a dead letter with this reason. */
export declare function reject(reason?: string | Error): Settlement;

/** A request for a handler of {@link Mesh.serve}. */
export declare class Request extends Event {
  readonly deadline: Date;
  readonly remainingMs: number;
  readonly wantsStream: boolean;
  /** Aborted when the requester waits no more. */
  readonly signal: AbortSignal;
  readonly lost: boolean;
}

/** Sends replies one by one. */
export interface ReplySender {
  /** Resolves when the requester has taken it. */
  send(reply: EventInput): Promise<void>;
}

/** Where to begin: a word, a time, or a position. */
export type Start = "earliest" | "latest" | Date | { position: string | number | bigint };

/** Settings of a group. */
export interface GroupSettings {
  ackWaitMs?: number | undefined;
  maxFailures?: number | undefined;
  maxAgeMs?: number | undefined;
  backoffMinMs?: number | undefined;
  backoffMaxMs?: number | undefined;
  holdAfterDeadLetter?: boolean | undefined;
  strictOrder?: boolean | undefined;
  maxInFlight?: number | undefined;
  maxRate?: number | undefined;
}

export interface SubscribeOptions extends GroupSettings, Cancellable {
  /** Its members share the events, and its place is kept. Without one: every event from now on, and no place is kept. */
  group?: string | undefined;
  /** Every member gets every event. */
  broadcast?: boolean | undefined;
  /** The name of a durable member of a broadcast group. */
  member?: string | undefined;
  /** Where a new group begins: `earliest` by default. */
  start?: Start | undefined;
  prefetchEvents?: number | undefined;
  prefetchBytes?: number | bigint | undefined;
}

export interface ConsumeOptions extends SubscribeOptions {
  /** Handlers at once; events of one key never are. 1 by default. */
  concurrency?: number | undefined;
}

export interface ServeOptions extends Cancellable {
  group?: string | undefined;
  concurrency?: number | undefined;
  prefetchEvents?: number | undefined;
  prefetchBytes?: number | bigint | undefined;
}

export interface RequestOptions extends EventAttributes, Cancellable {
  /** 5 s by default. */
  timeoutMs?: number | undefined;
  /** Whether it may be handled more than once. */
  retry?: boolean | undefined;
}

export interface RequestStreamOptions extends RequestOptions {
  /** Most replies that are sent ahead of who reads them. */
  credit?: number | undefined;
}

/** A stream of deliveries. Leaving its loop ends it: what is in hand has failed, the rest comes again at once. */
export declare class Subscription implements AsyncIterableIterator<Delivery> {
  private constructor();
  readonly topic: string;
  readonly closed: boolean;
  next(options?: Cancellable): Promise<IteratorResult<Delivery, undefined>>;
  /** As many as are at hand, else the first that comes, for which it waits so long. */
  batch(most: number, options?: { timeoutMs?: number | undefined } & Cancellable): Promise<Delivery[]>;
  return(value?: unknown): Promise<IteratorResult<Delivery, undefined>>;
  /** Ends it: what is unsettled comes again at once, and has not failed. */
  close(): Promise<void>;
  /** As leaving a loop. */
  [Symbol.asyncDispose](): Promise<void>;
  [Symbol.asyncIterator](): this;
}

/** The replies to a request for many. Leaving its loop cancels the rest. */
export declare class Replies implements AsyncIterableIterator<Event> {
  private constructor();
  next(): Promise<IteratorResult<Event, undefined>>;
  return(value?: unknown): Promise<IteratorResult<Event, undefined>>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
  [Symbol.asyncIterator](): this;
}

export type State = "disconnected" | "connecting" | "connected" | "reconnecting" | "draining" | "closed";

/** Counts of a client. */
export interface Stats {
  pending: number;
  pendingBytes: number;
  buffered: number;
  bufferedBytes: number;
  givenUp: number;
  restored: number;
  restoredPublished: number;
  restoredFailed: number;
  published: number;
  carrier: "tcp" | "grpc" | "websocket" | "http" | undefined;
  reconnects: number;
  resumes: number;
  replays: number;
  replaysById: number;
  protocolErrors: number;
  silences: number;
  settlesDropped: number;
  leasesLost: number;
  requests: number;
  repliesDropped: number;
  repliesLate: number;
}

/** An event as the hook of publishes may change it. */
export interface Draft extends EventAttributes, Timing {
  data: unknown;
  attributes: Record<string, AttributeValue | Date | undefined>;
}

/** What a program wants to see of every publish and every delivery of a client. Hooks are called and not awaited: none may give a promise. */
export interface Hooks {
  /** Before an event is published: it may be changed. What is thrown refuses it. */
  onPublish?: ((topic: string, event: Draft) => void) | undefined;
  /** Before a delivery is handed on. What is thrown nacks it and is logged: whoever waits gets the next. */
  onDelivery?: ((delivery: Message) => void) | undefined;
  /** What became of it. What is thrown is logged. */
  onSettle?: ((delivery: Message, how: "ack" | "nack" | "reject" | "dropped") => void) | undefined;
}

export interface ConnectOptions extends Hooks, Cancellable {
  /** Else `MESHWIRE_URL`, else `mesh://127.0.0.1:7400`. */
  url?: string | undefined;
  /** Of the program. */
  name?: string | undefined;
  proxy?: string | undefined;
  token?: string | undefined;
  tokenFile?: string | undefined;
  tlsRoots?: string | undefined;
  tlsCertificate?: string | undefined;
  tlsKey?: string | undefined;
  tlsServerName?: string | undefined;
  connectTimeoutMs?: number | undefined;
  /** Keep trying for so long while no gateway can be reached. */
  connectWaitMs?: number | undefined;
  publishWindowEvents?: number | undefined;
  publishWindowBytes?: number | bigint | undefined;
  publishOffline?: "off" | "buffer" | undefined;
  publishTimeoutMs?: number | undefined;
  offlineMaxBytes?: number | bigint | undefined;
  offlineMaxAgeMs?: number | undefined;
  offlineFile?: string | undefined;
  offlineSync?: "synced" | "written" | undefined;
  requestWindow?: number | undefined;
  reconnectMinMs?: number | undefined;
  reconnectMaxMs?: number | undefined;
  /** Told of states as they change. It does not keep the process alive. */
  onState?: ((state: State) => void) | undefined;
}

/** A list that is asked for page by page. */
export interface Listing<T> extends AsyncIterable<T> {
  /** All of it at once. */
  all(): Promise<T[]>;
}

export interface TopicSettings {
  retentionMs?: number | undefined;
  retentionBytes?: number | bigint | undefined;
  lagging?: "drop" | "block" | undefined;
}

export interface Topic {
  name: string;
  durability: "memory" | "written" | "synced";
  retentionMs: number;
  retentionBytes: number;
  lagging: "drop" | "block";
  first: string;
  next: string;
  events: number;
  bytes: number;
  physicalBytes: number;
  overtaken: number;
  delayed: number;
  groups: { name: string; settledThrough: string; members: number; inFlight: number; lag: number }[];
  requests?: { members: number; open: number; requests: number; lateReplies: number };
}

export interface Topics {
  list(options?: Cancellable): Listing<Topic>;
  get(topic: string, options?: Cancellable): Promise<Topic>;
  create(topic: string, settings?: TopicSettings & { durability?: "memory" | "written" | "synced" | undefined } & Cancellable): Promise<Topic>;
  update(topic: string, settings: TopicSettings & Cancellable): Promise<Topic>;
  delete(topic: string, options?: { force?: boolean | undefined } & Cancellable): Promise<Topic>;
}

export interface Group {
  name: string;
  mode: "cluster" | "broadcast";
  settledThrough: string;
  members: number;
  inFlight: number;
  lag: number;
  delayed: number;
  failing: number;
  expired: number;
  deadLetters: number;
  oldestMs?: number;
  ackWaitMs: number;
  maxFailures: number;
  maxAgeMs: number;
  backoffMinMs: number;
  backoffMaxMs: number;
  holdAfterDeadLetter: boolean;
  strictOrder: boolean;
  maxInFlight: number;
  maxRate: number;
  durableMembers?: {
    name: string;
    connected: boolean;
    settledThrough: string;
    inFlight: number;
    lag: number;
    delayed: number;
    deadLetters: number;
  }[];
}

export interface OfMember extends Cancellable {
  /** A durable member of a broadcast group. */
  member?: string | undefined;
}

export interface Groups {
  list(topic: string, options?: Cancellable): Listing<Group>;
  get(topic: string, group: string, options?: OfMember): Promise<Group>;
  create(topic: string, group: string, settings?: GroupSettings & OfMember & { start?: Start | undefined; mode?: "cluster" | "broadcast" | undefined }): Promise<Group>;
  update(topic: string, group: string, settings: GroupSettings & OfMember): Promise<Group>;
  seek(topic: string, group: string, to: Start, options?: OfMember): Promise<Group>;
  delete(topic: string, group: string, options?: Cancellable): Promise<Group>;
  deleteMember(topic: string, group: string, member: string, options?: Cancellable): Promise<void>;
}

export interface DeadLetter {
  number: number;
  group: string;
  member?: string;
  position: string;
  reason: string;
  failures: number;
  attempts: number;
  error?: string;
  redriven: boolean;
  stored: string;
  firstFailure: string;
  lastFailure: string;
  /** As JSON has it, where it was asked for. */
  event?: CloudEventLike & Record<string, unknown>;
  eventError?: string;
}

export interface OfGroup extends OfMember {
  group?: string | undefined;
}

/** These, or all of them: one of both is said. */
export interface Which extends OfGroup {
  numbers?: readonly (number | string)[] | undefined;
  all?: boolean | undefined;
}

export interface DeadLetters {
  list(topic: string, options?: OfGroup & { events?: boolean | undefined; limit?: number | undefined }): Listing<DeadLetter>;
  get(topic: string, number: number | string, options?: OfGroup): Promise<DeadLetter>;
  redrive(topic: string, which: Which): Promise<{ redriven: number; left: Record<string, number>; notThere?: number }>;
  purge(topic: string, which: Which): Promise<{ purged: number; notThere?: number }>;
}

export interface GatewayLimits {
  publishRate: number;
  publishBytesRate: number;
  publishBudgetBytes: number;
  deliverRate: number;
  deliverBytesRate: number;
}

export interface Limits {
  get(options?: Cancellable): Promise<GatewayLimits & { unkeptBytes: number; sendingBytes: number; sendingMost: number }>;
  set(limits: Partial<GatewayLimits> & Cancellable): Promise<GatewayLimits & { unkeptBytes: number; sendingBytes: number; sendingMost: number }>;
}

/** A client of a gateway. While nothing is open on it, it does not keep the process alive. */
export declare class Mesh {
  private constructor();
  readonly topics: Topics;
  readonly groups: Groups;
  readonly deadLetters: DeadLetters;
  readonly limits: Limits;
  readonly state: State;
  /** Publishes an event; many at once share their way. Resolves when the gateway keeps it. */
  publish(topic: string, data?: EventInput, options?: PublishOptions): Promise<Receipt>;
  /** Resolves when there was room for the event in the window of unanswered publishes; its receipt is asked for apart. */
  publishStart(topic: string, data?: EventInput, options?: PublishOptions): Promise<PendingReceipt>;
  /** One result for each event, in order; one that is wrong fails alone. */
  publishBatch(topic: string, events: Iterable<EventInput>, options?: Cancellable): Promise<BatchResult[]>;
  /** Resolves when all publishes so far have their receipts. */
  flush(options?: Cancellable): Promise<void>;
  request(topic: string, data?: EventInput, options?: RequestOptions): Promise<Event>;
  requestStream(topic: string, data?: EventInput, options?: RequestStreamOptions): Promise<Replies>;
  /** Answers requests. What the handler returns is the reply, one without data if that is nothing and it has sent none; what it yields are
   * many. Resolves when it was stopped. */
  serve(topic: string, handler: ServeHandler): Promise<void>;
  serve(topic: string, options: ServeOptions | undefined, handler: ServeHandler): Promise<void>;
  subscribe(topic: string, options?: SubscribeOptions): Promise<Subscription>;
  /** Has a handler called for each event: who returns acks, who throws nacks. Resolves when it was stopped. */
  consume(topic: string, handler: ConsumeHandler): Promise<void>;
  consume(topic: string, options: ConsumeOptions | undefined, handler: ConsumeHandler): Promise<void>;
  /** Resolves when there is a gateway. */
  connected(options?: Cancellable): Promise<void>;
  stats(): Stats;
  /** Ends subscriptions and handlers, and sends what is left, for so long at most. A handler of the client that awaits it waits for itself,
   * and gets `INVALID`. */
  drain(options?: { timeoutMs?: number | undefined } & Cancellable): Promise<void>;
  /** Drains, and lets go of the client. Again is nothing. Awaited by a handler of the client it is `INVALID`, as `drain` is. */
  close(options?: { timeoutMs?: number | undefined } & Cancellable): Promise<void>;
  /** As {@link close}, where Node has it. */
  [Symbol.asyncDispose](): Promise<void>;
}

export type ConsumeHandler = (message: Handled) => Settlement | void | unknown | Promise<Settlement | void | unknown>;
export type ServeHandler = (request: Request, replies: ReplySender) => EventInput | Promise<EventInput> | AsyncIterable<EventInput>;

/** Connects to a gateway. `UNAVAILABLE` names each attempt. */
export declare function connect(options?: ConnectOptions | string | URL): Promise<Mesh>;

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

export interface LogRecord {
  readonly level: LogLevel;
  readonly time: Date;
  readonly target: string;
  readonly text: string;
  /** Records before this one that were lost since nobody took them. */
  readonly dropped: number;
}

/** Tells of what the client logs at this level and above, `info` by default; gives a function that ends it. */
export declare function onLog(listener: (record: LogRecord) => void, options?: { level?: LogLevel | undefined }): () => void;
