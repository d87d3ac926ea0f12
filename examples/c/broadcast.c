/* Two hosts keep a cache of prices: each gets every change. One goes away and comes back to where it was; a third one only looks on.
 *
 *   cc broadcast.c $(pkg-config --cflags --libs meshwire) -o broadcast && ./broadcast mesh://127.0.0.1:7400
 */
#include <meshwire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mw_error *err;

/* Ends the program if a call failed. */
static void must(int code) {
  if (code == MW_OK) return;
  fprintf(stderr, "%s: %s\n", mw_error_name(err), mw_error_text(err));
  exit(EXIT_FAILURE);
}

static mw_subscription *host(mw_client *mesh, const char *options) {
  mw_subscription *prices = NULL;
  must(mw_subscribe(mesh, "prices", options, &prices, &err));
  return prices;
}

static void change(mw_client *mesh, const char *price) {
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  o.type = "price.changed";
  must(mw_publish(mesh, "prices", mw_text_data(price), &o, NULL, &err));
}

static void take(const char *who, mw_subscription *prices, int changes) {
  for (; changes > 0; changes--) {
    mw_delivery *delivery = NULL;
    mw_data data;
    size_t n;
    must(mw_next(prices, &delivery, 1, MW_FOREVER, &n, &err));
    data = mw_delivery_data(delivery);
    printf("%s: %.*s\n", who, (int)data.len, (const char *)data.ptr);
    must(mw_settle_confirmed(delivery, MW_ACK, -1, NULL, &err));
  }
}

int main(int argc, char **argv) {
  /* A durable member: its place is kept under its name. */
  const char *in_north = "group=caches; broadcast=true; member=north";
  const char *in_south = "group=caches; broadcast=true; member=south";
  mw_client *mesh = NULL;
  mw_subscription *north, *south, *guest;
  mw_text *groups = NULL;
  const char *member, *lag;
  /* NULL: MESHWIRE_URL, else mesh://127.0.0.1:7400. */
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));

  north = host(mesh, in_north);
  south = host(mesh, in_south);
  change(mesh, "apples 3");
  take("north", north, 1);
  take("south", south, 1);

  mw_unsubscribe(south);
  change(mesh, "pears 4");
  take("north", north, 1);

  /* Without a name it begins with the next change, and nothing is kept of it. */
  guest = host(mesh, "group=caches; broadcast=true");
  change(mesh, "plums 5");
  take("guest", guest, 1);

  south = host(mesh, in_south);
  take("south", south, 2);
  /* A program that does more with answers reads them by a library for JSON. */
  must(mw_admin(mesh, "groups.list", "{\"topic\":\"prices\"}", &groups, &err));
  member = strstr(mw_text_chars(groups), "\"durable_members\":");
  while (member != NULL && (member = strstr(member, "{\"name\":\"")) != NULL && (lag = strstr(member, "\"lag\":")) != NULL) {
    member += strlen("{\"name\":\"");
    printf("%.*s has %d waiting\n", (int)strcspn(member, "\""), member, atoi(lag + strlen("\"lag\":")));
  }
  mw_text_free(groups);
  mw_unsubscribe(north);
  mw_unsubscribe(south);
  mw_unsubscribe(guest);
  mw_close(mesh, -1);
  return 0;
}
