#include "everything.h"

#include <sys/wait.h>
#include <unistd.h>

void let_go(mw_completion *told) {
  mw_error_free(told->error);
  if (told->kind == MW_CLIENT) mw_close((mw_client *)told->value, 0);
  if (told->kind == MW_SUBSCRIPTION) mw_unsubscribe((mw_subscription *)told->value);
  if (told->kind == MW_DELIVERIES) mw_batch_free((mw_batch *)told->value);
  if (told->kind == MW_WORKS) mw_works_free((mw_works *)told->value);
  if (told->kind == MW_RECEIPTS) mw_receipts_free((mw_receipts *)told->value);
  if (told->kind == MW_STARTED) mw_started_free((mw_started *)told->value);
  if (told->kind == MW_REPLY) mw_reply_free((mw_reply *)told->value);
  if (told->kind == MW_REPLIES) mw_replies_close((mw_replies *)told->value);
  if (told->kind == MW_REPLY_BATCH) mw_reply_batch_free((mw_reply_batch *)told->value);
  if (told->kind == MW_TEXT) mw_text_free((mw_text *)told->value);
}

uint32_t begin_all(mw_client *mesh, mw_subscription *sub, mw_delivery *d, mw_delivery *extended, mw_consumer *consumer,
                   mw_responder *responder, mw_replies *replies, mw_queue *queue) {
  mw_event event;
  uint32_t begun = 0;
  event.data = mw_text_data("x");
  event.opts = NULL;
#define BEGUN(tag, call) begun |= (uint32_t)((call) == MW_OK) << (tag)
  BEGUN(0, mw_publish_start(mesh, "hard", mw_text_data("x"), NULL, queue, 0, NULL));
  BEGUN(1, mw_publish_later(mesh, "hard", mw_text_data("x"), NULL, queue, 1, NULL));
  BEGUN(2, mw_publish_admit_start(mesh, "hard", mw_text_data("x"), NULL, queue, 2, NULL, NULL));
  BEGUN(3, mw_publish_batch_start(mesh, "hard", &event, 1, queue, 3, NULL, NULL));
  BEGUN(4, mw_flush_start(mesh, queue, 4, NULL, NULL));
  BEGUN(5, mw_connected_start(mesh, queue, 5, NULL, NULL));
  BEGUN(6, mw_state_start(mesh, MW_STATE_CONNECTED, queue, 6, NULL, NULL));
  BEGUN(7, mw_subscribe_start(mesh, "hard", "group=h", queue, 7, NULL, NULL));
  BEGUN(8, mw_next_start(sub, 8, MW_FOREVER, queue, 8, NULL, NULL));
  BEGUN(9, mw_settle_start(d, MW_ACK, 0, NULL, queue, 9, NULL, NULL));
  BEGUN(10, mw_extend_start(extended, queue, 10, NULL, NULL));
  BEGUN(11, mw_consumer_next_start(consumer, 8, MW_FOREVER, queue, 11, NULL, NULL));
  BEGUN(12, mw_responder_next_start(responder, 8, MW_FOREVER, queue, 12, NULL, NULL));
  BEGUN(13, mw_request_reply_start(mesh, "asked", mw_text_data("x"), NULL, "request_timeout=300ms", queue, 13, NULL, NULL));
  BEGUN(14, mw_request_stream_start(mesh, "asked", mw_text_data("x"), NULL, "request_timeout=300ms", queue, 14, NULL, NULL));
  BEGUN(15, mw_replies_next_start(replies, 8, MW_FOREVER, queue, 15, NULL, NULL));
  BEGUN(16, mw_admin_start(mesh, "topics.list", NULL, queue, 16, NULL, NULL));
  BEGUN(17, mw_connect_start("tcp://127.0.0.1:1", NULL, queue, 17, NULL, NULL));
#undef BEGUN
  return begun;
}

int everything(all *of, const char *url) {
  size_t n = 0;
  memset(of, 0, sizeof *of);
  of->queue = mw_queue_new(64);
  if (mw_connect(&of->mesh, url, "reconnect_min=10ms; publish_timeout=200ms", NULL)) return 0;
  if (mw_publish(of->mesh, "held", mw_text_data("1"), NULL, NULL, NULL)) return 0;
  if (mw_publish(of->mesh, "held", mw_text_data("2"), NULL, NULL, NULL)) return 0;
  if (mw_subscribe(of->mesh, "held", "group=g", &of->sub, NULL)) return 0;
  for (; n < 2; n++)
    if ((of->d[n] = next(of->sub)) == NULL) return 0;
  if (mw_consumer_new(of->mesh, "idle", "group=g", &of->consumer, NULL)) return 0;
  if (mw_responder_new(of->mesh, "served", NULL, &of->responder, NULL)) return 0;
  return mw_request_stream(of->mesh, "served", mw_text_data("x"), NULL, "request_timeout=300ms", &of->replies, NULL) == MW_OK;
}

