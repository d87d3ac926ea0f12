#!/bin/sh
# Publishes what is on standard input: publish.sh GATEWAY TOPIC [more for curl]
set -eu
gateway=$1 topic=$2
shift 2
# snippet: curl
curl --silent --show-error "$gateway/v1/topics/$topic/events" --data-binary @- "$@"
# snippet end
