/* What goes wrong: calls too late, at wrong moments, with wrong values, beside each other, and without a gateway. Nothing here may crash,
 * hang or leak. Called with the words "child NUMBER URL" it is a process that ends while much is going on. */
#define _POSIX_C_SOURCE 200809L
#include "harness.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void pause_ms(long ms) {
  struct timespec span;
  span.tv_sec = ms / 1000;
  span.tv_nsec = ms % 1000 * 1000000;
  nanosleep(&span, NULL);
}

/* Frees whatever is in a completion. */
static void let_go(mw_completion *told) {
  mw_error_free(told->error);
  if (told->kind == MW_CLIENT) mw_close((mw_client *)told->value, 0);
  if (told->kind == MW_SUBSCRIPTION) mw_unsubscribe((mw_subscription *)told->value);
  if (told->kind == MW_DELIVERIES) mw_batch_free((mw_batch *)told->value);
  if (told->kind == MW_WORKS) mw_works_free((mw_works *)told->value);
  if (told->kind == MW_RECEIPTS) mw_receipts_free((mw_receipts *)told->value);
  if (told->kind == MW_STARTED) mw_started_free((mw_started *)told->value);
  if (told->kind == MW_REPLY) mw_reply_free((mw_reply *)told->value);
  if (told->kind == MW_REPLIES) mw_replies_close((mw_replies *)told->value);
  if (told->kind == MW_REPLY_BATCH) mw_reply_batch_free((mw_reply_batch *)told->value);
  if (told->kind == MW_TEXT) mw_text_free((mw_text *)told->value);
}

/* Begins every call that a client has, each with a tag of its own below 32; gives a bit for each that was begun. */
static uint32_t begin_all(mw_client *mesh, mw_subscription *sub, mw_delivery *d, mw_delivery *extended, mw_consumer *consumer,
                          mw_responder *responder, mw_replies *replies, mw_queue *queue) {
  mw_event event;
  uint32_t begun = 0;
  event.data = mw_text_data("x");
  event.opts = NULL;
#define BEGUN(tag, call) begun |= (uint32_t)((call) == MW_OK) << (tag)
  BEGUN(0, mw_publish_start(mesh, "hard", mw_text_data("x"), NULL, queue, 0, NULL));
  BEGUN(1, mw_publish_later(mesh, "hard", mw_text_data("x"), NULL, queue, 1, NULL));
  BEGUN(2, mw_publish_admit_start(mesh, "hard", mw_text_data("x"), NULL, queue, 2, NULL, NULL));
  BEGUN(3, mw_publish_batch_start(mesh, "hard", &event, 1, queue, 3, NULL, NULL));
  BEGUN(4, mw_flush_start(mesh, queue, 4, NULL, NULL));
  BEGUN(5, mw_connected_start(mesh, queue, 5, NULL, NULL));
  BEGUN(6, mw_state_start(mesh, MW_STATE_CONNECTED, queue, 6, NULL, NULL));
  BEGUN(7, mw_subscribe_start(mesh, "hard", "group=h", queue, 7, NULL, NULL));
  BEGUN(8, mw_next_start(sub, 8, MW_FOREVER, queue, 8, NULL, NULL));
  BEGUN(9, mw_settle_start(d, MW_ACK, 0, NULL, queue, 9, NULL, NULL));
  BEGUN(10, mw_extend_start(extended, queue, 10, NULL, NULL));
  BEGUN(11, mw_consumer_next_start(consumer, 8, MW_FOREVER, queue, 11, NULL, NULL));
  BEGUN(12, mw_responder_next_start(responder, 8, MW_FOREVER, queue, 12, NULL, NULL));
  BEGUN(13, mw_request_reply_start(mesh, "asked", mw_text_data("x"), NULL, "request_timeout=300ms", queue, 13, NULL, NULL));
  BEGUN(14, mw_request_stream_start(mesh, "asked", mw_text_data("x"), NULL, "request_timeout=300ms", queue, 14, NULL, NULL));
  BEGUN(15, mw_replies_next_start(replies, 8, MW_FOREVER, queue, 15, NULL, NULL));
  BEGUN(16, mw_admin_start(mesh, "topics.list", NULL, queue, 16, NULL, NULL));
  BEGUN(17, mw_connect_start("tcp://127.0.0.1:1", NULL, queue, 17, NULL, NULL));
#undef BEGUN
  return begun;
}

