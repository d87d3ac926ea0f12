/* A child of fork, and the end of a gateway. */
#include "../harness.h"

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* How many there are in a folder; 0: there is no such folder. */
static int count_in(const char *folder) {
  DIR *all = opendir(folder);
  int count = 0;
  while (all != NULL && readdir(all) != NULL) count++;
  if (all != NULL) closedir(all);
  return count;
}

/* All that may be left half done. */
static void leave_calls_behind(void) {
  mw_client *mesh = NULL;
  mw_subscription *sub = NULL;
  mw_queue *queue = mw_queue_new(8);
  mw_operation *operation = NULL;
  mw_delivery *d;
  mw_reply *reply = NULL;
  size_t n = 7;
  CHECK(mw_connect(&mesh, "tcp://127.0.0.1:1", NULL, NULL) == MW_UNAVAILABLE);
  CHECK(mw_connect(&mesh, "mesh://127.0.0.1:1", "connect_wait=50ms", NULL) == MW_UNAVAILABLE);
  CHECK(mw_queue_fd(queue) >= 0);
  mesh = connected();
  FINE(mw_subscribe(mesh, "left", "group=g", &sub, &err));
  FINE(mw_next(sub, &d, 1, 20, &n, &err));
  CHECK(n == 0);
  CHECK(mw_request_reply(mesh, "left", mw_no_data(), NULL, "request_timeout=20ms", &reply, NULL) != MW_OK);
  FINE(mw_next_start(sub, 1, MW_FOREVER, queue, 1, &operation, &err));
  mw_cancel(operation, NULL);
  FINE(mw_next_start(sub, 1, MW_FOREVER, queue, 2, NULL, &err));
  mw_unsubscribe(sub);
  FINE(mw_connect_start("tcp://127.0.0.1:1", NULL, queue, 3, NULL, &err));
  mw_close(mesh, 0);
  mw_queue_free(queue);
}

static void behind_the_last_client_no_thread_and_no_descriptor_is_left(void) {
  int threads = count_in("/proc/self/task"), open = count_in("/proc/self/fd"), looks = 0, i;
  for (i = 0; i < 5; i++) leave_calls_behind();
  if (failed_at != NULL) return;
  /* A call that was begun may end a moment later. */
  while (count_in("/proc/self/task") > threads || count_in("/proc/self/fd") > open) CHECK(look_again(&looks));
}

#define TESTS(test)                                                  \
  test(in_a_child_of_fork_handles_are_closed_and_a_new_client_works) \
  test(a_gateway_that_dies_leaves_typed_errors_and_no_hang)          \
  test(behind_the_last_client_no_thread_and_no_descriptor_is_left)
GROUP(endings)
