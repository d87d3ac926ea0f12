/* Events that are asked for, and handled where the program likes. */
#include "../harness.h"

/* The next event, or NULL. */
static mw_job *next_job(mw_consumer *consumer) {
  mw_work work;
  size_t n = 0;
  mw_consumer_next(consumer, &work, 1, PATIENCE, &n, NULL);
  return n == 1 ? work.job : NULL;
}

/* What becomes of an event, by its text and how often it came. */
static int end(mw_job *job, const mw_message *m) {
  if (is_data(m->data, "never")) return mw_job_end(job, MW_HANDLE_NEVER, 0, "no such thing", NULL);
  if (m->attempt == 1 && is_data(m->data, "failed")) return mw_job_end(job, MW_HANDLER_FAILED, 0, "not today", NULL);
  if (m->attempt == 1 && is_data(m->data, "again")) return mw_job_end(job, MW_HANDLE_AGAIN, 0, NULL, NULL);
  return mw_job_end(job, MW_HANDLED, 0, NULL, NULL);
}

static void events_are_asked_for_and_become_what_the_program_says(void) {
  const char *all[] = {"done", "failed", "again", "never"};
  mw_client *mesh = connected();
  mw_consumer *consumer = NULL;
  mw_message m = mw_message_new();
  mw_text *letters = NULL;
  mw_work work;
  char text[16];
  size_t i, n, twice = 0;
  for (i = 0; i < 4; i++) FINE(mw_publish(mesh, "asked_for", mw_text_data(all[i]), NULL, NULL, &err));
  FINE(mw_consumer_new(mesh, "asked_for", "group=g; backoff_min=0", &consumer, &err));
  for (i = 0; i < 6; i++) {
    mw_job *job = next_job(consumer);
    CHECK(job != NULL);
    FINE(mw_job_read(job, &m, &err));
    CHECK(same(m.topic, "asked_for") && mw_job_attribute(job, "type", text, sizeof text) == 9 && strcmp(text, "asked_for") == 0);
    twice += m.attempt == 2;
    CHECK(end(job, &m) == MW_OK);
  }
  CHECK(twice == 2);
  CHECK(mw_consumer_stop(consumer) == MW_OK);
  CHECK(mw_consumer_next(consumer, &work, 1, PATIENCE, &n, NULL) == MW_ENDED && n == 0);
  mw_consumer_free(consumer);
  FINE(mw_admin(mesh, "dead_letters.list", "{\"topic\":\"asked_for\"}", &letters, &err));
  CHECK(strstr(mw_text_chars(letters), "no such thing") != NULL);
  mw_text_free(letters);
  mw_close(mesh, -1);
}

/* Work that comes to a queue. */
static mw_works *queued(mw_consumer *consumer, mw_queue *queue) {
  mw_completion told;
  size_t n = 0;
  if (mw_consumer_next_start(consumer, 8, PATIENCE, queue, 1, NULL, NULL) != MW_OK) return NULL;
  mw_queue_take(queue, &told, 1, PATIENCE, &n, NULL);
  return n == 1 && told.kind == MW_WORKS ? (mw_works *)told.value : NULL;
}

