/* Events, batches and receipts. */
#include "../harness.h"

static void what_is_published_is_received_with_all_its_attributes(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_receipt receipt;
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  mw_attribute extensions[3] = {{"count", MW_ATTRIBUTE_INTEGER, NULL, -7},
                                {"last", MW_ATTRIBUTE_BOOLEAN, NULL, 1},
                                {"raw", MW_ATTRIBUTE_BINARY, "\0\xff", 2}};
  mw_message m = mw_message_new();
  mw_delivery *d;
  char text[64];
  mw_text *name = NULL, *value = NULL;
  CHECK(mesh != NULL);
  o.id = "1";
  o.source = "/shop";
  o.type = "order.created";
  o.key = "customer-7";
  o.subject = "orders/1";
  o.time = "2026-11-29T06:30:00.5Z";
  o.dataschema = "https://shop/order";
  o.attributes = extensions;
  o.attribute_count = 3;
  FINE(mw_publish(mesh, "attributes", mw_json("{\"id\":1}"), &o, &receipt, &err));
  CHECK(receipt.position == 1 && !receipt.duplicate);
  FINE(mw_publish(mesh, "attributes", mw_json("{\"id\":1}"), &o, &receipt, &err));
  CHECK(receipt.position == 1 && receipt.duplicate);
  FINE(mw_subscribe(mesh, "attributes", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL);
  FINE(mw_read(&d, 1, &m, &err));
  CHECK(same(m.id, "1") && same(m.source, "/shop") && same(m.type, "order.created") && same(m.key, "customer-7"));
  CHECK(same(m.subject, "orders/1") && same(m.dataschema, "https://shop/order"));
  CHECK(same(m.datacontenttype, "application/json") && is_data(m.data, "{\"id\":1}"));
  CHECK(same(m.topic, "attributes") && m.position == 1 && m.attempt == 1 && m.gap == 0);
  CHECK(m.time_ms == 1795933800500 && m.stored_ms > 0 && m.expires_at_ms == MW_NO_TIME);
  CHECK(is_data(mw_delivery_data(d), "{\"id\":1}"));
  CHECK(mw_delivery_attribute(d, "count", text, sizeof text) == 2 && strcmp(text, "-7") == 0);
  CHECK(mw_delivery_attribute(d, "raw", text, sizeof text) == 4 && strcmp(text, "AP8=") == 0);
  CHECK(mw_delivery_attribute(d, "time", text, 5) == 24 && strcmp(text, "2026") == 0);
  CHECK(mw_delivery_attribute(d, "absent", text, sizeof text) == -1);
  CHECK(mw_delivery_attribute_at(d, 0, &name, &value) && mw_text_chars(name)[0] != 0);
  mw_text_free(name);
  mw_text_free(value);
  CHECK(!mw_delivery_attribute_at(d, 99, &name, &value));
  CHECK(mw_extend(d) == MW_OK && mw_ack(d) == MW_OK);
  mw_unsubscribe(sub);
  CHECK(mw_close(mesh, -1) == MW_OK);
}

static void a_batch_has_a_result_for_each_event_and_what_is_wrong_with_one_is_its_own(void) {
  mw_client *mesh = connected();
  mw_publish_opts bad = MW_PUBLISH_OPTS_INIT, once = MW_PUBLISH_OPTS_INIT;
  mw_event events[4];
  mw_result results[4];
  mw_attribute wrong = {"Bad", MW_ATTRIBUTE_TEXT, "x", 0};
  size_t i;
  bad.attributes = &wrong;
  bad.attribute_count = 1;
  once.id = "once";
  for (i = 0; i < 4; i++) {
    events[i].data = mw_text_data("x");
    events[i].opts = i == 1 ? &bad : i == 0 || i == 3 ? &once : NULL;
  }
  events[2].data = mw_bytes("\xff", 1);
  events[2].data.kind = MW_TEXT_DATA;
  FINE(mw_publish_batch(mesh, "batch", events, 4, results, &err));
  CHECK(results[0].code == MW_OK && results[0].receipt.position == 1 && results[0].error == NULL);
  CHECK(results[1].code == MW_INVALID && strstr(mw_error_text(results[1].error), "Bad") != NULL);
  CHECK(results[2].code == MW_INVALID && strstr(mw_error_text(results[2].error), "UTF-8") != NULL);
  CHECK(results[3].code == MW_OK && results[3].receipt.duplicate);
  mw_error_free(results[1].error);
  mw_error_free(results[2].error);
  mw_close(mesh, -1);
}

static void a_queue_brings_exactly_one_completion_for_each_publish(void) {
  enum { MANY = 20000 };
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4096);
  mw_completion done[256];
  unsigned char *seen = (unsigned char *)calloc(MANY, 1);
  uint64_t tag = 0, taken = 0;
  size_t n, i;
  while (taken < MANY) {
    if (tag < MANY) {
      int code = mw_publish_start(mesh, "queue", mw_bytes("x", 1), NULL, queue, tag, NULL);
      if (code == MW_OK) {
        tag++;
        continue;
      }
      CHECK(code == MW_BUFFER_FULL);
    }
    FINE(mw_queue_take(queue, done, 256, PATIENCE, &n, &err));
    CHECK(n > 0);
    for (i = 0; i < n; i++) {
      CHECK(done[i].kind == MW_RECEIPT && done[i].receipt.position > 0 && !seen[done[i].tag]);
      seen[done[i].tag] = 1;
      taken++;
    }
  }
  FINE(mw_queue_take(queue, done, 256, 0, &n, &err));
  CHECK(n == 0);
  free(seen);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void empty_and_large_data_come_as_they_were(void) {
  enum { LARGE = 1 << 20 };
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  char *large = (char *)malloc(LARGE), *huge = (char *)calloc(1, 64 << 20);
  mw_delivery *d;
  int i;
  for (i = 0; i < LARGE; i++) large[i] = (char)(i * 31);
  FINE(mw_publish(mesh, "sizes", mw_no_data(), NULL, NULL, &err));
  FINE(mw_publish(mesh, "sizes", mw_bytes("a\0b", 3), NULL, NULL, &err));
  FINE(mw_publish(mesh, "sizes", mw_bytes(large, LARGE - 4096), NULL, NULL, &err));
  CHECK(mw_publish(mesh, "sizes", mw_bytes(huge, 64 << 20), NULL, NULL, NULL) == MW_TOO_LARGE);
  FINE(mw_subscribe(mesh, "sizes", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL && mw_delivery_data(d).len == 0 && mw_delivery_data(d).kind == MW_NO_DATA && mw_ack(d) == MW_OK);
  d = next(sub);
  CHECK(d != NULL && mw_delivery_data(d).len == 3 && memcmp(mw_delivery_data(d).ptr, "a\0b", 3) == 0);
  CHECK(mw_ack(d) == MW_OK);
  d = next(sub);
  CHECK(d != NULL && mw_delivery_data(d).len == LARGE - 4096 && memcmp(mw_delivery_data(d).ptr, large, LARGE - 4096) == 0);
  CHECK(mw_ack(d) == MW_OK);
  free(large);
  free(huge);
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
}

static void a_publish_that_waits_for_room_is_called_back_and_one_that_has_left_is_not(void) {
  mw_gateway *mortal = NULL;
  mw_client *mesh = NULL;
  mw_queue *queue = mw_queue_new(8);
  mw_completion told;
  bool called = true;
  uint64_t tag;
  size_t n;
  FINE(mw_gateway_start(&mortal, NULL, 0, &err));
  FINE(mw_connect(&mesh, mw_gateway_url(mortal), "publish_window_events=1", &err));
  mw_gateway_kill(mortal);
  for (tag = 1; tag <= 3; tag++) FINE(mw_publish_later(mesh, "called", mw_text_data("x"), NULL, queue, tag, &err));
  FINE(mw_publish_cancel(mesh, queue, 1, &called, &err));
  CHECK(!called);
  FINE(mw_publish_cancel(mesh, queue, 3, &called, &err));
  CHECK(called);
  FINE(mw_queue_take(queue, &told, 1, PATIENCE, &n, &err));
  CHECK(n == 1 && told.tag == 3 && told.code == MW_CANCELLED && mw_error_retry(told.error) == MW_RETRY_NOW);
  mw_error_free(told.error);
  mw_close(mesh, 0);
  mw_queue_free(queue);
}

static void what_is_no_publish_that_waits_is_not_called_back(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(4);
  mw_completion told;
  bool called = true;
  size_t n;
  FINE(mw_publish_cancel(mesh, queue, 7, &called, &err));
  CHECK(!called);
  FINE(mw_publish_later(mesh, "called", mw_text_data("x"), NULL, queue, 7, &err));
  FINE(mw_queue_take(queue, &told, 1, PATIENCE, &n, &err));
  CHECK(n == 1 && told.kind == MW_RECEIPT);
  called = true;
  FINE(mw_publish_cancel(mesh, queue, 7, &called, &err));
  CHECK(!called && mw_publish_cancel(mesh, queue, 7, NULL, NULL) == MW_OK);
  CHECK(mw_publish_cancel(mesh, NULL, 7, &called, NULL) == MW_INVALID);
  CHECK(mw_publish_cancel(NULL, queue, 7, &called, NULL) == MW_INVALID);
  CHECK(mw_publish_cancel((mw_client *)queue, queue, 7, &called, NULL) == MW_INVALID);
  mw_close(mesh, -1);
  CHECK(mw_publish_cancel(mesh, queue, 7, &called, NULL) == MW_INVALID);
  mw_queue_free(queue);
}

static void text_that_is_no_json_is_not_published_as_json(void) {
  const char *wrong[] = {"{\"a\":1,\n}", "", "{} x", "{'a':1}", "NaN"};
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(1);
  mw_event event = {mw_json("[1,"), NULL};
  mw_result result;
  mw_reply *reply = NULL;
  mw_error *err = NULL;
  size_t i;
  for (i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    CHECK(mw_publish(mesh, "json", mw_json(wrong[i]), NULL, NULL, &err) == MW_INVALID);
    CHECK(strstr(mw_error_text(err), "no JSON") != NULL && (i > 0 || strstr(mw_error_text(err), "line 2 column 1") != NULL));
    mw_error_free(err);
  }
  CHECK(mw_publish_start(mesh, "json", mw_json("{"), NULL, queue, 1, NULL) == MW_INVALID);
  CHECK(mw_request_reply(mesh, "json", mw_json("{"), NULL, NULL, &reply, NULL) == MW_INVALID);
  FINE(mw_publish_batch(mesh, "json", &event, 1, &result, NULL));
  CHECK(mw_error_code(result.error) == MW_INVALID);
  mw_error_free(result.error);
  FINE(mw_publish(mesh, "json", mw_json(" {\"a\":[1,2.5e3,null,\"\\u00e9\"]} "), NULL, NULL, &err));
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

#define TESTS(test)                                                               \
  test(what_is_published_is_received_with_all_its_attributes)                     \
  test(a_batch_has_a_result_for_each_event_and_what_is_wrong_with_one_is_its_own) \
  test(a_queue_brings_exactly_one_completion_for_each_publish)                    \
  test(empty_and_large_data_come_as_they_were)                                    \
  test(a_publish_that_waits_for_room_is_called_back_and_one_that_has_left_is_not) \
  test(what_is_no_publish_that_waits_is_not_called_back)                          \
  test(text_that_is_no_json_is_not_published_as_json)
GROUP(publishing)
