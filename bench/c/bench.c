/* How many events a second the client for C publishes and receives: 256 bytes each, 1,024 in flight, kept in memory.
 *
 *   meshwire serve --memory --memory-budget 2GiB --memory-ring-bytes 1GiB
 *   bench [URL [EVENTS]]
 *
 * Publishes are begun and their receipts taken from a queue; deliveries are taken in batches, read, and settled in batches. */
#define _POSIX_C_SOURCE 200809L
#include <meshwire.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BYTES = 256, IN_FLIGHT = 1024, BATCH = 256 };

static mw_error *err;

/* Ends the program if a call failed. */
static void must(int code) {
  if (code == MW_OK) return;
  fprintf(stderr, "%s: %s\n", mw_error_name(err), mw_error_text(err));
  exit(EXIT_FAILURE);
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void publish(mw_client *mesh, const char *topic, uint64_t events) {
  static char payload[BYTES];
  mw_queue *queue = mw_queue_new(IN_FLIGHT);
  mw_completion done[BATCH];
  uint64_t begun = 0, kept = 0;
  double began = seconds();
  while (kept < events) {
    size_t n, i;
    int code = MW_OK;
    while (begun < events && code == MW_OK) {
      code = mw_publish_start(mesh, topic, mw_bytes(payload, BYTES), NULL, queue, begun, NULL);
      if (code == MW_OK) begun++;
    }
    if (code != MW_OK && code != MW_BUFFER_FULL) must(code);
    must(mw_queue_take(queue, done, BATCH, MW_FOREVER, &n, &err));
    for (i = 0; i < n; i++) {
      err = done[i].error;
      must(done[i].code);
    }
    kept += n;
  }
  printf("publish %.0f events/s\n", (double)events / (seconds() - began));
  mw_queue_free(queue);
}

static void receive(mw_client *mesh, const char *topic, uint64_t events) {
  mw_subscription *sub = NULL;
  mw_delivery *batch[BATCH];
  mw_message messages[BATCH];
  uint64_t taken = 0;
  size_t n, i, bytes = 0;
  double began = seconds();
  messages[0].size = sizeof messages[0];
  must(mw_subscribe(mesh, topic, "group=bench; prefetch_events=1024", &sub, &err));
  while (taken < events) {
    must(mw_next(sub, batch, BATCH, MW_FOREVER, &n, &err));
    must(mw_read(batch, n, messages, &err));
    for (i = 0; i < n; i++) bytes += messages[i].data.len;
    must(mw_settle_many(batch, n, MW_ACK, -1, NULL, &err));
    taken += n;
  }
  printf("receive %.0f events/s\n", (double)events / (seconds() - began));
  if (bytes != events * BYTES) fprintf(stderr, "%zu bytes came\n", bytes);
  mw_unsubscribe(sub);
}

int main(int argc, char **argv) {
  uint64_t events = argc > 2 ? strtoull(argv[2], NULL, 10) : 400000;
  mw_client *mesh = NULL;
  mw_text *answer = NULL;
  char topic[32], arguments[128];
  snprintf(topic, sizeof topic, "bench-%lx", (unsigned long)(seconds() * 1e6));
  snprintf(arguments, sizeof arguments, "{\"topic\":\"%s\",\"durability\":\"memory\"}", topic);
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, "name=bench", &err));
  must(mw_admin(mesh, "topics.create", arguments, &answer, &err));
  mw_text_free(answer);
  publish(mesh, topic, events);
  receive(mesh, topic, events);
  return mw_close(mesh, -1);
}
