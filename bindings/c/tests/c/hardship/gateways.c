/* Gateways that die, or that there are none of. */
#include "everything.h"

#include <time.h>

static void a_gateway_that_dies_under_every_call_leaves_one_completion_for_each(void) {
  const char *carriers[] = {"tcp", "grpc", "ws", "http"};
  int round;
  for (round = 0; round < 12; round++) {
    mw_gateway *mortal = NULL;
    char url[64];
    uint32_t begun;
    all of;
    FINE(mw_gateway_start(&mortal, NULL, 0, &err));
    snprintf(url, sizeof url, "%s%s", carriers[round / 3], strstr(mw_gateway_url(mortal), "://"));
    CHECK(everything(&of, url));
    if (round % 3 == 0) mw_gateway_kill(mortal);
    begun = begin_all(of.mesh, of.sub, of.d[0], of.d[1], of.consumer, of.responder, of.replies, of.queue);
    CHECK(begun == 0x3ffff);
    if (round % 3 == 1) mw_gateway_kill(mortal);
    if (round % 3 == 2) mw_gateway_stop(mortal, NULL);
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

#define TESTS(test)                                                          \
  test(a_gateway_that_dies_under_every_call_leaves_one_completion_for_each)  \
  test(without_a_gateway_connect_fails_at_once_and_says_what_to_do)
GROUP(gateways)
