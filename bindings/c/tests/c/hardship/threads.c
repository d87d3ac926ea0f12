/* Threads that share what there is. */
#include "everything.h"

enum { PUBLISHERS = 4, EACH = 500 };

static void *publishing(void *ctx) {
  shared *s = (shared *)ctx;
  int i = 0;
  while (i < EACH) {
    int taken = count(s, &s->counted, 0);
    if (mw_publish_start(s->of.mesh, "shared", mw_text_data("x"), NULL, s->of.queue, (uint64_t)i, NULL) == MW_BUFFER_FULL)
      await_count(s, &s->counted, taken + 1);
    else
      i++;
  }
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
  share(&s);
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
  share(&s);
  CHECK(everything(&s.of, mw_gateway_url(gateway)));
  for (i = 0; i < 4; i++) pthread_create(&threads[i], NULL, settling, &s);
  for (i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  CHECK(s.settled == 2);
  let_all_go(&s.of);
}

static void whoever_waits_is_told_when_what_it_waits_in_is_closed(void) {
  int round, i;
  for (round = 0; round < 10; round++) {
    pthread_t threads[8];
    shared s;
    share(&s);
    CHECK(everything(&s.of, mw_gateway_url(gateway)));
    for (i = 0; i < 8; i++) pthread_create(&threads[i], NULL, waiting, &s);
    await_count(&s, &s.started, 8);
    round_trips(s.of.mesh, round);
    let_all_go(&s.of);
    for (i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    /* The stream's own request may have come to the responder; who handles is told nothing, that is the end it wants. */
    for (i = 0; i < 8; i++) CHECK(i == 2 || i == 3 || i == 5 || s.codes[i] != MW_OK);
  }
}

#define TESTS(test)                                       \
  test(threads_share_a_client_a_subscription_and_a_queue) \
  test(of_threads_that_settle_the_same_delivery_one_does) \
  test(whoever_waits_is_told_when_what_it_waits_in_is_closed)
GROUP(threads)
