/* Takes five orders for the group "billing", acks each, and ends.
 *
 *   cc consumer.c $(pkg-config --cflags --libs meshwire) -o consumer && ./consumer mesh://127.0.0.1:7400
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
  mw_client *mesh = NULL;
  mw_subscription *orders = NULL;
  mw_delivery *delivery = NULL;
  size_t n;
  int i;
  /* NULL: MESHWIRE_URL, else mesh://127.0.0.1:7400. */
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));

  /* A new group starts at the earliest event of its topic. */
  must(mw_subscribe(mesh, "orders", "group=billing", &orders, &err));
  for (i = 0; i < 5; i++) {
    char text[64], customer[16];
    mw_data data;
    int item;
    must(mw_next(orders, &delivery, 1, MW_FOREVER, &n, &err));
    data = mw_delivery_data(delivery);
    /* Data does not end with a zero. */
    snprintf(text, sizeof text, "%.*s", (int)data.len, (const char *)data.ptr);
    if (sscanf(text, "{\"item\":%d,\"customer\":\"%15[a-z]\"}", &item, customer) != 2) return EXIT_FAILURE;
    printf("bill %s for item %d\n", customer, item);
    /* Waits for the gateway's word; mw_ack would not. */
    must(mw_settle_confirmed(delivery, MW_ACK, -1, NULL, &err));
  }
  mw_unsubscribe(orders);
  mw_close(mesh, -1);
  return 0;
}
