// The functions of meshwire.h with handles as numbers: a pointer that is none of Go's has no place in its memory.
#ifndef MESHWIRE_GO_BORDER_H
#define MESHWIRE_GO_BORDER_H

#include "meshwire.h"

#include <stdlib.h>

#if defined(__linux__) && !defined(__GLIBC__)
#error "this libc is not glibc: the archive is for glibc; install the C package for yours and build with -tags meshwire_dynamic"
#endif

typedef uintptr_t handle;

// As mw_completion.
typedef struct {
  uint64_t tag;
  int32_t kind;
  int32_t code;
  handle error;
  handle value;
  size_t count;
  uint64_t position;
  bool duplicate;
} gw_completion;
_Static_assert(sizeof(gw_completion) == sizeof(mw_completion), "a completion is as in meshwire.h");
_Static_assert(offsetof(gw_completion, duplicate) == offsetof(mw_completion, receipt.duplicate), "likewise");

// As mw_refusal.
typedef struct {
  uint64_t tag;
  int32_t code;
  handle error;
} gw_refusal;
_Static_assert(sizeof(gw_refusal) == sizeof(mw_refusal), "a refusal is as in meshwire.h");

// As mw_work.
typedef struct {
  handle job;
  handle request;
  uint64_t lost;
} gw_work;
_Static_assert(sizeof(gw_work) == sizeof(mw_work), "work is as in meshwire.h");

// As mw_result.
typedef struct {
  int32_t code;
  handle error;
  uint64_t position;
  bool duplicate;
} gw_result;
_Static_assert(sizeof(gw_result) == sizeof(mw_result), "a result is as in meshwire.h");

#define ERR (mw_error **)err
#define OP (mw_operation **)op
#define MESH (mw_client *)mesh
#define QUEUE (mw_queue *)queue

static inline mw_data packed(const void *event, size_t len) {
  mw_data data = mw_bytes(event, len);
  data.kind = MW_PACKED;
  return data;
}

static int gw_connect_start(const char *url, const char *options, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_connect_start(url, options, QUEUE, tag, OP, ERR);
}
static int gw_connected_start(handle mesh, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_connected_start(MESH, QUEUE, tag, OP, ERR);
}
static int gw_state_start(handle mesh, int before, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_state_start(MESH, before, QUEUE, tag, OP, ERR);
}
static int gw_client_state(handle mesh) { return (int)mw_client_state(MESH); }
static int gw_stats(handle mesh, handle *text, handle *err) { return mw_stats_json(MESH, (mw_text **)text, ERR); }
static int gw_flush_start(handle mesh, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_flush_start(MESH, QUEUE, tag, OP, ERR);
}
static int gw_drain_start(handle mesh, int64_t ms, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_drain_start(MESH, ms, QUEUE, tag, OP, ERR);
}
static int gw_close(handle mesh, int64_t ms) { return mw_close(MESH, ms); }
static int gw_stop(handle mesh, handle *err) { return mw_stop(MESH, ERR); }
static int gw_admin_start(handle mesh, const char *command, const char *arguments, handle queue, uint64_t tag,
                          handle *op, handle *err) {
  return mw_admin_start(MESH, command, arguments, QUEUE, tag, OP, ERR);
}

static handle gw_queue_new(size_t most) { return (handle)mw_queue_new(most); }
static void gw_queue_free(handle queue) { mw_queue_free(QUEUE); }
static int gw_queue_take(handle queue, gw_completion *into, size_t most, int64_t ms, size_t *n) {
  return mw_queue_take(QUEUE, (mw_completion *)into, most, ms, n, NULL);
}
static int gw_queue_fd(handle queue) { return mw_queue_fd(QUEUE); }
static int gw_cancel(handle op) { return mw_cancel((mw_operation *)op, NULL); }
static void gw_operation_free(handle op) { mw_operation_free((mw_operation *)op); }

static int gw_error_code(handle err) { return mw_error_code((mw_error *)err); }
static const char *gw_error_name(handle err) { return mw_error_name((mw_error *)err); }
static const char *gw_error_text(handle err) { return mw_error_text((mw_error *)err); }
static const char *gw_error_operation(handle err) { return mw_error_operation((mw_error *)err); }
static int gw_error_retry(handle err) { return (int)mw_error_retry((mw_error *)err); }
static int64_t gw_error_retry_after(handle err) { return mw_error_retry_after_ms((mw_error *)err); }
static bool gw_error_context(handle err, size_t at, const char **name, const char **value) {
  return mw_error_context((mw_error *)err, at, name, value);
}
static void gw_error_free(handle err) { mw_error_free((mw_error *)err); }
static const char *gw_text(handle text) { return mw_text_chars((mw_text *)text); }
static void gw_text_free(handle text) { mw_text_free((mw_text *)text); }

