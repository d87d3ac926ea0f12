#!/bin/sh
# Prints every event of a topic as it comes: receive.sh ADDRESS TOPIC [more for curl]
set -eu
address=$1 topic=$2
shift 2
# snippet: curl-receive
exec curl --silent --show-error --no-buffer "http://$address/v1/topics/$topic/events?start=earliest" "$@"
# snippet end
