#!/bin/sh
# Publishes what is on standard input: publish.sh ADDRESS TOPIC [more for curl]
set -eu
address=$1 topic=$2
shift 2
# snippet: curl
curl --silent --show-error "http://$address/v1/topics/$topic/events" --data-binary @- "$@"
# snippet end