void let_all_go(all *of) {
  mw_delivery_free(of->d[0]);
  mw_delivery_free(of->d[1]);
  mw_unsubscribe(of->sub);
  mw_consumer_free(of->consumer);
  mw_responder_free(of->responder);
  mw_replies_close(of->replies);
  mw_close(of->mesh, 0);
  mw_queue_free(of->queue);
}

uint32_t come(mw_queue *queue, uint32_t wanted) {
  mw_completion told[8];
  uint32_t twice = 0;
  size_t n, i;
  while (wanted != 0) {
    if (mw_queue_take(queue, told, 8, PATIENCE, &n, NULL) != MW_OK || n == 0) break;
    for (i = 0; i < n; i++) {
      uint32_t bit = (uint32_t)1 << told[i].tag;
      if (!(wanted & bit)) twice |= bit;
      wanted &= ~bit;
      let_go(&told[i]);
    }
  }
  return wanted | twice;
}

void round_trips(mw_client *mesh, int count) {
  while (count-- > 0) mw_publish(mesh, "passing", mw_no_data(), NULL, NULL, NULL);
}

void share(shared *s) {
  memset(s, 0, sizeof *s);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->changed, NULL);
}

int count(shared *s, int *what, int more) {
  int now;
  pthread_mutex_lock(&s->lock);
  now = *what += more;
  if (more > 0) pthread_cond_broadcast(&s->changed);
  pthread_mutex_unlock(&s->lock);
  return now;
}

void await_count(shared *s, const int *what, int least) {
  pthread_mutex_lock(&s->lock);
  while (*what < least) pthread_cond_wait(&s->changed, &s->lock);
  pthread_mutex_unlock(&s->lock);
}

const char *own_name;

int run_self(const char *word, int number, const char *url) {
  char text[16], copy[64];
  int status = 0;
  pid_t child;
  snprintf(text, sizeof text, "%d", number);
  /* In the child the gateway, whose it may be, is no more than a closed handle. */
  snprintf(copy, sizeof copy, "%s", url);
  fflush(stdout);
  child = fork();
  if (child == 0) {
    /* Nothing is freed there. */
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
    alarm(PATIENCE / 1000);
    execl(own_name, own_name, word, text, copy, (char *)NULL);
    _exit(1);
  }
  return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

static int never_called(void *ctx, mw_job *job) {
  (void)ctx;
  (void)job;
  return 0;
}

static int never_asked(void *ctx, mw_request *request) {
  (void)ctx;
  (void)request;
  return 0;
}

void *waiting(void *ctx) {
  shared *s = (shared *)ctx;
  mw_handler handler = {NULL, never_called, NULL};
  mw_request_handler server = {NULL, never_asked, NULL};
  mw_delivery *d = NULL;
  mw_completion told;
  mw_work work;
  mw_reply *reply = NULL;
  size_t n;
  int which = count(s, &s->started, 1) - 1, code = MW_OK;
  /* What other tests let go of comes again here. */
  while (which == 0 && (code = mw_next(s->of.sub, &d, 1, MW_FOREVER, &n, NULL)) == MW_OK) mw_delivery_free(d);
  if (which == 1) code = mw_queue_take(s->of.queue, &told, 1, MW_FOREVER, &n, NULL);
  if (which == 2) code = mw_consume(s->of.mesh, "waiting", "group=g", handler, NULL);
  if (which == 3) code = mw_serve(s->of.mesh, "waiting", NULL, server, NULL);
  if (which == 4) code = mw_consumer_next(s->of.consumer, &work, 1, MW_FOREVER, &n, NULL);
  if (which == 5) code = mw_responder_next(s->of.responder, &work, 1, MW_FOREVER, &n, NULL);
  if (which == 6) code = mw_replies_next(s->of.replies, &reply, 1, MW_FOREVER, &n, NULL);
  if (which == 7) code = mw_dispatch(s->of.queue, 1, MW_FOREVER, NULL, NULL);
  if (which == 5 && code == MW_OK && n == 1) mw_request_end(work.request, NULL);
  mw_reply_free(reply);
  s->codes[which] = code;
  return NULL;
}