static void events_come_to_a_queue_and_those_that_nobody_takes_have_failed(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(1);
  mw_consumer *consumer = NULL;
  mw_message m = mw_message_new();
  mw_completion told;
  mw_work work;
  mw_works *works;
  size_t n;
  FINE(mw_publish(mesh, "queued", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_consumer_new(mesh, "queued", "group=g; backoff_min=0", &consumer, &err));
  works = queued(consumer, queue);
  CHECK(works != NULL);
  mw_works_free(works);
  works = queued(consumer, queue);
  CHECK(works != NULL);
  FINE(mw_works_take(works, &work, 0, &n, &err));
  CHECK(n == 0);
  works = queued(consumer, queue);
  CHECK(works != NULL);
  FINE(mw_works_take(works, &work, 1, &n, &err));
  CHECK(n == 1 && work.job != NULL && work.request == NULL && work.lost == 0);
  FINE(mw_job_read(work.job, &m, &err));
  CHECK(m.attempt == 3);
  FINE(mw_job_end(work.job, MW_HANDLED, 0, NULL, &err));
  CHECK(mw_consumer_stop(consumer) == MW_OK);
  FINE(mw_consumer_next_start(consumer, 8, MW_FOREVER, queue, 2, NULL, &err));
  FINE(mw_queue_take(queue, &told, 1, PATIENCE, &n, &err));
  CHECK(n == 1 && told.kind == MW_OVER && told.tag == 2 && told.error == NULL);
  mw_consumer_free(consumer);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void work_that_is_misused_is_an_error_and_is_not_lost(void) {
  mw_client *mesh = connected();
  mw_queue *queue = mw_queue_new(1);
  mw_consumer *consumer = NULL;
  mw_message m = mw_message_new();
  mw_work work;
  mw_works *works;
  mw_job *job;
  size_t n;
  FINE(mw_publish(mesh, "misused", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_consumer_new(mesh, "misused", "group=g; backoff_min=0", &consumer, &err));
  works = queued(consumer, queue);
  CHECK(works != NULL);
  CHECK(mw_works_take(works, NULL, 1, &n, NULL) == MW_INVALID && mw_works_take(works, &work, 1, NULL, NULL) == MW_INVALID);
  CHECK(mw_works_take((mw_works *)consumer, &work, 1, &n, NULL) == MW_INVALID);
  FINE(mw_works_take(works, &work, 1, &n, &err));
  job = work.job;
  CHECK(n == 1 && job != NULL && mw_works_take(works, &work, 1, &n, NULL) == MW_INVALID);
  mw_works_free(works);
  mw_works_free(NULL);
  CHECK(mw_job_end(job, 99, 0, NULL, NULL) == MW_INVALID);
  CHECK(mw_job_read(job, NULL, NULL) == MW_INVALID && mw_job_read((mw_job *)consumer, &m, NULL) == MW_INVALID);
  FINE(mw_job_read(job, &m, &err));
  CHECK(m.attempt == 1);
  CHECK(mw_job_end(job, MW_HANDLED, 0, NULL, NULL) == MW_OK && mw_job_end(job, MW_HANDLED, 0, NULL, NULL) == MW_INVALID);
  CHECK(mw_job_read(job, &m, NULL) == MW_INVALID && mw_job_attribute(job, "type", NULL, 0) == -1);
  mw_consumer_free(consumer);
  mw_close(mesh, -1);
  mw_queue_free(queue);
}

static void an_event_whose_consumer_is_gone_is_lost_to_its_handler(void) {
  mw_client *mesh = connected();
  mw_consumer *consumer = NULL;
  mw_job *job;
  int looks = 0;
  FINE(mw_publish(mesh, "gone", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_consumer_new(mesh, "gone", "group=g", &consumer, &err));
  job = next_job(consumer);
  CHECK(job != NULL && !mw_job_lost(job));
  mw_consumer_free(consumer);
  while (!mw_job_lost(job)) CHECK(look_again(&looks));
  FINE(mw_job_end(job, MW_HANDLED, 0, NULL, &err));
  CHECK(mw_job_lost(job) && mw_job_lost(NULL) && mw_job_lost((mw_job *)mesh));
  mw_close(mesh, -1);
}

static void a_reason_that_is_no_utf8_ends_what_it_is_of(void) {
  mw_client *mesh = connected();
  mw_consumer *consumer = NULL;
  mw_subscription *sub = NULL;
  mw_work work;
  mw_text *letters = NULL;
  mw_delivery *d;
  size_t n;
  FINE(mw_publish(mesh, "reasons", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_consumer_new(mesh, "reasons", "group=g", &consumer, &err));
  FINE(mw_consumer_next(consumer, &work, 1, PATIENCE, &n, &err));
  CHECK(n == 1);
  FINE(mw_job_end(work.job, MW_HANDLE_NEVER, 0, "job \xff", &err));
  FINE(mw_subscribe(mesh, "reasons", "group=h", &sub, &err));
  d = next(sub);
  CHECK(d != NULL && mw_reject(d, "event \xff") == MW_OK);
  mw_consumer_free(consumer);
  mw_unsubscribe(sub);
  FINE(mw_drain(mesh, PATIENCE, &err));
  mw_close(mesh, -1);
  mesh = connected();
  FINE(mw_admin(mesh, "dead_letters.list", "{\"topic\":\"reasons\",\"group\":\"g\"}", &letters, &err));
  CHECK(strstr(mw_text_chars(letters), "job \xef\xbf\xbd") != NULL);
  mw_text_free(letters);
  FINE(mw_admin(mesh, "dead_letters.list", "{\"topic\":\"reasons\",\"group\":\"h\"}", &letters, &err));
  CHECK(strstr(mw_text_chars(letters), "event \xef\xbf\xbd") != NULL);
  mw_text_free(letters);
  mw_close(mesh, -1);
}

static void consumers_that_cannot_be_are_refused_where_they_begin_or_when_they_are_asked(void) {
  mw_client *mesh = connected();
  mw_consumer *consumer = NULL;
  mw_error *err = NULL;
  mw_work work;
  size_t n = 7;
  CHECK(mw_consumer_new(NULL, "orders", "group=g", &consumer, NULL) == MW_INVALID);
  CHECK(mw_consumer_new(mesh, NULL, "group=g", &consumer, NULL) == MW_INVALID);
  CHECK(mw_consumer_new(mesh, "orders", "group=g", NULL, NULL) == MW_INVALID);
  CHECK(mw_consumer_new(mesh, "orders", "group=g; colour=red", &consumer, &err) == MW_INVALID && consumer == NULL);
  CHECK(strstr(mw_error_text(err), "colour") != NULL && strcmp(mw_error_operation(err), "consume") == 0);
  mw_error_free(err);
  FINE(mw_consumer_new(mesh, "orders", "group=no group!", &consumer, &err));
  CHECK(mw_consumer_next(consumer, &work, 1, PATIENCE, &n, NULL) == MW_INVALID && n == 0);
  CHECK(mw_consumer_next(consumer, &work, 1, PATIENCE, &n, NULL) == MW_ENDED);
  mw_consumer_free(consumer);
  FINE(mw_consumer_new(mesh, "orders", "group=g", &consumer, &err));
  CHECK(mw_consumer_next(consumer, &work, 0, 0, &n, NULL) == MW_INVALID);
  CHECK(mw_consumer_next(consumer, NULL, 1, 0, &n, NULL) == MW_INVALID);
  CHECK(mw_consumer_next(consumer, &work, 1, 0, NULL, NULL) == MW_INVALID);
  CHECK(mw_consumer_next((mw_consumer *)mesh, &work, 1, 0, &n, NULL) == MW_INVALID);
  CHECK(mw_consumer_next_start(consumer, 1, 0, NULL, 1, NULL, NULL) == MW_INVALID);
  CHECK(mw_consumer_stop(NULL) == MW_INVALID && mw_consumer_stop((mw_consumer *)mesh) == MW_INVALID);
  mw_consumer_free(NULL);
  mw_consumer_free((mw_consumer *)mesh);
  mw_consumer_free(consumer);
  mw_consumer_free(consumer);
  CHECK(mw_consumer_stop(consumer) == MW_INVALID && mw_consumer_next(consumer, &work, 1, 0, &n, NULL) == MW_INVALID);
  CHECK(mw_close(mesh, -1) == MW_OK);
}

#define TESTS(test)                                                          \
  test(events_are_asked_for_and_become_what_the_program_says)                \
  test(events_come_to_a_queue_and_those_that_nobody_takes_have_failed)       \
  test(work_that_is_misused_is_an_error_and_is_not_lost)                     \
  test(an_event_whose_consumer_is_gone_is_lost_to_its_handler)               \
  test(a_reason_that_is_no_utf8_ends_what_it_is_of)                          \
  test(consumers_that_cannot_be_are_refused_where_they_begin_or_when_they_are_asked)
GROUP(consumers)
