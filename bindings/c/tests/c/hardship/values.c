/* Values at their ends, and beyond. */
#include "everything.h"

static void numbers_at_their_ends_are_taken_or_refused(void) {
  const int64_t ends[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(64);
  mw_subscription *sub = NULL;
  mw_completion told;
  mw_delivery *d[4];
  mw_data data = mw_bytes("x", 1);
  size_t n, i, k;
  CHECK(mw_queue_new(SIZE_MAX) == NULL && mw_queue_new((size_t)1 << 21) == NULL);
  CHECK(mw_queue_take(queue, NULL, 0, 0, &n, NULL) == MW_OK);
  FINE(mw_subscribe(mesh, "ends", "group=g; start=earliest", &sub, &err));
  CHECK(mw_next(sub, d, 0, 0, &n, NULL) == MW_INVALID && mw_next(sub, d, SIZE_MAX, 0, &n, NULL) == MW_INVALID);
  CHECK(mw_next(sub, d, 4, INT64_MIN + 1, NULL, NULL) == MW_INVALID);
  data.len = SIZE_MAX;
  CHECK(mw_publish(mesh, "ends", data, NULL, NULL, NULL) == MW_INVALID);
  data.len = 1;
  for (i = 0; i < 5; i++) {
    for (k = 0; k < 6; k++) {
      mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
      mw_attribute attribute = {"a", MW_ATTRIBUTE_INTEGER, NULL, 0};
      int code;
      attribute.number = ends[i];
      o.attributes = &attribute;
      if (k == 0) o.deliver_at_ms = ends[i];
      if (k == 1) o.deliver_after_ms = ends[i];
      if (k == 2) o.expires_in_ms = ends[i];
      if (k >= 3) o.attribute_count = 1;
      if (k == 4) attribute.kind = MW_ATTRIBUTE_TIME;
      if (k == 5) attribute.kind = MW_ATTRIBUTE_BINARY;
      code = mw_publish(mesh, "other", data, &o, NULL, NULL);
      CHECK(code == MW_OK || code == MW_INVALID || code == MW_TOO_LARGE);
    }
    FINE(mw_publish(mesh, "ends", data, NULL, NULL, &err));
    d[0] = next(sub);
    CHECK(d[0] != NULL);
    CHECK(mw_settle_many(d, 1, 99, ends[i], NULL, NULL) == MW_INVALID && mw_settle_many(NULL, SIZE_MAX, 0, 0, NULL, NULL) == MW_INVALID);
    CHECK(mw_nack(d[0], ends[i]) == MW_OK);
    FINE(mw_publish_start(mesh, "ends", data, NULL, queue, (uint64_t)ends[i] >> 1, &err));
    FINE(mw_queue_take(queue, &told, 1, INT64_MAX, &n, &err));
    CHECK(n == 1 && told.tag == (uint64_t)ends[i] >> 1 && told.kind == MW_RECEIPT);
    mw_unsubscribe(sub);
    FINE(mw_subscribe(mesh, "ends", "group=g; start=latest", &sub, &err));
  }
  data.kind = 99;
  CHECK(mw_publish(mesh, "ends", data, NULL, NULL, NULL) == MW_INVALID);
  CHECK(mw_state_start(mesh, 99, queue, 0, NULL, NULL) == MW_INVALID);
  CHECK(mw_admin(mesh, "topics.get", "{\"topic\":", NULL, NULL) == MW_INVALID);
  mw_unsubscribe(sub);
  CHECK(mw_drain(mesh, INT64_MAX, NULL) == MW_OK);
  mw_close(mesh, INT64_MIN);
  mw_queue_free(queue);
}

static bool refused(int code, mw_error **err, const char *name) {
  bool is = code == MW_INVALID && mw_error_code(*err) == MW_INVALID && strstr(mw_error_text(*err), name) != NULL;
  mw_error_free(*err);
  *err = NULL;
  return is;
}

static void a_number_that_no_array_has_is_refused_by_its_name(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4);
  mw_error *err = NULL;
  mw_event event = {{NULL, 0, MW_NO_DATA}, NULL};
  mw_result result;
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  mw_attribute attribute = {"a", MW_ATTRIBUTE_INTEGER, NULL, 1};
  mw_message m = mw_message_new();
  mw_completion told;
  mw_refusal refusal;
  mw_delivery *none = NULL;
  mw_gateway *another = NULL;
  mw_buffer heads = {NULL, 0, 0}, events = {NULL, 0, 0};
  const char *argument = "--memory";
  const uint8_t packed[1] = {0};
  bool claimed;
  size_t n, thing = 0;
  const size_t counts[] = {SIZE_MAX, SIZE_MAX / 2, SIZE_MAX / sizeof(mw_event) + 1};
  size_t i;
  for (i = 0; i < 3; i++) {
    const size_t most = counts[i];
    CHECK(refused(mw_publish_batch(mesh, "arrays", &event, most, &result, &err), &err, "count"));
    CHECK(refused(mw_publish_batch_start(mesh, "arrays", &event, most, queue, 1, NULL, &err), &err, "count"));
  }
  o.attributes = &attribute;
  o.attribute_count = SIZE_MAX;
  CHECK(refused(mw_publish(mesh, "arrays", mw_no_data(), &o, NULL, &err), &err, "attribute_count"));
  CHECK(refused(mw_read(&none, SIZE_MAX, &m, &err), &err, "count"));
  CHECK(refused(mw_settle_many(&none, SIZE_MAX, MW_ACK, -1, NULL, &err), &err, "count"));
  CHECK(refused(mw_give_back(&none, SIZE_MAX, &err), &err, "count"));
  CHECK(mw_claim_batch(&none, SIZE_MAX, &claimed) == 0);
  CHECK(refused(mw_queue_take(queue, &told, SIZE_MAX, 0, &n, &err), &err, "most"));
  CHECK(refused(mw_pack(MW_DELIVERIES, &thing, SIZE_MAX, &heads, &events, &err), &err, "count"));
  CHECK(refused(mw_publish_packed(mesh, packed, 1, SIZE_MAX, queue, &refusal, &n, &err), &err, "count"));
  CHECK(refused(mw_gateway_start(&another, &argument, SIZE_MAX, &err), &err, "count"));
  FINE(mw_publish(mesh, "arrays", mw_no_data(), NULL, NULL, &err));
  mw_queue_free(queue);
  mw_close(mesh, -1);
}

