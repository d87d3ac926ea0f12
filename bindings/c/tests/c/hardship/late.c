/* Calls that come too late, and calls that are called back. */
#include "everything.h"

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
    /* At once, when it has been sent, and when it has come to something. */
    if (i % 3 == 1) round_trips(mesh, 1);
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

#define TESTS(test)                                 \
  test(what_is_called_after_close_is_a_typed_error) \
  test(a_call_that_is_cancelled_has_one_completion_whenever_that_is)
GROUP(late)
