/* Processes that end, and children of fork. */
#include "everything.h"

#include <sys/wait.h>
#include <unistd.h>

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
#ifdef __SANITIZE_ADDRESS__
    /* What the parent made is left alone here, which a leak detector does not know. */
    _exit(good ? 0 : 1);
#else
    /* What is registered for exit runs too. */
    exit(good ? 0 : 1);
#endif
  }
  CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(mw_settle_confirmed(of.d[0], MW_ACK, 0, NULL, NULL) == MW_OK);
  let_all_go(&of);
}

/* A program that ends in one of several ways at some moment, with calls in flight and threads that wait. */
int end_somehow(int number, const char *url) {
  /* Threads look at it until the very end. */
  static shared s;
  pthread_t threads[8];
  int i;
  share(&s);
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
  round_trips(s.of.mesh, number / 3);
  if (number % 3 == 0) _exit(7);
  if (number % 3 == 1) exit(7);
  return 7;
}

static void a_process_may_end_at_any_moment(void) {
  int number;
  for (number = 0; number < 50; number++) {
    int status = run_self("ending", number, mw_gateway_url(gateway));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  }
}

/* A program that publishes so many, with little room, and returns from main: it neither flushes nor closes. */
int publish_and_end(int number, const char *url) {
  mw_queue *queue = mw_queue_new(4096);
  mw_client *mesh = NULL;
  char text[16];
  int i;
  if (mw_connect(&mesh, url, "publish_window_events=64", NULL)) return 1;
  for (i = 0; i < number; i++) {
    snprintf(text, sizeof text, "%d", i);
    if (mw_publish_later(mesh, "parting", mw_text_data(text), NULL, queue, (uint64_t)i, NULL)) return 2;
  }
  return 0;
}

static void what_a_program_has_published_when_main_returns_is_stored(void) {
  enum { MANY = 1000 };
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  char text[16];
  int i;
  CHECK(run_self("parting", MANY, mw_gateway_url(gateway)) == 0);
  FINE(mw_subscribe(mesh, "parting", "group=g; prefetch_events=2000", &sub, &err));
  for (i = 0; i < MANY; i++) {
    mw_delivery *d = next(sub);
    snprintf(text, sizeof text, "%d", i);
    CHECK(d != NULL && is_data(mw_delivery_data(d), text) && mw_ack(d) == MW_OK);
  }
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
}

#define TESTS(test)                                                             \
  test(in_a_child_of_fork_everything_of_the_parent_is_closed_and_nothing_hangs) \
  test(a_process_may_end_at_any_moment)                                         \
  test(what_a_program_has_published_when_main_returns_is_stored)
GROUP(endings)
