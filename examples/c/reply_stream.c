/* Asks for a report that comes line by line, and leaves another one in the middle.
 *
 *   cc reply_stream.c $(pkg-config --cflags --libs meshwire) -pthread -o reply_stream && ./reply_stream mesh://127.0.0.1:7400
 */
#include <meshwire.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static mw_error *err;

/* Ends the program if a call of the main thread failed. */
static void must(int code) {
  if (code == MW_OK) return;
  fprintf(stderr, "%s: %s\n", mw_error_name(err), mw_error_text(err));
  exit(EXIT_FAILURE);
}

/* As many lines as are asked for. Sending waits for a reader that is slower, and fails for one that is gone. */
static void report(mw_request *request) {
  char text[32];
  int line, lines;
  mw_message m = mw_message_new();
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  if (mw_request_read(request, &m, NULL) != MW_OK) return;
  snprintf(text, sizeof text, "%.*s", (int)m.data.len, (const char *)m.data.ptr);
  lines = atoi(text);
  o.type = "report.line";
  for (line = 1; line <= lines; line++) {
    snprintf(text, sizeof text, "line %d", line);
    if (mw_reply_send(request, mw_text_data(text), &o, NULL) != MW_OK) break;
  }
  mw_request_end(request, NULL);
}

static void *serve(void *reports) {
  mw_work work;
  size_t n;
  while (mw_responder_next((mw_responder *)reports, &work, 1, MW_FOREVER, &n, NULL) == MW_OK)
    if (n == 1 && work.request != NULL) report(work.request);
  return NULL;
}

static void read_lines(mw_client *mesh, const char *lines, int most) {
  mw_replies *replies = NULL;
  mw_reply *reply = NULL;
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  size_t n;
  int code;
  o.type = "report.asked";
  must(mw_request_stream(mesh, "report", mw_json(lines), &o, "reply_credit=8", &replies, &err));
  for (; most > 0 && (code = mw_replies_next(replies, &reply, 1, MW_FOREVER, &n, &err)) != MW_ENDED; most--) {
    mw_message m = mw_message_new();
    must(code);
    must(mw_reply_read(reply, &m, &err));
    printf("%.*s\n", (int)m.data.len, (const char *)m.data.ptr);
    mw_reply_free(reply);
  }
  printf(most > 0 ? "all of it\n" : "that is enough\n");
  /* Without its end this cancels the rest: the handler is told. */
  mw_replies_close(replies);
}

int main(int argc, char **argv) {
  mw_client *mesh = NULL;
  mw_responder *reports = NULL;
  pthread_t thread;
  /* NULL: MESHWIRE_URL, else mesh://127.0.0.1:7400. */
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));
  must(mw_responder_new(mesh, "report", NULL, &reports, &err));
  if (pthread_create(&thread, NULL, serve, reports) != 0) return EXIT_FAILURE;
  read_lines(mesh, "3", 1000);
  read_lines(mesh, "1000000", 2);
  mw_responder_stop(reports);
  pthread_join(thread, NULL);
  mw_responder_free(reports);
  mw_close(mesh, -1);
  return 0;
}
