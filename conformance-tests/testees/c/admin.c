#define _DEFAULT_SOURCE
#include "testee.h"

#include <stdlib.h>

/* Commands of the runner, those of the library, and what of the answer is told: all fields where none is named. */
static const struct {
  const char *op, *command, *told;
} commands[] = {
    {"create_topic", "topics.create", "name"},
    {"update_topic", "topics.update", "name retention_ms retention_bytes lagging"},
    {"delete_topic", "topics.delete", "name"},
    {"topics", "topics.list", ""},
    {"groups", "groups.list", ""},
    {"create_group", "groups.create", ""},
    {"update_group", "groups.update", ""},
    {"seek_group", "groups.seek", ""},
    {"delete_group", "groups.delete", ""},
    {"dead_letters", "dead_letters.list", ""},
    {"dead_letter", "dead_letters.get", ""},
    {"redrive", "dead_letters.redrive", ""},
    {"purge", "dead_letters.purge", ""},
};

static void move(cJSON *from, const char *name, cJSON *to, const char *as) {
  cJSON *found = cJSON_DetachItemFromObject(from, name);
  if (found != NULL) cJSON_AddItemToObject(to, as, found);
}

/* Positions are strings, and times are not compared. */
static void plain(cJSON *of) {
  const char *positions[] = {"first", "next", "position", "settled_through"}, *times[] = {"stored", "first_failure", "last_failure"};
  cJSON *member, *found;
  size_t i;
  for (i = 0; i < 4; i++) {
    found = cJSON_GetObjectItem(of, positions[i]);
    if (cJSON_IsString(found)) cJSON_ReplaceItemInObject(of, positions[i], cJSON_CreateNumber(strtod(found->valuestring, NULL)));
  }
  for (i = 0; i < 3; i++) cJSON_DeleteItemFromObject(of, times[i]);
  cJSON_ArrayForEach(member, cJSON_GetObjectItem(of, "durable_members")) plain(member);
  found = cJSON_DetachItemFromObject(of, "event");
  if (found != NULL) {
    cJSON_AddItemToObject(of, "event", letter_event(found));
    cJSON_Delete(found);
  }
}

static void group(cJSON *of) {
  const char *names[] = {"ack_wait_ms", "max_failures", "hold_after_dead_letter", "strict_order", "max_in_flight", "max_rate", "mode"};
  cJSON *settings = cJSON_AddObjectToObject(of, "settings"), *backoff = cJSON_AddArrayToObject(settings, "backoff_ms");
  size_t i;
  for (i = 0; i < sizeof names / sizeof *names; i++) move(of, names[i], settings, names[i]);
  cJSON_AddItemToArray(backoff, cJSON_DetachItemFromObject(of, "backoff_min_ms"));
  cJSON_AddItemToArray(backoff, cJSON_DetachItemFromObject(of, "backoff_max_ms"));
  plain(of);
}

static void ask(call *of, mw_client *mesh) {
  char *arguments = cJSON_PrintUnformatted(of->arguments);
  mw_error *err = NULL;
  begun(of, mw_admin_start(mesh, of->command, arguments, queue, tag(of), NULL, &err), &err);
  free(arguments);
}

/* A whole list, whose pages have come. */
static void tell_list(call *of) {
  cJSON *ok = cJSON_CreateObject(), *item;
  const char *name = strncmp(of->command, "topics", 6) == 0 ? "topics" : strncmp(of->command, "groups", 6) == 0 ? "groups" : "letters";
  cJSON_ArrayForEach(item, of->found) {
    if (strcmp(name, "groups") == 0)
      group(item);
    else
      plain(item);
  }
  cJSON_AddItemToObject(ok, name, of->found);
  answer(of->id, ok);
}

static void tell_one(const call *of, cJSON *found) {
  cJSON *ok = cJSON_CreateObject(), *left = cJSON_GetObjectItem(found, "left"), *item;
  const char *told = "";
  size_t i;
  for (i = 0; i < sizeof commands / sizeof *commands; i++)
    if (strcmp(commands[i].command, of->command) == 0) told = commands[i].told;
  if (strncmp(of->command, "groups", 6) == 0) group(found);
  plain(found);
  if (strstr(of->command, "redrive") != NULL || strstr(of->command, "purge") != NULL) {
    move(found, "redriven", ok, "count");
    move(found, "purged", ok, "count");
    if (cJSON_GetArraySize(left) > 0) move(found, "left", ok, "left");
  } else {
    while ((item = found->child) != NULL) {
      cJSON_DetachItemViaPointer(found, item);
      if (*told != 0 && strstr(told, item->string) == NULL)
        cJSON_Delete(item);
      else
        cJSON_AddItemToObject(ok, item->string, item);
    }
  }
  answer(of->id, ok);
}

