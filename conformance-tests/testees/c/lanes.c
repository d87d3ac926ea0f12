#define _DEFAULT_SOURCE
#include "testee.h"

#include <stdio.h>
#include <stdlib.h>

/* As much as is taken at once. */
enum { MANY = 64 };

static lane *all_lanes;

static lane *lane_of(const cJSON *command) {
  const char *name = word(command, "on");
  lane *at;
  for (at = all_lanes; at != NULL; at = at->next)
    if (name != NULL && at->name != NULL && strcmp(at->name, name) == 0) return at;
  return NULL;
}

static lane *lane_new(const cJSON *command) {
  lane *made = (lane *)calloc(1, sizeof *made);
  made->name = strdup(word(command, "as"));
  made->gate = number(command, "gate", -1);
  made->next = all_lanes;
  return all_lanes = made;
}

static cJSON *event_of(const lane *of, const char *name, cJSON *line) {
  cJSON_AddStringToObject(line, "ev", name);
  cJSON_AddStringToObject(line, "on", of->name);
  return line;
}

static void tell_end(const lane *of, const char *name, mw_error *err) {
  cJSON *line = event_of(of, name, cJSON_CreateObject());
  cJSON_AddItemToObject(line, "err", err != NULL ? shown_error(err) : cJSON_CreateNull());
  mw_error_free(err);
  say(line);
}

/* Keeps what came, and tells it. */
static void came(lane *of, thing what) {
  mw_message m;
  cJSON *line = event_of(of, what.request != NULL ? "asked" : "msg", shown(&what, &m));
  if (of->last % MANY == 0) {
    of->held = (thing *)realloc(of->held, (of->last + MANY + 1) * sizeof *of->held);
    of->numbers = (uint64_t *)realloc(of->numbers, (of->last + MANY + 1) * sizeof *of->numbers);
  }
  of->held[++of->last] = what;
  of->numbers[of->last] = m.number;
  if (of->gate > 0) of->gate--;
  cJSON_AddNumberToObject(line, "n", (double)of->last);
  if (what.request != NULL) {
    cJSON_AddBoolToObject(line, "stream", m.wants_stream);
  } else {
    cJSON_AddNumberToObject(line, "attempt", m.attempt);
    cJSON_AddNumberToObject(line, "position", (double)m.position);
    cJSON_AddNumberToObject(line, "gap", (double)m.gap);
    if (m.expires_at_ms != MW_NO_TIME) cJSON_AddTrueToObject(line, "expires");
  }
  say(line);
}

/* A request that is wanted no more. */
static void lost(lane *of, uint64_t number) {
  size_t n;
  for (n = 1; n <= of->last; n++) {
    cJSON *line;
    if (of->numbers[n] != number || of->held[n].request == NULL) continue;
    mw_request_end(of->held[n].request, NULL);
    of->held[n].request = NULL;
    line = event_of(of, "cancelled", cJSON_CreateObject());
    cJSON_AddNumberToObject(line, "n", (double)n);
    say(line);
  }
}

static void took_works(lane *of, mw_completion *told) {
  mw_work works[MANY];
  thing what;
  size_t n, i;
  mw_works_take((mw_works *)told->value, works, MANY, &n, NULL);
  for (i = 0; i < n; i++) {
    memset(&what, 0, sizeof what);
    what.job = works[i].job;
    what.request = works[i].request;
    if (works[i].lost != 0)
      lost(of, works[i].lost);
    else
      came(of, what);
  }
}

static void then_came(call *of, mw_completion *told);

/* Asks for as much as may be taken. */
static void ask(lane *of) {
  size_t most = of->gate < 0 || of->gate > MANY ? MANY : (size_t)of->gate;
  call *next;
  int code;
  if (of->asking || most == 0 || (of->stopped && of->stream != NULL)) return;
  next = begin(0, then_came);
  next->lane = of;
  if (of->stream != NULL)
    code = mw_next_start(of->stream, most, MW_FOREVER, queue, tag(next), NULL, NULL);
  else if (of->handler != NULL)
    code = mw_consumer_next_start(of->handler, most, MW_FOREVER, queue, tag(next), NULL, NULL);
  else
    code = mw_responder_next_start(of->server, most, MW_FOREVER, queue, tag(next), NULL, NULL);
  of->asking = code == MW_OK;
}

