/* The C client behind the testee protocol (conformance-tests/README.md): one JSON object a line in, one a line out. One thread waits for
 * commands and for completions; what takes time is begun, and one queue tells what it came to. */
#ifndef TESTEE_H
#define TESTEE_H

#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <meshwire.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Something received; one of the pointers is not NULL. */
typedef struct {
  mw_delivery *delivery;
  mw_job *job;
  mw_request *request;
  mw_reply *reply;
  /* The library's number of a job or request. */
  uint64_t number;
} thing;

/* An event of a command, to publish. */
typedef struct {
  mw_data data;
  mw_publish_opts opts;
  mw_attribute attributes[32];
  void *owned;
} made;

/* json.c: events and errors as JSON. In `names` each has its type behind it: "id=n code=s fine=b list=j". */
cJSON *put(cJSON *to, const char *names, ...);
const char *word(const cJSON *of, const char *name);
double number(const cJSON *of, const char *name, double otherwise);
bool among(const char *names, const char *name);
bool yes(const cJSON *of, const char *name);
cJSON *text_of(const void *text, size_t length);
void make(const cJSON *event, made *to);
cJSON *shown(const thing *of, mw_message *message);
cJSON *shown_error(const mw_error *err);
/* options.c: fields of a command as options, and where to start as options and administration have it; NULL: the command does not say. */
int64_t now_ms(void);
const char *start_of(const cJSON *command);
void option(char *to, const char *name, const cJSON *value, const char *unit);
void options(char *to, const cJSON *command);
/* main.c: when a mark was made, in milliseconds since 1970; 0: there is none of that name. */
int64_t mark_ms(const char *name);
/* admin.c: commands of administration, as the runner and as the library have them */
const char *admin_command(const char *op);
cJSON *admin_arguments(const char *op, const cJSON *command, const char *place);
cJSON *admin_answer(const char *op, const cJSON *answer);

#endif
