#!/bin/sh
# Prints every event of a topic as it comes: receive.sh GATEWAY TOPIC [more for curl]
set -eu
gateway=$1 topic=$2
shift 2
# snippet: curl-receive
exec curl --silent --show-error --no-buffer "$gateway/v1/topics/$topic/events?start=earliest" "$@"
# snippet end
