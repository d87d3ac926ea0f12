/* The demo's player in C: publishes events, and receives those of the players in all languages.
 * player URL NAME EVENTS ALL */
#include <meshwire.h>

#include <stdio.h>
#include <stdlib.h>

#define MOST 64

static struct {
  char language[64];
  int count;
} received[16];

static void count(const char *language) {
  int i = 0;
  while (received[i].count > 0 && strcmp(received[i].language, language) != 0) i++;
  snprintf(received[i].language, sizeof received[i].language, "%s", language);
  received[i].count++;
}

int main(int argc, char **argv) {
  mw_client *mesh = NULL;
  mw_subscription *sub = NULL;
  mw_delivery *batch[MOST];
  mw_error *err = NULL;
  mw_publish_opts o = MW_PUBLISH_OPTS_INIT;
  char group[64], id[64], data[32], language[64], mine[64];
  mw_attribute said = {"language", MW_ATTRIBUTE_TEXT, NULL, 0};
  int n, all, failed = 1;
  size_t came, i;
  if (argc != 5) return fprintf(stderr, "usage: player URL NAME EVENTS ALL\n"), 2;
  snprintf(mine, sizeof mine, "C%02ld, cc %.40s", __STDC_VERSION__ / 100 % 100, __VERSION__);
  snprintf(group, sizeof group, "group=in-%s; start=earliest", argv[2]);
  said.text = mine;
  o.type = "greeting";
  o.id = id;
  o.attributes = &said;
  o.attribute_count = 1;
  if (mw_connect(&mesh, argv[1], NULL, &err)) goto end;
  if (mw_subscribe(mesh, "languages", group, &sub, &err)) goto end;
  for (n = 0; n < atoi(argv[3]); n++) {
    snprintf(id, sizeof id, "%s-%d", argv[2], n);
    snprintf(data, sizeof data, "{\"n\":%d}", n);
    if (mw_publish(mesh, "languages", mw_json(data), &o, NULL, &err)) goto end;
  }
  for (all = atoi(argv[4]); all > 0; all -= (int)came) {
    if (mw_next(sub, batch, MOST, MW_FOREVER, &came, &err)) goto end;
    for (i = 0; i < came; i++) {
      mw_delivery_attribute(batch[i], "language", language, sizeof language);
      count(language);
      if (mw_settle_confirmed(batch[i], MW_ACK, 0, NULL, &err)) goto end;
    }
  }
  printf("{\"language\":\"%s\",\"received\":{", mine);
  for (n = 0; n < 16 && received[n].count > 0; n++)
    printf("%s\"%s\":%d", n > 0 ? "," : "", received[n].language, received[n].count);
  printf("}}\n");
  failed = 0;
end:
  if (err != NULL) fprintf(stderr, "%s: %s\n", mw_error_name(err), mw_error_text(err));
  mw_error_free(err);
  mw_unsubscribe(sub);
  mw_close(mesh, 5000);
  return failed;
}
