/* The C library as an installed package, against a real gateway process. Prints a line for each test. */
#include "../harness.h"

#define GROUPS(group) \
  group(publishing)   \
  group(offline)      \
  group(calls)        \
  group(errors)       \
  group(handlers)     \
  group(consumers)    \
  group(responders)   \
  group(packed)       \
  group(watching)     \
  group(endings)

GROUPS(DECLARE)

static const test_group *const groups[] = {GROUPS(LIST)};

int main(int argc, char **argv) { return run_all(groups, sizeof groups / sizeof *groups, argc > 1 ? argv[1] : ""); }
