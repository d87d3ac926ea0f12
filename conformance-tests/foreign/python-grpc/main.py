"""gRPC for Python, with stubs that its own tools make of our .proto files."""

import base64
import json
import sys
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

sys.path.insert(0, str(Path(__file__).parent / "stubs"))
from meshwire.cloudevents import v1_pb2 as cloudevents
from meshwire import v1_pb2 as meshwire
from meshwire import v1_pb2_grpc

# The field of an attribute's value, by its type.
FIELDS = {"binary": "ce_bytes", "uri": "ce_uri", "uri-reference": "ce_uri_ref"}
TYPES = {field: kind for kind, field in FIELDS.items()}
# An event may be larger than gRPC takes unasked.
OPTIONS = [("grpc.max_receive_message_length", 16 << 20)]


def event_of(plain):
    attributes = dict(plain["attributes"])
    event = cloudevents.CloudEvent(
        spec_version="1.0", id=attributes.pop("id"), source=attributes.pop("source"), type=attributes.pop("type")
    )
    for name, value in attributes.items():
        kind = plain["types"].get(name)
        if isinstance(value, bool):
            event.attributes[name].ce_boolean = value
        elif isinstance(value, int):
            event.attributes[name].ce_integer = value
        elif kind == "timestamp":
            event.attributes[name].ce_timestamp.FromJsonString(value)
        elif kind == "binary":
            event.attributes[name].ce_bytes = base64.b64decode(value)
        else:
            setattr(event.attributes[name], FIELDS.get(kind, "ce_string"), value)
    for kind, data in (plain["data"] or {}).items():
        if kind == "base64":
            event.binary_data = base64.b64decode(data)
        else:
            event.text_data = data
    return event


def plain_of(event):
    attributes, types = {"id": event.id, "source": event.source, "type": event.type}, {}
    for name, value in event.attributes.items():
        field = value.WhichOneof("attr")
        value = getattr(value, field)
        if field == "ce_timestamp":
            value, types[name] = value.ToJsonString(), "timestamp"
        elif field == "ce_bytes":
            value = base64.b64encode(value).decode()
        attributes[name] = value
        if field in TYPES:
            types[name] = TYPES[field]
    field = event.WhichOneof("data")
    data = None
    if field == "binary_data":
        data = {"base64": base64.b64encode(event.binary_data).decode()}
    elif field == "text_data":
        data = {"text": event.text_data}
    return {"attributes": attributes, "types": types, "data": data}


# snippet: python-grpc
def publish(mesh, topic, event):
    return mesh.Publish(meshwire.PublishRequest(topic=topic, event=event), timeout=20)


def code_of(error):
    """The code of our error catalogue, out of the status details."""
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(error).details:
        if detail.Unpack(info) and info.domain == "meshwire":
            return info.reason
# snippet end


def unary(mesh, task):
    results = []
    for plain in task["events"]:
        try:
            publish(mesh, task["topic"], event_of(plain))
            results.append({"ok": True})
        except grpc.RpcError as error:
            results.append({"code": code_of(error), "detail": error.details()})
    return results


def batch(mesh, task):
    events = [event_of(plain) for plain in task["events"]]
    request = meshwire.PublishBatchRequest(topic=task["topic"], events=events)
    try:
        answer = mesh.PublishBatch(request, timeout=20)
    except grpc.RpcError as error:
        return [{"code": code_of(error), "detail": error.details()}]
    errors = [result.error for result in answer.results]
    return [{"ok": not error.code, "code": error.code, "detail": error.detail} for error in errors]


def receive(mesh, task):
    """As the member of a group: each delivery is settled, and the gateway confirms it."""
    start = meshwire.Start(earliest=True)
    request = meshwire.SubscribeRequest(topic=task["topic"], group="strangers", start=start)
    events, call = [], mesh.Subscribe(request, timeout=20)
    for deliveries in call:
        settlements = [meshwire.Settlement(lease=d.lease, **{"as": meshwire.ACK}) for d in deliveries.deliveries]
        settle = meshwire.SettleRequest(topic=task["topic"], group="strangers", settlements=settlements, confirm=True)
        for result in mesh.Settle(settle, timeout=20).results:
            if result.error.code:
                raise RuntimeError(f"not settled: {result.error}")
        events += [plain_of(d.event) for d in deliveries.deliveries]
        if len(events) >= task["count"]:
            call.cancel()
            return events
    raise RuntimeError(f"the call ended after {len(events)} events")


channels = {}


def channel(address, authority):
    if not authority:
        return grpc.insecure_channel(address, OPTIONS)
    trusted = grpc.ssl_channel_credentials(Path(authority).read_bytes())
    return grpc.secure_channel(address, trusted, OPTIONS)


def carry_out(task):
    address, authority = task["address"], task["ca"]
    if (address, authority) not in channels:
        channels[address, authority] = channel(address, authority)
    mesh = v1_pb2_grpc.MeshStub(channels[address, authority])
    if task["do"] == "receive":
        return {"events": receive(mesh, task)}
    return {"results": unary(mesh, task) if task["mode"] == "grpc" else batch(mesh, task)}


for line in sys.stdin:
    try:
        answer = carry_out(json.loads(line))
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
