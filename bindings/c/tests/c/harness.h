/* What the programs of the suite share: a gateway, checks, and the lines that tell how each test went. */
#ifndef HARNESS_H
#define HARNESS_H

#include <meshwire.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static mw_gateway *gateway;
static const char *failed_at;
static char failed_text[512];

#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define CHECK(condition)                                     \
  do {                                                       \
    if (!(condition)) {                                      \
      failed_at = __FILE__ ":" STRING(__LINE__) ": " #condition; \
      return;                                                \
    }                                                        \
  } while (0)
#define FINE(call)                                                                         \
  do {                                                                                     \
    mw_error *err = NULL;                                                                  \
    if ((call) != MW_OK) {                                                                 \
      snprintf(failed_text, sizeof failed_text, "%s:%d: %s: %s: %s", __FILE__, __LINE__, #call, \
               mw_error_name(err), mw_error_text(err));                                    \
      mw_error_free(err);                                                                  \
      failed_at = failed_text;                                                             \
      return;                                                                              \
    }                                                                                      \
  } while (0)

static const int64_t PATIENCE = 20000;

static mw_client *connected(void) {
  mw_client *mesh = NULL;
  mw_connect(&mesh, mw_gateway_url(gateway), "name=suite", NULL);
  return mesh;
}

/* The next delivery, or NULL. */
static mw_delivery *next(mw_subscription *sub) {
  mw_delivery *delivery = NULL;
  size_t n = 0;
  mw_next(sub, &delivery, 1, PATIENCE, &n, NULL);
  return n == 1 ? delivery : NULL;
}

typedef struct {
  const char *name;
  void (*run)(void);
} test_case;

/* Runs those whose name has `filter` in it, against one gateway; gives what main gives. */
static int run_all(const test_case *tests, size_t count, const char *filter) {
  mw_error *err = NULL;
  size_t i;
  int failed = 0;
  if (mw_gateway_start(&gateway, NULL, 0, &err)) {
    printf("FAILED to start a gateway: %s\n", mw_error_text(err));
    return 1;
  }
  if (strcmp(mw_version(), MW_VERSION) != 0 || mw_abi_version() != MW_ABI_VERSION) failed = 1;
  for (i = 0; i < count; i++) {
    if (strstr(tests[i].name, filter) == NULL) continue;
    failed_at = NULL;
    tests[i].run();
    if (failed_at == NULL) {
      printf("ok %s\n", tests[i].name);
    } else {
      printf("FAILED %s: %s\n", tests[i].name, failed_at);
      failed = 1;
    }
    fflush(stdout);
  }
  if (mw_gateway_stop(gateway, &err)) {
    printf("FAILED to stop the gateway: %s\n", mw_error_text(err));
    failed = 1;
  }
  return failed;
}

#endif
