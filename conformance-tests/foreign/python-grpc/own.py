"""Every call of gRPC, and the errors, with stubs made of the published schemas: own.py HOST:PORT"""

import sys
import uuid
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

sys.path.insert(0, str(Path(__file__).parent / "stubs"))
from meshwire import v1_pb2 as pb
from meshwire import v1_pb2_grpc as pb_grpc
from meshwire.admin import v1_pb2 as admin_pb
from meshwire.cloudevents import v1_pb2 as events_pb

PATIENCE = 20

if len(sys.argv) != 2:
    sys.exit("usage: own.py HOST:PORT")

channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.max_receive_message_length", 64 << 20)])
mesh, admin = pb_grpc.MeshStub(channel), pb_grpc.AdminStub(channel)
topic = f"python-{uuid.uuid4().hex}"
results = []


def cell(name):
    def run(test):
        try:
            test()
            results.append(True)
            print(f"ok      {name}")
        except Exception as error:  # a cell that fails is a line, and the next one is played
            results.append(False)
            print(f"FAILED  {name}: {type(error).__name__}: {error}")
    return run


def event(id, **data):
    return events_pb.CloudEvent(id=id, source="/python", spec_version="1.0", type="t", **data)


def attributes(**values):
    return {name: events_pb.CloudEvent.CloudEventAttributeValue(**value) for name, value in values.items()}


def fidelity():
    text = dict(datacontenttype=dict(ce_string="text/plain"))
    json = dict(datacontenttype=dict(ce_string="application/json"))
    kinds = dict(flag=dict(ce_boolean=True), number=dict(ce_integer=-(2**31)), word=dict(ce_string="\u2713 %"),
                 blob=dict(ce_bytes=b"\0\xff"), subject=dict(ce_string='a "subject"'))
    return [
        event("nothing"),
        event("empty", binary_data=b""),
        event("text", text_data="a line\r\n", attributes=attributes(**text)),
        event("emoji", text_data="\U0001f680 \u202e", attributes=attributes(**text)),
        event("json", text_data='{ "b": 1.0, "a" : [1e2] }', attributes=attributes(**json)),
        event("scalar", text_data='"a string"', attributes=attributes(**json)),
        event("null", text_data="null", attributes=attributes(**json)),
        event("nul", binary_data=b"a\0b\0"),
        event("not-utf8", binary_data=b"\xff\xfe\x80"),
        event("large", binary_data=bytes(range(251)) * 4178),
        event("attributes", attributes=attributes(**kinds)),
        event("key", attributes=attributes(partitionkey=dict(ce_string="a key"))),
        event("html", text_data="<script>alert(1)</script>", attributes=attributes(**text)),
        event("vendor", text_data='{"a":1}', attributes=attributes(datacontenttype=dict(ce_string="application/vnd.a+json"))),
    ]


def take(stream, count):
    found = []
    while len(found) < count:
        found.extend(next(stream).deliveries)
    return found


def reason(call):
    try:
        call()
    except grpc.RpcError as error:
        status = rpc_status.from_call(error)
        info = error_details_pb2.ErrorInfo()
        assert any(any_.Unpack(info) for any_ in status.details), status
        assert info.domain == "meshwire", info
        return error.code(), info.reason
    raise AssertionError("no error")


sent = fidelity()
for n, one in enumerate(sent, 1):
    @cell(f"publish {one.id}")
    def _(n=n, one=one):
        answer = mesh.Publish(pb.PublishRequest(topic=topic, event=one), timeout=PATIENCE)
        assert (answer.position, answer.duplicate) == (n, False), answer

stream = mesh.Subscribe(pb.SubscribeRequest(topic=topic, group="g", max_unsettled=100), timeout=PATIENCE)
came = take(stream, len(sent))
for one, delivery in zip(sent, came):
    @cell(f"receive {one.id}")
    def _(one=one, delivery=delivery):
        assert delivery.event == one and delivery.attempt == 1 and delivery.lease, delivery


