"""curl as a publisher: attributes as headers, data as the body, or an event as JSON."""

import base64
import json
import subprocess
import sys
from urllib.parse import quote

# All that may stand in a header as it is; the rest is percent-encoded UTF-8.
PLAIN = "!#$&'()*+,/:;<=>?@[\\]^`{|}"
EVENTS = "http://{address}/v1/topics/{topic}/events"


def body_of(event):
    ((kind, data),) = (event["data"] or {"text": ""}).items()
    return base64.b64decode(data) if kind == "base64" else data.encode()


def header(name, value):
    text = json.dumps(value) if isinstance(value, (bool, int)) else value
    return f"ce-{name}: {quote(text, safe=PLAIN)}"


def curl(url, headers, body):
    """Gives the status and the answer's body."""
    # snippet: curl
    command = ["curl", "--silent", "--show-error", "--request", "POST", url]
    for line in headers:
        command += ["--header", line]
    command += ["--data-binary", "@-", "--write-out", "\n%{http_code}"]
    # snippet end
    done = subprocess.run(command, input=body, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"curl ended with {done.returncode}: {done.stderr.decode()}")
    answer, _, status = done.stdout.decode().rpartition("\n")
    return int(status), json.loads(answer)


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
    url = EVENTS.format(**task)
    if task["mode"] == "batch":
        body = "[" + ",".join(map(as_json, task["events"])) + "]"
        status, answer = curl(url, ["content-type: application/cloudevents-batch+json"], body.encode())
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
        results.append(result(*curl(url, headers, body)))
    return results


for line in sys.stdin:
    try:
        answer = {"results": publish(json.loads(line))}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
