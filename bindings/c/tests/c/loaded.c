/* A program that is not linked with the library, but loads it (its first argument), and lets go of it while a client is open: threads of
 * the library, and what it does at the end of the process, must still be there. */
#define _POSIX_C_SOURCE 200809L
#include <meshwire.h>

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>

/* Finds a function: a pointer to it is not one to an object, in C. */
#define FIND(to, name)                     \
  do {                                     \
    void *found = dlsym(library, name);    \
    memcpy(&(to), &found, sizeof found);   \
    if (found == NULL) return "no " name;  \
  } while (0)

static int (*start)(mw_gateway **, const char *const *, size_t, mw_error **);
static void (*end)(mw_gateway *);
static const char *(*url)(const mw_gateway *);
static int (*open_client)(uint32_t, mw_client **, const char *, const char *, mw_error **);
static int (*close_client)(mw_client *, int64_t);
static int (*publish)(mw_client *, const char *, mw_data, const mw_publish_opts *, mw_queue *, uint64_t, mw_error **);
static int (*take)(mw_queue *, mw_completion *, size_t, int64_t, size_t *, mw_error **);
static mw_queue *(*queue_new)(size_t);

static const char *find_all(void *library) {
  FIND(start, "mw_gateway_start");
  FIND(end, "mw_gateway_kill");
  FIND(url, "mw_gateway_url");
  FIND(open_client, "mw_connect_version");
  FIND(close_client, "mw_close");
  FIND(publish, "mw_publish_later");
  FIND(take, "mw_queue_take");
  FIND(queue_new, "mw_queue_new");
  return NULL;
}

/* Opens a client and closes it; gives why that went wrong, or NULL. */
static void *use(void *none) {
  static char wrong[] = "the client cannot be used";
  mw_gateway *gateway = NULL;
  mw_client *mesh = NULL;
  (void)none;
  if (start(&gateway, NULL, 0, NULL)) return wrong;
  if (open_client(MW_ABI_VERSION, &mesh, url(gateway), NULL, NULL) || close_client(mesh, -1)) return wrong;
  end(gateway);
  return NULL;
}

/* Whether the library is there, though nobody has loaded it. */
static int is_there(const char *path) { return dlopen(path, RTLD_NOW | RTLD_NOLOAD) != NULL; }

/* How many threads there are, where the system tells; else 0. */
static int threads(void) {
  DIR *all = opendir("/proc/self/task");
  int count = -2;
  if (all == NULL) return 0;
  while (readdir(all) != NULL) count++;
  closedir(all);
  return count;
}

/* When all threads that called it have ended nothing of them keeps it. */
static const char *stays_behind_its_threads(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *wrong = NULL;
  const char *missing = library == NULL ? dlerror() : find_all(library);
  pthread_t thread;
  if (missing != NULL) return missing;
  pthread_create(&thread, NULL, use, NULL);
  pthread_join(thread, &wrong);
  if (wrong != NULL) return (const char *)wrong;
  /* Those of the library end by themselves. */
  while (threads() > 1) sched_yield();
  if (dlclose(library) != 0) return dlerror();
  return is_there(path) ? NULL : "the library is gone";
}

static const char *stays_under_a_client(const char *path) {
  enum { MANY = 1000 };
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  const char *missing = library == NULL ? dlerror() : find_all(library);
  mw_gateway *gateway = NULL;
  mw_client *mesh = NULL;
  mw_queue *queue;
  mw_completion told;
  size_t taken, n;
  if (missing != NULL) return missing;
  queue = queue_new(MANY);
  if (start(&gateway, NULL, 0, NULL)) return "no gateway";
  if (open_client(MW_ABI_VERSION, &mesh, url(gateway), "publish_window_events=1", NULL)) return "no client";
  for (n = 0; n < MANY; n++)
    if (publish(mesh, "loaded", mw_text_data("x"), NULL, queue, n, NULL)) return "no publish";
  if (dlclose(library) != 0) return dlerror();
  if (!is_there(path)) return "the library is gone";
  for (taken = 0; taken < MANY; taken += n)
    if (take(queue, &told, 1, 20000, &n, NULL) || n != 1 || told.kind != MW_RECEIPT) return "no receipt";
  /* The client stays open to the end of the process. */
  return NULL;
}

static int tell(const char *name, const char *wrong) {
  if (wrong == NULL) printf("ok %s\n", name);
  else printf("FAILED %s: %s\n", name, wrong);
  return wrong != NULL;
}

int main(int argc, char **argv) {
  const char *path = argc == 2 ? argv[1] : "";
  int failed = tell("a_library_that_is_let_go_of_stays_when_its_threads_have_ended", stays_behind_its_threads(path));
  return tell("a_library_that_is_let_go_of_under_an_open_client_goes_on", stays_under_a_client(path)) | failed;
}