static void then_came(call *of, mw_completion *told) {
  lane *to = of->lane;
  mw_delivery *batch[MANY];
  size_t n = 0, i;
  free(of);
  to->asking = false;
  if (told->kind == MW_DELIVERIES && to->stopped) {
    mw_batch_free((mw_batch *)told->value);
  } else if (told->kind == MW_DELIVERIES) {
    mw_batch_take((mw_batch *)told->value, batch, MANY, &n, NULL);
    for (i = 0; i < n; i++) {
      thing what = {NULL, NULL, NULL, NULL};
      what.delivery = batch[i];
      came(to, what);
    }
  } else if (told->kind == MW_WORKS) {
    took_works(to, told);
  } else if (told->kind == MW_FAILED && to->stream != NULL) {
    tell_end(to, "error", told->error);
  } else {
    if (to->stream == NULL || !to->stopped) tell_end(to, "end", told->error);
    return;
  }
  ask(to);
}

static void options_of(const cJSON *command, char *to) {
  const cJSON *settings = cJSON_GetObjectItem(command, "settings"), *value, *start = cJSON_GetObjectItem(command, "start");
  const cJSON *prefetch = cJSON_GetObjectItem(command, "prefetch"), *backoff = cJSON_GetObjectItem(settings, "backoff_ms");
  char text[64];
  *to = 0;
  option(to, "group", word(command, "group"));
  option(to, "member", word(command, "member"));
  if (cJSON_IsTrue(cJSON_GetObjectItem(command, "broadcast"))) option(to, "broadcast", "true");
  if (start != NULL) {
    start_of(start, text, sizeof text);
    option(to, "start", text);
  }
  if (prefetch != NULL)
    sprintf(to + strlen(to), "prefetch_events=%d\nprefetch_bytes=%d\n", cJSON_GetArrayItem(prefetch, 0)->valueint,
            cJSON_GetArrayItem(prefetch, 1)->valueint);
  if (number(command, "concurrency", 0) > 0) sprintf(to + strlen(to), "handler_concurrency=%.0f\n", number(command, "concurrency", 0));
  option_ms(to, "ack_wait", cJSON_GetObjectItem(settings, "ack_wait_ms"));
  option_ms(to, "backoff_min", cJSON_GetArrayItem(backoff, 0));
  option_ms(to, "backoff_max", cJSON_GetArrayItem(backoff, 1));
  cJSON_ArrayForEach(value, settings) {
    if (cJSON_IsBool(value)) option(to, value->string, cJSON_IsTrue(value) ? "true" : "false");
    if (strncmp(value->string, "max_", 4) == 0) sprintf(to + strlen(to), "%s=%.0f\n", value->string, value->valuedouble);
  }
}

static void then_subscribed(call *of, mw_completion *told) {
  lane *made = of->lane;
  made->stream = (mw_subscription *)told->value;
  if (told->error != NULL) made->name = NULL;
  then_done(of, told);
  if (made->stream != NULL) ask(made);
}

static void settled(call *of, mw_completion *told) {
  if (of->error == NULL)
    of->error = told->error;
  else
    mw_error_free(told->error);
  if (--of->left > 0) return;
  if (of->error != NULL)
    refuse(of->id, of->error);
  else
    answer(of->id, NULL);
  free(of);
}

/* Settles one, or begins to; what is begun is counted in `of`. */
static void settle(call *of, thing *what, const cJSON *command, const char *op) {
  int how = strcmp(op, "ack") == 0 ? MW_ACK : strcmp(op, "nack") == 0 ? MW_NACK : MW_REJECT, code;
  int64_t delay = (int64_t)number(command, "delay_ms", -1);
  const char *reason = word(command, "reason");
  mw_completion failed;
  memset(&failed, 0, sizeof failed);
  of->left++;
  if (what->job != NULL)
    code = (mw_job_end(what->job, how == MW_ACK ? MW_HANDLED : MW_HANDLER_FAILED, -1, reason != NULL ? reason : "", NULL), -1);
  else if (strcmp(op, "forget") == 0)
    code = (mw_delivery_free(what->delivery), -1);
  else if (!cJSON_IsTrue(cJSON_GetObjectItem(command, "confirmed")) && strcmp(op, "extend") == 0)
    code = (mw_extend(what->delivery), -1);
  else if (!cJSON_IsTrue(cJSON_GetObjectItem(command, "confirmed")))
    code = (mw_settle_many(&what->delivery, 1, how, delay, reason, &failed.error), -1);
  else if (strcmp(op, "extend") == 0)
    code = mw_extend_start(what->delivery, queue, tag(of), NULL, &failed.error);
  else
    code = mw_settle_start(what->delivery, how, delay, reason, queue, tag(of), NULL, &failed.error);
  if (strcmp(op, "extend") != 0) memset(what, 0, sizeof *what);
  if (code != MW_OK) settled(of, &failed);
}

