#define _DEFAULT_SOURCE
#include "testee.h"

#include <stdio.h>
#include <stdlib.h>

/* Data above this is told by its length alone. */
enum { SHOWN = 1024 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static mw_data decoded(const char *text, void **owned) {
  uint8_t *bytes = (uint8_t *)malloc(strlen(text) + 1);
  uint32_t value = 0;
  size_t bits = 0, length = 0;
  for (; *text != 0 && *text != '='; text++) {
    value = value << 6 | (uint32_t)(strchr(digits, *text) - digits);
    if ((bits += 6) >= 8) bytes[length++] = (uint8_t)(value >> (bits -= 8));
  }
  *owned = bytes;
  return mw_bytes(bytes, length);
}

static void encode(const uint8_t *bytes, size_t length, char *to) {
  size_t at;
  for (at = 0; at < length; at += 3, to += 4) {
    uint32_t value = (uint32_t)bytes[at] << 16 | (at + 1 < length ? (uint32_t)bytes[at + 1] << 8 : 0) | (at + 2 < length ? bytes[at + 2] : 0);
    to[0] = digits[value >> 18];
    to[1] = digits[value >> 12 & 63];
    to[2] = digits[value >> 6 & 63];
    to[3] = digits[value & 63];
    if (at + 2 >= length) to[3] = '=';
    if (at + 1 >= length) to[2] = '=';
  }
  *to = 0;
}

/* What is absent is left to the client. */
void make(const cJSON *event, made *to) {
  const mw_publish_opts nothing = MW_PUBLISH_OPTS_INIT;
  const cJSON *value, *json = cJSON_GetObjectItem(event, "json");
  to->opts = nothing;
  to->owned = NULL;
  to->data = mw_no_data();
  to->opts.id = word(event, "id");
  to->opts.source = word(event, "source");
  to->opts.type = word(event, "type");
  to->opts.key = word(event, "key");
  to->opts.subject = word(event, "subject");
  to->opts.attributes = to->attributes;
  cJSON_ArrayForEach(value, cJSON_GetObjectItem(event, "attributes")) {
    mw_attribute *next = &to->attributes[to->opts.attribute_count++];
    next->name = value->string;
    next->text = value->valuestring;
    next->kind = cJSON_IsBool(value) ? MW_ATTRIBUTE_BOOLEAN : cJSON_IsNumber(value) ? MW_ATTRIBUTE_INTEGER : MW_ATTRIBUTE_TEXT;
    next->number = cJSON_IsBool(value) ? cJSON_IsTrue(value) : (int64_t)value->valuedouble;
  }
  if (word(event, "data") != NULL) {
    to->data = mw_text_data(word(event, "data"));
  } else if (json != NULL) {
    to->owned = cJSON_PrintUnformatted(json);
    to->data = mw_json((char *)to->owned);
  } else if (word(event, "data_b64") != NULL) {
    to->data = decoded(word(event, "data_b64"), &to->owned);
  } else if (number(event, "zeros", -1) >= 0) {
    to->owned = calloc(1, (size_t)number(event, "zeros", 0) + 1);
    to->data = mw_bytes(to->owned, (size_t)number(event, "zeros", 0));
  }
}

static void add(cJSON *to, const char *name, const char *text, size_t length) {
  char *copy = strndup(text, length);
  cJSON_AddStringToObject(to, name, copy);
  free(copy);
}

static void add_bytes(cJSON *to, const uint8_t *bytes, size_t length) {
  char *text = (char *)malloc(length / 3 * 4 + 5);
  encode(bytes, length, text);
  cJSON_AddStringToObject(to, "data_b64", text);
  free(text);
}

static bool attribute_at(const thing *of, size_t at, mw_text **name, mw_text **value) {
  if (of->delivery != NULL) return mw_delivery_attribute_at(of->delivery, at, name, value);
  if (of->job != NULL) return mw_job_attribute_at(of->job, at, name, value);
  if (of->request != NULL) return mw_request_attribute_at(of->request, at, name, value);
  return mw_reply_attribute_at(of->reply, at, name, value);
}

/* An event that came, and how in `message`. */
cJSON *shown(const thing *of, mw_message *message) {
  cJSON *event = cJSON_CreateObject(), *attributes;
  mw_text *name, *value;
  size_t at;
  *message = mw_message_new();
  if (of->delivery != NULL) mw_read(&of->delivery, 1, message, NULL);
  if (of->job != NULL) mw_job_read(of->job, message, NULL);
  if (of->request != NULL) mw_request_read(of->request, message, NULL);
  if (of->reply != NULL) mw_reply_read(of->reply, message, NULL);
  add(event, "id", message->id.ptr, message->id.len);
  add(event, "source", message->source.ptr, message->source.len);
  add(event, "type", message->type.ptr, message->type.len);
  attributes = cJSON_AddObjectToObject(event, "attributes");
  for (at = 0; attribute_at(of, at, &name, &value); at++) {
    cJSON_AddStringToObject(attributes, mw_text_chars(name), mw_text_chars(value));
    mw_text_free(name);
    mw_text_free(value);
  }
  if (message->data.kind == MW_NO_DATA) return event;
  if (message->data.len > SHOWN)
    cJSON_AddNumberToObject(event, "data_bytes", (double)message->data.len);
  else if (message->data.kind == MW_TEXT_DATA)
    add(event, "data", (const char *)message->data.ptr, message->data.len);
  else
    add_bytes(event, message->data.ptr, message->data.len);
  return event;
}

cJSON *shown_error(const mw_error *err) {
  const char *retries[] = {"never", "now", "after", "unknown_outcome"};
  cJSON *line = cJSON_CreateObject();
  cJSON_AddStringToObject(line, "code", mw_error_name(err));
  cJSON_AddNumberToObject(line, "num", mw_error_code(err));
  cJSON_AddStringToObject(line, "retry", retries[mw_error_retry(err)]);
  cJSON_AddStringToObject(line, "operation", mw_error_operation(err));
  cJSON_AddStringToObject(line, "message", mw_error_text(err));
  return line;
}

/* A dead letter's event, which is CloudEvents JSON, as one that came. */
cJSON *letter_event(cJSON *event) {
  cJSON *line = cJSON_CreateObject(), *attributes = cJSON_AddObjectToObject(line, "attributes"), *value;
  cJSON_ArrayForEach(value, event) {
    char *text = cJSON_IsString(value) ? strdup(value->valuestring) : cJSON_PrintUnformatted(value);
    const char *name = value->string;
    bool own = strcmp(name, "id") == 0 || strcmp(name, "source") == 0 || strcmp(name, "type") == 0 || strcmp(name, "data") == 0;
    if (own && strlen(text) > SHOWN)
      cJSON_AddNumberToObject(line, "data_bytes", (double)strlen(text));
    else if (own || strcmp(name, "data_base64") == 0)
      cJSON_AddStringToObject(line, own ? name : "data_b64", text);
    else if (strcmp(name, "specversion") != 0)
      cJSON_AddStringToObject(attributes, name, text);
    free(text);
  }
  return line;
}