@cell("settle: ack, nack, reject")
def _():
    kinds = [pb.ACK] * (len(came) - 2) + [pb.NACK, pb.REJECT]
    settlements = [pb.Settlement(lease=d.lease, **{"as": kind}) for d, kind in zip(came, kinds)]
    settlements[-2].delay_ms = 0
    answer = mesh.Settle(pb.SettleRequest(topic=topic, group="g", settlements=settlements, confirm=True), timeout=PATIENCE)
    assert len(answer.results) == len(came) and not any(r.HasField("error") for r in answer.results), answer
    (again,) = take(stream, 1)
    assert (again.position, again.attempt) == (len(came) - 1, 2), again
    # Whoever cancels a call before it has settled was lost with the rest, which counts as failures.
    settlement = pb.Settlement(lease=again.lease, **{"as": pb.ACK})
    answer = mesh.Settle(pb.SettleRequest(topic=topic, group="g", settlements=[settlement], confirm=True), timeout=PATIENCE)
    assert not answer.results[0].HasField("error"), answer
    letters = admin.ListDeadLetters(admin_pb.ListDeadLetters(topic=topic), timeout=PATIENCE).letters
    assert [letter.position for letter in letters] == [len(came)], letters


@cell("a lease that is lost")
def _():
    settlement = pb.Settlement(lease=came[0].lease, **{"as": pb.REJECT})
    answer = mesh.Settle(pb.SettleRequest(topic=topic, group="g", settlements=[settlement]), timeout=PATIENCE)
    assert answer.results[0].error.code == "LEASE_LOST", answer


@cell("batch with one that is no event")
def _():
    batch = [event("b1"), events_pb.CloudEvent(id="b2"), event("b3")]
    results = mesh.PublishBatch(pb.PublishBatchRequest(topic=topic, events=batch), timeout=PATIENCE).results
    assert [r.error.code for r in results] == ["", "INVALID", ""], results


@cell("the end of a stream")
def _():
    stream.cancel()
    try:
        next(stream)
        raise AssertionError("it goes on")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.CANCELLED, error


@cell("administration")
def _():
    topics = admin.ListTopics(admin_pb.ListTopics(topic=topic), timeout=PATIENCE).topics
    assert [t.name for t in topics] == [topic] and topics[0].groups[0].name == "g", topics


for name, expected, call in [
    ("a bad name", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID"),
     lambda: mesh.Publish(pb.PublishRequest(topic="a/b", event=event("1")), timeout=PATIENCE)),
    ("no event", (grpc.StatusCode.INVALID_ARGUMENT, "INVALID"),
     lambda: mesh.Publish(pb.PublishRequest(topic=topic), timeout=PATIENCE)),
    ("nobody serves", (grpc.StatusCode.FAILED_PRECONDITION, "NO_RESPONDERS"),
     lambda: mesh.Request(pb.RequestRequest(topic=topic, event=event("1")), timeout=PATIENCE)),
    ("no such group", (grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
     lambda: admin.GetGroup(admin_pb.GetGroup(topic=topic, group="none"), timeout=PATIENCE)),
    ("compression", (grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED"),
     lambda: mesh.Publish(pb.PublishRequest(topic=topic, event=event("1", binary_data=bytes(1000))), timeout=PATIENCE,
                          compression=grpc.Compression.Gzip)),
    ("an unknown method", (grpc.StatusCode.UNIMPLEMENTED, "UNSUPPORTED"),
     lambda: channel.unary_unary("/meshwire.v1.Mesh/None")(b"", timeout=PATIENCE)),
]:
    @cell(f"error: {name}")
    def _(expected=expected, call=call):
        found = reason(call)
        assert found == expected, found


@cell("reflection")
def _():
    names = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert "meshwire.v1.Mesh" in names and "grpc.health.v1.Health" in names, names


failed = results.count(False)
print(f"{results.count(True)} passed, {failed} failed")
sys.exit(1 if failed else 0)
