"""Our own program over the carriers that look like traffic of others to what stands between."""

import json
import os
import re
import subprocess
import sys

PROGRAM = os.environ.get("MESHWIRE_BIN", "meshwire")
# The scheme of each mode, outside of TLS and inside.
SCHEMES = {"over-http": ("http", "https"), "over-websocket": ("ws", "wss"), "over-grpc": ("grpc", "grpcs")}


def run(task, command, *words, body=b""):
    """Gives what it printed, and the rest."""
    url = f"{SCHEMES[task['mode']][bool(task['ca'])]}://{task['address']}"
    roots = ["--tls-roots", task["ca"]] if task["ca"] else []
    words = [PROGRAM, command, task["topic"], "--json", "--server", url, *roots, *words]
    done = subprocess.run(words, input=body, capture_output=True, timeout=20)
    return done.stdout.decode().splitlines(), done.stderr.decode()


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


def publish(task):
    lines = [as_json(event) for event in task["events"]]
    printed, said = run(task, "pub", "--file", "-", body="\n".join(lines).encode())
    receipts = [json.loads(line) for line in printed]
    results = [{"ok": "code" not in r, "code": r.get("code"), "detail": r.get("message")} for r in receipts]
    # A refusal of all is one line for people.
    code = re.search(r"\(([A-Z_]+)", said)
    return results or [{"code": code and code[1], "detail": said}]


def plain_of(line):
    members = json.loads(line)
    members.pop("specversion")
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    kind = members.get("datacontenttype", "application/json").split(";")[0]
    if encoded is not None:
        return {"attributes": members, "data": {"base64": encoded}}
    if kind.endswith(("/json", "+json")):
        # The exact text: it is the last member.
        name = '"data":'
        data = {"json": line[line.index(name) + len(name) : -1]} if name in line else None
    elif data is not None:
        data = {"text": data}
    return {"attributes": members, "data": data}


def receive(task):
    printed, said = run(task, "sub", "--start", "earliest", "--count", str(task["count"]))
    if len(printed) != task["count"]:
        raise RuntimeError(said)
    return [plain_of(line) for line in printed]


for line in sys.stdin:
    try:
        task = json.loads(line)
        if task["do"] == "receive":
            answer = {"events": receive(task)}
        else:
            answer = {"results": publish(task)}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
