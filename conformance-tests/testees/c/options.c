#include "testee.h"

#include <time.h>

int64_t now_ms(void) {
  struct timespec now;
  return clock_gettime(CLOCK_REALTIME, &now), (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *start_of(const cJSON *command) {
  static char text[64];
  const cJSON *start = cJSON_GetObjectItem(command, cJSON_HasObjectItem(command, "to") ? "to" : "start");
  int64_t mark = mark_ms(word(start, "mark")), at = mark != 0 ? mark : now_ms() - (int64_t)number(start, "ago_ms", 0);
  time_t seconds = (time_t)(at / 1000);
  struct tm parts;
  if (start == NULL || cJSON_IsString(start)) return cJSON_GetStringValue(start);
  if (cJSON_HasObjectItem(start, "position")) {
    sprintf(text, "%.0f", number(start, "position", 0));
  } else {
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &parts));
    sprintf(text + strlen(text), ".%03dZ", (int)(at % 1000));
  }
  return text;
}

/* Adds a value. */
void option(char *to, const char *name, const cJSON *value, const char *unit) {
  to += strlen(to);
  if (cJSON_IsString(value)) sprintf(to, "%s=%s\n", name, value->valuestring);
  if (cJSON_IsNumber(value)) sprintf(to, "%s=%.0f%s\n", name, value->valuedouble, unit);
  if (cJSON_IsBool(value)) sprintf(to, "%s=%s\n", name, cJSON_IsTrue(value) ? "true" : "false");
}

/* A field, which of its items where it is a list, the option that it is, and its unit. */
static const char *fields[][4] = {
    {"client_name", "", "name", ""}, {"timeout_ms", "", "connect_timeout", "ms"}, {"wait_ms", "", "connect_wait", "ms"},
    {"window_events", "", "publish_window_events", ""}, {"tls_roots", "", "client_tls_roots", ""}, {"group", "", "group", ""},
    {"member", "", "member", ""}, {"broadcast", "", "broadcast", ""}, {"concurrency", "", "handler_concurrency", ""},
    {"ack_wait_ms", "", "ack_wait", "ms"}, {"max_failures", "", "max_failures", ""}, {"max_in_flight", "", "max_in_flight", ""},
    {"max_rate", "", "max_rate", ""}, {"hold_after_dead_letter", "", "hold_after_dead_letter", ""}, {"retry", "", "retry", ""},
    {"strict_order", "", "strict_order", ""}, {"credit", "", "reply_credit", ""}, {"reconnect_ms", "0", "reconnect_min", "ms"},
    {"reconnect_ms", "1", "reconnect_max", "ms"}, {"prefetch", "0", "prefetch_events", ""}, {"prefetch", "1", "prefetch_bytes", ""},
    {"backoff_ms", "0", "backoff_min", "ms"}, {"backoff_ms", "1", "backoff_max", "ms"}};

void options(char *to, const cJSON *command) {
  size_t i;
  for (i = 0; i < sizeof fields / sizeof *fields; i++) {
    const cJSON *value = cJSON_GetObjectItem(command, fields[i][0]);
    option(to, fields[i][2], *fields[i][1] == 0 ? value : cJSON_GetArrayItem(value, *fields[i][1] - '0'), fields[i][3]);
  }
  if (cJSON_HasObjectItem(command, "start") && start_of(command) != NULL) sprintf(to + strlen(to), "start=%s\n", start_of(command));
  if (cJSON_HasObjectItem(command, "settings")) options(to, cJSON_GetObjectItem(command, "settings"));
}
