#define _DEFAULT_SOURCE
#include "testee.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

mw_queue *queue;
static named *all_named;

void say(cJSON *line) {
  char *text = cJSON_PrintUnformatted(line);
  puts(text);
  fflush(stdout);
  free(text);
  cJSON_Delete(line);
}

void answer(double id, cJSON *ok) {
  cJSON *line = cJSON_CreateObject();
  cJSON_AddNumberToObject(line, "id", id);
  cJSON_AddItemToObject(line, "ok", ok != NULL ? ok : cJSON_CreateObject());
  say(line);
}

void refuse(double id, mw_error *err) {
  cJSON *line = cJSON_CreateObject();
  cJSON_AddNumberToObject(line, "id", id);
  cJSON_AddItemToObject(line, "err", shown_error(err));
  mw_error_free(err);
  say(line);
}

/* The case is wrong, not the client. */
void absent(double id, const char *what) {
  cJSON *line = cJSON_CreateObject(), *err = cJSON_AddObjectToObject(line, "err");
  char text[128];
  snprintf(text, sizeof text, "the testee knows no \"%s\"", what);
  cJSON_AddNumberToObject(line, "id", id);
  cJSON_AddStringToObject(err, "code", "INVALID");
  cJSON_AddStringToObject(err, "retry", "never");
  cJSON_AddStringToObject(err, "message", text);
  say(line);
}

const char *word(const cJSON *of, const char *name) { return cJSON_GetStringValue(cJSON_GetObjectItem(of, name)); }

double number(const cJSON *of, const char *name, double otherwise) {
  const cJSON *found = cJSON_GetObjectItem(of, name);
  return cJSON_IsNumber(found) ? found->valuedouble : otherwise;
}

void option(char *to, const char *name, const char *value) {
  if (value != NULL) sprintf(to + strlen(to), "%s=%s\n", name, value);
}

void option_ms(char *to, const char *name, const cJSON *value) {
  if (cJSON_IsNumber(value)) sprintf(to + strlen(to), "%s=%.0fms\n", name, value->valuedouble);
}

call *begin(double id, void (*then)(call *, mw_completion *)) {
  call *made = (call *)calloc(1, sizeof *made);
  made->id = id;
  made->then = then;
  return made;
}

uint64_t tag(call *of) { return (uint64_t)(uintptr_t)of; }

void begun(call *of, int code, mw_error **err) {
  if (code == MW_OK) return;
  refuse(of->id, *err);
  free(of);
}

void then_done(call *of, mw_completion *told) {
  if (told->error != NULL)
    refuse(of->id, told->error);
  else
    answer(of->id, NULL);
  free(of);
}

named *find(const char *name) {
  named *at;
  for (at = all_named; at != NULL; at = at->next)
    if (name != NULL && strcmp(at->name, name) == 0) return at;
  return NULL;
}

/* What had the name before is found no more. */
named *name_it(const char *name) {
  named *made = (named *)calloc(1, sizeof *made);
  made->name = strdup(name != NULL ? name : "");
  made->next = all_named;
  return all_named = made;
}

mw_client *client(const cJSON *command) {
  named *found = find(word(command, "on"));
  return found != NULL ? found->mesh : NULL;
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A place to start at as options and administration have it. */
void start_of(const cJSON *start, char *to, size_t size) {
  const named *mark = find(word(start, "mark"));
  int64_t at = mark != NULL ? mark->mark_ms : now_ms() - (int64_t)number(start, "ago_ms", 0);
  time_t seconds = (time_t)(at / 1000);
  struct tm parts;
  if (cJSON_IsString(start)) {
    snprintf(to, size, "%s", start->valuestring);
  } else if (cJSON_HasObjectItem(start, "position")) {
    snprintf(to, size, "%.0f", number(start, "position", 0));
  } else {
    size_t length = strftime(to, size, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &parts));
    snprintf(to + length, size - length, ".%03dZ", (int)(at % 1000));
  }
}

static void hello(double id) {
  const char *caps[] = {"tcp", "iterator", "handler", "manual_ack", "confirmed", "admin", "dead_letters", "stats", "requests", "delays"};
  cJSON *ok = cJSON_CreateObject();
  cJSON_AddStringToObject(ok, "lang", "c");
  cJSON_AddStringToObject(ok, "api", "queue");
  cJSON_AddStringToObject(ok, "sdk", mw_version());
  cJSON_AddItemToObject(ok, "caps", cJSON_CreateStringArray(caps, sizeof caps / sizeof *caps));
  answer(id, ok);
}

static void obey(const char *line) {
  cJSON *command = cJSON_Parse(line), *err;
  const char *op = word(command, "op");
  double id = number(command, "id", 0);
  if (op == NULL) op = "";
  if (strcmp(op, "exit") == 0) {
    answer(id, NULL);
    exit(0);
  }
  if (strcmp(op, "hello") == 0) {
    hello(id);
  } else if (strcmp(op, "mark") == 0) {
    name_it(word(command, "as"))->mark_ms = now_ms();
    answer(id, NULL);
  } else if (!lanes(op, command, id) && !calls(op, command, id) && !admin(op, command, id)) {
    cJSON *unknown = cJSON_CreateObject();
    cJSON_AddNumberToObject(unknown, "id", id);
    err = cJSON_AddObjectToObject(unknown, "err");
    cJSON_AddStringToObject(err, "code", "UNKNOWN_COMMAND");
    say(unknown);
  }
  cJSON_Delete(command);
}

static void take(void) {
  mw_completion told[64];
  size_t n, i;
  while (mw_queue_take(queue, told, 64, 0, &n, NULL) == MW_OK && n > 0)
    for (i = 0; i < n; i++) {
      call *of = (call *)(uintptr_t)told[i].tag;
      of->then(of, &told[i]);
    }
}

int main(void) {
  char *input = (char *)malloc(1 << 16), *line, *end;
  size_t room = 1 << 16, have = 0;
  struct pollfd watched[2];
  queue = mw_queue_new(1 << 16);
  watched[0].fd = STDIN_FILENO;
  watched[1].fd = mw_queue_fd(queue);
  watched[0].events = watched[1].events = POLLIN;
  for (;;) {
    ssize_t got;
    poll(watched, 2, -1);
    take();
    if (watched[0].revents == 0) continue;
    if (have + 1 == room) input = (char *)realloc(input, room *= 2);
    got = read(STDIN_FILENO, input + have, room - have - 1);
    if (got <= 0) return 0;
    input[have += (size_t)got] = 0;
    for (line = input; (end = strchr(line, '\n')) != NULL; line = end + 1) {
      *end = 0;
      obey(line);
    }
    have -= (size_t)(line - input);
    memmove(input, line, have + 1);
  }
}
