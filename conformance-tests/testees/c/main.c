#include "testee.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

/* As much as is taken at once. */
enum { MANY = 64 };

/* What the runner gave a name: a client, a subscription, a consume, a serve, a request, or a time. */
typedef struct place {
  struct place *next;
  char *name;
  int64_t mark_ms;
  mw_client *mesh;
  mw_subscription *stream;
  mw_consumer *handler;
  mw_responder *server;
  mw_operation *request;
  mw_replies *replies;
  /* How many more may be taken; negative: all. */
  double gate;
  bool asking, stopped;
  /* What came and was not settled, by its number. */
  thing *held;
  size_t last;
} place;

/* A call that was begun. */
typedef struct {
  double id;
  place *of;
  /* It asks for what is to come; or it is one of so many that settle. */
  bool asks;
  int left;
  mw_error *error;
  const char *op;
  cJSON *arguments, *found;
} call;

static const char *states[] = {"disconnected", "connecting", "connected", "reconnecting", "draining", "closed"};
static const thing none;
static mw_queue *queue;
static place *places;

static void say(cJSON *line) {
  char *text = cJSON_PrintUnformatted(line);
  puts(text);
  fflush(stdout);
  free(text);
  cJSON_Delete(line);
}

/* The case is wrong, not the client. */
static void absent(double id) {
  cJSON *err = put(cJSON_CreateObject(), "code=s retry=s message=s", "INVALID", "never", "the testee knows nothing of that name");
  say(put(cJSON_CreateObject(), "id=n err=j", id, err));
}

/* An answer, or why there is none. */
static void answer(double id, mw_error *err, cJSON *ok) {
  if (err != NULL) say(put(cJSON_CreateObject(), "id=n err=j", id, shown_error(err)));
  if (err == NULL) say(put(cJSON_CreateObject(), "id=n ok=j", id, ok != NULL ? ok : cJSON_CreateObject()));
  mw_error_free(err);
}

static place *find(const char *name, bool mark) {
  place *at = places;
  while (at != NULL && (name == NULL || strcmp(at->name, name) != 0 || (at->mark_ms != 0) != mark)) at = at->next;
  return at;
}

/* What had the name before is found no more. */
static place *name_it(const cJSON *command) {
  place *made = (place *)calloc(1, sizeof *made);
  made->name = strdup(word(command, "as") != NULL ? word(command, "as") : "");
  made->gate = number(command, "gate", -1);
  made->next = places;
  return places = made;
}

static call *begin(double id, place *of) {
  call *made = (call *)calloc(1, sizeof *made);
  made->id = id;
  made->of = of;
  return made;
}

static uint64_t tag(call *of) { return (uint64_t)(uintptr_t)of; }

/* Whether a call was begun; else it is answered here. */
static void begun(call *of, int code, mw_error **err) {
  if (code == MW_OK) return;
  answer(of->id, *err, NULL);
  free(of);
}

int64_t mark_ms(const char *name) {
  const place *mark = find(name, true);
  return mark != NULL ? mark->mark_ms : 0;
}

/* Keeps what came, and tells it. */
static void came(place *of, thing what) {
  mw_message m;
  cJSON *line = put(shown(&what, &m), "ev=s on=s n=n", what.request != NULL ? "asked" : "msg", of->name, (double)of->last + 1);
  if (of->last % MANY == 0) of->held = (thing *)realloc(of->held, (of->last + MANY + 1) * sizeof *of->held);
  what.number = m.number;
  of->held[++of->last] = what;
  if (of->gate > 0) of->gate--;
  if (what.request != NULL)
    put(line, "stream=b", m.wants_stream);
  else
    put(line, "attempt=n position=n gap=n", (double)m.attempt, (double)m.position, (double)m.gap);
  if (what.request == NULL && m.expires_at_ms != MW_NO_TIME) put(line, "expires=b", true);
  say(line);
}

/* A request that is wanted no more. */
static void lost(place *of, uint64_t number) {
  size_t n;
  for (n = 1; n <= of->last; n++) {
    if (of->held[n].number != number || of->held[n].request == NULL) continue;
    mw_request_end(of->held[n].request, NULL);
    of->held[n].request = NULL;
    say(put(cJSON_CreateObject(), "ev=s on=s n=n", "cancelled", of->name, (double)n));
  }
}

