#define _DEFAULT_SOURCE
#include "testee.h"

#include <stdlib.h>

/* Commands of the runner, those of the library, and the fields of the answer that are told. */
static const char *commands[][3] = {
    {"create_topic", "topics.create", "name"},
    {"update_topic", "topics.update", "name retention_ms retention_bytes lagging"},
    {"delete_topic", "topics.delete", "name"},
    {"topics", "topics.list", "name first next delayed overtaken requests"},
    {"groups", "groups.list", NULL},
    {"create_group", "groups.create", NULL},
    {"update_group", "groups.update", NULL},
    {"seek_group", "groups.seek", NULL},
    {"delete_group", "groups.delete", NULL},
    {"dead_letters", "dead_letters.list", "number group member position reason failures attempts error redriven event"},
    {"dead_letter", "dead_letters.get", "number group member position reason failures attempts error redriven event"},
    {"redrive", "dead_letters.redrive", "count left"},
    {"purge", "dead_letters.purge", "count"},
};

static const char **found(const char *op) {
  size_t i;
  for (i = 0; i < sizeof commands / sizeof *commands; i++)
    if (strcmp(commands[i][0], op) == 0) return commands[i];
  return NULL;
}

const char *admin_command(const char *op) { return found(op) != NULL ? found(op)[1] : NULL; }

cJSON *admin_arguments(const char *op, const cJSON *command, const char *place) {
  const char *same = "topic durability retention_ms retention_bytes lagging force", *group = word(command, "group");
  const char *slash = group != NULL ? strchr(group, '/') : NULL;
  const cJSON *numbers = cJSON_GetObjectItem(command, "numbers");
  cJSON *made = cJSON_CreateObject(), *value;
  cJSON_ArrayForEach(value, command)
    if (among(same, value->string)) cJSON_AddItemToObject(made, value->string, cJSON_Duplicate(value, true));
  if (group != NULL) {
    char *name = strndup(group, slash != NULL ? (size_t)(slash - group) : strlen(group));
    put(made, "group=s", name);
    if (slash != NULL) put(made, "member=s", slash + 1);
    free(name);
  }
  cJSON_ArrayForEach(value, cJSON_GetObjectItem(command, "settings")) {
    if (cJSON_IsArray(value))
      put(made, "backoff_min_ms=n backoff_max_ms=n", cJSON_GetArrayItem(value, 0)->valuedouble, cJSON_GetArrayItem(value, 1)->valuedouble);
    else
      cJSON_AddItemToObject(made, value->string, cJSON_Duplicate(value, true));
  }
  if (place != NULL) cJSON_AddStringToObject(made, strcmp(op, "seek_group") == 0 ? "to" : "start", place);
  if (strcmp(op, "dead_letters") == 0) return put(made, "events=b limit=n", true, 1000.0);
  if (strcmp(op, "dead_letter") == 0) return put(made, "number=n", cJSON_GetArrayItem(numbers, 0)->valuedouble);
  if (cJSON_GetArraySize(numbers) > 0) return put(made, "numbers=j", cJSON_Duplicate(numbers, true));
  return strcmp(op, "redrive") == 0 || strcmp(op, "purge") == 0 ? put(made, "all=b", true) : made;
}

/* A dead letter's event, which is CloudEvents JSON, as one that came. */
static cJSON *letter_event(const cJSON *event) {
  cJSON *attributes = cJSON_CreateObject(), *line = put(cJSON_CreateObject(), "attributes=j", attributes), *value;
  cJSON_ArrayForEach(value, event) {
    char *text = cJSON_IsString(value) ? strdup(value->valuestring) : cJSON_PrintUnformatted(value);
    bool own = among("id source type data", value->string);
    if (own && strlen(text) > 1024)
      put(line, "data_bytes=n", (double)strlen(text));
    else if (own || strcmp(value->string, "data_base64") == 0)
      cJSON_AddStringToObject(line, own ? value->string : "data_b64", text);
    else if (strcmp(value->string, "specversion") != 0)
      cJSON_AddStringToObject(attributes, value->string, text);
    free(text);
  }
  return line;
}

/* One field of an answer, under the name that the runner has for it: positions are numbers there, and settings of a group by themselves. */
static void field(cJSON *to, cJSON *settings, cJSON *value) {
  const char *name = value->string, *of_group = "ack_wait_ms max_failures hold_after_dead_letter strict_order max_in_flight max_rate mode";
  cJSON *member, *copy = cJSON_Duplicate(value, true);
  if (among("first next position settled_through", name) && cJSON_IsString(value)) {
    cJSON_Delete(copy);
    copy = cJSON_CreateNumber(strtod(value->valuestring, NULL));
  } else if (strcmp(name, "event") == 0) {
    cJSON_Delete(copy);
    copy = letter_event(value);
  } else if (strcmp(name, "durable_members") == 0) {
    cJSON_Delete(copy);
    copy = cJSON_CreateArray();
    cJSON_ArrayForEach(member, value) cJSON_AddItemToArray(copy, admin_answer("groups", member));
  }
  if (strncmp(name, "backoff_", 8) == 0)
    cJSON_AddItemToArray(cJSON_GetObjectItem(settings, "backoff_ms"), copy);
  else if (among(of_group, name))
    cJSON_AddItemToObject(settings, name, copy);
  else
    cJSON_AddItemToObject(to, among("redriven purged", name) && cJSON_IsNumber(value) ? "count" : name, copy);
}

/* The answer to one, or one of a list. */
cJSON *admin_answer(const char *op, cJSON *answer) {
  cJSON *all = cJSON_CreateObject(), *told = cJSON_CreateObject(), *settings = cJSON_CreateObject(), *value, *next;
  const char *names = found(op)[2];
  put(settings, "backoff_ms=j", cJSON_CreateArray());
  cJSON_ArrayForEach(value, answer) field(all, settings, value);
  if (names == NULL) return put(all, "settings=j", settings);
  for (value = all->child; value != NULL; value = next) {
    next = value->next;
    if (among(names, value->string) && !(strcmp(value->string, "left") == 0 && cJSON_GetArraySize(value) == 0))
      cJSON_AddItemToObject(told, value->string, cJSON_Duplicate(value, true));
  }
  cJSON_Delete(settings);
  cJSON_Delete(all);
  return told;
}
