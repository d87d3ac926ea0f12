#!/bin/sh
# Runs schemathesis, all checks, against a gateway of its own: run.sh [MESHWIRE [PYTHON_ENVIRONMENT]]
#
# MESHWIRE is the binary, else that of MESHWIRE_BIN; the environment is made if it is not there. SEED (5) and EXAMPLES (20, for each
# operation) are variables. Each operation of /openapi.json must be answered with 2xx at least once.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
meshwire=${1:-${MESHWIRE_BIN:-meshwire}}
environment=${2:-$(mktemp -d)/environment}
work=$(mktemp -d)
gateway=
trap 'test -z "$gateway" || kill "$gateway"; rm -rf "$work"' EXIT

if ! test -x "$environment/bin/schemathesis"; then
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --require-hashes --requirement "$here/requirements.txt"
fi

"$meshwire" serve --listen 127.0.0.1:0 --data-dir "$work/data" --log-level warn >"$work/address" 2>"$work/log" &
gateway=$!
tries=0
until url=http://$(sed -n 's/^listening //p' "$work/address") && test "$url" != http://; do
  tries=$((tries + 1))
  test "$tries" -lt 100 || { cat "$work/log"; exit 1; }
  sleep 0.1
done

export GATEWAY="$url" REACHED="$work/reached" PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1
python3 -c 'import os, fixture; fixture.make(os.environ["GATEWAY"])'

# A request needs somebody who answers.
"$meshwire" reply orders --server "mesh://${url#http://}" --exec 'cat >/dev/null; echo 42' >"$work/reply" 2>&1 &
responder=$!
trap 'kill "$gateway" "$responder" 2>/dev/null || true; rm -rf "$work"' EXIT

event='{"specversion":"1.0","id":"4","source":"/s","type":"t","data":1}'
until curl -sf -o "$work/answer" -H 'content-type: application/cloudevents+json' -d "$event" "$url/v1/topics/orders/requests"; do
  tries=$((tries + 1))
  test "$tries" -lt 200 || { cat "$work/reply"; exit 1; }
  sleep 0.1
done

seed=${SEED:-5} examples=${EXAMPLES:-20}
# It does not ask for the document itself again.
curl -sf -o "$work/openapi.json" "$url/openapi.json" && echo "GET /openapi.json 200" >>"$REACHED"
cd "$work"
SCHEMATHESIS_HOOKS=hooks "$environment/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$url/openapi.json" --url "$url" \
  --checks all --seed "$seed" --max-examples "$examples" --phases examples,coverage,fuzzing --workers 1 \
  --request-timeout 35 --no-color ||
  { echo "FAILED  schemathesis: with SEED=$seed EXAMPLES=$examples"; exit 1; }
kill -0 "$gateway" || { echo "FAILED  schemathesis: the gateway ended, with SEED=$seed EXAMPLES=$examples"; exit 1; }
echo "ok  schemathesis: all checks, with SEED=$seed EXAMPLES=$examples"
python3 "$here/reached.py" openapi.json "$REACHED"
