"""What the examples of /openapi.json are about: topic `orders` with events, its group `billing`, and dead letter 1 of it."""

import json
import urllib.error
import urllib.request

TOPIC = "/v1/topics/orders"
GROUP = f"{TOPIC}/groups/billing"
EVENTS = "application/cloudevents-batch+json"


def ask(url, method, path, body=None, kind="application/json"):
    """Gives the status and the answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"content-type": kind} if data else {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def must(*what):
    status, answer = ask(*what)
    if status != 200:
        raise RuntimeError(f"{what[1:]} was answered with {status}: {answer}")
    return answer


def is_there(url):
    return all(ask(url, "GET", path)[0] == 200 for path in [GROUP, f"{GROUP}/dead-letters/1"])


def make(url):
    """Numbers begin anew with a topic only."""
    ask(url, "DELETE", f"{TOPIC}?force=true")
    must(url, "PUT", TOPIC)
    events = [{"specversion": "1.0", "id": f"{n}", "source": "/s", "type": "t", "data": n} for n in range(3)]
    must(url, "POST", f"{TOPIC}/events", events, EVENTS)
    (delivery,) = must(url, "POST", f"{GROUP}/fetch", {"max_events": 1, "wait_ms": 5000})["deliveries"]
    settlement = {"lease": delivery["lease"], "kind": "reject"}
    must(url, "POST", f"{GROUP}/settle", {"settlements": [settlement]})
    if not is_there(url):
        raise RuntimeError("a group with a dead letter was made, and is not there")
