/* Requests that are asked for, and answered where the program likes. */
#include "../harness.h"

/* The next request, or NULL. */
static mw_request *next_request(mw_responder *responder) {
  mw_work work;
  size_t n = 0;
  mw_responder_next(responder, &work, 1, PATIENCE, &n, NULL);
  return n == 1 ? work.request : NULL;
}

/* The completion of this tag alone, which is the next. */
static int comes(mw_queue *queue, uint64_t tag, mw_completion *told) {
  size_t n = 0;
  mw_queue_take(queue, told, 1, PATIENCE, &n, NULL);
  return n == 1 && told->tag == tag;
}

static void requests_are_asked_for_and_answered_in_any_order(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4);
  mw_responder *responder = NULL;
  mw_request *first, *second;
  mw_message m = mw_message_new();
  mw_completion told;
  mw_work work;
  size_t n;
  /* What one client says arrives in order: that it serves, and then what it asks. */
  FINE(mw_responder_new(mesh, "price", "handler_concurrency=4", &responder, &err));
  FINE(mw_request_reply_start(mesh, "price", mw_text_data("a"), NULL, NULL, queue, 1, NULL, &err));
  FINE(mw_request_reply_start(mesh, "price", mw_text_data("b"), NULL, NULL, queue, 2, NULL, &err));
  first = next_request(responder);
  second = next_request(responder);
  CHECK(first != NULL && second != NULL);
  FINE(mw_request_read(second, &m, &err));
  /* Calls that are begun one behind the other may overtake one another. */
  if (is_data(m.data, "a")) {
    mw_request *of_a = second;
    second = first;
    first = of_a;
    FINE(mw_request_read(second, &m, &err));
  }
  CHECK(same(m.topic, "price") && is_data(m.data, "b") && !m.wants_stream && m.remaining_ms > 0);
  FINE(mw_request_answer(second, mw_text_data("of b"), NULL, &err));
  CHECK(comes(queue, 2, &told) && told.kind == MW_REPLY);
  FINE(mw_reply_read((mw_reply *)told.value, &m, &err));
  CHECK(is_data(m.data, "of b"));
  mw_reply_free((mw_reply *)told.value);
  FINE(mw_request_fail(first, "not today", &err));
  CHECK(comes(queue, 1, &told) && told.code == MW_RESPONDER_FAILED && strstr(mw_error_text(told.error), "not today") != NULL);
  mw_error_free(told.error);
  CHECK(mw_responder_stop(responder) == MW_OK);
  CHECK(mw_responder_next(responder, &work, 1, PATIENCE, &n, NULL) == MW_ENDED && n == 0);
  FINE(mw_responder_next_start(responder, 1, MW_FOREVER, queue, 3, NULL, &err));
  CHECK(comes(queue, 3, &told) && told.kind == MW_OVER);
  mw_responder_free(responder);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void replies_are_begun_one_behind_the_other_and_arrive_in_order(void) {
  enum { MANY = 50 };
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(MANY + 1), *full = mw_queue_new(1);
  mw_responder *responder = NULL;
  mw_replies *replies;
  mw_request *request;
  mw_message m = mw_message_new();
  mw_completion told;
  bool came[MANY] = {false};
  char text[16];
  int i;
  FINE(mw_responder_new(mesh, "prices", NULL, &responder, &err));
  FINE(mw_request_stream_start(mesh, "prices", mw_no_data(), NULL, NULL, queue, 1000, NULL, &err));
  CHECK(comes(queue, 1000, &told) && told.kind == MW_REPLIES);
  replies = (mw_replies *)told.value;
  request = next_request(responder);
  CHECK(request != NULL);
  /* Where there is no place nothing is sent. */
  FINE(mw_state_start(mesh, MW_STATE_CONNECTED, full, 1, NULL, &err));
  CHECK(mw_reply_send_start(request, mw_text_data("no"), NULL, full, 2, NULL, NULL) == MW_BUFFER_FULL);
  for (i = 0; i < MANY; i++) {
    snprintf(text, sizeof text, "%d", i);
    FINE(mw_reply_send_start(request, mw_text_data(text), NULL, queue, (uint64_t)i, NULL, &err));
  }
  FINE(mw_request_end(request, &err));
  for (i = 0; i < MANY; i++) {
    mw_reply *reply = NULL;
    size_t n;
    FINE(mw_replies_next(replies, &reply, 1, PATIENCE, &n, &err));
    CHECK(n == 1);
    FINE(mw_reply_read(reply, &m, &err));
    snprintf(text, sizeof text, "%d", i);
    CHECK(is_data(m.data, text));
    mw_reply_free(reply);
  }
  for (i = 0; i < MANY; i++) {
    size_t n;
    FINE(mw_queue_take(queue, &told, 1, PATIENCE, &n, &err));
    CHECK(n == 1 && told.kind == MW_DONE && told.tag < MANY && !came[told.tag]);
    came[told.tag] = true;
  }
  mw_replies_close(replies);
  mw_responder_free(responder);
  mw_close(mesh, -1);
  mw_queue_free(queue);
  mw_queue_free(full);
}