/* Sends one reply, or says that it was the last. */
static void reply(call *of, thing *what, const cJSON *command, const char *op) {
  mw_completion ended;
  made event;
  memset(&ended, 0, sizeof ended);
  of->left++;
  if (strcmp(op, "reply") == 0) {
    make(cJSON_GetObjectItem(command, "event"), &event);
    if (mw_reply_send_start(what->request, event.data, &event.opts, queue, tag(of), NULL, &ended.error) != MW_OK) settled(of, &ended);
    free(event.owned);
    return;
  }
  if (word(command, "reason") != NULL)
    mw_request_fail(what->request, word(command, "reason"), &ended.error);
  else
    mw_request_end(what->request, &ended.error);
  what->request = NULL;
  settled(of, &ended);
}

/* A command of what came, by its numbers. */
static void of_numbers(const cJSON *command, const char *op, double id) {
  static const thing none;
  lane *of = lane_of(command);
  const cJSON *n;
  call *all;
  cJSON_ArrayForEach(n, cJSON_GetObjectItem(command, "n"))
    if (of == NULL || (size_t)n->valueint > of->last || memcmp(&of->held[n->valueint], &none, sizeof none) == 0) {
      absent(id, word(command, "on"));
      return;
    }
  all = begin(id, settled);
  /* It must not end before all of it was begun. */
  all->left = 1;
  cJSON_ArrayForEach(n, cJSON_GetObjectItem(command, "n")) {
    thing *what = &of->held[n->valueint];
    if (what->request != NULL)
      reply(all, what, command, op);
    else
      settle(all, what, command, op);
  }
  {
    mw_completion begun;
    memset(&begun, 0, sizeof begun);
    settled(all, &begun);
  }
}

static void open_lane(const cJSON *command, const char *op, double id) {
  mw_client *mesh = client(command);
  const char *topic = word(command, "topic");
  char options[2048];
  mw_error *err = NULL;
  lane *made = lane_new(command);
  options_of(command, options);
  if (strcmp(op, "subscribe") == 0) {
    call *next = begin(id, then_subscribed);
    next->lane = made;
    begun(next, mw_subscribe_start(mesh, topic, options, queue, tag(next), NULL, &err), &err);
    return;
  }
  if (strcmp(op, "consume") == 0) {
    mw_consumer_new(mesh, topic, options, &made->handler, &err);
  } else {
    if (number(command, "concurrency", 0) == 0) option(options, "handler_concurrency", "16");
    mw_responder_new(mesh, topic, options, &made->server, &err);
  }
  if (err != NULL) {
    refuse(id, err);
    return;
  }
  ask(made);
  answer(id, NULL);
}

static bool is(const char *op, const char *names) {
  const char *found = strstr(names, op);
  return found != NULL && (found == names || found[-1] == ' ') && (found[strlen(op)] == ' ' || found[strlen(op)] == 0);
}

bool lanes(const char *op, const cJSON *command, double id) {
  lane *of = lane_of(command);
  if (is(op, "subscribe consume serve")) return open_lane(command, op, id), true;
  if (is(op, "ack nack reject extend forget reply end")) return of_numbers(command, op, id), true;
  if (!is(op, "gate unsubscribe stop_serving")) return false;
  if (of == NULL) return absent(id, word(command, "on")), true;
  if (strcmp(op, "gate") == 0) {
    of->gate += number(command, "open", 0);
    ask(of);
    return answer(id, NULL), true;
  }
  of->stopped = true;
  if (of->stream != NULL) mw_unsubscribe(of->stream);
  if (of->handler != NULL) mw_consumer_stop(of->handler);
  if (of->server != NULL) mw_responder_stop(of->server);
  return answer(id, NULL), true;
}