/* Asks for as much as may be taken. */
static void ask(place *of) {
  size_t most = of->gate < 0 || of->gate > MANY ? MANY : (size_t)of->gate;
  call *next;
  if (of->asking || most == 0 || (of->stopped && of->stream != NULL)) return;
  next = begin(0, of);
  next->asks = of->asking = true;
  if (of->stream != NULL) mw_next_start(of->stream, most, MW_FOREVER, queue, tag(next), NULL, NULL);
  if (of->handler != NULL) mw_consumer_next_start(of->handler, most, MW_FOREVER, queue, tag(next), NULL, NULL);
  if (of->server != NULL) mw_responder_next_start(of->server, most, MW_FOREVER, queue, tag(next), NULL, NULL);
}

/* What was asked for has come, or will not. */
static void asked(place *of, mw_completion *told) {
  mw_delivery *batch[MANY];
  mw_work works[MANY];
  thing what = none;
  size_t n = 0, i;
  of->asking = false;
  if (told->kind == MW_DELIVERIES) mw_batch_take((mw_batch *)told->value, batch, MANY, &n, NULL);
  for (i = 0; i < n; i++) {
    what.delivery = batch[i];
    came(of, what);
  }
  if (told->kind == MW_WORKS) mw_works_take((mw_works *)told->value, works, MANY, &n, NULL);
  for (i = 0; told->kind == MW_WORKS && i < n; i++) {
    what.job = works[i].job;
    what.request = works[i].request;
    if (works[i].lost != 0)
      lost(of, works[i].lost);
    else
      came(of, what);
  }
  if (n > 0) { ask(of); return; }
  if (of->stream == NULL || !of->stopped)
    say(put(cJSON_CreateObject(), "ev=s on=s err=j", of->stream != NULL && told->error != NULL ? "error" : "end", of->name,
            told->error != NULL ? shown_error(told->error) : cJSON_CreateNull()));
  if (of->stream != NULL && told->error != NULL) ask(of);
  mw_error_free(told->error);
}

/* One of those that settle has ended. */
static void settled(call *of, mw_error *err) {
  if (of->error != NULL) mw_error_free(err);
  if (of->error == NULL) of->error = err;
  if (--of->left > 0) return;
  answer(of->id, of->error, NULL);
  free(of);
}

/* Settles one, or replies to it; what takes time is begun, and counted in `of`. */
static void settle(call *of, thing *what, const cJSON *command, const char *op) {
  int how = strcmp(op, "ack") == 0 ? MW_ACK : strcmp(op, "nack") == 0 ? MW_NACK : MW_REJECT, code = -1;
  int64_t delay = (int64_t)number(command, "delay_ms", -1);
  const char *reason = word(command, "reason");
  bool extends = strcmp(op, "extend") == 0;
  mw_error *err = NULL;
  made event;
  of->left++;
  if (strcmp(op, "reply") == 0) {
    make(cJSON_GetObjectItem(command, "event"), &event);
    code = mw_reply_send_start(what->request, event.data, &event.opts, queue, tag(of), NULL, &err);
    free(event.owned);
  } else if (strcmp(op, "end") == 0 && reason != NULL) {
    mw_request_fail(what->request, reason, &err);
  } else if (strcmp(op, "end") == 0) {
    mw_request_end(what->request, &err);
  } else if (what->job != NULL) {
    mw_job_end(what->job, how == MW_ACK ? MW_HANDLED : MW_HANDLER_FAILED, -1, reason != NULL ? reason : "", NULL);
  } else if (strcmp(op, "forget") == 0) {
    mw_delivery_free(what->delivery);
  } else if (yes(command, "confirmed")) {
    code = extends ? mw_extend_start(what->delivery, queue, tag(of), NULL, &err)
                   : mw_settle_start(what->delivery, how, delay, reason, queue, tag(of), NULL, &err);
  } else if (extends) {
    mw_extend(what->delivery);
  } else {
    mw_settle_many(&what->delivery, 1, how, delay, reason, &err);
  }
  if (!extends && strcmp(op, "reply") != 0) memset(what, 0, sizeof *what);
  if (code != MW_OK) settled(of, err);
}

/* A command of what came, by its numbers. */
static void of_numbers(place *of, const cJSON *command, const char *op, double id) {
  const cJSON *n, *all = cJSON_GetObjectItem(command, "n");
  call *next;
  cJSON_ArrayForEach(n, all) {
    if ((size_t)n->valueint > of->last || memcmp(&of->held[n->valueint], &none, sizeof none) == 0) { absent(id); return; }
  }
  next = begin(id, of);
  /* It must not end before all of it was begun. */
  next->left = 1;
  cJSON_ArrayForEach(n, all) settle(next, &of->held[n->valueint], command, op);
  settled(next, NULL);
}