/* A client with something of everything. */
typedef struct {
  mw_client *mesh;
  mw_subscription *sub;
  mw_delivery *d[2];
  mw_consumer *consumer;
  mw_responder *responder;
  mw_replies *replies;
  mw_queue *queue;
} all;

static int everything(all *of, const char *url) {
  size_t n = 0;
  memset(of, 0, sizeof *of);
  of->queue = mw_queue_new(64);
  if (mw_connect(&of->mesh, url, "reconnect_min=10ms; publish_timeout=200ms", NULL)) return 0;
  if (mw_publish(of->mesh, "held", mw_text_data("1"), NULL, NULL, NULL)) return 0;
  if (mw_publish(of->mesh, "held", mw_text_data("2"), NULL, NULL, NULL)) return 0;
  if (mw_subscribe(of->mesh, "held", "group=g", &of->sub, NULL)) return 0;
  for (; n < 2; n++)
    if ((of->d[n] = next(of->sub)) == NULL) return 0;
  if (mw_consumer_new(of->mesh, "idle", "group=g", &of->consumer, NULL)) return 0;
  if (mw_responder_new(of->mesh, "served", NULL, &of->responder, NULL)) return 0;
  return mw_request_stream(of->mesh, "served", mw_text_data("x"), NULL, "request_timeout=300ms", &of->replies, NULL) == MW_OK;
}

static void let_all_go(all *of) {
  mw_delivery_free(of->d[0]);
  mw_delivery_free(of->d[1]);
  mw_unsubscribe(of->sub);
  mw_consumer_free(of->consumer);
  mw_responder_free(of->responder);
  mw_replies_close(of->replies);
  mw_close(of->mesh, 0);
  mw_queue_free(of->queue);
}

/* Takes until each of these bits has come once; gives what is missing, or came twice. */
static uint32_t come(mw_queue *queue, uint32_t wanted) {
  mw_completion told[8];
  uint32_t twice = 0;
  size_t n, i;
  while (wanted != 0) {
    if (mw_queue_take(queue, told, 8, PATIENCE, &n, NULL) != MW_OK || n == 0) break;
    for (i = 0; i < n; i++) {
      uint32_t bit = (uint32_t)1 << told[i].tag;
      if (!(wanted & bit)) twice |= bit;
      wanted &= ~bit;
      let_go(&told[i]);
    }
  }
  return wanted | twice;
}

static void a_gateway_that_dies_under_every_call_leaves_one_completion_for_each(void) {
  int round;
  for (round = 0; round < 3; round++) {
    mw_gateway *mortal = NULL;
    uint32_t begun;
    all of;
    FINE(mw_gateway_start(&mortal, NULL, 0, &err));
    CHECK(everything(&of, mw_gateway_url(mortal)));
    if (round == 0) mw_gateway_kill(mortal);
    begun = begin_all(of.mesh, of.sub, of.d[0], of.d[1], of.consumer, of.responder, of.replies, of.queue);
    CHECK(begun == 0x3ffff);
    if (round == 1) mw_gateway_kill(mortal);
    if (round == 2) mw_gateway_stop(mortal, NULL);
    mw_close(of.mesh, 300);
    mw_unsubscribe(of.sub);
    mw_consumer_free(of.consumer);
    mw_responder_free(of.responder);
    mw_replies_close(of.replies);
    CHECK(come(of.queue, begun) == 0);
    of.sub = NULL;
    of.consumer = NULL;
    of.responder = NULL;
    of.replies = NULL;
    of.mesh = NULL;
    let_all_go(&of);
  }
}

