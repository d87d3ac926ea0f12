/* Publishing while nobody listens: what waits in the offline buffer, in memory and in a file. */
#define _XOPEN_SOURCE 700
#include "../harness.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EACH = 100, MOST = 3 * EACH };

/* A publisher, and the address that it knows, where there is a gateway now and then. */
typedef struct {
  char folder[256], data[288], url[64], options[384];
  int kept; /* has the port, and never listens: nobody else gets it, and who connects is refused */
  bool in_file, has_receipt[MOST];
  size_t begun, admitted, receipts;
  mw_gateway *there;
  mw_client *mesh;
  mw_queue *queue;
} outage;

/* Another one with the same port may listen where this one does not. */
static int keep_port(struct sockaddr_in *address) {
  int kept = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  socklen_t size = sizeof *address;
  memset(address, 0, sizeof *address);
  address->sin_family = AF_INET;
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(kept, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(kept, (struct sockaddr *)address, sizeof *address) != 0) return -1;
  return getsockname(kept, (struct sockaddr *)address, &size) == 0 ? kept : -1;
}

static void prepare(outage *o, bool in_file) {
  const char *temporary = getenv("TMPDIR");
  struct sockaddr_in address;
  memset(o, 0, sizeof *o);
  snprintf(o->folder, sizeof o->folder, "%s/meshwire-XXXXXX", temporary != NULL ? temporary : "/tmp");
  CHECK(mkdtemp(o->folder) != NULL && (o->kept = keep_port(&address)) >= 0);
  snprintf(o->data, sizeof o->data, "%s/data", o->folder);
  snprintf(o->url, sizeof o->url, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
  snprintf(o->options, sizeof o->options, "name=sensor\npublish_offline=buffer\nreconnect_max=100ms%s%s%s",
           in_file ? "\noffline_file=" : "", in_file ? o->folder : "", in_file ? "/buffer" : "");
  o->in_file = in_file;
  o->queue = mw_queue_new(2 * MOST);
}

static void start(outage *o) {
  const char *arguments[] = {"--data-dir", o->data, "--listen-also", o->url};
  FINE(mw_gateway_start(&o->there, arguments, sizeof arguments / sizeof *arguments, &err));
}

/* Begins so many numbered publishes; the receipt of each has its number for a tag. */
static void publish(outage *o, size_t count) {
  for (count += o->begun; o->begun < count; o->begun++) {
    char text[16];
    snprintf(text, sizeof text, "%d", (int)o->begun);
    if (o->in_file) {
      FINE(mw_publish_admit_start(o->mesh, "readings", mw_text_data(text), NULL, o->queue, o->begun, NULL, &err));
    } else {
      FINE(mw_publish_start(o->mesh, "readings", mw_text_data(text), NULL, o->queue, o->begun, &err));
      o->admitted++;
    }
  }
}

/* Takes what the queue brings until all that were begun are admitted, and so many have a receipt. */
static void hear(outage *o, size_t receipts) {
  while (o->admitted < o->begun || o->receipts < receipts) {
    mw_completion told;
    size_t n;
    FINE(mw_queue_take(o->queue, &told, 1, PATIENCE, &n, &err));
    CHECK(n == 1 && told.tag < MOST && (told.kind == MW_STARTED || told.kind == MW_RECEIPT));
    if (told.kind == MW_STARTED) {
      o->admitted++;
      FINE(mw_started_receipt((mw_started *)told.value, o->queue, told.tag, &err));
    } else {
      CHECK(!o->has_receipt[told.tag]);
      o->has_receipt[told.tag] = true;
      o->receipts++;
    }
  }
}

/* What the client counts under this name. */
static long counted(outage *o, const char *name) {
  mw_text *counts = NULL;
  const char *found = mw_stats_json(o->mesh, &counts, NULL) == MW_OK ? strstr(mw_text_chars(counts), name) : NULL;
  long count = found != NULL ? atol(found + strlen(name)) : -1;
  mw_text_free(counts);
  return count;
}

/* Waits until the client has seen that nobody is there, and so many of its publishes wait. */
static void wait_in_vain(outage *o, long count) {
  int looks = 0;
  while (counted(o, "\"buffered\":") < count || mw_client_state(o->mesh) == MW_STATE_CONNECTED) CHECK(look_again(&looks));
}

/* Whether all that were begun are at the gateway, in order and once. */
static void all_arrived(outage *o) {
  mw_client *reader = NULL;
  mw_subscription *sub = NULL;
  mw_text *topic = NULL;
  char text[32];
  size_t n;
  FINE(mw_connect(&reader, mw_gateway_url(o->there), "name=reader", &err));
  FINE(mw_subscribe(reader, "readings", "group=g", &sub, &err));
  for (n = 0; n < o->begun; n++) {
    mw_delivery *d = next(sub);
    snprintf(text, sizeof text, "%d", (int)n);
    CHECK(d != NULL && is_data(mw_delivery_data(d), text) && mw_ack(d) == MW_OK);
  }
  FINE(mw_admin(reader, "topics.get", "{\"topic\":\"readings\"}", &topic, &err));
  snprintf(text, sizeof text, "\"events\":%d,", (int)o->begun);
  CHECK(strstr(mw_text_chars(topic), text) != NULL);
  mw_text_free(topic);
  mw_unsubscribe(sub);
  CHECK(mw_close(reader, -1) == MW_OK);
}

static int on_entry(const char *path, const struct stat *is, int kind, struct FTW *where) {
  (void)is, (void)kind, (void)where;
  return remove(path);
}

static void let_go(outage *o) {
  CHECK(mw_close(o->mesh, -1) == MW_OK);
  mw_queue_free(o->queue);
  mw_gateway_kill(o->there);
  close(o->kept);
  CHECK(nftw(o->folder, on_entry, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

/* Goes on with what may fail. */
#define STEP(call)               \
  do {                           \
    call;                        \
    if (failed_at != NULL) return; \
  } while (0)

static void publish_first(bool in_file) {
  outage o;
  mw_completion told;
  size_t n;
  STEP(prepare(&o, in_file));
  FINE(mw_connect(&o.mesh, o.url, o.options, &err));
  STEP(publish(&o, MOST));
  STEP(hear(&o, 0));
  STEP(wait_in_vain(&o, MOST));
  FINE(mw_queue_take(o.queue, &told, 1, 0, &n, &err));
  CHECK(n == 0);
  STEP(start(&o));
  STEP(hear(&o, MOST));
  STEP(all_arrived(&o));
  STEP(let_go(&o));
}

static void what_is_published_before_there_is_a_gateway_arrives_in_order_and_once(void) {
  STEP(publish_first(false));
  STEP(publish_first(true));
}

static void publish_throughout(bool in_file) {
  outage o;
  STEP(prepare(&o, in_file));
  STEP(start(&o));
  FINE(mw_connect(&o.mesh, o.url, o.options, &err));
  STEP(publish(&o, EACH));
  STEP(hear(&o, EACH));
  /* Killed when some of these have a receipt, and some may be kept and have none. */
  STEP(publish(&o, EACH));
  STEP(hear(&o, EACH + 1));
  mw_gateway_kill(o.there);
  o.there = NULL;
  STEP(publish(&o, EACH));
  STEP(hear(&o, 0));
  STEP(wait_in_vain(&o, EACH));
  CHECK(o.receipts <= 2 * EACH);
  STEP(start(&o));
  STEP(hear(&o, MOST));
  CHECK(counted(&o, "\"reconnects\":") > 0);
  STEP(all_arrived(&o));
  STEP(let_go(&o));
}

static void what_is_published_while_the_link_is_cut_arrives_in_order_and_once(void) {
  STEP(publish_throughout(false));
  STEP(publish_throughout(true));
}

static void what_a_client_left_in_its_file_is_published_before_what_the_next_one_publishes(void) {
  outage o;
  mw_completion told;
  size_t n, i;
  STEP(prepare(&o, true));
  FINE(mw_connect(&o.mesh, o.url, o.options, &err));
  STEP(publish(&o, EACH));
  STEP(hear(&o, 0));
  CHECK(mw_close(o.mesh, -1) == MW_OK);
  for (i = 0; i < EACH; i++) {
    FINE(mw_queue_take(o.queue, &told, 1, PATIENCE, &n, &err));
    CHECK(n == 1 && told.code == MW_CLOSED);
    mw_error_free(told.error);
  }
  FINE(mw_connect(&o.mesh, o.url, o.options, &err));
  CHECK(counted(&o, "\"restored\":") == EACH);
  STEP(publish(&o, EACH));
  STEP(hear(&o, 0));
  STEP(start(&o));
  STEP(hear(&o, EACH));
  STEP(all_arrived(&o));
  CHECK(counted(&o, "\"restored_published\":") == EACH);
  STEP(let_go(&o));
}

#define TESTS(test)                                                           \
  test(what_is_published_before_there_is_a_gateway_arrives_in_order_and_once) \
  test(what_is_published_while_the_link_is_cut_arrives_in_order_and_once)     \
  test(what_a_client_left_in_its_file_is_published_before_what_the_next_one_publishes)
GROUP(offline)
