/* A program that is not linked with the library, but loads it (its first argument), and lets go of it while a client is open: threads of
 * the library, and what it does at the end of the process, must still be there. */
#define _POSIX_C_SOURCE 200809L
#include <meshwire.h>

#include <dlfcn.h>
#include <stdio.h>

/* Finds a function: a pointer to it is not one to an object, in C. */
#define FIND(to, name)                     \
  do {                                     \
    void *found = dlsym(library, name);    \
    memcpy(&(to), &found, sizeof found);   \
    if (found == NULL) return "no " name;  \
  } while (0)

/* Why it went wrong, or NULL. */
static const char *use_and_let_go(const char *path) {
  enum { MANY = 1000 };
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  int (*start)(mw_gateway **, const char *const *, size_t, mw_error **);
  const char *(*url)(const mw_gateway *);
  int (*connect)(uint32_t, mw_client **, const char *, const char *, mw_error **);
  int (*publish)(mw_client *, const char *, mw_data, const mw_publish_opts *, mw_queue *, uint64_t, mw_error **);
  int (*take)(mw_queue *, mw_completion *, size_t, int64_t, size_t *, mw_error **);
  mw_queue *(*queue_new)(size_t);
  mw_gateway *gateway = NULL;
  mw_client *mesh = NULL;
  mw_queue *queue;
  mw_completion told;
  size_t taken, n;
  if (library == NULL) return dlerror();
  FIND(start, "mw_gateway_start");
  FIND(url, "mw_gateway_url");
  FIND(connect, "mw_connect_version");
  FIND(publish, "mw_publish_later");
  FIND(take, "mw_queue_take");
  FIND(queue_new, "mw_queue_new");
  queue = queue_new(MANY);
  if (start(&gateway, NULL, 0, NULL) || connect(MW_ABI_VERSION, &mesh, url(gateway), "publish_window_events=1", NULL)) return "no client";
  for (n = 0; n < MANY; n++)
    if (publish(mesh, "loaded", mw_text_data("x"), NULL, queue, n, NULL)) return "no publish";
  if (dlclose(library) != 0) return dlerror();
  /* Not loaded by this, but there. */
  if (dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL) return "the library is gone";
  for (taken = 0; taken < MANY; taken += n)
    if (take(queue, &told, 1, 20000, &n, NULL) || n != 1 || told.kind != MW_RECEIPT) return "no receipt";
  return NULL;
}

int main(int argc, char **argv) {
  const char *wrong = argc == 2 ? use_and_let_go(argv[1]) : "say where the library is";
  printf(wrong == NULL ? "ok %s\n" : "FAILED %s: %s\n", "a_library_that_is_let_go_of_stays_while_its_threads_run", wrong);
  return wrong != NULL;
}
