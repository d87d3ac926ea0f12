/* Signals are the program's: none comes to a thread of the library, and none comes of what the library does. */
#include "everything.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

/* A program that is sent signals which its own thread does not take at once; those that have no handler end it, wherever they come. */
int take_signals(int times, const char *url) {
  const int all[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGALRM};
  struct timespec patience = {PATIENCE / 1000, 0};
  mw_client *mesh = NULL;
  sigset_t set;
  size_t i;
  if (mw_connect(&mesh, url, NULL, NULL)) return 2;
  /* Not before: threads that are made have what their maker has. */
  sigemptyset(&set);
  for (i = 0; i < sizeof all / sizeof *all; i++) sigaddset(&set, all[i]);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  while (times-- > 0)
    for (i = 0; i < sizeof all / sizeof *all; i++) {
      kill(getpid(), all[i]);
      round_trips(mesh, 1);
      if (sigtimedwait(&set, NULL, &patience) != all[i]) return 3;
    }
  mw_close(mesh, -1);
  return 0;
}

static void no_signal_comes_to_a_thread_of_the_library(void) {
  CHECK(run_self("signals", 5, mw_gateway_url(gateway)) == 0);
}

/* A program that loses one gateway after the other while it publishes; a signal would end it. */
int lose_gateways(int rounds, const char *carrier) {
  enum { MANY = 256 };
  char *data = (char *)calloc(4096, 1);
  int round, i;
  for (round = 0; round < rounds; round++) {
    mw_gateway *mortal = NULL;
    mw_client *mesh = NULL;
    mw_queue *queue = mw_queue_new(2 * MANY + 1);
    mw_completion told;
    char url[64];
    size_t n;
    if (mw_gateway_start(&mortal, NULL, 0, NULL)) return 2;
    snprintf(url, sizeof url, "%s%s", carrier, strstr(mw_gateway_url(mortal), "://"));
    if (mw_connect(&mesh, url, "reconnect_min=10ms", NULL)) return 3;
    for (i = 0; i < MANY; i++) mw_publish_later(mesh, "lost", mw_bytes(data, 4096), NULL, queue, (uint64_t)i, NULL);
    if (mw_queue_take(queue, &told, 1, PATIENCE, &n, NULL) || n != 1 || told.kind != MW_RECEIPT) return 4;
    if (round % 2 == 0) mw_gateway_kill(mortal);
    else mw_gateway_stop(mortal, NULL);
    for (i = 0; i < MANY; i++) mw_publish_later(mesh, "lost", mw_bytes(data, 4096), NULL, queue, (uint64_t)i, NULL);
    /* It has noticed when it is in another state. */
    while (mw_client_state(mesh) == MW_STATE_CONNECTED) {
      if (mw_state_start(mesh, MW_STATE_CONNECTED, queue, 1000, NULL, NULL)) return 5;
      do {
        if (mw_queue_take(queue, &told, 1, PATIENCE, &n, NULL) || n != 1) return 6;
        let_go(&told);
      } while (told.tag != 1000);
    }
    mw_close(mesh, 0);
    mw_queue_free(queue);
  }
  free(data);
  return 0;
}

static void no_gateway_that_dies_ends_the_program_by_a_signal_whatever_carries_the_session(void) {
  const char *carriers[] = {"tcp", "grpc", "ws", "http"};
  int i;
  for (i = 0; i < 4; i++) CHECK(run_self("pipes", 2, carriers[i]) == 0);
}

#define TESTS(test)                                 \
  test(no_signal_comes_to_a_thread_of_the_library)  \
  test(no_gateway_that_dies_ends_the_program_by_a_signal_whatever_carries_the_session)
GROUP(signals)