static int gw_publish_packed(handle mesh, const uint8_t *events, size_t len, size_t count, handle queue,
                             gw_refusal *refused, size_t *n, handle *err) {
  return mw_publish_packed(MESH, events, len, count, QUEUE, (mw_refusal *)refused, n, ERR);
}
static size_t gw_publish_waiting(handle mesh) { return mw_publish_waiting(MESH); }
static int gw_publish_batch(handle mesh, const char *topic, const uint8_t *events, size_t len, size_t count,
                            handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_publish_batch_packed(MESH, topic, events, len, count, QUEUE, tag, OP, ERR);
}
static int gw_publish_admit(handle mesh, const char *topic, const void *event, size_t len, handle queue, uint64_t tag,
                            handle *op, handle *err) {
  return mw_publish_admit_start(MESH, topic, packed(event, len), NULL, QUEUE, tag, OP, ERR);
}
static int gw_started_receipt(handle started, handle queue, uint64_t tag, handle *err) {
  return mw_started_receipt((mw_started *)started, QUEUE, tag, ERR);
}
static void gw_started_free(handle started) { mw_started_free((mw_started *)started); }
static bool gw_publish_cancel(handle mesh, handle queue, uint64_t tag) {
  bool called_back = false;
  mw_publish_cancel(MESH, QUEUE, tag, &called_back, NULL);
  return called_back;
}
static int gw_receipts_take(handle receipts, gw_result *results, size_t most, size_t *n, handle *err) {
  return mw_receipts_take((mw_receipts *)receipts, (mw_result *)results, most, n, ERR);
}

static int gw_request_start(handle mesh, const char *topic, const void *event, size_t len, const char *options,
                            handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_request_reply_start(MESH, topic, packed(event, len), NULL, options, QUEUE, tag, OP, ERR);
}
static int gw_request_stream_start(handle mesh, const char *topic, const void *event, size_t len, const char *options,
                                   handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_request_stream_start(MESH, topic, packed(event, len), NULL, options, QUEUE, tag, OP, ERR);
}
static int gw_replies_next_start(handle replies, size_t most, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_replies_next_start((mw_replies *)replies, most, MW_FOREVER, QUEUE, tag, OP, ERR);
}
static int gw_reply_batch_take(handle batch, handle *replies, size_t most, size_t *n, handle *err) {
  return mw_reply_batch_take((mw_reply_batch *)batch, (mw_reply **)replies, most, n, ERR);
}
static void gw_replies_close(handle replies) { mw_replies_close((mw_replies *)replies); }
static void gw_reply_free(handle reply) { mw_reply_free((mw_reply *)reply); }

static int gw_subscribe_start(handle mesh, const char *topic, const char *options, handle queue, uint64_t tag,
                              handle *op, handle *err) {
  return mw_subscribe_start(MESH, topic, options, QUEUE, tag, OP, ERR);
}
static int gw_next_now(handle sub, handle *batch, size_t most, size_t *n, handle *err) {
  return mw_next((mw_subscription *)sub, (mw_delivery **)batch, most, 0, n, ERR);
}
static int gw_next_start(handle sub, size_t most, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_next_start((mw_subscription *)sub, most, MW_FOREVER, QUEUE, tag, OP, ERR);
}
static int gw_batch_take(handle batch, handle *deliveries, size_t most, size_t *n, handle *err) {
  return mw_batch_take((mw_batch *)batch, (mw_delivery **)deliveries, most, n, ERR);
}
static void gw_unsubscribe(handle sub) { mw_unsubscribe((mw_subscription *)sub); }
static void gw_leave(handle sub) { mw_leave((mw_subscription *)sub); }
static void gw_take_ahead(handle sub) { mw_take_ahead((mw_subscription *)sub); }
static int gw_pack(int kind, const handle *things, size_t count, uint8_t *heads, size_t *heads_size, uint8_t *events, size_t *events_size,
                   handle *err) {
  mw_buffer said = {heads, *heads_size, 0}, kept = {events, *events_size, 0};
  int code = mw_pack(kind, (const uintptr_t *)things, count, &said, &kept, ERR);
  *heads_size = said.needed;
  *events_size = kept.needed;
  return code;
}
static int gw_event_attributes(const uint8_t *event, size_t len, uint8_t *buffer, size_t size, size_t *needed, handle *err) {
  return mw_event_attributes(event, len, buffer, size, needed, ERR);
}
static int gw_settle_many(const handle *batch, size_t count, int kind, int64_t delay, const char *reason, handle *err) {
  return mw_settle_many((mw_delivery *const *)batch, count, kind, delay, reason, ERR);
}
static int gw_settle_start(handle delivery, int kind, int64_t delay, const char *reason, handle queue, uint64_t tag,
                           handle *op, handle *err) {
  return mw_settle_start((mw_delivery *)delivery, kind, delay, reason, QUEUE, tag, OP, ERR);
}
static int gw_extend(handle delivery) { return mw_extend((mw_delivery *)delivery); }
static int gw_extend_start(handle delivery, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_extend_start((mw_delivery *)delivery, QUEUE, tag, OP, ERR);
}
static bool gw_claim(handle delivery) { return mw_claim((mw_delivery *)delivery); }
static size_t gw_claim_batch(const handle *batch, size_t count, bool *claimed) {
  return mw_claim_batch((mw_delivery *const *)batch, count, claimed);
}
static void gw_give_back(const handle *batch, size_t count) { mw_give_back((mw_delivery *const *)batch, count, NULL); }
static void gw_delivery_free(handle delivery) { mw_delivery_free((mw_delivery *)delivery); }

