/* Calls that are begun, and how a program hears of what they came to. */
#include "../harness.h"

#include <poll.h>

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

#define TESTS(test)                                             \
  test(every_call_can_be_begun_and_comes_to_its_kind)           \
  test(callbacks_are_called_by_who_dispatches_and_dropped_once) \
  test(an_event_loop_sees_completions_by_a_descriptor)
GROUP(calls)
