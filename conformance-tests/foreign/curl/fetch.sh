#!/bin/sh
# Fetches from a group or settles there, by what is on standard input: fetch.sh GATEWAY TOPIC fetch|settle [more for curl]
set -eu
gateway=$1 topic=$2 word=$3
shift 3
# snippet: curl-fetch
group="$gateway/v1/topics/$topic/groups/strangers"
curl --silent --show-error "$group/$word" --header "content-type: application/json" --data-binary @- "$@"
# snippet end