static void what_is_called_after_close_is_a_typed_error(void) {
  all of;
  mw_delivery *d;
  mw_client *mesh;
  mw_text *text = NULL;
  size_t n;
  CHECK(everything(&of, mw_gateway_url(gateway)));
  mesh = of.mesh;
  CHECK(mw_close(mesh, 500) != MW_INVALID);
  CHECK(begin_all(mesh, NULL, NULL, NULL, NULL, NULL, NULL, of.queue) == 0x20000);
  CHECK(come(of.queue, 0x20000) == 0);
  CHECK(mw_flush(mesh, NULL) == MW_INVALID && mw_stop(mesh, NULL) == MW_INVALID && mw_drain(mesh, 0, NULL) == MW_INVALID);
  CHECK(mw_stats_json(mesh, &text, NULL) == MW_INVALID && mw_client_state(mesh) == MW_STATE_CLOSED);
  /* What was made of it is over, and still there. */
  CHECK(mw_ack(of.d[0]) == MW_OK && mw_extend(of.d[1]) == MW_OK);
  CHECK(mw_settle_confirmed(of.d[1], MW_ACK, 0, NULL, NULL) != MW_OK);
  CHECK(mw_next(of.sub, &d, 1, PATIENCE, &n, NULL) != MW_OK);
  CHECK(mw_consumer_next(of.consumer, NULL, 1, PATIENCE, &n, NULL) == MW_INVALID);
  of.mesh = NULL;
  let_all_go(&of);
  /* And is gone after this. */
  CHECK(mw_next(of.sub, &d, 1, 0, &n, NULL) == MW_INVALID && mw_consumer_stop(of.consumer) == MW_INVALID);
  CHECK(mw_responder_stop(of.responder) == MW_INVALID && mw_queue_fd(of.queue) == -1);
  CHECK(mw_queue_take(of.queue, NULL, 0, 0, &n, NULL) == MW_INVALID);
  let_all_go(&of);
}

