#include "harness.h"

#include <time.h>

mw_gateway *gateway;
const char *failed_at;
char failed_text[512];

int same(mw_string s, const char *text) { return s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0; }

int is_data(mw_data data, const char *text) { return data.len == strlen(text) && memcmp(data.ptr, text, data.len) == 0; }

mw_client *connected(void) {
  mw_client *mesh = NULL;
  mw_connect(&mesh, mw_gateway_url(gateway), "name=suite", NULL);
  return mesh;
}

mw_delivery *next(mw_subscription *sub) {
  mw_delivery *delivery = NULL;
  size_t n = 0;
  mw_next(sub, &delivery, 1, PATIENCE, &n, NULL);
  return n == 1 ? delivery : NULL;
}

bool look_again(int *looks) {
  struct timespec moment = {0, 1000000};
  nanosleep(&moment, NULL);
  return ++*looks < PATIENCE;
}

void on_drop(void *ctx) { ((tally *)ctx)->dropped++; }

/* Whether it went well. */
static int run_one(const test_case *test) {
  failed_at = NULL;
  test->run();
  if (failed_at == NULL) {
    printf("ok %s\n", test->name);
  } else {
    printf("FAILED %s: %s\n", test->name, failed_at);
  }
  fflush(stdout);
  return failed_at == NULL;
}

int run_all(const test_group *const *groups, size_t count, const char *filter) {
  mw_error *err = NULL;
  size_t i, k;
  int failed = 0;
  if (mw_gateway_start(&gateway, NULL, 0, &err)) {
    printf("FAILED to start a gateway: %s\n", mw_error_text(err));
    return 1;
  }
  if (strcmp(mw_version(), MW_VERSION) != 0 || mw_abi_version() != MW_ABI_VERSION) failed = 1;
  for (i = 0; i < count; i++)
    for (k = 0; k < groups[i]->count; k++)
      if (strstr(groups[i]->tests[k].name, filter) != NULL && !run_one(&groups[i]->tests[k])) failed = 1;
  if (mw_gateway_stop(gateway, &err)) {
    printf("FAILED to stop the gateway: %s\n", mw_error_text(err));
    failed = 1;
  }
  return failed;
}
