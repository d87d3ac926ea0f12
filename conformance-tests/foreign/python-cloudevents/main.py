"""The CloudEvents SDK for Python over HTTP."""

import base64
import itertools
import json
import sys

import requests
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from dateutil.parser import isoparse

WRITERS = {"binary": to_binary_event, "structured": to_structured_event}
session = requests.Session()


def event_of(plain, mode):
    attributes = {**plain["attributes"], "time": isoparse(plain["attributes"]["time"])}
    if mode == "binary":
        # In headers the SDK writes True, CloudEvents wants true.
        attributes = {name: json.dumps(value) if value is True else value for name, value in attributes.items()}
    ((kind, data),) = (plain["data"] or {"none": None}).items()
    if kind == "base64":
        data = base64.b64decode(data)
    elif kind == "json" and mode == "structured":
        data = json.loads(data)
    return CloudEvent(attributes, data)


# snippet: python-cloudevents
def publish(gateway, topic, message):
    url = f"{gateway}/v1/topics/{topic}/events"
    return session.post(url, data=message.body, headers=message.headers)
# snippet end


def result(response):
    answer = response.json()
    return {"ok": response.ok, "code": answer.get("code"), "detail": answer.get("detail")}


# snippet: python-cloudevents-receive
def receive(gateway, topic):
    url = f"{gateway}/v1/topics/{topic}/events?start=earliest"
    with session.get(url, headers={"accept": "application/x-ndjson"}, stream=True, timeout=20) as response:
        for line in response.iter_lines(chunk_size=1 << 16):
            # An empty line only says that the gateway is there.
            if line:
                yield JSONFormat().read(CloudEvent, json.dumps(json.loads(line)["event"]))
# snippet end


def plain_of(event):
    attributes = {**event.get_attributes(), "time": event.get_time().isoformat()}
    attributes.pop("specversion")
    data, kind = event.get_data(), attributes.get("datacontenttype", "application/json").split(";")[0]
    if isinstance(data, bytes):
        data = {"base64": base64.b64encode(data).decode()}
    elif data is not None:
        data = {"json": json.dumps(data)} if kind.endswith(("/json", "+json")) else {"text": data}
    return {"attributes": attributes, "data": data}


def carry_out(task):
    if task["ca"]:
        # Whom to trust inside TLS; what the environment says would win over it.
        session.verify, session.trust_env = task["ca"], False
    if task["do"] == "receive":
        events = itertools.islice(receive(task["gateway"], task["topic"]), task["count"])
        return {"events": [plain_of(event) for event in events]}
    write = WRITERS[task["mode"]]
    messages = [write(event_of(plain, task["mode"])) for plain in task["events"]]
    return {"results": [result(publish(task["gateway"], task["topic"], message)) for message in messages]}


for line in sys.stdin:
    try:
        answer = carry_out(json.loads(line))
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
