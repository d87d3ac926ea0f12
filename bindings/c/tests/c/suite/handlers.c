/* Handlers of mw_consume and mw_serve, on the thread that calls these. */
#include "../harness.h"

#include <unistd.h>

static int on_event(void *ctx, mw_job *job) {
  tally *t = (tally *)ctx;
  mw_message m = mw_message_new();
  char text[8];
  if (mw_job_read(job, &m, NULL) != MW_OK || mw_job_attribute(job, "type", text, sizeof text) < 0) return -1;
  if (mw_job_lost(job)) return -1;
  if (is_data(m.data, "again") && m.attempt == 1) return t->failed++, 7;
  if (is_data(m.data, "never")) return mw_job_end(job, MW_HANDLE_NEVER, 0, "no such thing", NULL);
  if (is_data(m.data, "delayed") && m.attempt == 1) return mw_job_end(job, MW_HANDLE_AGAIN, 0, NULL, NULL);
  t->handled++;
  if (is_data(m.data, "last")) mw_stop(t->mesh, NULL);
  return 0;
}

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
  if (is_data(m.data, "close")) {
    t->number = mw_close(t->mesh, -1) == MW_INVALID && mw_drain(t->mesh, -1, NULL) == MW_INVALID;
    return mw_request_answer(request, mw_text_data("still here"), NULL, NULL);
  }
  if (is_data(m.data, "fail")) return mw_request_fail(request, "not today", NULL);
  if (is_data(m.data, "slow")) {
    int looks = 0;
    t->number = !mw_request_lost(request);
    while (!mw_request_lost(request) && look_again(&looks)) {}
    t->number += mw_request_lost(request);
    return 0;
  }
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

/* Asks until somebody serves. */
static int ask(mw_client *mesh, const char *text, mw_reply **reply) {
  int code;
  do {
    code = mw_request_reply(mesh, "quote", mw_text_data(text), NULL, "request_timeout=20s", reply, NULL);
  } while (code == MW_NO_RESPONDERS);
  return code;
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
  CHECK(ask(mesh, "x", &reply) == MW_OK);
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

static void a_handler_sees_that_its_requester_waits_no_longer(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_client *mesh = connected();
  mw_reply *reply = NULL;
  pthread_t thread;
  int code;
  t.mesh = connected();
  pthread_create(&thread, NULL, serve, &t);
  do {
    code = mw_request_reply(mesh, "quote", mw_text_data("slow"), NULL, "request_timeout=200ms", &reply, NULL);
  } while (code == MW_NO_RESPONDERS);
  CHECK(code == MW_TIMEOUT);
  CHECK(ask(mesh, "stop", &reply) == MW_OK);
  mw_reply_free(reply);
  pthread_join(thread, NULL);
  CHECK(t.number == 2 && mw_request_lost(NULL) && mw_request_lost((mw_request *)mesh));
  mw_close(t.mesh, -1);
  mw_close(mesh, -1);
}

static void several_handlers_at_once_are_refused_where_one_thread_runs_them(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_handler handler = {&t, on_event, on_drop};
  mw_request_handler server = {&t, on_request, on_drop};
  mw_error *err = NULL;
  t.mesh = connected();
  CHECK(mw_consume(t.mesh, "alone", "group=g; handler_concurrency=2", handler, &err) == MW_INVALID);
  CHECK(strstr(mw_error_text(err), "mw_consumer_new") != NULL);
  mw_error_free(err);
  CHECK(mw_serve(t.mesh, "alone", "handler_concurrency=2", server, &err) == MW_INVALID);
  CHECK(strstr(mw_error_text(err), "mw_responder_new") != NULL && t.dropped == 2);
  mw_error_free(err);
  mw_close(t.mesh, -1);
}

static int not_called(void *ctx, mw_job *job) {
  (void)job;
  ((tally *)ctx)->failed++;
  return 0;
}

static int not_asked(void *ctx, mw_request *request) {
  (void)request;
  ((tally *)ctx)->failed++;
  return 0;
}

static void a_stop_holds_for_what_begins_later_too_and_for_its_client_alone(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_client *other = connected();
  mw_handler handler = {&t, not_called, on_drop};
  mw_request_handler server = {&t, not_asked, on_drop};
  mw_consumer *consumer = NULL;
  mw_responder *responder = NULL;
  mw_work work;
  size_t n;
  t.mesh = connected();
  FINE(mw_stop(t.mesh, &err));
  FINE(mw_stop(t.mesh, &err));
  /* They would wait for ever. */
  alarm(PATIENCE / 1000);
  FINE(mw_consume(t.mesh, "stopped", "group=g", handler, &err));
  FINE(mw_serve(t.mesh, "stopped", NULL, server, &err));
  alarm(0);
  CHECK(t.failed == 0 && t.dropped == 2);
  FINE(mw_consumer_new(t.mesh, "stopped", "group=g", &consumer, &err));
  CHECK(mw_consumer_next(consumer, &work, 1, PATIENCE, &n, NULL) == MW_ENDED);
  mw_consumer_free(consumer);
  FINE(mw_responder_new(t.mesh, "stopped", NULL, &responder, &err));
  CHECK(mw_responder_next(responder, &work, 1, PATIENCE, &n, NULL) == MW_ENDED);
  mw_responder_free(responder);
  FINE(mw_publish(t.mesh, "stopped", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_consumer_new(other, "stopped", "group=g", &consumer, &err));
  FINE(mw_consumer_next(consumer, &work, 1, PATIENCE, &n, &err));
  CHECK(n == 1 && work.job != NULL);
  FINE(mw_job_end(work.job, MW_HANDLED, 0, NULL, &err));
  mw_consumer_free(consumer);
  mw_close(other, -1);
  mw_close(t.mesh, -1);
}

static void what_is_no_client_cannot_be_stopped(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(1);
  CHECK(mw_stop(NULL, NULL) == MW_INVALID && mw_stop((mw_client *)queue, NULL) == MW_INVALID);
  mw_close(mesh, -1);
  CHECK(mw_stop(mesh, NULL) == MW_INVALID);
  mw_queue_free(queue);
}

static void a_handler_that_closes_or_drains_its_client_is_told_that_it_would_wait_for_itself(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_client *mesh = connected();
  mw_message m = mw_message_new();
  mw_reply *reply = NULL;
  pthread_t thread;
  t.mesh = connected();
  pthread_create(&thread, NULL, serve, &t);
  CHECK(ask(mesh, "close", &reply) == MW_OK);
  FINE(mw_reply_read(reply, &m, &err));
  CHECK(is_data(m.data, "still here"));
  mw_reply_free(reply);
  CHECK(ask(mesh, "stop", &reply) == MW_OK);
  mw_reply_free(reply);
  pthread_join(thread, NULL);
  CHECK(t.number == 1 && t.failed == MW_OK && t.dropped == 1);
  CHECK(mw_close(t.mesh, -1) == MW_OK && mw_close(mesh, -1) == MW_OK);
}

#define TESTS(test)                                                     \
  test(a_handler_acks_nacks_and_rejects_until_it_is_stopped)            \
  test(requests_get_a_reply_many_or_why_there_is_none)                  \
  test(a_stop_holds_for_what_begins_later_too_and_for_its_client_alone) \
  test(what_is_no_client_cannot_be_stopped)                             \
  test(a_handler_sees_that_its_requester_waits_no_longer)               \
  test(several_handlers_at_once_are_refused_where_one_thread_runs_them) \
  test(a_handler_that_closes_or_drains_its_client_is_told_that_it_would_wait_for_itself)
GROUP(handlers)
