/* Functions of the program that close what calls them, or hang. */
#include "everything.h"

static int closing(void *ctx, mw_job *job) {
  shared *s = (shared *)ctx;
  s->codes[0] = mw_close(s->of.mesh, -1);
  s->codes[1] = mw_job_end(job, 99, 0, NULL, NULL);
  mw_stop(s->of.mesh, NULL);
  return 0;
}

static void closing_from_callback(void *ctx, const mw_completion *told) {
  shared *s = (shared *)ctx;
  mw_error_free(told->error);
  s->counted++;
  mw_close(s->of.mesh, 0);
  mw_queue_free(s->of.queue);
}

static void dropped(void *ctx) { ((shared *)ctx)->settled++; }

static int on_publish(void *ctx, const char *topic, mw_draft *draft) {
  shared *s = (shared *)ctx;
  (void)topic;
  (void)draft;
  mw_close(s->of.mesh, 0);
  return 0;
}

static void a_function_that_closes_the_client_that_calls_it_ends_in_time(void) {
  mw_handler handler;
  mw_callback callback;
  mw_hooks hooks = MW_HOOKS_INIT;
  shared s;
  size_t n = 0;
  share(&s);
  s.of.mesh = connected();
  handler.ctx = callback.ctx = hooks.ctx = &s;
  handler.call = closing;
  handler.drop = callback.drop = dropped;
  callback.call = closing_from_callback;
  FINE(mw_publish(s.of.mesh, "closing", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_consume(s.of.mesh, "closing", "group=g", handler, &err));
  /* It would wait for itself, and is told so. */
  CHECK(s.codes[0] == MW_INVALID && s.codes[1] == MW_INVALID && s.settled == 1 && mw_close(s.of.mesh, -1) == MW_OK);
  s.of.mesh = connected();
  s.of.queue = mw_queue_new(4);
  FINE(mw_publish_start(s.of.mesh, "closing", mw_text_data("x"), NULL, s.of.queue, mw_callback_tag(s.of.queue, callback), &err));
  FINE(mw_dispatch(s.of.queue, 1, PATIENCE, &n, &err));
  CHECK(n == 1 && s.counted == 1 && s.settled == 2 && mw_queue_fd(s.of.queue) == -1);
  s.of.mesh = connected();
  hooks.on_publish = on_publish;
  hooks.drop = dropped;
  FINE(mw_set_hooks(s.of.mesh, &hooks, &err));
  CHECK(mw_publish(s.of.mesh, "closing", mw_text_data("x"), NULL, NULL, NULL) == MW_CLOSED && s.settled == 3);
}

static int hanging(void *ctx, mw_job *job) {
  shared *s = (shared *)ctx;
  (void)job;
  count(s, &s->started, 1);
  await_count(s, &s->counted, 1);
  return 0;
}

static void *hang(void *ctx) {
  shared *s = (shared *)ctx;
  mw_handler handler;
  handler.ctx = s;
  handler.call = hanging;
  handler.drop = dropped;
  s->codes[0] = mw_consume(s->of.mesh, "hanging", "group=g", handler, NULL);
  return NULL;
}

static void a_handler_that_hangs_does_not_keep_others_from_closing(void) {
  pthread_t thread;
  shared s;
  share(&s);
  s.of.mesh = connected();
  FINE(mw_publish(s.of.mesh, "hanging", mw_text_data("x"), NULL, NULL, &err));
  pthread_create(&thread, NULL, hang, &s);
  await_count(&s, &s.started, 1);
  CHECK(mw_close(s.of.mesh, 100) == MW_TIMEOUT);
  count(&s, &s.counted, 1);
  pthread_join(thread, NULL);
  CHECK(s.settled == 1);
}

#define TESTS(test)                                                  \
  test(a_function_that_closes_the_client_that_calls_it_ends_in_time) \
  test(a_handler_that_hangs_does_not_keep_others_from_closing)
GROUP(functions)
