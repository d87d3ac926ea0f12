/* What libmeshwire-tcp has, and what it says of what it has not. */
#include "../harness.h"

static void a_scheme_that_is_not_in_it_is_unsupported_and_the_text_says_what_is_and_where_the_rest_is(void) {
  const char *urls[] = {"grpc://127.0.0.1:7400", "grpcs://127.0.0.1:7400", "ws://127.0.0.1:7400",
                        "wss://127.0.0.1:7400",  "http://127.0.0.1:7400",  "https://127.0.0.1:7400"};
  size_t i;
  for (i = 0; i < sizeof urls / sizeof *urls; i++) {
    mw_client *mesh = NULL;
    mw_error *err = NULL;
    CHECK(mw_connect(&mesh, urls[i], NULL, &err) == MW_UNSUPPORTED && mesh == NULL);
    CHECK(strstr(mw_error_text(err), "only mesh:// over tcp and TLS") != NULL);
    CHECK(strstr(mw_error_text(err), "use the full library") != NULL && strstr(mw_error_text(err), "crate") == NULL);
    CHECK(mw_error_retry(err) == MW_RETRY_NEVER);
    mw_error_free(err);
  }
}

static void tls_is_in_it(void) {
  mw_client *mesh = NULL;
  /* Nobody listens there: the scheme is known, and the roots are read before anything is sent. */
  CHECK(mw_connect(&mesh, "meshs://127.0.0.1:1", NULL, NULL) == MW_UNAVAILABLE && mesh == NULL);
  CHECK(mw_connect(&mesh, "tcps://127.0.0.1:1", "client_tls_roots=/nowhere/roots.pem", NULL) == MW_INVALID && mesh == NULL);
}

static void what_is_published_is_received_and_requests_and_administration_work(void) {
  mw_client *mesh = connected();
  mw_subscription *sub = NULL;
  mw_text *answer = NULL;
  mw_reply *reply = NULL;
  mw_delivery *d;
  CHECK(mesh != NULL);
  FINE(mw_admin(mesh, "topics.create", "{\"topic\":\"small\",\"durability\":\"memory\"}", &answer, &err));
  mw_text_free(answer);
  FINE(mw_publish(mesh, "small", mw_text_data("x"), NULL, NULL, &err));
  FINE(mw_subscribe(mesh, "small", "group=g", &sub, &err));
  d = next(sub);
  CHECK(d != NULL && mw_delivery_data(d).len == 1);
  FINE(mw_settle_confirmed(d, MW_ACK, -1, NULL, &err));
  mw_unsubscribe(sub);
  CHECK(mw_request_reply(mesh, "nobody", mw_text_data("x"), NULL, NULL, &reply, NULL) == MW_NO_RESPONDERS);
  CHECK(mw_close(mesh, -1) == MW_OK);
}

#define TESTS(test)                                                                                  \
  test(a_scheme_that_is_not_in_it_is_unsupported_and_the_text_says_what_is_and_where_the_rest_is)    \
  test(tls_is_in_it)                                                                                 \
  test(what_is_published_is_received_and_requests_and_administration_work)

GROUP(small)

static const test_group *const groups[] = {&small_tests};

int main(int argc, char **argv) { return run_all(groups, sizeof groups / sizeof *groups, argc > 1 ? argv[1] : ""); }
