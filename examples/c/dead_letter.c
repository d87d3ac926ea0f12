/* Bills three orders, one of which has no price: it is tried twice, becomes a dead letter, is looked at, given back once billing knows
 * what to do, and is done.
 *
 *   cc dead_letter.c $(pkg-config --cflags --libs meshwire) -o dead_letter && ./dead_letter mesh://127.0.0.1:7400
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

/* Bills so many deliveries; what fails comes again, and after two failures no more. */
static void bill(mw_client *mesh, int count, int generous) {
  mw_subscription *orders = NULL;
  must(mw_subscribe(mesh, "priced-orders", "group=billing; max_failures=2; backoff_min=50ms; backoff_max=1s", &orders, &err));
  for (; count > 0; count--) {
    mw_delivery *delivery = NULL;
    mw_message m = mw_message_new();
    char text[32];
    size_t n;
    int price, has_price;
    must(mw_next(orders, &delivery, 1, MW_FOREVER, &n, &err));
    must(mw_read(&delivery, 1, &m, &err));
    snprintf(text, sizeof text, "%.*s", (int)m.data.len, (const char *)m.data.ptr);
    has_price = sscanf(text, "{\"price\":%d}", &price) == 1;
    if (generous) {
      printf("%.*s is free\n", MW_STR(m.id));
    } else if (has_price) {
      printf("%.*s costs %d\n", MW_STR(m.id), price);
    } else {
      printf("%.*s failed, attempt %u: it has no price\n", MW_STR(m.id), (unsigned)m.attempt);
    }
    /* MW_REJECT would give it up at once. */
    must(mw_settle_confirmed(delivery, generous || has_price ? MW_ACK : MW_NACK, -1, NULL, &err));
  }
  mw_unsubscribe(orders);
}

/* A number of an answer. A program that does more with answers reads them by a library for JSON. */
static int number(const char *answer, const char *name) {
  const char *found = strstr(answer, name);
  return found != NULL ? atoi(found + strlen(name)) : 0;
}

static int redrive(mw_client *mesh) {
  mw_text *answer = NULL;
  int count;
  must(mw_admin(mesh, "dead_letters.redrive", "{\"topic\":\"priced-orders\",\"group\":\"billing\",\"all\":true}", &answer, &err));
  count = number(mw_text_chars(answer), "\"redriven\":");
  mw_text_free(answer);
  return count;
}

int main(int argc, char **argv) {
  const char *orders[] = {"{\"price\":5}", "{}", "{\"price\":7}"}, *ids[] = {"1", "2", "3"}, *letter, *id;
  mw_client *mesh = NULL;
  mw_text *letters = NULL;
  int i;
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));
  for (i = 0; i < 3; i++) {
    mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
    o.type = "order.created";
    o.id = ids[i];
    must(mw_publish(mesh, "priced-orders", mw_json(orders[i]), &o, NULL, &err));
  }
  bill(mesh, 4, 0);

  must(mw_admin(mesh, "dead_letters.list", "{\"topic\":\"priced-orders\",\"group\":\"billing\",\"events\":true}", &letters, &err));
  letter = mw_text_chars(letters);
  for (; (letter = strstr(letter, "\"number\":")) != NULL && (id = strstr(letter, "\"id\":\"")) != NULL; letter = id) {
    id += strlen("\"id\":\"");
    printf("dead letter %d: order %.*s, %d failures\n", number(letter, "\"number\":"), (int)strcspn(id, "\""), id,
           number(letter, "\"failures\":"));
  }
  mw_text_free(letters);
  printf("given back: %d\n", redrive(mesh));
  bill(mesh, 1, 1);
  printf("left: %d\n", redrive(mesh));
  mw_close(mesh, -1);
  return 0;
}
