/* What is used wrongly, and what an error says. */
#include "../harness.h"

static void what_was_used_up_is_an_error_when_it_is_used_again(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_delivery *d, *again;
  mw_message m = mw_message_new();
  mw_error *err = NULL;
  FINE(mw_publish(mesh, "twice", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_subscribe(mesh, "twice", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL && mw_ack(d) == MW_OK && mw_ack(d) == MW_INVALID);
  CHECK(mw_nack(d, 0) == MW_INVALID && mw_reject(d, "no") == MW_INVALID && mw_extend(d) == MW_INVALID);
  CHECK(mw_read(&d, 1, &m, NULL) == MW_INVALID && mw_delivery_data(d).ptr == NULL);
  mw_delivery_free(d);
  again = d;
  CHECK(mw_settle_many(&again, 1, MW_ACK, 0, NULL, &err) == MW_INVALID);
  CHECK(mw_error_code(err) == MW_INVALID && strstr(mw_error_text(err), "before") != NULL);
  mw_error_free(err);
  mw_error_free(err);
  mw_unsubscribe(sub);
  mw_unsubscribe(sub);
  CHECK(mw_close(mesh, -1) == MW_OK && mw_close(mesh, -1) == MW_INVALID);
  CHECK(mw_publish(mesh, "twice", mw_no_data(), NULL, NULL, NULL) == MW_INVALID);
  CHECK(mw_flush((mw_client *)sub, NULL) == MW_INVALID && mw_flush(NULL, NULL) == MW_INVALID);
  CHECK(mw_flush((mw_client *)(uintptr_t)12345, NULL) == MW_INVALID);
}

static void what_is_wrong_is_said_with_name_operation_retry_and_context(void) {
  mw_client *mesh = NULL;
  mw_error *err = NULL;
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  const char *name = NULL, *value = NULL;
  CHECK(mw_connect(&mesh, "tcp://127.0.0.1:1", NULL, &err) == MW_UNAVAILABLE && mesh == NULL);
  CHECK(strcmp(mw_error_name(err), "UNAVAILABLE") == 0 && strcmp(mw_error_operation(err), "connect") == 0);
  CHECK(strstr(mw_error_text(err), "meshwire serve") != NULL && mw_error_retry(err) != MW_RETRY_NEVER);
  mw_error_free(err);
  err = NULL;
  CHECK(mw_connect(&mesh, NULL, "colour=red", &err) == MW_INVALID && strstr(mw_error_text(err), "colour") != NULL);
  mw_error_free(err);
  err = NULL;
  CHECK(mw_connect_version(999, &mesh, NULL, NULL, &err) == MW_INVALID && strstr(mw_error_text(err), "999") != NULL);
  mw_error_free(err);
  err = NULL;
  mesh = connected();
  CHECK(mw_publish(mesh, "no topic!", mw_no_data(), NULL, NULL, &err) == MW_INVALID);
  CHECK(mw_error_retry(err) == MW_RETRY_NEVER && mw_error_retry_after_ms(err) == -1);
  mw_error_free(err);
  err = NULL;
  CHECK(mw_publish(mesh, NULL, mw_no_data(), NULL, NULL, NULL) == MW_INVALID);
  CHECK(mw_publish(mesh, "\xff", mw_no_data(), NULL, NULL, NULL) == MW_INVALID);
  CHECK(mw_publish(mesh, "t", mw_bytes(NULL, 3), NULL, NULL, NULL) == MW_INVALID);
  o.size = 3;
  CHECK(mw_publish(mesh, "t", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  o.size = sizeof o + 8;
  CHECK(mw_publish(mesh, "t", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  o.size = sizeof o;
  o.deliver_after_ms = -1;
  CHECK(mw_publish(mesh, "t", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  CHECK(mw_admin(mesh, "topics.get", "{\"topic\":\"absent\"}", NULL, NULL) == MW_INVALID);
  {
    mw_text *answer = NULL;
    CHECK(mw_admin(mesh, "topics.get", "{\"topic\":\"absent\"}", &answer, &err) == MW_TOPIC_NOT_FOUND && answer == NULL);
    CHECK(mw_error_context(err, 0, &name, &value) && strcmp(name, "topic") == 0 && strcmp(value, "absent") == 0);
    CHECK(!mw_error_context(err, 99, NULL, NULL));
    mw_error_free(err);
  }
  CHECK(mw_queue_new(0) == NULL);
  mw_close(mesh, -1);
}

static void a_struct_without_its_size_is_told_what_to_begin_with(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_delivery *d;
  mw_message m;
  mw_publish_opts o;
  mw_hooks hooks;
  mw_error *err = NULL;
  memset(&m, 0, sizeof m);
  memset(&o, 0, sizeof o);
  memset(&hooks, 0, sizeof hooks);
  FINE(mw_publish(mesh, "sizes", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_subscribe(mesh, "sizes", "group=g", &sub, &err));
  d = next(sub);
  CHECK(mw_read(&d, 1, &m, &err) == MW_INVALID && strstr(mw_error_text(err), "begin with mw_message_new()") != NULL);
  mw_error_free(err);
  err = NULL;
  CHECK(mw_publish(mesh, "sizes", mw_no_data(), &o, NULL, &err) == MW_INVALID);
  CHECK(strstr(mw_error_text(err), "begin with MW_PUBLISH_OPTS_INIT") != NULL);
  mw_error_free(err);
  err = NULL;
  CHECK(mw_set_hooks(mesh, &hooks, &err) == MW_INVALID && strstr(mw_error_text(err), "begin with MW_HOOKS_INIT") != NULL);
  mw_error_free(err);
  CHECK(mw_ack(d) == MW_OK);
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
}

#define TESTS(test)                                                 \
  test(what_was_used_up_is_an_error_when_it_is_used_again)          \
  test(what_is_wrong_is_said_with_name_operation_retry_and_context) \
  test(a_struct_without_its_size_is_told_what_to_begin_with)
GROUP(errors)
