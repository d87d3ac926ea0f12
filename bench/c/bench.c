/* Publishes and receives by the client for C, and prints events a second: 256 bytes each, 1,024 in flight, kept in memory.
 *
 *   bench publish|receive|both|round-trip|slope URL [EVENTS]
 *
 * Publishes are begun and their receipts taken from a queue; deliveries are taken in batches, read, and settled in batches. */
#define _POSIX_C_SOURCE 200809L
#include <meshwire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

static double publish(mw_client *mesh, const char *topic, uint64_t events) {
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
  began = (double)events / (seconds() - began);
  mw_queue_free(queue);
  return began;
}

static double receive(mw_client *mesh, const char *topic, uint64_t events) {
  mw_subscription *sub = NULL;
  mw_delivery *batch[BATCH];
  mw_message messages[BATCH];
  uint64_t taken = 0;
  size_t n, i, bytes = 0;
  double began;
  messages[0].size = sizeof messages[0];
  must(mw_subscribe(mesh, topic, "group=bench; prefetch_events=1024", &sub, &err));
  began = seconds();
  while (taken < events) {
    must(mw_next(sub, batch, BATCH, MW_FOREVER, &n, &err));
    must(mw_read(batch, n, messages, &err));
    for (i = 0; i < n; i++) bytes += messages[i].data.len;
    must(mw_settle_many(batch, n, MW_ACK, -1, NULL, &err));
    taken += n;
  }
  began = (double)events / (seconds() - began);
  if (bytes != events * BYTES) fprintf(stderr, "%zu bytes came\n", bytes);
  mw_unsubscribe(sub);
  return began;
}

static int by_size(const void *one, const void *other) {
  double a = *(const double *)one, b = *(const double *)other;
  return (a > b) - (a < b);
}

/* The microseconds of a publish that is waited for, in the middle. */
static double round_trip(mw_client *mesh, const char *topic, uint64_t events) {
  static char payload[BYTES];
  double *times = malloc(events * sizeof *times), middle;
  uint64_t at;
  for (at = 0; at < events; at++) {
    double began = seconds();
    must(mw_publish(mesh, topic, mw_bytes(payload, BYTES), NULL, NULL, &err));
    times[at] = (seconds() - began) * 1e6;
  }
  qsort(times, events, sizeof *times, by_size);
  middle = times[events / 2];
  free(times);
  return middle;
}

/* Bytes of this process. */
static double resident(void) {
  unsigned long all = 0, here = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%lu %lu", &all, &here) != 2) exit(EXIT_FAILURE);
  fclose(file);
  return (double)here * (double)sysconf(_SC_PAGESIZE);
}

/* Bytes that stay of each publish, over the last four fifths. */
static double slope(mw_client *mesh, const char *topic, uint64_t events) {
  uint64_t last = events - events / 5;
  double before;
  publish(mesh, topic, events / 5);
  before = resident();
  publish(mesh, topic, last);
  return (resident() - before) / (double)last;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "both";
  uint64_t events = argc > 3 ? strtoull(argv[3], NULL, 10) : 400000;
  mw_client *mesh = NULL;
  mw_text *answer = NULL;
  char topic[32], arguments[128];
  snprintf(topic, sizeof topic, "bench-%lx", (unsigned long)(seconds() * 1e6));
  snprintf(arguments, sizeof arguments, "{\"topic\":\"%s\",\"durability\":\"memory\"}", topic);
  must(mw_connect(&mesh, argc > 2 ? argv[2] : NULL, "name=bench", &err));
  must(mw_admin(mesh, "topics.create", arguments, &answer, &err));
  mw_text_free(answer);
  if (!strcmp(what, "round-trip")) {
    printf("round-trip %.1f\n", round_trip(mesh, topic, events));
  } else if (!strcmp(what, "slope")) {
    printf("slope %.3f\n", slope(mesh, topic, events));
  } else {
    printf("publish %.0f\n", publish(mesh, topic, events));
    if (strcmp(what, "publish")) printf("receive %.0f\n", receive(mesh, topic, events));
  }
  return mw_close(mesh, -1);
}
