/* Three members of a group share its jobs; each job is done once, and the jobs of one customer stay in order.
 *
 *   cc consumer_group.c $(pkg-config --cflags --libs meshwire) -o consumer_group && ./consumer_group mesh://127.0.0.1:7400
 */
#include <meshwire.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOBS = 12, MEMBERS = 3 };

static const char *customers[] = {"ada", "ben", "cy"};
static char done[MEMBERS][64];
static int finished;

static mw_error *err;

/* Ends the program if a call failed. */
static void must(int code) {
  if (code == MW_OK) return;
  fprintf(stderr, "%s: %s\n", mw_error_name(err), mw_error_text(err));
  exit(EXIT_FAILURE);
}

/* Does one job, and says so. */
static void work(mw_job *job) {
  mw_message m = mw_message_new();
  int of;
  must(mw_job_read(job, &m, &err));
  for (of = 0; of < 3; of++) {
    size_t length = strlen(done[of]);
    if (strncmp(m.key.ptr, customers[of], m.key.len) != 0) continue;
    snprintf(done[of] + length, sizeof done[of] - length, "%s%.*s", length > 0 ? ", " : "", (int)m.data.len,
             (const char *)m.data.ptr);
  }
  finished++;
  must(mw_job_end(job, MW_HANDLED, -1, NULL, &err));
}

int main(int argc, char **argv) {
  mw_client *mesh = NULL;
  mw_consumer *members[MEMBERS];
  mw_queue *queue = mw_queue_new(MEMBERS);
  int i, open = MEMBERS;
  /* NULL: MESHWIRE_URL, else mesh://127.0.0.1:7400. */
  must(mw_connect(&mesh, argc > 1 ? argv[1] : NULL, NULL, &err));
  for (i = 1; i <= JOBS; i++) {
    char number[16];
    mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
    snprintf(number, sizeof number, "%d", i);
    o.type = "job.asked";
    o.key = customers[(i - 1) % 3];
    must(mw_publish(mesh, "jobs", mw_json(number), &o, NULL, &err));
  }

  for (i = 0; i < MEMBERS; i++) {
    /* What a member is sent ahead of its handlers no other one can have meanwhile. */
    must(mw_consumer_new(mesh, "jobs", "group=workers; prefetch_events=2; prefetch_bytes=1MiB", &members[i], &err));
    must(mw_consumer_next_start(members[i], 2, MW_FOREVER, queue, (uint64_t)i, NULL, &err));
  }
  /* One thread does the work of all three, by their tags. */
  while (open > 0) {
    mw_completion told;
    mw_work works[2];
    size_t n;
    must(mw_queue_take(queue, &told, 1, MW_FOREVER, &n, &err));
    err = told.error;
    must(told.code);
    if (told.kind == MW_OVER) {
      mw_consumer_free(members[told.tag]);
      open--;
      continue;
    }
    for (must(mw_works_take((mw_works *)told.value, works, 2, &n, &err)); n > 0; n--)
      if (works[n - 1].job != NULL) work(works[n - 1].job);
    must(mw_consumer_next_start(members[told.tag], 2, MW_FOREVER, queue, told.tag, NULL, &err));
    for (i = 0; finished == JOBS && i < MEMBERS; i++) mw_consumer_stop(members[i]);
  }

  for (i = 0; i < 3; i++) printf("%s: [%s]\n", customers[i], done[i]);
  mw_close(mesh, -1);
  mw_queue_free(queue);
  return 0;
}