static cJSON *receipt_json(const mw_receipt *of) {
  cJSON *position = of->position > 0 ? cJSON_CreateNumber((double)of->position) : cJSON_CreateNull();
  return put(cJSON_CreateObject(), "position=j duplicate=b", position, of->duplicate);
}

static cJSON *receipts_json(mw_completion *told) {
  mw_result *results = (mw_result *)calloc(told->count + 1, sizeof *results);
  cJSON *list = cJSON_CreateArray();
  size_t n = 0, i;
  mw_receipts_take((mw_receipts *)told->value, results, told->count, &n, NULL);
  for (i = 0; i < n; i++) {
    mw_error *err = results[i].error;
    cJSON_AddItemToArray(list, err == NULL ? receipt_json(&results[i].receipt) : put(cJSON_CreateObject(), "err=j", shown_error(err)));
    mw_error_free(err);
  }
  free(results);
  return put(cJSON_CreateObject(), "receipts=j", list);
}

static cJSON *reply_json(mw_completion *told) {
  thing what = none;
  mw_message message;
  cJSON *line;
  size_t n = 0;
  what.reply = (mw_reply *)told->value;
  if (told->kind == MW_REPLY_BATCH) mw_reply_batch_take((mw_reply_batch *)told->value, &what.reply, 1, &n, NULL);
  line = shown(&what, &message);
  mw_reply_free(what.reply);
  return line;
}

static void administer(call *of) {
  char *arguments = cJSON_PrintUnformatted(of->arguments);
  mw_error *err = NULL;
  begun(of, mw_admin_start(of->of->mesh, admin_command(of->op), arguments, queue, tag(of), NULL, &err), &err);
  free(arguments);
}

/* A page of a list, or all that there is to say. */
static bool administered(call *of, mw_completion *told) {
  cJSON *found = cJSON_Parse(mw_text_chars((mw_text *)told->value)), *items = cJSON_GetObjectItem(found, "items"), *item, *next;
  const char *list = strcmp(of->op, "dead_letters") == 0 ? "letters" : of->op;
  mw_text_free((mw_text *)told->value);
  if (items == NULL) return answer(of->id, NULL, admin_answer(of->op, found)), true;
  if (of->found == NULL) of->found = cJSON_CreateArray();
  cJSON_ArrayForEach(item, items) cJSON_AddItemToArray(of->found, admin_answer(of->op, item));
  if ((next = cJSON_DetachItemFromObject(found, "next")) != NULL) {
    cJSON_DeleteItemFromObject(of->arguments, "cursor");
    put(of->arguments, "cursor=j", next);
    return administer(of), false;
  }
  item = cJSON_CreateObject();
  cJSON_AddItemToObject(item, list, of->found);
  return answer(of->id, NULL, item), true;
}

static void state_is(call *of, int state) {
  say(put(cJSON_CreateObject(), "ev=s on=s state=s", "state", of->of->name, states[state]));
  if (state == MW_STATE_CLOSED || mw_state_start(of->of->mesh, state, queue, tag(of), NULL, NULL) != MW_OK) free(of);
}

/* A call has come to something. */
static void told_of(call *of, mw_completion *told) {
  cJSON *ok = NULL;
  if (of->asks) { asked(of->of, told); free(of); return; }
  if (of->left > 0) { settled(of, told->error); return; }
  if (told->kind == MW_STATE) { state_is(of, told->code); return; }
  if (told->kind == MW_TEXT && !administered(of, told)) return;
  if (told->kind == MW_CLIENT) {
    of->of->mesh = (mw_client *)told->value;
    state_is(begin(0, of->of), mw_client_state(of->of->mesh));
  }
  if (told->kind == MW_SUBSCRIPTION) of->of->stream = (mw_subscription *)told->value;
  if (told->kind == MW_REPLIES) of->of->replies = (mw_replies *)told->value;
  if (told->kind == MW_RECEIPT) ok = receipt_json(&told->receipt);
  if (told->kind == MW_RECEIPTS) ok = receipts_json(told);
  if (told->kind == MW_REPLY || told->kind == MW_REPLY_BATCH) ok = reply_json(told);
  if (told->kind == MW_OVER) ok = put(cJSON_CreateObject(), "end=b", true);
  if (told->code == MW_CANCELLED && of->of->stopped) {
    mw_error_free(told->error);
    told->error = NULL;
    ok = put(cJSON_CreateObject(), "cancelled=b", true);
  }
  if (told->kind != MW_TEXT) answer(of->id, told->error, ok);
  if (told->kind == MW_SUBSCRIPTION) ask(of->of);
  free(of);
}

