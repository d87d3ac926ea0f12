/* Hooks and logs. */
#include "../harness.h"

static int on_publish(void *ctx, const char *topic, mw_draft *draft) {
  mw_text *had;
  if (strcmp(topic, "refused") == 0) return 3;
  ((tally *)ctx)->number++;
  had = mw_draft_get(draft, "traceparent");
  if (had != NULL) return mw_text_free(had), -1;
  return mw_draft_set(draft, "traceparent", "00-1-2-01", NULL);
}

static void on_delivery(void *ctx, const mw_message *message) {
  if (same(message->topic, "hooked")) ((tally *)ctx)->handled++;
}

static void on_settle(void *ctx, const mw_message *message, int settled) {
  if (same(message->topic, "hooked") && settled == MW_REJECT) ((tally *)ctx)->failed++;
}

static void hooks_see_every_publish_and_delivery(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_hooks hooks = MW_HOOKS_INIT;
  mw_subscription *sub = NULL;
  mw_delivery *d;
  mw_error *err = NULL;
  char text[32];
  hooks.ctx = &t;
  hooks.on_publish = on_publish;
  hooks.on_delivery = on_delivery;
  hooks.on_settle = on_settle;
  hooks.drop = on_drop;
  t.mesh = connected();
  FINE(mw_set_hooks(t.mesh, &hooks, &err));
  FINE(mw_publish(t.mesh, "hooked", mw_text_data("x"), NULL, NULL, &err));
  CHECK(mw_publish(t.mesh, "refused", mw_text_data("x"), NULL, NULL, &err) == MW_INVALID);
  CHECK(strstr(mw_error_text(err), "refused the event: 3") != NULL);
  mw_error_free(err);
  FINE(mw_subscribe(t.mesh, "hooked", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL && mw_delivery_attribute(d, "traceparent", text, sizeof text) > 0 && strcmp(text, "00-1-2-01") == 0);
  CHECK(mw_reject(d, NULL) == MW_OK);
  mw_unsubscribe(sub);
  CHECK(mw_set_hooks(t.mesh, &hooks, NULL) == MW_ALREADY_EXISTS && t.dropped == 1);
  mw_close(t.mesh, -1);
  CHECK(t.number == 1 && t.handled == 1 && t.failed == 1 && t.dropped == 2);
}

static void on_record(void *ctx, const mw_record *record) {
  tally *t = (tally *)ctx;
  size_t i;
  if (record->level < MW_LEVEL_WARN || strstr(record->text, "dropped without ack") == NULL) return;
  t->handled++;
  if (strncmp(record->text, record->sentence, strlen(record->sentence)) != 0 || strchr(record->sentence, '=') != NULL) t->failed++;
  for (i = 0; i < record->field_count; i++)
    if (strcmp(record->fields[i].name, "topic") == 0 && strcmp(record->fields[i].value, "logged") == 0) t->dropped++;
}

static void on_any(void *ctx, const mw_record *record) {
  tally *t = (tally *)ctx;
  if (record->level < MW_LEVEL_WARN) t->number++;
}

static void what_the_library_logs_is_told_on_the_thread_that_asks(void) {
  tally t = {NULL, 0, 0, 0, 0};
  mw_subscription *sub = NULL;
  CHECK(mw_logs_level(MW_LEVEL_WARN, NULL) == MW_INVALID);
  FINE(mw_logs_keep(MW_LEVEL_WARN, &err));
  CHECK(mw_logs_keep(MW_LEVEL_INFO, NULL) == MW_ALREADY_EXISTS && mw_logs_keep(9, NULL) == MW_INVALID);
  t.mesh = connected();
  FINE(mw_publish(t.mesh, "logged", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_subscribe(t.mesh, "logged", "group=g", &sub, &err));
  mw_delivery_free(next(sub));
  while (t.handled == 0) CHECK(mw_logs_dispatch(PATIENCE, on_record, &t, NULL) == MW_OK);
  CHECK(t.handled == 1 && t.failed == 0 && t.dropped == 1);
  mw_unsubscribe(sub);
  /* Another level holds from then on. */
  CHECK(mw_logs_level(9, NULL) == MW_INVALID);
  FINE(mw_logs_level(MW_LEVEL_TRACE, &err));
  FINE(mw_subscribe(t.mesh, "logged", NULL, &sub, &err));
  while (t.number == 0) CHECK(mw_logs_dispatch(PATIENCE, on_any, &t, NULL) == MW_OK);
  mw_unsubscribe(sub);
  FINE(mw_logs_level(MW_LEVEL_ERROR, &err));
  mw_close(t.mesh, -1);
}

#define TESTS(test)                          \
  test(hooks_see_every_publish_and_delivery) \
  test(what_the_library_logs_is_told_on_the_thread_that_asks)
GROUP(watching)
