/* What the programs of the suite share: a gateway, checks, and the lines that tell how each test went. */
#ifndef HARNESS_H
#define HARNESS_H

#define _POSIX_C_SOURCE 200809L

#include <meshwire.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Of all tests of a program. */
extern mw_gateway *gateway;
extern const char *failed_at;
extern char failed_text[512];

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

/* Milliseconds: nothing here takes so long. */
enum { PATIENCE = 20000 };

int same(mw_string s, const char *text);
int is_data(mw_data data, const char *text);

mw_client *connected(void);

/* The next delivery, or NULL. */
mw_delivery *next(mw_subscription *sub);

/* Waits a moment, for a condition that nothing else tells of; false: it took too long. `looks` begins at 0. */
bool look_again(int *looks);

/* What handlers and hooks of a test count in. */
typedef struct {
  mw_client *mesh;
  int handled, failed, dropped, number;
} tally;

/* The `drop` of handlers, hooks and callbacks whose ctx is a tally. */
void on_drop(void *ctx);

typedef struct {
  const char *name;
  void (*run)(void);
} test_case;

typedef struct {
  const test_case *tests;
  size_t count;
} test_group;

/* A file of tests ends with its TESTS as a group, and main.c has the GROUPS. */
#define CASE(name) {#name, name},
#define GROUP(name)                               \
  static const test_case cases[] = {TESTS(CASE)}; \
  extern const test_group name##_tests;           \
  const test_group name##_tests = {cases, sizeof cases / sizeof *cases};
#define DECLARE(name) extern const test_group name##_tests;
#define LIST(name) &name##_tests,

/* Runs those whose name has `filter` in it, against one gateway; gives what main gives. */
int run_all(const test_group *const *groups, size_t count, const char *filter);

#endif
