/* Two subscribers without a group get every event that is published while they are there.
 *
 *   cc publish_subscribe.c $(pkg-config --cflags --libs meshwire) -o publish_subscribe && ./publish_subscribe mesh://127.0.0.1:7400
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

static void publish(mw_client *mesh, const char *price) {
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  o.type = "price.changed";
  must(mw_publish(mesh, "prices", mw_text_data(price), &o, NULL, &err));
}

/* Prints the next three events under a name. */
static void print(const char *name, mw_subscription *prices) {
  int i;
  for (i = 0; i < 3; i++) {
    mw_delivery *delivery = NULL;
    mw_data data;
    size_t n;
    must(mw_next(prices, &delivery, 1, MW_FOREVER, &n, &err));
    data = mw_delivery_data(delivery);
    printf("%s: %.*s\n", name, (int)data.len, (const char *)data.ptr);
    /* Gives the place in the subscription's credit back. Without a group nothing else depends on it. */
    mw_ack(delivery);
  }
}

int main(int argc, char **argv) {
  mw_client *mesh = NULL;
  mw_subscription *board = NULL, *till = NULL;
  /* NULL: MESHWIRE_URL, else mesh://127.0.0.1:7400. */
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));

  publish(mesh, "tea 1.80");
  /* Without a start, from here on. */
  must(mw_subscribe(mesh, "prices", NULL, &board, &err));
  must(mw_subscribe(mesh, "prices", NULL, &till, &err));
  publish(mesh, "tea 1.90");
  publish(mesh, "coffee 2.40");
  publish(mesh, "cocoa 3.10");
  print("board", board);
  print("till", till);
  mw_unsubscribe(board);
  mw_unsubscribe(till);
  mw_close(mesh, -1);
  return 0;
}
