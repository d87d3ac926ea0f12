"""The examples print what those in Rust do, and are short."""

import pathlib
import subprocess
import sys

import pytest

from meshwire.testing import Gateway

EXAMPLES = pathlib.Path(__file__).parent / "examples"

if not EXAMPLES.is_dir():
    pytest.skip("needs examples", allow_module_level=True)

PRINTED = {
    "publisher": "".join(f"order {n} is kept\n" for n in range(1, 6)),
    "broadcast": "north: apples 3\nsouth: apples 3\nnorth: pears 4\nguest: plums 5\nsouth: pears 4\nsouth: plums 5\n"
    "north has 1 waiting\nsouth has 0 waiting\n",
    "dead_letter": "1 costs 5\n2 failed, attempt 1: it has no price\n3 costs 7\n2 failed, attempt 2: it has no price\n"
    "dead letter 1: order 2, 2 failures\ngiven back: 1\n2 is free\nleft: 0\n",
    "publish_subscribe": "board: tea 1.90\nboard: coffee 2.40\nboard: cocoa 3.10\n"
    "till: tea 1.90\ntill: coffee 2.40\ntill: cocoa 3.10\n",
    "consumer_group": "ada: [1, 4, 7, 10]\nben: [2, 5, 8, 11]\ncy: [3, 6, 9, 12]\n",
    "manual_ack": "a: delivered at attempt 1\nb: nobody at home, again in 100 ms\nc: lost on the way\n"
    "b: delivered at attempt 2\nc: delivered at attempt 2\n",
    "batch": "one is refused: TOO_LARGE\n99 are kept\narchived 99 readings, their sum is 5008\n",
    "request_reply": "sku 1 costs 2\nsku 21 costs 42\nrefused: there is no sku 0\nnobody serves discount\n",
    "reply_stream": "line 1\nline 2\nline 3\nall of it\nline 1\nline 2\nthat is enough\n",
}


def run(name, url):
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_an_example_prints_what_it_is_to_print(name):
    with Gateway() as gateway:
        ended = run(name, gateway.url)
        assert (ended.returncode, ended.stdout) == (0, PRINTED[name]), ended.stderr
        if name == "publisher":
            billed = [(1, "ada"), (2, "ben"), (3, "ada"), (4, "cy"), (5, "ben")]
            ended = run("consumer", gateway.url)
            assert ended.stdout == "".join(f"bill {who} for item {item}\n" for item, who in billed), ended.stderr


def test_without_a_gateway_an_example_says_how_to_start_one():
    ended = run("publisher", "mesh://127.0.0.1:1")
    assert ended.returncode != 0 and "meshwire serve" in ended.stderr


def test_examples_are_short():
    for example in sorted(EXAMPLES.glob("*.py")):
        # Neither blank lines nor comments count, nor what is said at the top.
        code = example.read_text().split('"""', 2)[2].splitlines()
        lines = [line for line in code if line.strip() and not line.strip().startswith("#")]
        assert len(lines) <= 40, (example.name, len(lines))


