/* What is there for other languages: messages as one run of bytes, and deliveries that are given back. */
#include "../harness.h"

/* Reads what is packed. */
typedef struct {
  const unsigned char *at;
  const unsigned char *event;
} reader;

static uint64_t number(reader *from, int bytes) {
  uint64_t made = 0;
  int i;
  for (i = 0; i < bytes; i++) made |= (uint64_t)from->at[i] << 8 * i;
  from->at += bytes;
  return made;
}

/* Whether a part of the event, whose place and size come next, is this text. */
static int is_part(reader *from, const unsigned char *event, const char *text) {
  size_t begin = (size_t)number(from, 4), len = (size_t)number(from, 4);
  return len == strlen(text) && memcmp(event + begin, text, len) == 0;
}

/* Reads one message; gives whether it is of this topic and id, with this text. */
static int is_message(reader *from, const char *topic, const char *id, const char *text) {
  enum { HEAD = 6 * 8 + 16 * 4 };
  const unsigned char *begin = from->at, *event = from->event;
  size_t topic_len, event_len;
  int good = number(from, 8) > 0 && number(from, 8) == 0;
  from->at += 4 * 8;
  good = number(from, 4) == 1 && number(from, 4) == 0 && good;
  topic_len = (size_t)number(from, 4);
  event_len = (size_t)number(from, 4);
  good = good && topic_len == strlen(topic) && memcmp(begin + HEAD, topic, topic_len) == 0;
  good = good && is_part(from, event, id) && is_part(from, event, "/shop") && is_part(from, event, "sold") && is_part(from, event, "");
  good = good && is_part(from, event, text) && number(from, 4) == MW_TEXT_DATA && number(from, 4) == 0;
  from->at = begin + (HEAD + topic_len + 7) / 8 * 8;
  from->event += event_len;
  return good;
}

static void publish(mw_client *mesh, const char *topic, const char *id, const char *text) {
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  o.id = id;
  o.source = "/shop";
  o.type = "sold";
  FINE(mw_publish(mesh, topic, mw_text_data(text), &o, NULL, &err));
}

static void messages_are_packed_one_behind_the_other(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_delivery *d[2];
  uintptr_t things[2];
  unsigned char said[512], bytes[512];
  mw_buffer heads = {NULL, 0, 0}, events = {NULL, 0, 0};
  reader from;
  publish(mesh, "packed", "1", "first");
  publish(mesh, "packed", "2", "second");
  FINE(mw_subscribe(mesh, "packed", "group=g", &sub, &err));
  d[0] = next(sub);
  d[1] = next(sub);
  CHECK(d[0] != NULL && d[1] != NULL);
  things[0] = (uintptr_t)d[0];
  things[1] = (uintptr_t)d[1];
  FINE(mw_pack(MW_DELIVERIES, things, 2, &heads, &events, &err));
  CHECK(heads.needed == 2 * (6 * 8 + 16 * 4 + 8) && events.needed > 50 && events.needed < sizeof bytes);
  memset(said, 0xee, sizeof said);
  memset(bytes, 0xee, sizeof bytes);
  heads.bytes = said;
  heads.size = heads.needed;
  events.bytes = bytes;
  events.size = events.needed;
  FINE(mw_pack(MW_DELIVERIES, things, 2, &heads, &events, &err));
  from.at = said;
  from.event = bytes;
  CHECK(heads.needed == heads.size && events.needed == events.size);
  CHECK(is_message(&from, "packed", "1", "first") && is_message(&from, "packed", "2", "second"));
  CHECK(from.at == said + heads.size && *from.at == 0xee && from.event == bytes + events.size && *from.event == 0xee);
  CHECK(mw_ack(d[0]) == MW_OK && mw_ack(d[1]) == MW_OK);
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
}

