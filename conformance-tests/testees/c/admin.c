#include "testee.h"

/* Commands of the runner, and those of the library. */
static const char *commands[][2] = {
    {"create_topic", "topics.create"}, {"update_topic", "topics.update"}, {"delete_topic", "topics.delete"}, {"topics", "topics.list"},
    {"create_group", "groups.create"}, {"update_group", "groups.update"}, {"delete_group", "groups.delete"}, {"groups", "groups.list"},
    {"seek_group", "groups.seek"}, {"dead_letters", "dead_letters.list"}, {"dead_letter", "dead_letters.get"},
    {"redrive", "dead_letters.redrive"}, {"purge", "dead_letters.purge"}};

const char *admin_command(const char *op) {
  size_t i;
  for (i = 0; i < sizeof commands / sizeof *commands; i++)
    if (strcmp(commands[i][0], op) == 0) return commands[i][1];
  return NULL;
}

/* A command's fields as the library's arguments; `place` is where to start or go. */
cJSON *admin_arguments(const char *op, const cJSON *command, const char *place) {
  const char *group = word(command, "group"), *slash = group != NULL ? strchr(group, '/') : NULL;
  const cJSON *numbers = cJSON_GetObjectItem(command, "numbers");
  cJSON *made = cJSON_CreateObject(), *value;
  cJSON_ArrayForEach(value, command)
    if (among("topic durability retention_ms retention_bytes lagging force", value->string)) cJSON_AddItemToObject(made, value->string, cJSON_Duplicate(value, true));
  if (group != NULL) put(made, "group=j", text_of(group, slash != NULL ? (size_t)(slash - group) : strlen(group)));
  if (slash != NULL) put(made, "member=s", slash + 1);
  cJSON_ArrayForEach(value, cJSON_GetObjectItem(command, "settings")) {
    if (!cJSON_IsArray(value)) cJSON_AddItemToObject(made, value->string, cJSON_Duplicate(value, true));
    if (!cJSON_IsArray(value)) continue;
    put(made, "backoff_min_ms=n backoff_max_ms=n", cJSON_GetArrayItem(value, 0)->valuedouble, cJSON_GetArrayItem(value, 1)->valuedouble);
  }
  if (place != NULL) cJSON_AddStringToObject(made, strcmp(op, "seek_group") == 0 ? "to" : "start", place);
  if (strcmp(op, "dead_letters") == 0) return put(made, "events=b limit=n", true, 1000.0);
  if (strcmp(op, "dead_letter") == 0) return put(made, "number=n", cJSON_GetArrayItem(numbers, 0)->valuedouble);
  if (cJSON_GetArraySize(numbers) > 0) return put(made, "numbers=j", cJSON_Duplicate(numbers, true));
  return among("redrive purge", op) ? put(made, "all=b", true) : made;
}

/* A dead letter's event, which is CloudEvents JSON, as one that came. */
static cJSON *letter_event(const cJSON *event) {
  cJSON *attributes = cJSON_CreateObject(), *line = put(cJSON_CreateObject(), "attributes=j", attributes), *value;
  cJSON_ArrayForEach(value, event) {
    char *text = cJSON_IsString(value) ? strdup(value->valuestring) : cJSON_PrintUnformatted(value);
    bool own = among("id source type data data_base64", value->string);
    if (own && strlen(text) > 1024)
      put(line, "data_bytes=n", (double)strlen(text));
    else if (strcmp(value->string, "specversion") != 0)
      cJSON_AddStringToObject(own ? line : attributes, strcmp(value->string, "data_base64") == 0 ? "data_b64" : value->string, text);
    free(text);
  }
  return line;
}

/* Whether the runner is told a field. */
static bool told(const char *op, const char *name, const cJSON *value) {
  if (among("create_topic delete_topic", op)) return strcmp(name, "name") == 0;
  if (strcmp(op, "update_topic") == 0) return among("name retention_ms retention_bytes lagging", name);
  if (among("redrive purge", op)) return strcmp(name, "left") != 0 ? among("redriven purged", name) : cJSON_GetArraySize(value) > 0;
  return !among("stored first_failure last_failure", name);
}

/* The answer to one, or one of a list, as the runner has it: positions are numbers, and settings of a group by themselves. */
cJSON *admin_answer(const char *op, const cJSON *answer) {
  cJSON *all = cJSON_CreateObject(), *settings = cJSON_CreateObject(), *backoff = cJSON_AddArrayToObject(settings, "backoff_ms"), *value, *member;
  cJSON_ArrayForEach(value, answer) {
    const char *name = value->string;
    bool is_setting = among("ack_wait_ms max_failures hold_after_dead_letter strict_order max_in_flight max_rate mode", name);
    cJSON *copy = strcmp(name, "event") == 0 ? letter_event(value) : strcmp(name, "durable_members") == 0 ? cJSON_CreateArray() : NULL;
    if (!told(op, name, value)) continue;
    if (strcmp(name, "durable_members") == 0)
      cJSON_ArrayForEach(member, value) cJSON_AddItemToArray(copy, admin_answer("groups", member));
    if (copy == NULL && among("first next position settled_through", name)) copy = cJSON_CreateNumber(strtod(value->valuestring, NULL));
    if (copy == NULL) copy = cJSON_Duplicate(value, true);
    if (strncmp(name, "backoff_", 8) == 0)
      cJSON_AddItemToArray(backoff, copy);
    else
      cJSON_AddItemToObject(is_setting ? settings : all, among("redriven purged", name) && cJSON_IsNumber(value) ? "count" : name, copy);
  }
  return among("groups create_group update_group seek_group delete_group", op) ? put(all, "settings=j", settings) : (cJSON_Delete(settings), all);
}
