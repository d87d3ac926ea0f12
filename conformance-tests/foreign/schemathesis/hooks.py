"""Each operation finds what its examples are about, streams and waits end soon, and a wrong event or settlement is refused; which answers an operation gave is
kept, a line each, in the file that REACHED names."""

import os
import re
from urllib.parse import unquote

import schemathesis
from fixture import is_there, make, must
from schemathesis.core.parameters import ParameterLocation

URL = os.environ["GATEWAY"]
STREAMS = {"receive_topic", "receive_group"}
# The bounds of timeout_ms, in milliseconds, and when a stream here ends.
SHORTEST, LONGEST, STREAM_MS = 1, 43_200_000, 100
# The most that a fetch may ask to wait, in milliseconds; schemathesis takes an answer after 10 seconds for a fault.
LONGEST_WAIT = 30_000
# Those it was started with, of what can be changed.
LIMITS = {name: value for name, value in must(URL, "GET", "/v1/limits").items() if name.endswith("_rate")}
seen = set()


def of(case):
    return case.operation.definition.raw.get("operationId")


def is_good(timeout):
    text = str(timeout)
    return text.isascii() and text.isdigit() and SHORTEST <= int(text) <= LONGEST


def is_good_wait(wait):
    return isinstance(wait, (int, float)) and not isinstance(wait, bool) and wait == wait // 1 and 0 <= wait <= LONGEST_WAIT


# schemathesis takes what looks escaped in a name for escaped, both when it sends a name and when it judges whether it is wrong: to it `%C3` is
# a good name and the character 195 at once. Names with `%` are left to the tests of the gateway.
@schemathesis.hook
def before_load_schema(context, raw_schema):
    for operation in (operation for path in raw_schema["paths"].values() for operation in path.values()):
        for name in names_of(operation):
            name["schema"]["pattern"] = name["schema"]["pattern"].replace("%", "")


@schemathesis.hook
def filter_path_parameters(context, path_parameters):
    return not any(
        "%" in (text := unquote(str(path_parameters.get(name["name"]))))
        and re.search(name["schema"]["pattern"], text.replace("%", "a"))
        for name in names_of(context.operation.definition.raw)
    )


def names_of(operation):
    return [each for each in operation.get("parameters", []) if each["in"] == "path" and "pattern" in each["schema"]]


@schemathesis.hook
def before_call(context, case, kwargs):
    # Operations before this one may have removed it.
    ours = {"topic": "orders", "group": "billing"}
    if "group" in case.path_parameters and ours.items() <= case.path_parameters.items() and not is_there(URL):
        make(URL)
    # It would end with the gateway only. A timeout that is wrong stays so.
    if of(case) in STREAMS and is_good((case.query or {}).get("timeout_ms", STREAM_MS)):
        case.query = {**(case.query or {}), "timeout_ms": STREAM_MS}
    if of(case) == "fetch" and isinstance(case.body, dict) and is_good_wait(case.body.get("wait_ms")):
        case.body = {**case.body, "wait_ms": min(case.body["wait_ms"], STREAM_MS)}


@schemathesis.hook
def after_call(context, case, response):
    # A rate of 1 would refuse what is made anew for the operations behind it.
    if of(case) == "set_limits":
        must(URL, "PATCH", "/v1/limits", LIMITS)
    line = f"{case.operation.method.upper()} {case.operation.path} {response.status_code}\n"
    if line not in seen:
        seen.add(line)
        with open(os.environ["REACHED"], "a") as file:
            file.write(line)


@schemathesis.check
def a_wrong_event_is_refused(context, response, case):
    """By itself with an error, in a batch with an error in its place."""
    if of(case) != "publish" or response.status_code != 200:
        return
    if case.meta is None or not case.meta.is_negative_at(ParameterLocation.BODY):
        return
    if case.media_type == "application/cloudevents-batch+json":
        assert any("code" in result for result in response.json()["results"]), "a wrong batch was taken whole"
    else:
        raise AssertionError("a wrong event was taken")


@schemathesis.check
def a_wrong_settlement_is_refused(context, response, case):
    """With an error in its place."""
    if of(case) != "settle" or response.status_code != 200:
        return
    if case.meta is None or not case.meta.is_negative_at(ParameterLocation.BODY):
        return
    assert any("code" in result for result in response.json()["results"]), "a wrong settlement was taken"
