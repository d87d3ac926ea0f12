/* The C client behind the testee protocol (conformance-tests/README.md): one JSON object a line in, one a line out. One thread waits for
 * commands and for completions; everything of the client is begun, and told by one queue. */
#ifndef TESTEE_H
#define TESTEE_H

#include <cjson/cJSON.h>
#include <meshwire.h>

/* Something received; one of them is not NULL. */
typedef struct {
  mw_delivery *delivery;
  mw_job *job;
  mw_request *request;
  mw_reply *reply;
} thing;

/* A subscription, a consume or a serve, by the name that the runner gave it. */
typedef struct lane {
  struct lane *next;
  char *name;
  mw_subscription *stream;
  mw_consumer *handler;
  mw_responder *server;
  /* How many more may be taken; negative: all. */
  double gate;
  bool asking, stopped;
  /* What came and was not settled, by its number, and the library's number of it. */
  thing *held;
  uint64_t *numbers;
  size_t last;
} lane;

/* A client, a request or a time, by name. */
typedef struct named {
  struct named *next;
  char *name;
  mw_client *mesh;
  mw_operation *request;
  mw_replies *replies;
  bool cancelled;
  int64_t mark_ms;
} named;

/* A call that was begun, and what is to be done when it has come to something. */
typedef struct call {
  void (*then)(struct call *of, mw_completion *told);
  double id;
  lane *lane;
  named *named;
  int left;
  mw_error *error;
  /* Of administration. */
  const char *command;
  cJSON *arguments, *found;
} call;

/* An event of a command, to publish. */
typedef struct {
  mw_data data;
  mw_publish_opts opts;
  mw_attribute attributes[32];
  void *owned;
} made;

extern mw_queue *queue;

/* main.c: lines, names and calls */
void say(cJSON *line);
void answer(double id, cJSON *ok);
void refuse(double id, mw_error *err);
void absent(double id, const char *what);
const char *word(const cJSON *of, const char *name);
double number(const cJSON *of, const char *name, double otherwise);
void option(char *to, const char *name, const char *value);
void option_ms(char *to, const char *name, const cJSON *value);
call *begin(double id, void (*then)(call *, mw_completion *));
uint64_t tag(call *of);
void begun(call *of, int code, mw_error **err);
void then_done(call *of, mw_completion *told);
named *find(const char *name);
named *name_it(const char *name);
mw_client *client(const cJSON *command);
void start_of(const cJSON *start, char *to, size_t size);

/* event.c: events and errors as JSON */
void make(const cJSON *event, made *to);
cJSON *shown(const thing *of, mw_message *message);
cJSON *shown_error(const mw_error *err);
cJSON *letter_event(cJSON *event);

/* lanes.c: what comes */
bool lanes(const char *op, const cJSON *command, double id);
/* calls.c: what is asked and answered once */
bool calls(const char *op, const cJSON *command, double id);
/* admin.c: topics, groups and dead letters */
bool admin(const char *op, const cJSON *command, double id);

#endif
