#define _DEFAULT_SOURCE
#include "testee.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *states[] = {"disconnected", "connecting", "connected", "reconnecting", "draining", "closed"};

static void then_state(call *of, mw_completion *told) {
  cJSON *line;
  if (told->kind != MW_STATE) {
    mw_error_free(told->error);
    free(of);
    return;
  }
  line = cJSON_CreateObject();
  cJSON_AddStringToObject(line, "ev", "state");
  cJSON_AddStringToObject(line, "on", of->named->name);
  cJSON_AddStringToObject(line, "state", states[told->code]);
  say(line);
  if (told->code == MW_STATE_CLOSED || mw_state_start(of->named->mesh, told->code, queue, tag(of), NULL, NULL) != MW_OK) free(of);
}

static void then_connected(call *of, mw_completion *told) {
  if (told->error == NULL) {
    mw_completion state;
    call *watch = begin(0, then_state);
    of->named->mesh = (mw_client *)told->value;
    watch->named = of->named;
    state.kind = MW_STATE;
    state.code = mw_client_state(of->named->mesh);
    then_state(watch, &state);
  }
  then_done(of, told);
}

static void connect_to(const cJSON *command, double id) {
  const cJSON *reconnect = cJSON_GetObjectItem(command, "reconnect_ms");
  call *next = begin(id, then_connected);
  char options[2048] = "";
  mw_error *err = NULL;
  option(options, "name", word(command, "client_name") != NULL ? word(command, "client_name") : "testee");
  option_ms(options, "connect_timeout", cJSON_GetObjectItem(command, "timeout_ms"));
  option_ms(options, "connect_wait", cJSON_GetObjectItem(command, "wait_ms"));
  if (number(command, "window_events", 0) > 0) sprintf(options + strlen(options), "publish_window_events=%.0f\n", number(command, "window_events", 0));
  option_ms(options, "reconnect_min", cJSON_GetArrayItem(reconnect, 0));
  option_ms(options, "reconnect_max", cJSON_GetArrayItem(reconnect, 1));
  option(options, "client_tls_roots", word(command, "tls_roots"));
  next->named = name_it(word(command, "as"));
  begun(next, mw_connect_start(word(command, "url"), options, queue, tag(next), NULL, &err), &err);
}

static cJSON *receipt_json(const mw_receipt *receipt) {
  cJSON *line = cJSON_CreateObject();
  if (receipt->position > 0)
    cJSON_AddNumberToObject(line, "position", (double)receipt->position);
  else
    cJSON_AddNullToObject(line, "position");
  cJSON_AddBoolToObject(line, "duplicate", receipt->duplicate);
  return line;
}

static void then_receipt(call *of, mw_completion *told) {
  if (told->error != NULL)
    refuse(of->id, told->error);
  else
    answer(of->id, receipt_json(&told->receipt));
  free(of);
}

static void publish(const cJSON *command, double id) {
  call *next = begin(id, then_receipt);
  const char *at = word(command, "deliver_at");
  mw_error *err = NULL;
  made event;
  make(cJSON_GetObjectItem(command, "event"), &event);
  if (at != NULL) {
    struct tm parts;
    memset(&parts, 0, sizeof parts);
    sscanf(at, "%d-%d-%dT%d:%d:%d", &parts.tm_year, &parts.tm_mon, &parts.tm_mday, &parts.tm_hour, &parts.tm_min, &parts.tm_sec);
    parts.tm_year -= 1900;
    parts.tm_mon--;
    event.opts.deliver_at_ms = (int64_t)timegm(&parts) * 1000;
  }
  event.opts.deliver_after_ms = (int64_t)number(command, "deliver_after_ms", 0);
  event.opts.expires_in_ms = (int64_t)number(command, "expires_in_ms", 0);
  begun(next, mw_publish_later(client(command), word(command, "topic"), event.data, &event.opts, queue, tag(next), &err), &err);
  free(event.owned);
}

static void then_receipts(call *of, mw_completion *told) {
  cJSON *ok, *list;
  mw_result *results;
  size_t n = 0, i;
  if (told->error != NULL) {
    then_done(of, told);
    return;
  }
  results = (mw_result *)calloc(told->count + 1, sizeof *results);
  ok = cJSON_CreateObject();
  list = cJSON_AddArrayToObject(ok, "receipts");
  mw_receipts_take((mw_receipts *)told->value, results, told->count, &n, NULL);
  for (i = 0; i < n; i++) {
    cJSON *one = results[i].error == NULL ? receipt_json(&results[i].receipt) : cJSON_CreateObject();
    if (results[i].error != NULL) cJSON_AddItemToObject(one, "err", shown_error(results[i].error));
    mw_error_free(results[i].error);
    cJSON_AddItemToArray(list, one);
  }
  answer(of->id, ok);
  free(results);
  free(of);
}

static void publish_batch(const cJSON *command, double id) {
  const cJSON *list = cJSON_GetObjectItem(command, "events"), *one;
  size_t count = (size_t)cJSON_GetArraySize(list), i = 0;
  made *all = (made *)calloc(count + 1, sizeof *all);
  mw_event *events = (mw_event *)calloc(count + 1, sizeof *events);
  call *next = begin(id, then_receipts);
  mw_error *err = NULL;
  cJSON_ArrayForEach(one, list) {
    make(one, &all[i]);
    events[i].data = all[i].data;
    events[i].opts = &all[i].opts;
    i++;
  }
  begun(next, mw_publish_batch_start(client(command), word(command, "topic"), events, count, queue, tag(next), NULL, &err), &err);
  while (i > 0) free(all[--i].owned);
  free(all);
  free(events);
}

