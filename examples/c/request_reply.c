/* Asks for prices of a responder that this program runs as well, and for what nobody serves.
 *
 *   cc request_reply.c $(pkg-config --cflags --libs meshwire) -o request_reply && ./request_reply mesh://127.0.0.1:7400
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

static int sku_of(mw_data data) {
  char text[16];
  snprintf(text, sizeof text, "%.*s", (int)data.len, (const char *)data.ptr);
  return atoi(text);
}

static mw_data as_json(char *text, size_t size, int number) {
  snprintf(text, size, "%d", number);
  return mw_json(text);
}

/* Answers with twice the number of the sku; there is no sku 0. */
static void quote(mw_request *request) {
  char text[32];
  mw_message m = mw_message_new();
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  must(mw_request_read(request, &m, &err));
  o.type = "quote.given";
  if (sku_of(m.data) == 0)
    must(mw_request_fail(request, "there is no sku 0", &err));
  else
    must(mw_request_answer(request, as_json(text, sizeof text, 2 * sku_of(m.data)), &o, &err));
}

/* Begins a request, answers what comes meanwhile, and prints its reply. */
static void ask(mw_client *mesh, mw_responder *quotes, mw_queue *queue, const char *topic, int sku) {
  char text[32];
  mw_completion told;
  mw_work asked[4];
  mw_message m = mw_message_new();
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  size_t n;
  o.type = "quote.asked";
  must(mw_request_reply_start(mesh, topic, as_json(text, sizeof text, sku), &o, NULL, queue, 0, NULL, &err));
  for (;;) {
    must(mw_queue_take(queue, &told, 1, MW_FOREVER, &n, &err));
    err = told.error;
    if (told.kind != MW_WORKS) break;
    for (must(mw_works_take((mw_works *)told.value, asked, 4, &n, &err)); n > 0; n--)
      if (asked[n - 1].request != NULL) quote(asked[n - 1].request);
    must(mw_responder_next_start(quotes, 4, MW_FOREVER, queue, 1, NULL, &err));
  }
  if (told.code == MW_NO_RESPONDERS) {
    printf("nobody serves %s\n", topic);
  } else if (told.code == MW_RESPONDER_FAILED) {
    printf("refused: %s\n", mw_error_text(err));
  } else {
    must(told.code);
    must(mw_reply_read((mw_reply *)told.value, &m, &err));
    printf("sku %d costs %d\n", sku, sku_of(m.data));
    mw_reply_free((mw_reply *)told.value);
  }
  mw_error_free(told.error);
}

int main(int argc, char **argv) {
  mw_client *mesh = NULL;
  mw_responder *quotes = NULL;
  mw_queue *queue = mw_queue_new(4);
  /* NULL: MESHWIRE_URL, else mesh://127.0.0.1:7400. */
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));
  must(mw_responder_new(mesh, "quote", "handler_concurrency=4", &quotes, &err));
  must(mw_responder_next_start(quotes, 4, MW_FOREVER, queue, 1, NULL, &err));
  ask(mesh, quotes, queue, "quote", 1);
  ask(mesh, quotes, queue, "quote", 21);
  ask(mesh, quotes, queue, "quote", 0);
  ask(mesh, quotes, queue, "discount", 1);
  mw_responder_free(quotes);
  mw_close(mesh, -1);
  mw_queue_free(queue);
  return 0;
}