static void publish(mw_client *mesh, const cJSON *command, call *next) {
  const char *at = word(command, "deliver_at");
  mw_error *err = NULL;
  made event;
  make(cJSON_GetObjectItem(command, "event"), &event);
  if (at != NULL) {
    struct tm parts;
    memset(&parts, 0, sizeof parts);
    strptime(at, "%Y-%m-%dT%H:%M:%S", &parts);
    event.opts.deliver_at_ms = (int64_t)timegm(&parts) * 1000;
  }
  event.opts.deliver_after_ms = (int64_t)number(command, "deliver_after_ms", 0);
  event.opts.expires_in_ms = (int64_t)number(command, "expires_in_ms", 0);
  begun(next, mw_publish_later(mesh, word(command, "topic"), event.data, &event.opts, queue, tag(next), &err), &err);
  free(event.owned);
}

static void publish_batch(mw_client *mesh, const cJSON *command, call *next) {
  const cJSON *list = cJSON_GetObjectItem(command, "events"), *one;
  size_t count = (size_t)cJSON_GetArraySize(list), i = 0;
  made *all = (made *)calloc(count + 1, sizeof *all);
  mw_event *events = (mw_event *)calloc(count + 1, sizeof *events);
  mw_error *err = NULL;
  cJSON_ArrayForEach(one, list) {
    make(one, &all[i]);
    events[i].data = all[i].data;
    events[i].opts = &all[i].opts;
    i++;
  }
  begun(next, mw_publish_batch_start(mesh, word(command, "topic"), events, count, queue, tag(next), NULL, &err), &err);
  while (i > 0) free(all[--i].owned);
  free(all);
  free(events);
}

static void request(mw_client *mesh, const cJSON *command, call *next, bool many) {
  const char *topic = word(command, "topic");
  char said[512] = "";
  mw_error *err = NULL;
  made event;
  make(cJSON_GetObjectItem(command, "event"), &event);
  option(said, "request_timeout", cJSON_GetObjectItem(command, "timeout_ms"), "ms");
  option(said, "retry", cJSON_GetObjectItem(command, "retry"), "");
  option(said, "reply_credit", cJSON_GetObjectItem(command, "credit"), "");
  begun(next, many ? mw_request_stream_start(mesh, topic, event.data, &event.opts, said, queue, tag(next), NULL, &err)
                   : mw_request_reply_start(mesh, topic, event.data, &event.opts, said, queue, tag(next), &next->of->request, &err), &err);
  free(event.owned);
}

/* Begins what a name is given to. */
static void open_place(mw_client *mesh, const cJSON *command, const char *op, double id) {
  const char *topic = word(command, "topic");
  place *made = name_it(command);
  call *next = begin(id, made);
  char said[2048] = "";
  mw_error *err = NULL;
  made->mesh = mesh;
  if (strncmp(op, "request", 7) == 0) { request(mesh, command, next, strcmp(op, "request") != 0); return; }
  if (strcmp(op, "mark") == 0) made->mark_ms = now_ms();
  if (strcmp(op, "connect") == 0) strcpy(said, "name=testee\n");
  if (strcmp(op, "serve") == 0) strcpy(said, "handler_concurrency=16\n");
  options(said, command);
  if (strcmp(op, "connect") == 0) begun(next, mw_connect_start(word(command, "url"), said, queue, tag(next), NULL, &err), &err);
  if (strcmp(op, "subscribe") == 0) begun(next, mw_subscribe_start(mesh, topic, said, queue, tag(next), NULL, &err), &err);
  if (among("connect subscribe", op)) return;
  if (strcmp(op, "consume") == 0) mw_consumer_new(mesh, topic, said, &made->handler, &err);
  if (strcmp(op, "serve") == 0) mw_responder_new(mesh, topic, said, &made->server, &err);
  free(next);
  answer(id, err, NULL);
  if (made->handler != NULL || made->server != NULL) ask(made);
}