static void of_what_does_not_fit_or_is_no_message_nothing_is_written_beyond_the_buffer(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_delivery *d;
  uintptr_t thing;
  unsigned char bytes[64];
  mw_buffer heads = {NULL, 0, 0}, events = {NULL, 0, 0}, none = {NULL, sizeof bytes, 0};
  size_t i;
  publish(mesh, "unpacked", "1", "x");
  FINE(mw_subscribe(mesh, "unpacked", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL);
  thing = (uintptr_t)d;
  heads.bytes = bytes;
  events.bytes = bytes;
  for (heads.size = 0; heads.size < sizeof bytes; heads.size++) {
    memset(bytes, 0xee, sizeof bytes);
    FINE(mw_pack(MW_DELIVERIES, &thing, 1, &heads, &events, &err));
    CHECK(heads.needed > sizeof bytes && events.needed > 0);
    for (i = heads.size; i < sizeof bytes; i++) CHECK(bytes[i] == 0xee);
  }
  CHECK(mw_pack(MW_DELIVERIES, NULL, 1, &heads, &events, NULL) == MW_INVALID);
  CHECK(mw_pack(MW_DELIVERIES, &thing, 1, &none, &events, NULL) == MW_INVALID);
  CHECK(mw_pack(MW_DELIVERIES, &thing, 1, &heads, &none, NULL) == MW_INVALID);
  CHECK(mw_pack(MW_DELIVERIES, &thing, 1, NULL, &events, NULL) == MW_INVALID);
  CHECK(mw_pack(MW_DELIVERIES, &thing, 1, &heads, NULL, NULL) == MW_INVALID);
  CHECK(mw_pack(MW_WORKS, &thing, 1, &heads, &events, NULL) == MW_INVALID);
  thing = (uintptr_t)sub;
  CHECK(mw_pack(MW_WORKS, &thing, 1, &heads, &events, NULL) == MW_INVALID);
  CHECK(mw_ack(d) == MW_OK);
  thing = (uintptr_t)d;
  CHECK(mw_pack(MW_DELIVERIES, &thing, 1, &heads, &events, NULL) == MW_INVALID);
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
}

static void what_is_given_back_comes_again_at_once_and_has_not_failed(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_delivery *d[2];
  int i;
  publish(mesh, "given_back", "1", "x");
  publish(mesh, "given_back", "2", "x");
  /* What fails once does not come again. */
  FINE(mw_subscribe(mesh, "given_back", "group=g; max_failures=1", &sub, &err));
  for (i = 0; i < 3; i++) {
    d[0] = next(sub);
    d[1] = next(sub);
    CHECK(d[0] != NULL && d[1] != NULL && mw_claim(d[0]));
    FINE(mw_give_back(d, 2, &err));
    CHECK(mw_ack(d[0]) == MW_INVALID && !mw_claim(d[1]));
  }
  FINE(mw_give_back(NULL, 0, &err));
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
}

static void of_deliveries_some_of_which_were_settled_the_others_are_given_back(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_delivery *d[2], *again;
  char id[8];
  publish(mesh, "partly", "1", "x");
  publish(mesh, "partly", "2", "x");
  FINE(mw_subscribe(mesh, "partly", "group=g; max_failures=1", &sub, &err));
  d[0] = next(sub);
  d[1] = next(sub);
  CHECK(d[0] != NULL && d[1] != NULL && mw_ack(d[0]) == MW_OK);
  CHECK(mw_give_back(NULL, 2, NULL) == MW_INVALID);
  CHECK(mw_give_back(d, 2, NULL) == MW_INVALID);
  again = next(sub);
  CHECK(again != NULL && mw_delivery_attribute(again, "id", id, sizeof id) == 1 && strcmp(id, "2") == 0);
  CHECK(mw_ack(again) == MW_OK);
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
}

static void what_a_program_has_begun_with_when_it_leaves_has_failed_and_what_it_only_took_ahead_has_not(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_delivery *d[3], *again;
  const char *ids[] = {"1", "2", "3", "4"};
  char id[8];
  int i;
  for (i = 0; i < 3; i++) publish(mesh, "left", ids[i], "x");
  FINE(mw_subscribe(mesh, "left", "group=g; max_failures=1", &sub, &err));
  CHECK(mw_take_ahead(sub) == MW_OK);
  for (i = 0; i < 3; i++) CHECK((d[i] = next(sub)) != NULL);
  CHECK(mw_claim(d[0]) && mw_claim(d[0]));
  mw_leave(sub);
  mw_leave(NULL);
  for (i = 0; i < 3; i++) mw_delivery_free(d[i]);
  CHECK(!mw_claim(d[0]));
  FINE(mw_subscribe(mesh, "left", "group=g; max_failures=1", &sub, &err));
  /* The first is a dead letter. */
  for (i = 1; i < 4; i++) {
    if (i == 3) publish(mesh, "left", ids[3], "x");
    again = next(sub);
    CHECK(again != NULL && mw_delivery_attribute(again, "id", id, sizeof id) == 1 && strcmp(id, ids[i]) == 0);
    CHECK(mw_ack(again) == MW_OK);
  }
  mw_unsubscribe(sub);
  mw_close(mesh, -1);
}

#define TESTS(test)                                                                       \
  test(messages_are_packed_one_behind_the_other)                                          \
  test(of_what_does_not_fit_or_is_no_message_nothing_is_written_beyond_the_buffer)        \
  test(what_is_given_back_comes_again_at_once_and_has_not_failed)                         \
  test(of_deliveries_some_of_which_were_settled_the_others_are_given_back)                \
  test(what_a_program_has_begun_with_when_it_leaves_has_failed_and_what_it_only_took_ahead_has_not)
GROUP(packed)
