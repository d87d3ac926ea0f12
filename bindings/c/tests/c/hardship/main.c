/* What goes wrong: calls too late, at wrong moments, with wrong values, beside each other, and without a gateway. Nothing here may crash,
 * hang or leak. Called with a word, a number and an address it is a program that one of the tests looks at. */
#include "everything.h"

#define GROUPS(group) \
  group(late)         \
  group(values)       \
  group(threads)      \
  group(functions)    \
  group(gateways)     \
  group(signals)      \
  group(endings)

GROUPS(DECLARE)

static const test_group *const groups[] = {GROUPS(LIST)};

int main(int argc, char **argv) {
  own_name = argv[0];
  if (argc == 4 && strcmp(argv[1], "ending") == 0) return end_somehow(atoi(argv[2]), argv[3]);
  if (argc == 4 && strcmp(argv[1], "parting") == 0) return publish_and_end(atoi(argv[2]), argv[3]);
  if (argc == 4 && strcmp(argv[1], "signals") == 0) return take_signals(atoi(argv[2]), argv[3]);
  if (argc == 4 && strcmp(argv[1], "pipes") == 0) return lose_gateways(atoi(argv[2]), argv[3]);
  return run_all(groups, sizeof groups / sizeof *groups, argc > 1 ? argv[1] : "");
}
