/* What the files of this program share: a client with something of everything, what threads share, and children. */
#ifndef EVERYTHING_H
#define EVERYTHING_H

#include "../harness.h"

/* A client with something of everything. */
typedef struct {
  mw_client *mesh;
  mw_subscription *sub;
  mw_delivery *d[2];
  mw_consumer *consumer;
  mw_responder *responder;
  mw_replies *replies;
  mw_queue *queue;
} all;

/* Whether there is something of everything now. */
int everything(all *of, const char *url);
void let_all_go(all *of);

/* Begins every call that a client has, each with a tag of its own below 32; gives a bit for each that was begun. */
uint32_t begin_all(mw_client *mesh, mw_subscription *sub, mw_delivery *d, mw_delivery *extended, mw_consumer *consumer,
                   mw_responder *responder, mw_replies *replies, mw_queue *queue);

/* Takes until each of these bits has come once; gives what is missing, or came twice. */
uint32_t come(mw_queue *queue, uint32_t wanted);

/* Frees whatever is in a completion. */
void let_go(mw_completion *told);

/* Lets go by as much as so many answers of the gateway take. */
void round_trips(mw_client *mesh, int count);

/* What threads share. */
typedef struct {
  all of;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int started, counted, settled, codes[8];
} shared;

void share(shared *s);
/* Adds to one of the counts; gives what it is then. */
int count(shared *s, int *what, int more);
/* Waits until one of the counts is so much. */
void await_count(shared *s, const int *what, int least);

/* A thread's function: waits in one of eight calls that do. */
void *waiting(void *ctx);

/* Runs this program with these words; gives how it ended, as waitpid does. It is ended when it takes too long. */
int run_self(const char *word, int number, const char *url);
extern const char *own_name;

/* The programs that tests look at. */
int end_somehow(int number, const char *url);
int publish_and_end(int number, const char *url);
int take_signals(int times, const char *url);
int lose_gateways(int rounds, const char *carrier);

#endif
