#define _DEFAULT_SOURCE
#include "testee.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Data above this is told by its length alone. */
enum { SHOWN = 1024 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

cJSON *put(cJSON *to, const char *names, ...) {
  va_list values;
  char name[32];
  int length = 0;
  va_start(values, names);
  for (; sscanf(names, " %31[^=]=%*c%n", name, &length) == 1; names += length) {
    char kind = names[length - 1];
    if (kind == 's') cJSON_AddStringToObject(to, name, va_arg(values, const char *));
    if (kind == 'n') cJSON_AddNumberToObject(to, name, va_arg(values, double));
    if (kind == 'b') cJSON_AddBoolToObject(to, name, va_arg(values, int));
    if (kind == 'j') cJSON_AddItemToObject(to, name, va_arg(values, cJSON *));
  }
  va_end(values);
  return to;
}

const char *word(const cJSON *of, const char *name) { return cJSON_GetStringValue(cJSON_GetObjectItem(of, name)); }

double number(const cJSON *of, const char *name, double otherwise) {
  const cJSON *found = cJSON_GetObjectItem(of, name);
  return cJSON_IsNumber(found) ? found->valuedouble : otherwise;
}

bool among(const char *names, const char *name) {
  const char *at = names;
  for (; (at = strstr(at, name)) != NULL; at++) {
    char behind = at[strlen(name)];
    if ((at == names || at[-1] == ' ') && (behind == ' ' || behind == 0)) return true;
  }
  return false;
}

bool yes(const cJSON *of, const char *name) { return cJSON_IsTrue(cJSON_GetObjectItem(of, name)); }

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

static cJSON *encoded(const uint8_t *bytes, size_t length) {
  char text[SHOWN / 3 * 4 + 8], *to = text;
  size_t at, i;
  for (at = 0; at < length; at += 3) {
    uint32_t value = 0;
    for (i = 0; i < 3; i++) value = value << 8 | (at + i < length ? bytes[at + i] : 0);
    for (i = 0; i < 4; i++) *to++ = at + i <= length ? digits[value >> (18 - 6 * i) & 63] : '=';
  }
  *to = 0;
  return cJSON_CreateString(text);
}

/* cJSON prints whole numbers beyond 15 digits rounded. */
static void exact(cJSON *value) {
  cJSON *member;
  cJSON_ArrayForEach(member, value) exact(member);
  if (!cJSON_IsNumber(value) || value->valuedouble != (double)(int64_t)value->valuedouble) return;
  value->valuestring = (char *)malloc(24);
  sprintf(value->valuestring, "%.0f", value->valuedouble);
  value->type = cJSON_Raw;
}

/* What is absent is left to the client. */
void make(const cJSON *event, made *to) {
  const mw_publish_opts nothing = MW_PUBLISH_OPTS_INIT;
  cJSON *json = cJSON_GetObjectItem(event, "json"), *value;
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
  if (json != NULL) {
    exact(json);
    to->data = mw_json((char *)(to->owned = cJSON_PrintUnformatted(json)));
  }
  if (word(event, "data") != NULL) to->data = mw_text_data(word(event, "data"));
  if (word(event, "data_b64") != NULL) to->data = decoded(word(event, "data_b64"), &to->owned);
  if (number(event, "zeros", -1) < 0) return;
  to->owned = calloc(1, (size_t)number(event, "zeros", 0) + 1);
  to->data = mw_bytes(to->owned, (size_t)number(event, "zeros", 0));
}

static cJSON *text_of(const void *text, size_t length) {
  char *copy = strndup((const char *)text, length);
  cJSON *made = cJSON_CreateString(copy);
  free(copy);
  return made;
}

static bool attribute_at(const thing *of, size_t at, mw_text **name, mw_text **value) {
  if (of->delivery != NULL) return mw_delivery_attribute_at(of->delivery, at, name, value);
  if (of->job != NULL) return mw_job_attribute_at(of->job, at, name, value);
  if (of->request != NULL) return mw_request_attribute_at(of->request, at, name, value);
  return mw_reply_attribute_at(of->reply, at, name, value);
}

/* An event that came, and how in `message`. */
cJSON *shown(const thing *of, mw_message *message) {
  cJSON *event = cJSON_CreateObject(), *attributes = cJSON_CreateObject();
  mw_text *name, *value;
  mw_data data;
  size_t at;
  *message = mw_message_new();
  if (of->delivery != NULL) mw_read(&of->delivery, 1, message, NULL);
  if (of->job != NULL) mw_job_read(of->job, message, NULL);
  if (of->request != NULL) mw_request_read(of->request, message, NULL);
  if (of->reply != NULL) mw_reply_read(of->reply, message, NULL);
  data = message->data;
  put(event, "id=j source=j type=j attributes=j", text_of(message->id.ptr, message->id.len),
      text_of(message->source.ptr, message->source.len), text_of(message->type.ptr, message->type.len), attributes);
  for (at = 0; attribute_at(of, at, &name, &value); at++) {
    cJSON_AddStringToObject(attributes, mw_text_chars(name), mw_text_chars(value));
    mw_text_free(name);
    mw_text_free(value);
  }
  if (data.kind == MW_NO_DATA) return event;
  if (data.len > SHOWN) return put(event, "data_bytes=n", (double)data.len);
  return data.kind == MW_TEXT_DATA ? put(event, "data=j", text_of(data.ptr, data.len)) : put(event, "data_b64=j", encoded(data.ptr, data.len));
}

cJSON *shown_error(const mw_error *err) {
  const char *retries[] = {"never", "now", "after", "unknown_outcome"};
  return put(cJSON_CreateObject(), "code=s num=n retry=s operation=s message=s", mw_error_name(err), (double)mw_error_code(err),
             retries[mw_error_retry(err)], mw_error_operation(err), mw_error_text(err));
}
