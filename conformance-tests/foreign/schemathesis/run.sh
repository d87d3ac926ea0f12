#!/bin/sh
# Runs schemathesis, all checks, against a gateway of its own: run.sh [MESHWIRE [PYTHON_ENVIRONMENT]]
#
# MESHWIRE is the binary, else that of MESHWIRE_BIN; the environment is made if it is not there. Every run has the same seed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
meshwire=${1:-${MESHWIRE_BIN:-meshwire}}
environment=${2:-$(mktemp -d)/environment}
work=$(mktemp -d)
gateway=
trap 'test -z "$gateway" || kill "$gateway"; rm -rf "$work"' EXIT

if ! test -x "$environment/bin/schemathesis"; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --requirement "$here/requirements.txt"
fi

"$meshwire" serve --listen 127.0.0.1:0 --data-dir "$work/data" --log-level warn >"$work/address" 2>"$work/log" &
gateway=$!
tries=0
until url=http://$(sed -n 's/^listening //p' "$work/address") && test "$url" != http://; do
  tries=$((tries + 1))
  test "$tries" -lt 100 || { cat "$work/log"; exit 1; }
  sleep 0.1
done

# What the examples of the document are about: each operation finds something to do.
event='{"specversion":"1.0","id":"ID","source":"/s","type":"t","data":1}'
post() { curl -sf -o "$work/answer" -H "content-type: $1" -d "$2" "$url$3"; }
curl -sf -o "$work/answer" -X PUT "$url/v1/topics/orders"
for id in 1 2 3; do
  post application/cloudevents+json "$(echo "$event" | sed "s/ID/$id/")" /v1/topics/orders/events
done
post application/json '{"max_events":1}' /v1/topics/orders/groups/billing/fetch
lease=$(sed 's/.*"lease":"\([^"]*\)".*/\1/' "$work/answer")
post application/json "{\"settlements\":[{\"lease\":\"$lease\",\"kind\":\"reject\"}]}" /v1/topics/orders/groups/billing/settle
curl -sf -o "$work/answer" "$url/v1/topics/orders/groups/billing/dead-letters/1"
grep -q '"reason":"rejected"' "$work/answer"

# Streams have no end of their own.
for path in /v1/topics/orders/events?start=earliest /v1/topics/orders/groups/billing/events; do
  curl -s -N --max-time 2 -o "$work/stream" -w '%{http_code}' "$url$path" >"$work/status" || true
  grep -q 200 "$work/status" || { echo "no stream at $path"; exit 1; }
done
# A request needs somebody who answers.
"$meshwire" reply orders --server "mesh://${url#http://}" --exec 'cat >/dev/null; echo 42' >"$work/reply" 2>&1 &
responder=$!
trap 'kill "$gateway" "$responder" 2>/dev/null || true; rm -rf "$work"' EXIT

until post application/cloudevents+json "$(echo "$event" | sed s/ID/4/)" /v1/topics/orders/requests; do
  tries=$((tries + 1))
  test "$tries" -lt 200 || { cat "$work/reply"; exit 1; }
  sleep 0.1
done

cd "$work"
"$environment/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$url/openapi.json" --url "$url" \
  --checks all --seed 5 --max-examples "${EXAMPLES:-20}" --phases examples,coverage,fuzzing --workers 1 \
  --exclude-operation-id receive_topic --exclude-operation-id receive_group --request-timeout 35 --no-color
kill -0 "$gateway"
echo "ok  schemathesis: every operation of /openapi.json"
