#!/bin/sh
# Fetches from a group or settles there, by what is on standard input: fetch.sh ADDRESS TOPIC fetch|settle [more for curl]
set -eu
address=$1 topic=$2 word=$3
shift 3
# snippet: curl-fetch
group="http://$address/v1/topics/$topic/groups/strangers"
curl --silent --show-error "$group/$word" --header "content-type: application/json" --data-binary @- "$@"
# snippet end