static void a_reply_that_is_misused_is_an_error_and_its_request_can_still_be_answered(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4);
  mw_responder *responder = NULL;
  mw_request *request;
  mw_message m = mw_message_new();
  mw_completion told;
  FINE(mw_responder_new(mesh, "misused", NULL, &responder, &err));
  FINE(mw_request_reply_start(mesh, "misused", mw_no_data(), NULL, NULL, queue, 1, NULL, &err));
  request = next_request(responder);
  CHECK(request != NULL);
  CHECK(mw_reply_send_start(request, mw_text_data("x"), NULL, NULL, 2, NULL, NULL) == MW_INVALID);
  CHECK(mw_reply_send_start(request, mw_bytes(NULL, 3), NULL, queue, 2, NULL, NULL) == MW_INVALID);
  CHECK(mw_reply_send_start((mw_request *)responder, mw_text_data("x"), NULL, queue, 2, NULL, NULL) == MW_INVALID);
  CHECK(mw_reply_send_start(NULL, mw_text_data("x"), NULL, queue, 2, NULL, NULL) == MW_INVALID);
  CHECK(mw_request_answer(request, mw_bytes(NULL, 3), NULL, NULL) == MW_INVALID);
  CHECK(mw_request_read(request, NULL, NULL) == MW_INVALID);
  FINE(mw_request_answer(request, mw_text_data("yes"), NULL, &err));
  CHECK(comes(queue, 1, &told) && told.kind == MW_REPLY);
  FINE(mw_reply_read((mw_reply *)told.value, &m, &err));
  CHECK(is_data(m.data, "yes"));
  mw_reply_free((mw_reply *)told.value);
  CHECK(mw_request_answer(request, mw_no_data(), NULL, NULL) == MW_INVALID && mw_request_end(request, NULL) == MW_INVALID);
  CHECK(mw_request_fail(request, NULL, NULL) == MW_INVALID && mw_request_read(request, &m, NULL) == MW_INVALID);
  CHECK(mw_reply_send(request, mw_no_data(), NULL, NULL) == MW_INVALID);
  CHECK(mw_reply_send_start(request, mw_no_data(), NULL, queue, 2, NULL, NULL) == MW_INVALID);
  mw_responder_free(responder);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void a_request_fails_with_a_text_that_is_no_utf8(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4);
  mw_responder *responder = NULL;
  mw_request *request;
  mw_completion told;
  FINE(mw_responder_new(mesh, "reasons", NULL, &responder, &err));
  FINE(mw_request_reply_start(mesh, "reasons", mw_no_data(), NULL, NULL, queue, 1, NULL, &err));
  request = next_request(responder);
  CHECK(request != NULL);
  FINE(mw_request_fail(request, "not \xff", &err));
  CHECK(comes(queue, 1, &told) && told.kind == MW_FAILED && told.code == MW_RESPONDER_FAILED);
  CHECK(strstr(mw_error_text(told.error), "not \xef\xbf\xbd") != NULL);
  mw_error_free(told.error);
  mw_responder_free(responder);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void a_request_that_is_called_back_is_lost_and_its_replies_are_cancelled(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4);
  mw_responder *responder = NULL;
  mw_operation *asking = NULL;
  mw_request *request;
  mw_message m = mw_message_new();
  mw_completion told;
  mw_work work;
  size_t n;
  FINE(mw_responder_new(mesh, "lost", NULL, &responder, &err));
  FINE(mw_request_reply_start(mesh, "lost", mw_no_data(), NULL, NULL, queue, 1, &asking, &err));
  request = next_request(responder);
  CHECK(request != NULL);
  FINE(mw_request_read(request, &m, &err));
  FINE(mw_cancel(asking, &err));
  CHECK(comes(queue, 1, &told) && told.code == MW_CANCELLED);
  mw_error_free(told.error);
  FINE(mw_responder_next(responder, &work, 1, PATIENCE, &n, &err));
  CHECK(n == 1 && work.request == NULL && work.job == NULL && work.lost == m.number);
  FINE(mw_reply_send_start(request, mw_text_data("late"), NULL, queue, 2, NULL, &err));
  CHECK(comes(queue, 2, &told) && told.code == MW_CANCELLED);
  mw_error_free(told.error);
  CHECK(mw_request_end(request, NULL) == MW_OK);
  mw_responder_free(responder);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void responders_that_cannot_be_are_refused_where_they_begin_or_when_they_are_asked(void) {
  mw_client *mesh = connected();
  mw_responder *responder = NULL;
  mw_work work;
  size_t n = 7;
  CHECK(mw_responder_new(NULL, "price", NULL, &responder, NULL) == MW_INVALID);
  CHECK(mw_responder_new(mesh, NULL, NULL, &responder, NULL) == MW_INVALID);
  CHECK(mw_responder_new(mesh, "price", NULL, NULL, NULL) == MW_INVALID);
  CHECK(mw_responder_new(mesh, "price", "colour=red", &responder, NULL) == MW_INVALID && responder == NULL);
  FINE(mw_responder_new(mesh, "no topic!", NULL, &responder, &err));
  CHECK(mw_responder_next(responder, &work, 1, PATIENCE, &n, NULL) == MW_INVALID && n == 0);
  CHECK(mw_responder_next(responder, &work, 1, PATIENCE, &n, NULL) == MW_ENDED);
  mw_responder_free(responder);
  FINE(mw_responder_new(mesh, "price", NULL, &responder, &err));
  CHECK(mw_responder_next(responder, &work, 5000, 0, &n, NULL) == MW_INVALID);
  CHECK(mw_responder_next(responder, NULL, 1, 0, &n, NULL) == MW_INVALID);
  CHECK(mw_responder_next_start(responder, 1, 0, NULL, 1, NULL, NULL) == MW_INVALID);
  CHECK(mw_responder_stop((mw_responder *)mesh) == MW_INVALID && mw_responder_stop(NULL) == MW_INVALID);
  mw_responder_free(NULL);
  mw_responder_free((mw_responder *)mesh);
  mw_responder_free(responder);
  mw_responder_free(responder);
  CHECK(mw_responder_stop(responder) == MW_INVALID && mw_responder_next(responder, &work, 1, 0, &n, NULL) == MW_INVALID);
  CHECK(mw_close(mesh, -1) == MW_OK);
}

#define TESTS(test)                                                                   \
  test(requests_are_asked_for_and_answered_in_any_order)                              \
  test(replies_are_begun_one_behind_the_other_and_arrive_in_order)                    \
  test(a_reply_that_is_misused_is_an_error_and_its_request_can_still_be_answered)     \
  test(a_request_fails_with_a_text_that_is_no_utf8)                                   \
  test(a_request_that_is_called_back_is_lost_and_its_replies_are_cancelled)           \
  test(responders_that_cannot_be_are_refused_where_they_begin_or_when_they_are_asked)
GROUP(responders)
