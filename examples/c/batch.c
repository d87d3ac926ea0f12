/* Publishes a hundred readings at once, one of which is wrong, and takes them in batches.
 *
 *   cc batch.c $(pkg-config --cflags --libs meshwire) -o batch && ./batch mesh://127.0.0.1:7400
 */
#include <meshwire.h>

#include <stdio.h>
#include <stdlib.h>

enum { MANY = 100, LARGE = 5 << 20 };

static mw_error *err;

/* Ends the program if a call failed. */
static void must(int code) {
  if (code == MW_OK) return;
  fprintf(stderr, "%s: %s\n", mw_error_name(err), mw_error_text(err));
  exit(EXIT_FAILURE);
}

int main(int argc, char **argv) {
  static char numbers[MANY][8];
  mw_client *mesh = NULL;
  mw_subscription *subscription = NULL;
  mw_event readings[MANY];
  mw_result results[MANY];
  mw_delivery *batch[32];
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  char *large = (char *)calloc(1, LARGE);
  size_t n, at, kept = 0, rows = 0;
  long sum = 0;
  int i;
  /* NULL: MESHWIRE_URL, else mesh://127.0.0.1:7400. */
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));

  o.type = "reading";
  for (i = 0; i < MANY; i++) {
    snprintf(numbers[i], sizeof numbers[i], "%d", i + 1);
    readings[i].data = i == 41 ? mw_bytes(large, LARGE) : mw_json(numbers[i]);
    readings[i].opts = &o;
  }
  /* They share writes of the log. Each has a result of its own, in their order. */
  must(mw_publish_batch(mesh, "readings", readings, MANY, results, &err));
  free(large);
  for (i = 0; i < MANY; i++) {
    if (results[i].code == MW_OK) kept++;
    if (results[i].code != MW_OK) printf("one is refused: %s\n", mw_error_name(results[i].error));
    mw_error_free(results[i].error);
  }
  printf("%d are kept\n", (int)kept);

  must(mw_subscribe(mesh, "readings", "group=archive", &subscription, &err));
  while (rows < kept) {
    /* One is waited for; what else is at hand comes with it. */
    must(mw_next(subscription, batch, 32, MW_FOREVER, &n, &err));
    for (at = 0; at < n; at++) {
      char text[8];
      mw_data data = mw_delivery_data(batch[at]);
      snprintf(text, sizeof text, "%.*s", (int)data.len, (const char *)data.ptr);
      sum += atol(text);
    }
    /* The batch is done: here it would be written. Acks of neighbours are one word. */
    rows += n;
    must(mw_settle_many(batch, n, MW_ACK, -1, NULL, &err));
  }
  printf("archived %d readings, their sum is %ld\n", (int)rows, sum);
  mw_unsubscribe(subscription);
  mw_close(mesh, -1);
  return 0;
}
