/* Says itself when a delivery is done: one is acked, one comes again after a while, one is forgotten and comes again when its lease ends.
 *
 *   cc manual_ack.c $(pkg-config --cflags --libs meshwire) -o manual_ack && ./manual_ack mesh://127.0.0.1:7400
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
  const char *all[] = {"a", "b", "c"};
  mw_client *mesh = NULL;
  mw_subscription *letters = NULL;
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  int i, left = 3;
  /* NULL: MESHWIRE_URL, else mesh://127.0.0.1:7400. */
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));
  o.type = "letter.sent";
  for (i = 0; i < 3; i++) must(mw_publish(mesh, "letters", mw_text_data(all[i]), &o, NULL, &err));

  /* A delivery may stay unsettled for two seconds; the default is 30 s. */
  must(mw_subscribe(mesh, "letters", "group=postmen; ack_wait=2s", &letters, &err));
  while (left > 0) {
    mw_delivery *delivery = NULL;
    mw_message m = mw_message_new();
    size_t n;
    char letter;
    must(mw_next(letters, &delivery, 1, MW_FOREVER, &n, &err));
    must(mw_read(&delivery, 1, &m, &err));
    letter = (char)m.data.ptr[0];
    if (letter == 'b' && m.attempt == 1) {
      printf("b: nobody at home, again in 100 ms\n");
      mw_nack(delivery, 100);
    } else if (letter == 'c' && m.attempt == 1) {
      printf("c: lost on the way\n");
      /* Without a word it is leased until the ack wait ends. */
      mw_delivery_free(delivery);
    } else {
      printf("%c: delivered at attempt %u\n", letter, (unsigned)m.attempt);
      /* Answered when it can no longer come again. */
      must(mw_settle_confirmed(delivery, MW_ACK, -1, NULL, &err));
      left--;
    }
  }
  mw_unsubscribe(letters);
  mw_close(mesh, -1);
  return 0;
}