static void answer_reply(double id, mw_reply *reply) {
  thing what = {NULL, NULL, NULL, NULL};
  mw_message message;
  what.reply = reply;
  answer(id, shown(&what, &message));
  mw_reply_free(reply);
}

static void then_reply(call *of, mw_completion *told) {
  cJSON *ok;
  if (told->kind == MW_REPLY) {
    answer_reply(of->id, (mw_reply *)told->value);
  } else if (of->named->cancelled) {
    ok = cJSON_CreateObject();
    cJSON_AddTrueToObject(ok, "cancelled");
    answer(of->id, ok);
  } else {
    refuse(of->id, told->error);
  }
  mw_operation_free(of->named->request);
  of->named->request = NULL;
  free(of);
}

static void then_replies(call *of, mw_completion *told) {
  of->named->replies = (mw_replies *)told->value;
  then_done(of, told);
}

static void then_next_reply(call *of, mw_completion *told) {
  mw_reply *reply = NULL;
  cJSON *ok = cJSON_CreateObject();
  size_t n = 0;
  if (told->kind == MW_REPLY_BATCH) mw_reply_batch_take((mw_reply_batch *)told->value, &reply, 1, &n, NULL);
  cJSON_AddBoolToObject(ok, "end", told->kind == MW_OVER);
  if (n == 1)
    answer_reply(of->id, reply);
  else if (told->error != NULL)
    refuse(of->id, told->error);
  else
    answer(of->id, cJSON_Duplicate(ok, true));
  cJSON_Delete(ok);
  free(of);
}

static void request(const cJSON *command, double id, bool many) {
  call *next = begin(id, many ? then_replies : then_reply);
  const char *topic = word(command, "topic");
  char options[256] = "";
  mw_error *err = NULL;
  made event;
  make(cJSON_GetObjectItem(command, "event"), &event);
  option_ms(options, "request_timeout", cJSON_GetObjectItem(command, "timeout_ms"));
  if (cJSON_IsTrue(cJSON_GetObjectItem(command, "retry"))) option(options, "retry", "true");
  if (number(command, "credit", 0) > 0) sprintf(options + strlen(options), "reply_credit=%.0f\n", number(command, "credit", 0));
  next->named = name_it(word(command, "as"));
  if (many)
    begun(next, mw_request_stream_start(client(command), topic, event.data, &event.opts, options, queue, tag(next), NULL, &err), &err);
  else
    begun(next, mw_request_reply_start(client(command), topic, event.data, &event.opts, options, queue, tag(next), &next->named->request, &err), &err);
  free(event.owned);
}

static void of_request(const cJSON *command, double id, bool cancel) {
  named *found = find(word(command, "on"));
  mw_error *err = NULL;
  call *next;
  if (found == NULL || (!cancel && found->replies == NULL)) {
    absent(id, word(command, "on"));
    return;
  }
  if (!cancel) {
    next = begin(id, then_next_reply);
    begun(next, mw_replies_next_start(found->replies, 1, MW_FOREVER, queue, tag(next), NULL, &err), &err);
    return;
  }
  found->cancelled = true;
  mw_cancel(found->request, NULL);
  mw_replies_close(found->replies);
  found->request = NULL;
  found->replies = NULL;
  answer(id, NULL);
}

bool calls(const char *op, const cJSON *command, double id) {
  mw_client *mesh = client(command);
  mw_error *err = NULL;
  mw_text *stats = NULL;
  call *next;
  cJSON *ok;
  if (strcmp(op, "connect") == 0) return connect_to(command, id), true;
  if (strcmp(op, "publish") == 0) return publish(command, id), true;
  if (strcmp(op, "publish_batch") == 0) return publish_batch(command, id), true;
  if (strcmp(op, "request") == 0) return request(command, id, false), true;
  if (strcmp(op, "request_stream") == 0) return request(command, id, true), true;
  if (strcmp(op, "next_reply") == 0) return of_request(command, id, false), true;
  if (strcmp(op, "cancel") == 0) return of_request(command, id, true), true;
  if (strcmp(op, "flush") == 0) {
    next = begin(id, then_done);
    return begun(next, mw_flush_start(mesh, queue, tag(next), NULL, &err), &err), true;
  }
  if (strcmp(op, "drain") == 0 || strcmp(op, "close") == 0) {
    next = begin(id, then_done);
    return begun(next, mw_drain_start(mesh, (int64_t)number(command, "deadline_ms", -1), queue, tag(next), NULL, &err), &err), true;
  }
  if (strcmp(op, "abandon") == 0) return mw_close(mesh, 0), answer(id, NULL), true;
  if (strcmp(op, "stats") == 0) {
    if (mw_stats_json(mesh, &stats, &err) != MW_OK) return refuse(id, err), true;
    answer(id, cJSON_Parse(mw_text_chars(stats)));
    return mw_text_free(stats), true;
  }
  if (strcmp(op, "state") != 0) return false;
  ok = cJSON_CreateObject();
  cJSON_AddStringToObject(ok, "state", states[mw_client_state(mesh)]);
  return answer(id, ok), true;
}
