"""Each operation finds what its examples are about; which answers it gave is kept, a line each, in the file that REACHED names."""

import os

import schemathesis
from fixture import is_there, make

URL = os.environ["GATEWAY"]
seen = set()


@schemathesis.hook
def before_call(context, case, kwargs):
    # Operations before this one may have removed it.
    ours = {"topic": "orders", "group": "billing"}
    if "group" in case.path_parameters and ours.items() <= case.path_parameters.items() and not is_there(URL):
        make(URL)


@schemathesis.hook
def after_call(context, case, response):
    line = f"{case.operation.method.upper()} {case.operation.path} {response.status_code}\n"
    if line not in seen:
        seen.add(line)
        with open(os.environ["REACHED"], "a") as file:
            file.write(line)
