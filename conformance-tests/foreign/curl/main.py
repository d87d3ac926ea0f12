"""curl as a publisher: attributes as headers, data as the body, or an event as JSON."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

# All that may stand in a header as it is; the rest is percent-encoded UTF-8.
PLAIN = "!#$&'()*+,/:;<=>?@[\\]^`{|}"
HERE = Path(__file__).parent


def body_of(event):
    ((kind, data),) = (event["data"] or {"text": ""}).items()
    return base64.b64decode(data) if kind == "base64" else data.encode()


def header(name, value):
    text = json.dumps(value) if isinstance(value, (bool, int)) else value
    return f"ce-{name}: {quote(text, safe=PLAIN)}"


def trust(task):
    return ["--cacert", task["ca"]] if task["ca"] else []


def run(script, task, *more, body=b""):
    """Gives the status and the answer's body."""
    command = ["sh", HERE / script, task["gateway"], task["topic"], *more, *trust(task), "--write-out", "\n%{http_code}"]
    done = subprocess.run(command, input=body, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"curl ended with {done.returncode}: {done.stderr.decode()}")
    answer, _, status = done.stdout.decode().rpartition("\n")
    return int(status), answer


def post(task, headers, body):
    more = [word for line in headers for word in ("--header", line)]
    status, answer = run("publish.sh", task, *more, body=body)
    return status, json.loads(answer)


def as_json(event):
    """An event's JSON with its data's exact text in it."""
    members = {"specversion": "1.0", **event["attributes"]}
    ((kind, data),) = (event["data"] or {None: None}).items()
    if kind == "base64":
        members["data_base64"] = data
    elif kind == "text":
        members["data"] = data
    text = json.dumps(members, ensure_ascii=False)
    return text[:-1] + ', "data": ' + data + "}" if kind == "json" else text


def result(status, answer):
    ok = status == 200 and "code" not in answer
    return {"ok": ok, "code": answer.get("code"), "detail": answer.get("detail")}


def publish(task):
    if task["mode"] == "batch":
        body = "[" + ",".join(map(as_json, task["events"])) + "]"
        status, answer = post(task, ["content-type: application/cloudevents-batch+json"], body.encode())
        return [result(status, item) for item in answer.get("results", [answer])]
    results = []
    for event in task["events"]:
        if task["mode"] == "structured":
            headers, body = ["content-type: application/cloudevents+json"], as_json(event).encode()
        else:
            attributes = {"specversion": "1.0", **event["attributes"]}
            kind = attributes.pop("datacontenttype", None)
            headers = [header(*pair) for pair in attributes.items()]
            # Without this curl says that the body is a form.
            headers.append(f"content-type: {kind}" if kind else "content-type:")
            body = body_of(event)
        results.append(result(*post(task, headers, body)))
    return results


def exact_data(text):
    """The text of member `data`, before a parser writes numbers its own way."""
    decoder, at = json.JSONDecoder(), 0
    while True:
        name, at = decoder.raw_decode(text, at + 1)
        start = at + 1
        _, at = decoder.raw_decode(text, start)
        if name == "data":
            return text[start:at]
        if text[at] == "}":
            return None


def plain_of(text):
    """An event of a delivery, which is the last member of its object."""
    text = text[text.index('"event":') + len('"event":') : -1]
    members = json.loads(text)
    members.pop("specversion")
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    kind = members.get("datacontenttype", "application/json").split(";")[0]
    if encoded is not None:
        data = {"base64": encoded}
    elif kind.endswith(("/json", "+json")):
        exact = exact_data(text)
        data = {"json": exact} if exact is not None else None
    elif data is not None:
        data = {"text": data}
    return {"attributes": members, "data": data}


def receive(task):
    """Everything of a topic, as lines of JSON or as server-sent events."""
    kind = {"ndjson": "application/x-ndjson", "sse": "text/event-stream"}[task["mode"]]
    more = ["--max-time", "20", "--header", f"accept: {kind}", *trust(task)]
    command = ["sh", HERE / "receive.sh", task["gateway"], task["topic"], *more]
    events = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as stream:
        for line in stream.stdout:
            line = line.decode().removesuffix("\n")
            line = line.removeprefix("data: ") if task["mode"] == "sse" else line
            if line.startswith("{"):
                events.append(plain_of(line))
            if len(events) == task["count"]:
                stream.kill()
                break
    return events


def fetch(task):
    """What waits for a group, so many at once, and then that it is done."""
    events = []
    while len(events) < task["count"]:
        asked = {"max_events": 100, "max_bytes": 8 << 20, "wait_ms": 10_000}
        status, text = run("fetch.sh", task, "fetch", body=json.dumps(asked).encode())
        if status != 200 or text == '{"deliveries":[]}':
            raise RuntimeError(f"{status}: {text:.200}")
        deliveries = split(text[text.index("[") :])
        leases = [json.loads(delivery)["lease"] for delivery in deliveries]
        settlements = {"settlements": [{"lease": lease, "kind": "ack"} for lease in leases]}
        status, text = run("fetch.sh", task, "settle", body=json.dumps(settlements).encode())
        if status != 200 or any("code" in result for result in json.loads(text)["results"]):
            raise RuntimeError(f"{status}: {text}")
        events += map(plain_of, deliveries)
    return events


def split(text):
    """The exact texts of the items of an array."""
    decoder, at, items = json.JSONDecoder(), 0, []
    while text[at] != "]":
        start = at + 1
        _, at = decoder.raw_decode(text, start)
        items.append(text[start:at])
    return items


DO = {"ndjson": receive, "sse": receive, "fetch": fetch}

for line in sys.stdin:
    try:
        task = json.loads(line)
        if task["do"] == "receive":
            answer = {"events": DO[task["mode"]](task)}
        else:
            answer = {"results": publish(task)}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
