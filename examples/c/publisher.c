/* Publishes five orders and prints their receipts.
 *
 *   cc publisher.c $(pkg-config --cflags --libs meshwire) -o publisher && ./publisher mesh://127.0.0.1:7400
 */
#include <meshwire.h>

#include <stdio.h>
#include <stdlib.h>

static mw_error *err;

/* Ends the program if a call failed. */
static void must(int code) {
  if (code == MW_OK) return;
  fprintf(stderr, "%s: %s\n", mw_error_name(err), mw_error_text(err));
  exit(EXIT_FAILURE);
}

int main(int argc, char **argv) {
  const char *customers[] = {"ada", "ben", "ada", "cy", "ben"};
  mw_client *mesh = NULL;
  mw_queue *queue = mw_queue_new(16);
  mw_completion done[16];
  size_t n, i, kept = 0;
  int item;
  /* NULL: MESHWIRE_URL, else mesh://127.0.0.1:7400. */
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));

  /* Started one after the other, so that they share a write; their receipts come to the queue. */
  for (item = 1; item <= 5; item++) {
    char order[64];
    mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
    snprintf(order, sizeof order, "{\"item\":%d,\"customer\":\"%s\"}", item, customers[item - 1]);
    o.type = "order.created";
    o.key = customers[item - 1];
    must(mw_publish_start(mesh, "orders", mw_json(order), &o, queue, (uint64_t)item, &err));
  }
  while (kept < 5) {
    must(mw_queue_take(queue, done, 16, MW_FOREVER, &n, &err));
    for (i = 0; i < n; i++) {
      err = done[i].error;
      must(done[i].code);
      printf("order %d is kept\n", (int)done[i].tag);
    }
    kept += n;
  }
  mw_close(mesh, -1);
  mw_queue_free(queue);
  return 0;
}