/* What is done at once with something that has a name. */
static void at_once(place *on, const cJSON *command, const char *op, double id) {
  mw_text *stats = NULL;
  mw_error *err = NULL;
  cJSON *ok = NULL;
  if (strcmp(op, "gate") == 0) {
    on->gate += number(command, "open", 0);
    ask(on);
  } else if (strcmp(op, "abandon") == 0) {
    mw_close(on->mesh, 0);
  } else if (strcmp(op, "stats") == 0) {
    mw_stats_json(on->mesh, &stats, &err);
    ok = cJSON_Parse(mw_text_chars(stats));
    mw_text_free(stats);
  } else if (strcmp(op, "state") == 0) {
    ok = put(cJSON_CreateObject(), "state=s", states[mw_client_state(on->mesh)]);
  } else {
    /* Of what was told already freeing it again is nothing. */
    on->stopped = true;
    mw_cancel(on->request, NULL);
    mw_replies_close(on->replies);
    (cJSON_IsTrue(cJSON_GetObjectItem(command, "left")) ? mw_leave : mw_unsubscribe)(on->stream);
    mw_consumer_stop(on->handler);
    mw_responder_stop(on->server);
    on->replies = NULL;
  }
  answer(id, err, ok);
}

static void obey(const char *line) {
  const char *caps[] = {"tcp", "iterator", "handler", "manual_ack", "confirmed", "admin", "dead_letters", "stats", "requests", "delays", "cancel"};
  cJSON *command = cJSON_Parse(line);
  const char *op = word(command, "op") != NULL ? word(command, "op") : "";
  double id = number(command, "id", 0);
  place *on = find(word(command, "on"), false);
  mw_error *err = NULL;
  call *next;
  if (strcmp(op, "exit") == 0) {
    answer(id, NULL, NULL);
    exit(0);
  }
  if (strcmp(op, "hello") == 0) {
    answer(id, NULL, put(cJSON_CreateObject(), "lang=s api=s sdk=s caps=j", "c", "queue", mw_version(), cJSON_CreateStringArray(caps, 11)));
  } else if (among("connect mark subscribe consume serve request request_stream", op)) {
    open_place(on != NULL ? on->mesh : NULL, command, op, id);
  } else if (on == NULL) {
    absent(id);
  } else if (among("ack nack reject extend forget reply end", op)) {
    of_numbers(on, command, op, id);
  } else if (among("gate unsubscribe stop_serving cancel abandon stats state", op)) {
    at_once(on, command, op, id);
  } else if (admin_command(op) != NULL) {
    next = begin(id, on);
    next->op = strdup(op);
    next->arguments = admin_arguments(op, command, start_of(command));
    administer(next);
  } else if (strcmp(op, "publish") == 0) {
    publish(on->mesh, command, begin(id, on));
  } else if (strcmp(op, "publish_batch") == 0) {
    publish_batch(on->mesh, command, begin(id, on));
  } else if (among("flush drain close next_reply", op)) {
    next = begin(id, on);
    begun(next,
          *op == 'f'   ? mw_flush_start(on->mesh, queue, tag(next), NULL, &err)
          : *op == 'n' ? mw_replies_next_start(on->replies, 1, MW_FOREVER, queue, tag(next), NULL, &err)
                       : mw_drain_start(on->mesh, (int64_t)number(command, "deadline_ms", -1), queue, tag(next), NULL, &err),
          &err);
  }
  cJSON_Delete(command);
}

static void take(void) {
  mw_completion told[MANY];
  size_t n, i;
  while (mw_queue_take(queue, told, MANY, 0, &n, NULL) == MW_OK && n > 0)
    for (i = 0; i < n; i++) told_of((call *)(uintptr_t)told[i].tag, &told[i]);
}

int main(void) {
  char *line = NULL;
  size_t room = 0;
  struct pollfd watched[2];
  /* So that poll knows what is left to read. */
  setvbuf(stdin, NULL, _IONBF, 0);
  queue = mw_queue_new(1 << 16);
  watched[0].fd = STDIN_FILENO;
  watched[1].fd = mw_queue_fd(queue);
  watched[0].events = watched[1].events = POLLIN;
  for (;;) {
    poll(watched, 2, -1);
    take();
    if (watched[0].revents == 0) continue;
    if (getline(&line, &room, stdin) <= 0) return 0;
    obey(line);
  }
}