static void texts_that_are_too_long_or_no_texts_are_refused(void) {
  mw_client *mesh = connected();
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  mw_attribute nameless = {NULL, MW_ATTRIBUTE_TEXT, "x", 0};
  mw_reply *reply = NULL;
  char *longest = (char *)malloc(200001);
  int code;
  memset(longest, 'x', 200000);
  longest[200000] = 0;
  o.subject = longest;
  CHECK(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, NULL) == MW_TOO_LARGE);
  CHECK(mw_publish(mesh, longest, mw_no_data(), NULL, NULL, NULL) == MW_INVALID);
  o.subject = "\xc3";
  CHECK(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  o.subject = "cut\0off";
  FINE(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, &err));
  o.attributes = &nameless;
  o.attribute_count = 1;
  CHECK(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  nameless.name = "id";
  CHECK(mw_publish(mesh, "texts", mw_no_data(), &o, NULL, NULL) == MW_INVALID);
  code = mw_request_reply(mesh, "texts", mw_no_data(), NULL, longest, &reply, NULL);
  CHECK(code == MW_INVALID);
  free(longest);
  mw_close(mesh, -1);
}

#define TESTS(test)                                       \
  test(numbers_at_their_ends_are_taken_or_refused)        \
  test(a_number_that_no_array_has_is_refused_by_its_name) \
  test(texts_that_are_too_long_or_no_texts_are_refused)
GROUP(values)