static void then_told(call *of, mw_completion *told) {
  cJSON *found, *item, *next, *items;
  if (told->error != NULL) {
    refuse(of->id, told->error);
  } else {
    found = cJSON_Parse(mw_text_chars((mw_text *)told->value));
    mw_text_free((mw_text *)told->value);
    items = cJSON_GetObjectItem(found, "items");
    next = cJSON_DetachItemFromObject(found, "next");
    if (items != NULL) {
      if (of->found == NULL) of->found = cJSON_CreateArray();
      while ((item = cJSON_DetachItemFromArray(items, 0)) != NULL) cJSON_AddItemToArray(of->found, item);
      if (next != NULL) {
        cJSON_DeleteItemFromObject(of->arguments, "cursor");
        cJSON_AddItemToObject(of->arguments, "cursor", next);
        cJSON_Delete(found);
        ask(of, of->named->mesh);
        return;
      }
      tell_list(of);
    } else {
      if (next != NULL) cJSON_AddItemToObject(found, "next", next);
      tell_one(of, found);
    }
    cJSON_Delete(found);
  }
  cJSON_Delete(of->arguments);
  free(of);
}

/* The library's arguments of a command. */
static cJSON *arguments_of(const char *op, const cJSON *command) {
  const char *same[] = {"topic", "durability", "retention_ms", "retention_bytes", "lagging", "force"};
  cJSON *made = cJSON_CreateObject(), *value, *settings = cJSON_GetObjectItem(command, "settings");
  const cJSON *numbers = cJSON_GetObjectItem(command, "numbers"), *place;
  const char *group = word(command, "group"), *slash = group != NULL ? strchr(group, '/') : NULL;
  char text[64];
  size_t i;
  for (i = 0; i < 6; i++)
    if ((value = cJSON_GetObjectItem(command, same[i])) != NULL) cJSON_AddItemToObject(made, same[i], cJSON_Duplicate(value, true));
  if (group != NULL) {
    char *name = strndup(group, slash != NULL ? (size_t)(slash - group) : strlen(group));
    cJSON_AddStringToObject(made, "group", name);
    if (slash != NULL) cJSON_AddStringToObject(made, "member", slash + 1);
    free(name);
  }
  cJSON_ArrayForEach(value, settings) {
    if (strcmp(value->string, "backoff_ms") != 0) {
      cJSON_AddItemToObject(made, value->string, cJSON_Duplicate(value, true));
      continue;
    }
    cJSON_AddNumberToObject(made, "backoff_min_ms", cJSON_GetArrayItem(value, 0)->valuedouble);
    cJSON_AddNumberToObject(made, "backoff_max_ms", cJSON_GetArrayItem(value, 1)->valuedouble);
  }
  place = cJSON_GetObjectItem(command, strcmp(op, "seek_group") == 0 ? "to" : "start");
  if (place != NULL) {
    start_of(place, text, sizeof text);
    cJSON_AddStringToObject(made, strcmp(op, "seek_group") == 0 ? "to" : "start", text);
  }
  if (strcmp(op, "dead_letters") == 0) {
    cJSON_AddTrueToObject(made, "events");
    cJSON_AddNumberToObject(made, "limit", 1000);
  } else if (strcmp(op, "dead_letter") == 0) {
    cJSON_AddNumberToObject(made, "number", cJSON_GetArrayItem(numbers, 0)->valuedouble);
  } else if (cJSON_GetArraySize(numbers) > 0) {
    cJSON_AddItemToObject(made, "numbers", cJSON_Duplicate(numbers, true));
  } else if (strcmp(op, "redrive") == 0 || strcmp(op, "purge") == 0) {
    cJSON_AddTrueToObject(made, "all");
  }
  return made;
}

bool admin(const char *op, const cJSON *command, double id) {
  named *on = find(word(command, "on"));
  size_t i;
  for (i = 0; i < sizeof commands / sizeof *commands; i++) {
    call *next;
    if (strcmp(commands[i].op, op) != 0) continue;
    if (on == NULL) return absent(id, word(command, "on")), true;
    next = begin(id, then_told);
    next->named = on;
    next->command = commands[i].command;
    next->arguments = arguments_of(op, command);
    return ask(next, on->mesh), true;
  }
  return false;
}