static int gw_consumer_new(handle mesh, const char *topic, const char *options, handle *made, handle *err) {
  return mw_consumer_new(MESH, topic, options, (mw_consumer **)made, ERR);
}
static int gw_responder_new(handle mesh, const char *topic, const char *options, handle *made, handle *err) {
  return mw_responder_new(MESH, topic, options, (mw_responder **)made, ERR);
}
static int gw_consumer_next(handle consumer, size_t most, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_consumer_next_start((mw_consumer *)consumer, most, MW_FOREVER, QUEUE, tag, OP, ERR);
}
static int gw_responder_next(handle responder, size_t most, handle queue, uint64_t tag, handle *op, handle *err) {
  return mw_responder_next_start((mw_responder *)responder, most, MW_FOREVER, QUEUE, tag, OP, ERR);
}
static void gw_consumer_stop(handle consumer) { mw_consumer_stop((mw_consumer *)consumer); }
static void gw_responder_stop(handle responder) { mw_responder_stop((mw_responder *)responder); }
static void gw_consumer_free(handle consumer) { mw_consumer_free((mw_consumer *)consumer); }
static void gw_responder_free(handle responder) { mw_responder_free((mw_responder *)responder); }
static int gw_works_take(handle works, gw_work *into, size_t most, size_t *n, handle *err) {
  return mw_works_take((mw_works *)works, (mw_work *)into, most, n, ERR);
}
static void gw_works_free(handle works) { mw_works_free((mw_works *)works); }
static int gw_job_end(handle job, int how, int64_t delay, const char *why, handle *err) {
  return mw_job_end((mw_job *)job, how, delay, why, ERR);
}
static int gw_reply_send_start(handle request, const void *event, size_t len, handle queue, uint64_t tag, handle *op,
                               handle *err) {
  return mw_reply_send_start((mw_request *)request, packed(event, len), NULL, QUEUE, tag, OP, ERR);
}
static int gw_request_answer(handle request, const void *event, size_t len, handle *err) {
  return mw_request_answer((mw_request *)request, packed(event, len), NULL, ERR);
}
static int gw_request_end(handle request, handle *err) { return mw_request_end((mw_request *)request, ERR); }
static int gw_request_fail(handle request, const char *why, handle *err) {
  return mw_request_fail((mw_request *)request, why, ERR);
}

static int gw_gateway_start(handle *gateway, const char *const *arguments, size_t count, handle *err) {
  return mw_gateway_start((mw_gateway **)gateway, arguments, count, ERR);
}
static const char *gw_gateway_url(handle gateway) { return mw_gateway_url((mw_gateway *)gateway); }
static int gw_gateway_stop(handle gateway, handle *err) { return mw_gateway_stop((mw_gateway *)gateway, ERR); }
static void gw_gateway_kill(handle gateway) { mw_gateway_kill((mw_gateway *)gateway); }

// Records are put behind each other here and read when the function that brings them has returned: C calls no function of Go's.
typedef struct {
  char *bytes;
  size_t len, room;
} gw_records;
static void gw_keep(void *ctx, const void *bytes, size_t len) {
  gw_records *records = (gw_records *)ctx;
  if (records->len + len > records->room) {
    size_t room = (records->len + len) * 2;
    char *grown = (char *)realloc(records->bytes, room);
    if (grown == NULL) return;
    records->bytes = grown;
    records->room = room;
  }
  memcpy(records->bytes + records->len, bytes, len);
  records->len += len;
}
static void gw_keep_text(void *ctx, const char *text) {
  uint32_t len = (uint32_t)strlen(text);
  gw_keep(ctx, &len, 4);
  gw_keep(ctx, text, len);
}
static void gw_record(void *ctx, const mw_record *record) {
  uint32_t level = (uint32_t)record->level, count = (uint32_t)record->field_count, at;
  gw_keep(ctx, &level, 4);
  gw_keep(ctx, &record->time_ms, 8);
  gw_keep(ctx, &count, 4);
  gw_keep_text(ctx, record->target);
  gw_keep_text(ctx, record->sentence);
  for (at = 0; at < count; at++) {
    gw_keep_text(ctx, record->fields[at].name);
    gw_keep_text(ctx, record->fields[at].value);
  }
}
static int gw_logs_keep(int level, handle *err) { return mw_logs_keep(level, ERR); }
static int gw_logs_level(int level, handle *err) { return mw_logs_level(level, ERR); }
static int gw_logs(int64_t timeout_ms, gw_records *records, uint64_t *dropped) {
  return mw_logs_dispatch(timeout_ms, gw_record, records, dropped);
}

#endif