static void a_call_that_is_cancelled_has_one_completion_whenever_that_is(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(256);
  mw_completion told;
  size_t n;
  int i;
  for (i = 0; i < 200; i++) {
    mw_operation *operation = NULL;
    FINE(mw_request_reply_start(mesh, "nobody", mw_text_data("x"), NULL, NULL, queue, (uint64_t)i, &operation, &err));
    if (i % 3 == 1) pause_ms(1);
    if (i % 3 == 2) CHECK(mw_queue_take(queue, &told, 1, PATIENCE, &n, NULL) == MW_OK && n == 1);
    CHECK(mw_cancel(operation, NULL) == MW_OK && mw_cancel(operation, NULL) == MW_INVALID);
    mw_operation_free(operation);
    if (i % 3 != 2) CHECK(mw_queue_take(queue, &told, 1, PATIENCE, &n, NULL) == MW_OK && n == 1);
    CHECK(told.tag == (uint64_t)i && (told.code == MW_CANCELLED || told.code == MW_NO_RESPONDERS));
    let_go(&told);
  }
  CHECK(mw_queue_take(queue, &told, 1, 0, &n, NULL) == MW_OK && n == 0);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void numbers_at_their_ends_are_taken_or_refused(void) {
  const int64_t ends[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(64);
  mw_subscription *sub = NULL;
  mw_completion told;
  mw_delivery *d[4];
  mw_data data = mw_bytes("x", 1);
  size_t n, i, k;
  CHECK(mw_queue_new(SIZE_MAX) == NULL && mw_queue_new((size_t)1 << 21) == NULL);
  CHECK(mw_queue_take(queue, NULL, 0, 0, &n, NULL) == MW_OK);
  FINE(mw_subscribe(mesh, "ends", "group=g; start=earliest", &sub, &err));
  CHECK(mw_next(sub, d, 0, 0, &n, NULL) == MW_INVALID && mw_next(sub, d, SIZE_MAX, 0, &n, NULL) == MW_INVALID);
  CHECK(mw_next(sub, d, 4, INT64_MIN + 1, NULL, NULL) == MW_INVALID);
  data.len = SIZE_MAX;
  CHECK(mw_publish(mesh, "ends", data, NULL, NULL, NULL) == MW_INVALID);
  data.len = 1;
  for (i = 0; i < 5; i++) {
    for (k = 0; k < 6; k++) {
      mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
      mw_attribute attribute = {"a", MW_ATTRIBUTE_INTEGER, NULL, 0};
      int code;
      attribute.number = ends[i];
      o.attributes = &attribute;
      if (k == 0) o.deliver_at_ms = ends[i];
      if (k == 1) o.deliver_after_ms = ends[i];
      if (k == 2) o.expires_in_ms = ends[i];
      if (k >= 3) o.attribute_count = 1;
      if (k == 4) attribute.kind = MW_ATTRIBUTE_TIME;
      if (k == 5) attribute.kind = MW_ATTRIBUTE_BINARY;
      code = mw_publish(mesh, "other", data, &o, NULL, NULL);
      CHECK(code == MW_OK || code == MW_INVALID || code == MW_TOO_LARGE);
    }
    FINE(mw_publish(mesh, "ends", data, NULL, NULL, &err));
    d[0] = next(sub);
    CHECK(d[0] != NULL);
    CHECK(mw_settle_many(d, 1, 99, ends[i], NULL, NULL) == MW_INVALID && mw_settle_many(NULL, SIZE_MAX, 0, 0, NULL, NULL) == MW_INVALID);
    CHECK(mw_nack(d[0], ends[i]) == MW_OK);
    FINE(mw_publish_start(mesh, "ends", data, NULL, queue, (uint64_t)ends[i] >> 1, &err));
    FINE(mw_queue_take(queue, &told, 1, INT64_MAX, &n, &err));
    CHECK(n == 1 && told.tag == (uint64_t)ends[i] >> 1 && told.kind == MW_RECEIPT);
    mw_unsubscribe(sub);
    FINE(mw_subscribe(mesh, "ends", "group=g; start=latest", &sub, &err));
  }
  data.kind = 99;
  CHECK(mw_publish(mesh, "ends", data, NULL, NULL, NULL) == MW_INVALID);
  CHECK(mw_state_start(mesh, 99, queue, 0, NULL, NULL) == MW_INVALID);
  CHECK(mw_admin(mesh, "topics.get", "{\"topic\":", NULL, NULL) == MW_INVALID);
  mw_unsubscribe(sub);
  CHECK(mw_drain(mesh, INT64_MAX, NULL) == MW_OK);
  mw_close(mesh, INT64_MIN);
  mw_queue_free(queue);
}

static void texts_that_are_too_long_or_no_texts_are_refused(void) {
  mw_client *mesh = connected();
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  mw_attribute nameless = {NULL, MW_ATTRIBUTE_TEXT, "x", 0};
  mw_reply *reply = NULL;
  char *longest = (char *)malloc(200001);
  int code;
  memset(longest, 'x', 200000);
  longest[200000] = 0;
  o.subject = longest;
  CHECK(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, NULL) == MW_TOO_LARGE);
  CHECK(mw_publish(mesh, longest, mw_no_data(), NULL, NULL, NULL) == MW_INVALID);
  o.subject = "\xc3";
  CHECK(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  o.subject = "cut\0off";
  FINE(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, &err));
  o.attributes = &nameless;
  o.attribute_count = 1;
  CHECK(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  nameless.name = "id";
  CHECK(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  code = mw_request_reply(mesh, "texts", mw_no_data(), NULL, longest, &reply, NULL);
  CHECK(code == MW_INVALID);
  free(longest);
  mw_close(mesh, -1);
}

/* Threads. */

typedef struct {
  all of;
  pthread_mutex_t lock;
  int started, counted, settled, codes[8];
} shared;

static int count(shared *s, int *what, int more) {
  int now;
  pthread_mutex_lock(&s->lock);
  now = *what += more;
  pthread_mutex_unlock(&s->lock);
  return now;
}

enum { PUBLISHERS = 4, EACH = 500 };

static void *publishing(void *ctx) {
  shared *s = (shared *)ctx;
  int i;
  for (i = 0; i < EACH; i++)
    while (mw_publish_start(s->of.mesh, "shared", mw_text_data("x"), NULL, s->of.queue, (uint64_t)i, NULL) == MW_BUFFER_FULL) pause_ms(1);
  return NULL;
}

static void *taking(void *ctx) {
  shared *s = (shared *)ctx;
  mw_completion told[16];
  size_t n, i;
  while (mw_queue_take(s->of.queue, told, 16, MW_FOREVER, &n, NULL) == MW_OK) {
    for (i = 0; i < n; i++) let_go(&told[i]);
    if (count(s, &s->counted, (int)n) >= PUBLISHERS * EACH) mw_queue_wake(s->of.queue);
    if (count(s, &s->counted, 0) >= PUBLISHERS * EACH) {
      mw_queue_wake(s->of.queue);
      break;
    }
  }
  return NULL;
}

static void *receiving(void *ctx) {
  shared *s = (shared *)ctx;
  mw_delivery *d[16];
  size_t n, i;
  while (count(s, &s->settled, 0) < PUBLISHERS * EACH && mw_next(s->of.sub, d, 16, 100, &n, NULL) == MW_OK)
    for (i = 0; i < n; i++)
      if (mw_ack(d[i]) == MW_OK) count(s, &s->settled, 1);
  return NULL;
}

static void threads_share_a_client_a_subscription_and_a_queue(void) {
  pthread_t threads[PUBLISHERS + 8];
  shared s;
  int i;
  memset(&s, 0, sizeof s);
  pthread_mutex_init(&s.lock, NULL);
  s.of.mesh = connected();
  s.of.queue = mw_queue_new(64);
  FINE(mw_subscribe(s.of.mesh, "shared", "group=g", &s.of.sub, &err));
  for (i = 0; i < PUBLISHERS + 8; i++)
    pthread_create(&threads[i], NULL, i < PUBLISHERS ? publishing : i < PUBLISHERS + 4 ? taking : receiving, &s);
  for (i = 0; i < PUBLISHERS + 8; i++) pthread_join(threads[i], NULL);
  CHECK(s.counted == PUBLISHERS * EACH && s.settled == PUBLISHERS * EACH);
  let_all_go(&s.of);
}

static void *settling(void *ctx) {
  shared *s = (shared *)ctx;
  int i;
  for (i = 0; i < 2; i++)
    if (mw_settle_many(&s->of.d[i], 1, MW_ACK, 0, NULL, NULL) == MW_OK) count(s, &s->settled, 1);
  return NULL;
}

static void of_threads_that_settle_the_same_delivery_one_does(void) {
  pthread_t threads[4];
  shared s;
  int i;
  memset(&s, 0, sizeof s);
  pthread_mutex_init(&s.lock, NULL);
  CHECK(everything(&s.of, mw_gateway_url(gateway)));
  for (i = 0; i < 4; i++) pthread_create(&threads[i], NULL, settling, &s);
  for (i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  CHECK(s.settled == 2);
  let_all_go(&s.of);
}

static int never_called(void *ctx, mw_job *job) {
  (void)ctx;
  (void)job;
  return 0;
}

static int never_asked(void *ctx, mw_request *request) {
  (void)ctx;
  (void)request;
  return 0;
}

/* Waits in one of the calls that do. */
static void *waiting(void *ctx) {
  shared *s = (shared *)ctx;
  mw_handler handler = {NULL, never_called, NULL};
  mw_request_handler server = {NULL, never_asked, NULL};
  mw_delivery *d = NULL;
  mw_completion told;
  mw_work work;
  mw_reply *reply = NULL;
  size_t n;
  int which = count(s, &s->started, 1) - 1, code = MW_OK;
  if (which == 0) code = mw_next(s->of.sub, &d, 1, MW_FOREVER, &n, NULL);
  if (which == 1) code = mw_queue_take(s->of.queue, &told, 1, MW_FOREVER, &n, NULL);
  if (which == 2) code = mw_consume(s->of.mesh, "waiting", "group=g", handler, NULL);
  if (which == 3) code = mw_serve(s->of.mesh, "waiting", NULL, server, NULL);
  if (which == 4) code = mw_consumer_next(s->of.consumer, &work, 1, MW_FOREVER, &n, NULL);
  if (which == 5) code = mw_responder_next(s->of.responder, &work, 1, MW_FOREVER, &n, NULL);
  if (which == 6) code = mw_replies_next(s->of.replies, &reply, 1, MW_FOREVER, &n, NULL);
  if (which == 7) code = mw_dispatch(s->of.queue, 1, MW_FOREVER, NULL, NULL);
  if (which == 5 && code == MW_OK && n == 1) mw_request_end(work.request, NULL);
  mw_reply_free(reply);
  mw_delivery_free(d);
  s->codes[which] = code;
  return NULL;
}

static void whoever_waits_is_told_when_what_it_waits_in_is_closed(void) {
  int round, i;
  for (round = 0; round < 10; round++) {
    pthread_t threads[8];
    shared s;
    memset(&s, 0, sizeof s);
    pthread_mutex_init(&s.lock, NULL);
    CHECK(everything(&s.of, mw_gateway_url(gateway)));
    for (i = 0; i < 8; i++) pthread_create(&threads[i], NULL, waiting, &s);
    while (count(&s, &s.started, 0) < 8) pause_ms(1);
    pause_ms(round);
    let_all_go(&s.of);
    for (i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    /* The stream's own request may have come to the responder; who handles is told nothing, that is the end it wants. */
    for (i = 0; i < 8; i++) CHECK(i == 2 || i == 3 || i == 5 || s.codes[i] != MW_OK);
  }
}

static int closing(void *ctx, mw_job *job) {
  shared *s = (shared *)ctx;
  s->codes[0] = mw_close(s->of.mesh, 100);
  s->codes[1] = mw_job_end(job, 99, 0, NULL, NULL);
  return 0;
}

static void closing_from_callback(void *ctx, const mw_completion *told) {
  shared *s = (shared *)ctx;
  mw_error_free(told->error);
  s->counted++;
  mw_close(s->of.mesh, 0);
  mw_queue_free(s->of.queue);
}

static void dropped(void *ctx) { ((shared *)ctx)->settled++; }

static int on_publish(void *ctx, const char *topic, mw_draft *draft) {
  shared *s = (shared *)ctx;
  (void)topic;
  (void)draft;
  mw_close(s->of.mesh, 0);
  return 0;
}

static void a_function_that_closes_the_client_that_calls_it_ends_in_time(void) {
  mw_handler handler;
  mw_callback callback;
  mw_hooks hooks;
  shared s;
  size_t n = 0;
  memset(&s, 0, sizeof s);
  memset(&hooks, 0, sizeof hooks);
  s.of.mesh = connected();
  handler.ctx = callback.ctx = hooks.ctx = &s;
  handler.call = closing;
  handler.drop = callback.drop = dropped;
  callback.call = closing_from_callback;
  FINE(mw_publish(s.of.mesh, "closing", mw_text_data("x"), NULL, NULL, &err));
  mw_consume(s.of.mesh, "closing", "group=g", handler, NULL);
  CHECK((s.codes[0] == MW_TIMEOUT || s.codes[0] == MW_OK) && s.codes[1] == MW_INVALID && s.settled == 1);
  s.of.mesh = connected();
  s.of.queue = mw_queue_new(4);
  FINE(mw_publish_start(s.of.mesh, "closing", mw_text_data("x"), NULL, s.of.queue, mw_callback_tag(s.of.queue, callback), &err));
  FINE(mw_dispatch(s.of.queue, 1, PATIENCE, &n, &err));
  CHECK(n == 1 && s.counted == 1 && s.settled == 2 && mw_queue_fd(s.of.queue) == -1);
  s.of.mesh = connected();
  hooks.on_publish = on_publish;
  hooks.drop = dropped;
  FINE(mw_set_hooks(s.of.mesh, hooks, &err));
  CHECK(mw_publish(s.of.mesh, "closing", mw_text_data("x"), NULL, NULL, NULL) == MW_CLOSED && s.settled == 3);
}

static int hanging(void *ctx, mw_job *job) {
  shared *s = (shared *)ctx;
  (void)job;
  count(s, &s->started, 1);
  while (count(s, &s->counted, 0) == 0) pause_ms(1);
  return 0;
}

static void *hang(void *ctx) {
  shared *s = (shared *)ctx;
  mw_handler handler;
  handler.ctx = s;
  handler.call = hanging;
  handler.drop = dropped;
  s->codes[0] = mw_consume(s->of.mesh, "hanging", "group=g", handler, NULL);
  return NULL;
}

static void a_handler_that_hangs_does_not_keep_others_from_closing(void) {
  pthread_t thread;
  shared s;
  memset(&s, 0, sizeof s);
  pthread_mutex_init(&s.lock, NULL);
  s.of.mesh = connected();
  FINE(mw_publish(s.of.mesh, "hanging", mw_text_data("x"), NULL, NULL, &err));
  pthread_create(&thread, NULL, hang, &s);
  while (count(&s, &s.started, 0) == 0) pause_ms(1);
  CHECK(mw_close(s.of.mesh, 100) == MW_TIMEOUT);
  count(&s, &s.counted, 1);
  pthread_join(thread, NULL);
  CHECK(s.settled == 1);
}

static void without_a_gateway_connect_fails_at_once_and_says_what_to_do(void) {
  mw_client *mesh = NULL;
  mw_queue *queue = mw_queue_new(4);
  mw_completion told;
  mw_error *err = NULL;
  size_t n;
  time_t began = time(NULL);
  CHECK(mw_connect(&mesh, "mesh://127.0.0.1:1", NULL, &err) == MW_UNAVAILABLE && strstr(mw_error_text(err), "meshwire serve") != NULL);
  mw_error_free(err);
  CHECK(mw_connect(&mesh, "mesh://127.0.0.1:1", "connect_wait=50ms", NULL) == MW_UNAVAILABLE && mesh == NULL);
  CHECK(time(NULL) - began < 5);
  CHECK(mw_connect(&mesh, "nonsense://x", NULL, NULL) == MW_INVALID && mw_connect(&mesh, "", "name", NULL) == MW_INVALID);
  CHECK(mw_connect(NULL, NULL, NULL, NULL) == MW_INVALID);
  FINE(mw_connect_start("mesh://127.0.0.1:1", NULL, queue, 1, NULL, &err));
  FINE(mw_queue_take(queue, &told, 1, PATIENCE, &n, &err));
  CHECK(n == 1 && told.code == MW_UNAVAILABLE && told.value == NULL);
  let_go(&told);
  mw_queue_free(queue);
}

static void in_a_child_of_fork_everything_of_the_parent_is_closed_and_nothing_hangs(void) {
  all of;
  int status = 0;
  pid_t child;
  CHECK(everything(&of, mw_gateway_url(gateway)));
  fflush(stdout);
  child = fork();
  if (child == 0) {
    mw_delivery *d;
    mw_text *text = NULL;
    size_t n;
    uint32_t begun = begin_all(of.mesh, of.sub, of.d[0], of.d[1], of.consumer, of.responder, of.replies, of.queue);
    int good = begun == 0 && mw_next(of.sub, &d, 1, MW_FOREVER, &n, NULL) == MW_CLOSED;
    good = good && mw_stop(of.mesh, NULL) == MW_CLOSED && mw_stats_json(of.mesh, &text, NULL) == MW_CLOSED;
    good = good && mw_drain(of.mesh, -1, NULL) == MW_CLOSED && mw_cancel((mw_operation *)(void *)of.mesh, NULL) != MW_OK;
    let_all_go(&of);
    /* What is registered for exit runs too. */
    exit(good ? 0 : 1);
  }
  CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(mw_settle_confirmed(of.d[0], MW_ACK, 0, NULL, NULL) == MW_OK);
  let_all_go(&of);
}

/* Ends in one of several ways at some moment, with calls in flight and threads that wait. */
static int be_a_child(int number, const char *url) {
  pthread_t threads[8];
  shared s;
  int i;
  memset(&s, 0, sizeof s);
  pthread_mutex_init(&s.lock, NULL);
  if (number % 10 != 9) {
    if (!everything(&s.of, url)) return 1;
    for (i = 0; i < 8; i++)
      if (pthread_create(&threads[i], NULL, waiting, &s) != 0) return 1;
    for (i = 0; i < 50; i++) mw_publish_later(s.of.mesh, "ends", mw_text_data("x"), NULL, s.of.queue, (uint64_t)i, NULL);
    begin_all(s.of.mesh, s.of.sub, s.of.d[0], s.of.d[1], s.of.consumer, s.of.responder, s.of.replies, s.of.queue);
  } else {
    s.of.queue = mw_queue_new(4);
    mw_connect_start(url, NULL, s.of.queue, 0, NULL, NULL);
  }
  pause_ms(number / 3);
  if (number % 3 == 0) _exit(7);
  if (number % 3 == 1) exit(7);
  return 7;
}

static const char *own_name;

static void a_process_may_end_at_any_moment(void) {
  char url[64], text[16];
  int number;
  /* In the child the gateway is no more than a closed handle. */
  snprintf(url, sizeof url, "%s", mw_gateway_url(gateway));
  for (number = 0; number < 50; number++) {
    int status = 0, waited;
    pid_t child;
    fflush(stdout);
    child = fork();
    if (child == 0) {
      snprintf(text, sizeof text, "%d", number);
      execl(own_name, own_name, "child", text, url, (char *)NULL);
      _exit(1);
    }
    CHECK(child > 0);
    for (waited = 0; waitpid(child, &status, WNOHANG) == 0 && waited < PATIENCE; waited += 2) pause_ms(2);
    if (waited >= PATIENCE) kill(child, SIGKILL);
    CHECK(waited < PATIENCE && WIFEXITED(status) && WEXITSTATUS(status) == 7);
  }
}

#define TESTS(test)                                                                  \
  test(what_is_called_after_close_is_a_typed_error)                                  \
  test(a_call_that_is_cancelled_has_one_completion_whenever_that_is)                 \
  test(numbers_at_their_ends_are_taken_or_refused)                                   \
  test(texts_that_are_too_long_or_no_texts_are_refused)                              \
  test(threads_share_a_client_a_subscription_and_a_queue)                            \
  test(of_threads_that_settle_the_same_delivery_one_does)                            \
  test(whoever_waits_is_told_when_what_it_waits_in_is_closed)                        \
  test(a_function_that_closes_the_client_that_calls_it_ends_in_time)                 \
  test(a_handler_that_hangs_does_not_keep_others_from_closing)                       \
  test(without_a_gateway_connect_fails_at_once_and_says_what_to_do)                  \
  test(a_gateway_that_dies_under_every_call_leaves_one_completion_for_each)          \
  test(in_a_child_of_fork_everything_of_the_parent_is_closed_and_nothing_hangs)      \
  test(a_process_may_end_at_any_moment)

#define CASE(name) {#name, name},
static const test_case tests[] = {TESTS(CASE)};

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "child") == 0) return be_a_child(atoi(argv[2]), argv[3]);
  own_name = argv[0];
  return run_all(tests, sizeof tests / sizeof *tests, argc > 1 ? argv[1] : "");
}
