/* The C library as an installed package, against a real gateway process. Prints a line for each test. */
#define _POSIX_C_SOURCE 200809L
#include "harness.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

static int same(mw_string s, const char *text) { return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0; }

static int is_data(mw_data data, const char *text) {
  return data.len == strlen(text) && memcmp(data.ptr, text, data.len) == 0;
}

static void what_is_published_is_received_with_all_its_attributes(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_receipt receipt;
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  mw_attribute extensions[3] = {{"count", MW_ATTRIBUTE_INTEGER, NULL, -7},
                                {"last", MW_ATTRIBUTE_BOOLEAN, NULL, 1},
                                {"raw", MW_ATTRIBUTE_BINARY, "\0\xff", 2}};
  mw_message m = mw_message_new();
  mw_delivery *d;
  char text[64];
  mw_text *name = NULL, *value = NULL;
  CHECK(mesh != NULL);
  o.id = "1";
  o.source = "/shop";
  o.type = "order.created";
  o.key = "customer-7";
  o.subject = "orders/1";
  o.time = "2026-11-29T06:30:00.5Z";
  o.dataschema = "https://shop/order";
  o.attributes = extensions;
  o.attribute_count = 3;
  FINE(mw_publish(mesh, "attributes", mw_json("{\"id\":1}"), &o, &receipt, &err));
  CHECK(receipt.position == 1 && !receipt.duplicate);
  FINE(mw_publish(mesh, "attributes", mw_json("{\"id\":1}"), &o, &receipt, &err));
  CHECK(receipt.position == 1 && receipt.duplicate);
  FINE(mw_subscribe(mesh, "attributes", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL);
  FINE(mw_read(&d, 1, &m, &err));
  CHECK(same(m.id, "1") && same(m.source, "/shop") && same(m.type, "order.created") && same(m.key, "customer-7"));
  CHECK(same(m.subject, "orders/1") && same(m.dataschema, "https://shop/order"));
  CHECK(same(m.datacontenttype, "application/json") && is_data(m.data, "{\"id\":1}"));
  CHECK(same(m.topic, "attributes") && m.position == 1 && m.attempt == 1 && m.gap == 0);
  CHECK(m.time_ms == 1795933800500 && m.stored_ms > 0 && m.expires_at_ms == MW_NO_TIME);
  CHECK(is_data(mw_delivery_data(d), "{\"id\":1}"));
  CHECK(mw_delivery_attribute(d, "count", text, sizeof text) == 2 && strcmp(text, "-7") == 0);
  CHECK(mw_delivery_attribute(d, "raw", text, sizeof text) == 4 && strcmp(text, "AP8=") == 0);
  CHECK(mw_delivery_attribute(d, "time", text, 5) == 24 && strcmp(text, "2026") == 0);
  CHECK(mw_delivery_attribute(d, "absent", text, sizeof text) == -1);
  CHECK(mw_delivery_attribute_at(d, 0, &name, &value) && mw_text_chars(name)[0] != 0);
  mw_text_free(name);
  mw_text_free(value);
  CHECK(!mw_delivery_attribute_at(d, 99, &name, &value));
  CHECK(mw_extend(d) == MW_OK && mw_ack(d) == MW_OK);
  mw_unsubscribe(sub);
  CHECK(mw_close(mesh, -1) == MW_OK);
}

static void a_batch_has_a_result_for_each_event_and_what_is_wrong_with_one_is_its_own(void) {
  mw_client *mesh = connected();
  mw_publish_opts bad = MW_PUBLISH_OPTS_INIT, once = MW_PUBLISH_OPTS_INIT;
  mw_event events[4];
  mw_result results[4];
  mw_attribute wrong = {"Bad", MW_ATTRIBUTE_TEXT, "x", 0};
  size_t i;
  bad.attributes = &wrong;
  bad.attribute_count = 1;
  once.id = "once";
  for (i = 0; i < 4; i++) {
    events[i].data = mw_text_data("x");
    events[i].opts = i == 1 ? &bad : i == 0 || i == 3 ? &once : NULL;
  }
  events[2].data = mw_bytes("\xff", 1);
  events[2].data.kind = MW_TEXT_DATA;
  FINE(mw_publish_batch(mesh, "batch", events, 4, results, &err));
  CHECK(results[0].code == MW_OK && results[0].receipt.position == 1 && results[0].error == NULL);
  CHECK(results[1].code == MW_INVALID && strstr(mw_error_text(results[1].error), "Bad") != NULL);
  CHECK(results[2].code == MW_INVALID && strstr(mw_error_text(results[2].error), "UTF-8") != NULL);
  CHECK(results[3].code == MW_OK && results[3].receipt.duplicate);
  mw_error_free(results[1].error);
  mw_error_free(results[2].error);
  mw_close(mesh, -1);
}

static void a_queue_brings_exactly_one_completion_for_each_publish(void) {
  enum { MANY = 20000 };
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4096);
  mw_completion done[256];
  unsigned char *seen = (unsigned char *)calloc(MANY, 1);
  uint64_t tag = 0, taken = 0;
  size_t n, i;
  while (taken < MANY) {
    if (tag < MANY) {
      int code = mw_publish_start(mesh, "queue", mw_bytes("x", 1), NULL, queue, tag, NULL);
      if (code == MW_OK) {
        tag++;
        continue;
      }
      CHECK(code == MW_BUFFER_FULL);
    }
    FINE(mw_queue_take(queue, done, 256, PATIENCE, &n, &err));
    CHECK(n > 0);
    for (i = 0; i < n; i++) {
      CHECK(done[i].kind == MW_RECEIPT && done[i].receipt.position > 0 && !seen[done[i].tag]);
      seen[done[i].tag] = 1;
      taken++;
    }
  }
  FINE(mw_queue_take(queue, done, 256, 0, &n, &err));
  CHECK(n == 0);
  free(seen);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void every_call_can_be_begun_and_comes_to_its_kind(void) {
  mw_queue *queue = mw_queue_new(8);
  mw_client *mesh;
  mw_subscription *sub;
  mw_delivery *d[8];
  mw_completion done;
  mw_operation *operation = NULL;
  mw_event event;
  mw_result result;
  size_t n;
#define ONE(wanted)                                              \
  FINE(mw_queue_take(queue, &done, 1, PATIENCE, &n, &err));      \
  CHECK(n == 1 && done.kind == (wanted) && done.error == NULL)
  FINE(mw_connect_start(mw_gateway_url(gateway), NULL, queue, 1, NULL, &err));
  ONE(MW_CLIENT);
  mesh = (mw_client *)done.value;
  CHECK(mw_client_state(mesh) == MW_STATE_CONNECTED);
  FINE(mw_connected_start(mesh, queue, 2, NULL, &err));
  ONE(MW_DONE);
  FINE(mw_publish_later(mesh, "begun", mw_text_data("later"), NULL, queue, 3, &err));
  ONE(MW_RECEIPT);
  FINE(mw_publish_admit_start(mesh, "begun", mw_text_data("admitted"), NULL, queue, 4, NULL, &err));
  ONE(MW_STARTED);
  FINE(mw_started_receipt((mw_started *)done.value, queue, 5, &err));
  ONE(MW_RECEIPT);
  event.data = mw_text_data("of a batch");
  event.opts = NULL;
  FINE(mw_publish_batch_start(mesh, "begun", &event, 1, queue, 6, NULL, &err));
  ONE(MW_RECEIPTS);
  FINE(mw_receipts_take((mw_receipts *)done.value, &result, 1, &n, &err));
  CHECK(n == 1 && result.code == MW_OK);
  FINE(mw_flush_start(mesh, queue, 7, NULL, &err));
  ONE(MW_DONE);
  FINE(mw_subscribe_start(mesh, "begun", "group=g; start=earliest", queue, 8, NULL, &err));
  ONE(MW_SUBSCRIPTION);
  sub = (mw_subscription *)done.value;
  FINE(mw_next_start(sub, 8, MW_FOREVER, queue, 9, NULL, &err));
  ONE(MW_DELIVERIES);
  FINE(mw_batch_take((mw_batch *)done.value, d, 8, &n, &err));
  CHECK(n >= 1 && is_data(mw_delivery_data(d[0]), "later"));
  FINE(mw_extend_start(d[0], queue, 10, NULL, &err));
  {
    size_t rest = n;
    ONE(MW_DONE);
    FINE(mw_settle_start(d[0], MW_NACK, 0, NULL, queue, 11, NULL, &err));
    ONE(MW_DONE);
    FINE(mw_settle_many(d + 1, rest - 1, MW_ACK, 0, NULL, &err));
  }
  FINE(mw_admin_start(mesh, "topics.get", "{\"topic\":\"begun\"}", queue, 12, NULL, &err));
  ONE(MW_TEXT);
  CHECK(strstr(mw_text_chars((mw_text *)done.value), "\"name\":\"begun\"") != NULL);
  mw_text_free((mw_text *)done.value);
  FINE(mw_state_start(mesh, MW_STATE_CONNECTED, queue, 13, &operation, &err));
  FINE(mw_cancel(operation, &err));
  FINE(mw_queue_take(queue, &done, 1, PATIENCE, &n, &err));
  CHECK(n == 1 && done.kind == MW_FAILED && done.code == MW_CANCELLED && done.tag == 13);
  CHECK(strcmp(mw_error_name(done.error), "CANCELLED") == 0);
  mw_error_free(done.error);
  FINE(mw_drain_start(mesh, -1, queue, 14, NULL, &err));
  ONE(MW_DONE);
  mw_unsubscribe(sub);
  mw_close(mesh, 0);
  mw_queue_free(queue);
#undef ONE
}

static void what_was_used_up_is_an_error_when_it_is_used_again(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_delivery *d, *again;
  mw_message m = mw_message_new();
  mw_error *err = NULL;
  FINE(mw_publish(mesh, "twice", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_subscribe(mesh, "twice", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL && mw_ack(d) == MW_OK && mw_ack(d) == MW_INVALID);
  CHECK(mw_nack(d, 0) == MW_INVALID && mw_reject(d, "no") == MW_INVALID && mw_extend(d) == MW_INVALID);
  CHECK(mw_read(&d, 1, &m, NULL) == MW_INVALID && mw_delivery_data(d).ptr == NULL);
  mw_delivery_free(d);
  again = d;
  CHECK(mw_settle_many(&again, 1, MW_ACK, 0, NULL, &err) == MW_INVALID);
  CHECK(mw_error_code(err) == MW_INVALID && strstr(mw_error_text(err), "before") != NULL);
  mw_error_free(err);
  mw_error_free(err);
  mw_unsubscribe(sub);
  mw_unsubscribe(sub);
  CHECK(mw_close(mesh, -1) == MW_OK && mw_close(mesh, -1) == MW_INVALID);
  CHECK(mw_publish(mesh, "twice", mw_no_data(), NULL, NULL, NULL) == MW_INVALID);
  CHECK(mw_flush((mw_client *)sub, NULL) == MW_INVALID && mw_flush(NULL, NULL) == MW_INVALID);
  CHECK(mw_flush((mw_client *)(uintptr_t)12345, NULL) == MW_INVALID);
}

static void what_is_wrong_is_said_with_name_operation_retry_and_context(void) {
  mw_client *mesh = NULL;
  mw_error *err = NULL;
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  const char *name = NULL, *value = NULL;
  CHECK(mw_connect(&mesh, "tcp://127.0.0.1:1", NULL, &err) == MW_UNAVAILABLE && mesh == NULL);
  CHECK(strcmp(mw_error_name(err), "UNAVAILABLE") == 0 && strcmp(mw_error_operation(err), "connect") == 0);
  CHECK(strstr(mw_error_text(err), "meshwire serve") != NULL && mw_error_retry(err) != MW_RETRY_NEVER);
  mw_error_free(err);
  err = NULL;
  CHECK(mw_connect(&mesh, NULL, "colour=red", &err) == MW_INVALID && strstr(mw_error_text(err), "colour") != NULL);
  mw_error_free(err);
  err = NULL;
  CHECK(mw_connect_version(999, &mesh, NULL, NULL, &err) == MW_INVALID && strstr(mw_error_text(err), "999") != NULL);
  mw_error_free(err);
  err = NULL;
  mesh = connected();
  CHECK(mw_publish(mesh, "no topic!", mw_no_data(), NULL, NULL, &err) == MW_INVALID);
  CHECK(mw_error_retry(err) == MW_RETRY_NEVER && mw_error_retry_after_ms(err) == -1);
  mw_error_free(err);
  err = NULL;
  CHECK(mw_publish(mesh, NULL, mw_no_data(), NULL, NULL, NULL) == MW_INVALID);
  CHECK(mw_publish(mesh, "\xff", mw_no_data(), NULL, NULL, NULL) == MW_INVALID);
  CHECK(mw_publish(mesh, "t", mw_bytes(NULL, 3), NULL, NULL, NULL) == MW_INVALID);
  o.size = 3;
  CHECK(mw_publish(mesh, "t", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  o.size = sizeof o + 8;
  CHECK(mw_publish(mesh, "t", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  o.size = sizeof o;
  o.deliver_after_ms = -1;
  CHECK(mw_publish(mesh, "t", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  CHECK(mw_admin(mesh, "topics.get", "{\"topic\":\"absent\"}", NULL, NULL) == MW_INVALID);
  {
    mw_text *answer = NULL;
    CHECK(mw_admin(mesh, "topics.get", "{\"topic\":\"absent\"}", &answer, &err) == MW_TOPIC_NOT_FOUND && answer == NULL);
    CHECK(mw_error_context(err, 0, &name, &value) && strcmp(name, "topic") == 0 && strcmp(value, "absent") == 0);
    CHECK(!mw_error_context(err, 99, NULL, NULL));
    mw_error_free(err);
  }
  CHECK(mw_queue_new(0) == NULL);
  mw_close(mesh, -1);
}

static void empty_and_large_data_come_as_they_were(void) {
  enum { LARGE = 1 << 20 };
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  char *large = (char *)malloc(LARGE), *huge = (char *)calloc(1, 64 << 20);
  mw_delivery *d;
  int i;
  for (i = 0; i < LARGE; i++) large[i] = (char)(i * 31);
  FINE(mw_publish(mesh, "sizes", mw_no_data(), NULL, NULL, &err));
  FINE(mw_publish(mesh, "sizes", mw_bytes("a\0b", 3), NULL, NULL, &err));
  FINE(mw_publish(mesh, "sizes", mw_bytes(large, LARGE - 4096), NULL, NULL, &err));
  CHECK(mw_publish(mesh, "sizes", mw_bytes(huge, 64 << 20), NULL, NULL, NULL) == MW_TOO_LARGE);
  FINE(mw_subscribe(mesh, "sizes", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL && mw_delivery_data(d).len == 0 && mw_delivery_data(d).kind == MW_NO_DATA && mw_ack(d) == MW_OK);
  d = next(sub);
  CHECK(d != NULL && mw_delivery_data(d).len == 3 && memcmp(mw_delivery_data(d).ptr, "a\0b", 3) == 0);
  CHECK(mw_ack(d) == MW_OK);
  d = next(sub);
  CHECK(d != NULL && mw_delivery_data(d).len == LARGE - 4096 && memcmp(mw_delivery_data(d).ptr, large, LARGE - 4096) == 0);
  CHECK(mw_ack(d) == MW_OK);
  free(large);
  free(huge);
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
}

typedef struct {
  mw_client *mesh;
  int handled, failed, dropped, number;
} tally;

static int on_event(void *ctx, mw_job *job) {
  tally *t = (tally *)ctx;
  mw_message m = mw_message_new();
  char text[8];
  if (mw_job_read(job, &m, NULL) != MW_OK || mw_job_attribute(job, "type", text, sizeof text) < 0) return -1;
  if (is_data(m.data, "again") && m.attempt == 1) return t->failed++, 7;
  if (is_data(m.data, "never")) return mw_job_end(job, MW_HANDLE_NEVER, 0, "no such thing", NULL);
  if (is_data(m.data, "delayed") && m.attempt == 1) return mw_job_end(job, MW_HANDLE_AGAIN, 0, NULL, NULL);
  t->handled++;
  if (is_data(m.data, "last")) mw_stop(t->mesh, NULL);
  return 0;
}

static void on_drop(void *ctx) { ((tally *)ctx)->dropped++; }

static void a_handler_acks_nacks_and_rejects_until_it_is_stopped(void) {
  const char *all[] = {"one", "again", "never", "delayed", "two"};
  tally t = {NULL, 0, 0, 0, 0};
  mw_handler handler;
  mw_text *letters = NULL;
  size_t i;
  handler.ctx = &t;
  handler.call = on_event;
  handler.drop = on_drop;
  t.mesh = connected();
  for (i = 0; i < sizeof all / sizeof *all; i++)
    FINE(mw_publish(t.mesh, "handled", mw_text_data(all[i]), NULL, NULL, &err));
  FINE(mw_publish(t.mesh, "handled", mw_text_data("last"), NULL, NULL, &err));
  FINE(mw_consume(t.mesh, "handled", "group=g; backoff_min=0; handler_concurrency=1", handler, &err));
  CHECK(t.handled >= 3 && t.failed == 1 && t.dropped == 1);
  FINE(mw_admin(t.mesh, "dead_letters.list", "{\"topic\":\"handled\"}", &letters, &err));
  CHECK(strstr(mw_text_chars(letters), "no such thing") != NULL);
  mw_text_free(letters);
  CHECK(mw_consume(t.mesh, "handled", "colour=red", handler, NULL) == MW_INVALID && t.dropped == 2);
  handler.call = NULL;
  CHECK(mw_consume(t.mesh, "handled", NULL, handler, NULL) == MW_INVALID && t.dropped == 3);
  mw_close(t.mesh, -1);
}

static int on_request(void *ctx, mw_request *request) {
  tally *t = (tally *)ctx;
  mw_message m = mw_message_new();
  int i;
  if (mw_request_read(request, &m, NULL) != MW_OK) return -1;
  if (is_data(m.data, "stop")) return mw_stop(t->mesh, NULL), mw_request_answer(request, mw_text_data("bye"), NULL, NULL);
  if (is_data(m.data, "fail")) return mw_request_fail(request, "not today", NULL);
  if (is_data(m.data, "silent")) return 5;
  t->handled++;
  if (!m.wants_stream) return mw_request_answer(request, mw_json("{\"price\":1}"), NULL, NULL);
  for (i = 0; i < 3; i++)
    if (mw_reply_send(request, mw_text_data(i == 0 ? "a" : i == 1 ? "b" : "c"), NULL, NULL) != MW_OK) return -1;
  return 0;
}

static void *serve(void *ctx) {
  tally *t = (tally *)ctx;
  mw_request_handler handler;
  handler.ctx = t;
  handler.call = on_request;
  handler.drop = on_drop;
  t->failed = mw_serve(t->mesh, "quote", NULL, handler, NULL);
  return NULL;
}

static void requests_get_a_reply_many_or_why_there_is_none(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_client *mesh = connected();
  mw_reply *reply = NULL, *some[8];
  mw_replies *replies = NULL;
  mw_message m = mw_message_new();
  mw_error *err = NULL;
  pthread_t thread;
  char text[32];
  size_t n, count = 0;
  int code;
  CHECK(mw_request_reply(mesh, "quote", mw_text_data("x"), NULL, NULL, &reply, NULL) == MW_NO_RESPONDERS);
  t.mesh = connected();
  pthread_create(&thread, NULL, serve, &t);
  do {
    code = mw_request_reply(mesh, "quote", mw_text_data("x"), NULL, "request_timeout=20s", &reply, NULL);
  } while (code == MW_NO_RESPONDERS);
  CHECK(code == MW_OK);
  FINE(mw_reply_read(reply, &m, &err));
  CHECK(is_data(m.data, "{\"price\":1}") && mw_reply_attribute(reply, "datacontenttype", text, sizeof text) == 16);
  mw_reply_free(reply);
  FINE(mw_request_stream(mesh, "quote", mw_text_data("x"), NULL, "reply_credit=2; request_timeout=20s", &replies, &err));
  while ((code = mw_replies_next(replies, some, 8, PATIENCE, &n, NULL)) == MW_OK) {
    CHECK(n > 0);
    while (n > 0) mw_reply_free(some[--n]), count++;
  }
  CHECK(code == MW_ENDED && count == 3);
  mw_replies_close(replies);
  CHECK(mw_request_reply(mesh, "quote", mw_text_data("fail"), NULL, NULL, &reply, &err) == MW_RESPONDER_FAILED);
  CHECK(strstr(mw_error_text(err), "not today") != NULL);
  mw_error_free(err);
  CHECK(mw_request_reply(mesh, "quote", mw_text_data("silent"), NULL, NULL, &reply, NULL) == MW_RESPONDER_FAILED);
  FINE(mw_request_reply(mesh, "quote", mw_text_data("stop"), NULL, NULL, &reply, &err));
  mw_reply_free(reply);
  pthread_join(thread, NULL);
  CHECK(t.failed == MW_OK && t.dropped == 1 && t.handled == 2);
  mw_close(t.mesh, -1);
  mw_close(mesh, -1);
}

static void on_completion(void *ctx, const mw_completion *completion) {
  tally *t = (tally *)ctx;
  if (completion->kind == MW_RECEIPT) t->handled++;
  mw_error_free(completion->error);
}

static void callbacks_are_called_by_who_dispatches_and_dropped_once(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_queue *queue = mw_queue_new(64);
  mw_callback callback;
  size_t n = 0, total = 0;
  int i;
  callback.ctx = &t;
  callback.call = on_completion;
  callback.drop = on_drop;
  t.mesh = connected();
  for (i = 0; i < 10; i++) {
    uint64_t tag = mw_callback_tag(queue, callback);
    CHECK(tag != 0);
    FINE(mw_publish_start(t.mesh, "callbacks", mw_text_data("x"), NULL, queue, tag, &err));
  }
  CHECK(t.handled == 0);
  while (total < 10) {
    FINE(mw_dispatch(queue, 64, PATIENCE, &n, &err));
    CHECK(n > 0);
    total += n;
  }
  CHECK(t.handled == 10 && t.dropped == 10);
  mw_callback_forget(queue, mw_callback_tag(queue, callback));
  CHECK(t.dropped == 11 && mw_callback_tag(queue, callback) != 0);
  mw_queue_free(queue);
  CHECK(t.dropped == 12 && mw_callback_tag(queue, callback) == 0 && t.dropped == 13);
  mw_close(t.mesh, -1);
}

static void an_event_loop_sees_completions_by_a_descriptor(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4);
  struct pollfd watched;
  mw_completion done;
  size_t n;
  watched.fd = mw_queue_fd(queue);
  watched.events = POLLIN;
  CHECK(watched.fd >= 0 && poll(&watched, 1, 0) == 0);
  FINE(mw_publish_start(mesh, "watched", mw_text_data("x"), NULL, queue, 1, &err));
  CHECK(poll(&watched, 1, (int)PATIENCE) == 1);
  FINE(mw_queue_take(queue, &done, 1, 0, &n, &err));
  CHECK(n == 1 && poll(&watched, 1, 0) == 0);
  mw_queue_wake(queue);
  FINE(mw_queue_take(queue, &done, 1, MW_FOREVER, &n, &err));
  CHECK(n == 0);
  CHECK(mw_queue_fd(NULL) == -1);
  mw_queue_free(queue);
  mw_close(mesh, -1);
}

static int on_publish(void *ctx, const char *topic, mw_draft *draft) {
  mw_text *had;
  if (strcmp(topic, "refused") == 0) return 3;
  ((tally *)ctx)->number++;
  had = mw_draft_get(draft, "traceparent");
  if (had != NULL) return mw_text_free(had), -1;
  return mw_draft_set(draft, "traceparent", "00-1-2-01", NULL);
}
static void on_delivery(void *ctx, const mw_message *message) {
  if (same(message->topic, "hooked")) ((tally *)ctx)->handled++;
}
static void on_settle(void *ctx, const mw_message *message, int settled) {
  if (same(message->topic, "hooked") && settled == MW_REJECT) ((tally *)ctx)->failed++;
}

static void hooks_see_every_publish_and_delivery(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_hooks hooks = MW_HOOKS_INIT;
  mw_subscription *sub = NULL;
  mw_delivery *d;
  mw_error *err = NULL;
  char text[32];
  hooks.ctx = &t;
  hooks.on_publish = on_publish;
  hooks.on_delivery = on_delivery;
  hooks.on_settle = on_settle;
  hooks.drop = on_drop;
  t.mesh = connected();
  FINE(mw_set_hooks(t.mesh, &hooks, &err));
  FINE(mw_publish(t.mesh, "hooked", mw_text_data("x"), NULL, NULL, &err));
  CHECK(mw_publish(t.mesh, "refused", mw_text_data("x"), NULL, NULL, &err) == MW_INVALID);
  CHECK(strstr(mw_error_text(err), "refused the event: 3") != NULL);
  mw_error_free(err);
  FINE(mw_subscribe(t.mesh, "hooked", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL && mw_delivery_attribute(d, "traceparent", text, sizeof text) > 0 && strcmp(text, "00-1-2-01") == 0);
  CHECK(mw_reject(d, NULL) == MW_OK);
  mw_unsubscribe(sub);
  CHECK(mw_set_hooks(t.mesh, &hooks, NULL) == MW_ALREADY_EXISTS && t.dropped == 1);
  mw_close(t.mesh, -1);
  CHECK(t.number == 1 && t.handled == 1 && t.failed == 1 && t.dropped == 2);
}

static void on_record(void *ctx, const mw_record *record) {
  if (record->level >= MW_LEVEL_WARN && strstr(record->text, "dropped without ack") != NULL) ((tally *)ctx)->handled++;
}

static void what_the_library_logs_is_told_on_the_thread_that_asks(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_subscription *sub = NULL;
  FINE(mw_logs_keep(MW_LEVEL_WARN, &err));
  CHECK(mw_logs_keep(MW_LEVEL_INFO, NULL) == MW_ALREADY_EXISTS && mw_logs_keep(9, NULL) == MW_INVALID);
  t.mesh = connected();
  FINE(mw_publish(t.mesh, "logged", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_subscribe(t.mesh, "logged", "group=g", &sub, &err));
  mw_delivery_free(next(sub));
  while (t.handled == 0) CHECK(mw_logs_dispatch(PATIENCE, on_record, &t, NULL) == MW_OK);
  mw_unsubscribe(sub);
  mw_close(t.mesh, -1);
}

static int in_child(mw_client *mesh, mw_delivery *d, mw_queue *queue) {
  mw_client *own = NULL;
  mw_completion done;
  size_t n;
  if (mw_publish(mesh, "forked", mw_text_data("x"), NULL, NULL, NULL) != MW_CLOSED) return 1;
  if (mw_ack(d) != MW_CLOSED || mw_close(mesh, -1) != MW_CLOSED) return 2;
  if (mw_queue_take(queue, &done, 1, 0, &n, NULL) != MW_CLOSED) return 3;
  if (mw_connect(&own, mw_gateway_url(gateway), NULL, NULL) == MW_OK) return 4; /* the url was the parent's too */
  if (mw_connect(&own, getenv("SUITE_URL"), NULL, NULL) != MW_OK) return 5;
  if (mw_publish(own, "forked", mw_text_data("of the child"), NULL, NULL, NULL) != MW_OK) return 6;
  return mw_close(own, -1) == MW_OK ? 0 : 7;
}

static void in_a_child_of_fork_handles_are_closed_and_a_new_client_works(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4);
  mw_subscription *sub = NULL;
  mw_delivery *d;
  int status = 0;
  pid_t child;
  FINE(mw_publish(mesh, "forked", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_subscribe(mesh, "forked", "group=g", &sub, &err));
  d = next(sub);
  setenv("SUITE_URL", mw_gateway_url(gateway), 1);
  fflush(stdout);
  child = fork();
  if (child == 0) _exit(in_child(mesh, d, queue));
  CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(mw_ack(d) == MW_OK);
  d = next(sub);
  CHECK(d != NULL && is_data(mw_delivery_data(d), "of the child") && mw_ack(d) == MW_OK);
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void a_gateway_that_dies_leaves_typed_errors_and_no_hang(void) {
  mw_gateway *mortal = NULL;
  mw_client *mesh = NULL;
  mw_subscription *sub = NULL;
  mw_queue *queue = mw_queue_new(128);
  mw_completion done[128];
  mw_delivery *d = NULL;
  size_t n, taken = 0;
  uint64_t tag;
  FINE(mw_gateway_start(&mortal, NULL, 0, &err));
  FINE(mw_connect(&mesh, mw_gateway_url(mortal), "reconnect_min=10ms; publish_timeout=200ms", &err));
  FINE(mw_publish(mesh, "mortal", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_subscribe(mesh, "mortal", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL);
  mw_gateway_kill(mortal);
  for (tag = 0; tag < 100; tag++) FINE(mw_publish_later(mesh, "mortal", mw_text_data("x"), NULL, queue, tag, &err));
  while (taken < 100) {
    FINE(mw_queue_take(queue, done, 128, PATIENCE, &n, &err));
    CHECK(n > 0);
    for (taken += n; n > 0; n--) {
      CHECK(done[n - 1].kind == MW_FAILED && done[n - 1].code == MW_TIMEOUT);
      CHECK(mw_error_retry(done[n - 1].error) == MW_RETRY_UNKNOWN_OUTCOME);
      mw_error_free(done[n - 1].error);
    }
  }
  CHECK(mw_ack(d) == MW_OK && mw_publish(mesh, "mortal", mw_text_data("x"), NULL, NULL, NULL) == MW_TIMEOUT);
  CHECK(mw_close(mesh, 50) == MW_TIMEOUT && mw_next(sub, &d, 1, PATIENCE, &n, NULL) != MW_OK);
  mw_unsubscribe(sub);
  mw_queue_free(queue);
}

#define TESTS(test)                                                                   \
  test(what_is_published_is_received_with_all_its_attributes)                         \
  test(a_batch_has_a_result_for_each_event_and_what_is_wrong_with_one_is_its_own)     \
  test(a_queue_brings_exactly_one_completion_for_each_publish)                        \
  test(every_call_can_be_begun_and_comes_to_its_kind)                                 \
  test(what_was_used_up_is_an_error_when_it_is_used_again)                            \
  test(what_is_wrong_is_said_with_name_operation_retry_and_context)                   \
  test(empty_and_large_data_come_as_they_were)                                        \
  test(a_handler_acks_nacks_and_rejects_until_it_is_stopped)                          \
  test(requests_get_a_reply_many_or_why_there_is_none)                                \
  test(callbacks_are_called_by_who_dispatches_and_dropped_once)                       \
  test(an_event_loop_sees_completions_by_a_descriptor)                                \
  test(hooks_see_every_publish_and_delivery)                                          \
  test(what_the_library_logs_is_told_on_the_thread_that_asks)                         \
  test(in_a_child_of_fork_handles_are_closed_and_a_new_client_works)                  \
  test(a_gateway_that_dies_leaves_typed_errors_and_no_hang)

#define CASE(name) {#name, name},
static const test_case tests[] = {TESTS(CASE)};

int main(int argc, char **argv) { return run_all(tests, sizeof tests / sizeof *tests, argc > 1 ? argv[1] : ""); }
