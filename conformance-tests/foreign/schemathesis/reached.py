"""Whether each operation of a document was answered with 2xx: reached.py OPENAPI_JSON REACHED"""

import json
import sys

METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}

with open(sys.argv[1]) as file:
    paths = json.load(file)["paths"]
with open(sys.argv[2]) as file:
    answers = [line.split() for line in file]

operations = {(method.upper(), path) for path, item in paths.items() for method in item if method in METHODS}
good = {(method, path) for method, path, status in answers if status.startswith("2")}
for method, path in sorted(operations - good):
    statuses = sorted({answer[2] for answer in answers if answer[:2] == [method, path]})
    print(f"FAILED  schemathesis: {method} {path} was never answered with 2xx, but with {', '.join(statuses) or 'nothing'}")
if operations <= good:
    print(f"ok  schemathesis: each of {len(operations)} operations was answered with 2xx")
sys.exit(not operations <= good)
