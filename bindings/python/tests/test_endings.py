"""Handlers when the program is to end, by sys.exit in one of them or by Ctrl-C, and clients that end while others wait."""

import asyncio
import concurrent.futures
import signal
import subprocess
import sys
import time

import pytest
from conftest import looped, script

import meshwire
from meshwire import sync
from meshwire.testing import Gateway

EXITS = """
import sys
from meshwire import sync
url, topic, concurrency = sys.argv[1:]
mesh = sync.connect(url)
mesh.publish_batch(topic, ["leave", *"abcdef"])

def handle(job):
    if job.text() == "leave":
        sys.exit("left")

try:
    mesh.consume(topic, handle, group="g", concurrency=int(concurrency), max_failures=1)
except SystemExit as ended:
    assert ended.code == "left"
    # It is said by now, and on its way.
    while not (letters := list(mesh.dead_letters(topic).list(events=True))):
        pass
    assert letters[0].event["data"] == "leave" and "SystemExit" in letters[0].error, letters
    mesh.close()
    print("left")
"""


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_a_handler_that_ends_the_program_ends_consume_and_has_failed_and_no_other_has(gateway, topic, concurrency):
    ended = script(EXITS, gateway.url, topic, concurrency)
    assert ended.stdout == "left\n", ended.stderr
    with sync.connect(gateway.url) as mesh:
        assert len(list(mesh.dead_letters(topic).list())) == 1


@pytest.mark.parametrize("concurrency", [1, 4])
def test_ctrl_c_in_the_middle_of_a_handler_ends_consume(gateway, topic, concurrency):
    text = """
    import os, signal, sys, threading
    from meshwire import sync
    url, topic, concurrency = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    mesh = sync.connect(url)
    mesh.publish(topic, "x")
    def handle(job):
        os.kill(os.getpid(), signal.SIGINT)
        # It is raised in the main thread: here, or where that waits for other threads.
        while concurrency == "1":
            pass
    try:
        mesh.consume(topic, handle, group="g", concurrency=int(concurrency))
    except KeyboardInterrupt:
        mesh.close()
        print("interrupted")
    """
    ended = script(text, gateway.url, topic, str(concurrency))
    assert ended.stdout == "interrupted\n", ended.stderr


class Left(BaseException):
    """Nothing that a handler fails by."""


BLOCKED = """
import signal, sys, threading
from meshwire import sync
url, topic, what, how = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)
ready = threading.Barrier(3)
never = threading.Event()
ended = []

def handle(work):
    if ready.wait() == 0:
        print("up", flush=True)
        if how == "exit":
            sys.exit(7)
    never.wait()

mesh = sync.connect(url, on_settle=lambda job, word: ended.append((word, threading.current_thread() is threading.main_thread())))
try:
    if what == "consume":
        mesh.consume(topic, handle, group="g", concurrency=4, max_failures=1)
    else:
        mesh.serve(topic, handle, concurrency=4)
except BaseException as error:
    print(type(error).__name__, sorted(ended), flush=True)
    # The client goes on, and waits for none of them.
    mesh.publish(topic + "-after", 1)
    mesh.close()
    raise
"""


@pytest.mark.parametrize("how", ["interrupted", "exit"])
def test_handlers_that_never_end_keep_neither_consume_nor_the_process(gateway, topic, how):
    with sync.connect(gateway.url) as mesh:
        mesh.publish_batch(topic, [1, 2, 3])
        began, process, (said, problem) = blocked(gateway, topic, "consume", how)
        assert time.monotonic() - began < 10
        if how == "exit":
            assert process.returncode == 7 and "Traceback" not in problem, problem
            assert said == "SystemExit [('nack', False), ('nack', True), ('nack', True)]\n"
        else:
            assert process.returncode != 0 and "\nKeyboardInterrupt\n" in problem, problem
            assert said == f"KeyboardInterrupt {[('nack', True)] * 3}\n"
        letters = list(mesh.dead_letters(topic).list())
        name = "SystemExit" if how == "exit" else "KeyboardInterrupt"
        assert [name in letter.error for letter in letters] == [True] * 3, letters


def test_requests_whose_handlers_are_cut_off_have_failed(gateway, topic):
    with sync.connect(gateway.url) as mesh, concurrent.futures.ThreadPoolExecutor(3) as asking:

        def ask(_):
            while True:
                try:
                    return mesh.request(topic, timeout=20)
                except meshwire.NoRespondersError:
                    continue
                except meshwire.ResponderFailedError as failed:
                    return failed.message

        answers = asking.map(ask, range(3))
        blocked(gateway, topic, "serve", "interrupted")
        assert list(answers) == ["its handler ended by KeyboardInterrupt"] * 3


def blocked(gateway, topic, what, how):
    """Since when a process, all of whose handlers block, was told to end; it, and what it said."""
    command = [sys.executable, "-c", BLOCKED, gateway.url, topic, what, how]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "up\n", process.stderr.read()
        began = time.monotonic()
        if how == "interrupted":
            process.send_signal(signal.SIGINT)
        return began, process, process.communicate(timeout=20)
    finally:
        process.kill()


def test_a_handler_that_ends_soon_after_ctrl_c_is_heard(gateway, topic):
    text = """
    import os, signal, sys, threading
    from meshwire import sync
    url, topic = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    words = []
    mesh = sync.connect(url, on_settle=lambda job, word: words.append(word))
    mesh.publish(topic, "x")
    def handle(job):
        os.kill(os.getpid(), signal.SIGINT)
        main = threading.main_thread().ident
        # It waits for this thread by then.
        while sys._current_frames()[main].f_code.co_name in ("run", "handle"):
            os.sched_yield()
    try:
        mesh.consume(topic, handle, group="g", concurrency=2)
    except KeyboardInterrupt:
        print(words)
    mesh.close()
    """
    ended = script(text, gateway.url, topic)
    assert ended.stdout == "['ack']\n", ended.stderr


@pytest.mark.parametrize("ended_by", [GeneratorExit, Left])
@looped
async def test_whatever_ends_a_handler_of_asyncio_ends_consume_and_serve_at_once(gateway, topic, ended_by):
    def handle(work):
        raise ended_by

    async with meshwire.connect(gateway.url) as mesh:
        await mesh.publish(topic, "x")
        # A handler that nobody settles for has ten ack waits.
        with pytest.raises(ended_by):
            await mesh.consume(topic, handle, group="g", max_failures=1)
        [letter] = [letter async for letter in mesh.dead_letters(topic).list()]
        assert ended_by.__name__ in letter.error
        serving = asyncio.ensure_future(mesh.serve(topic, handle))
        while True:
            try:
                await mesh.request(topic, 1)
            except meshwire.NoRespondersError:
                continue
            except meshwire.ResponderFailedError as failed:
                assert failed.message == f"its handler ended by {ended_by.__name__}"
                break
        # Awaited by itself it would throw a GeneratorExit into whoever awaits, which is another thing.
        await asyncio.wait([serving])
        with pytest.raises(ended_by):
            serving.result()


@looped
async def test_who_waits_for_a_gateway_when_the_client_is_closed_is_told_by_that_call():
    with Gateway() as gateway:
        mesh = await meshwire.connect(gateway.url)
        gateway.kill()
    while mesh.state == "connected":
        await asyncio.sleep(0)
    waiting = asyncio.ensure_future(mesh.connected())
    await asyncio.sleep(0)
    await mesh.close()
    with pytest.raises(meshwire.ClosedError) as closed:
        await waiting
    assert closed.value.operation == "connect"


FORKED = """
import os, sys
from meshwire import sync
with sync.connect(sys.argv[1]) as mesh:
    child = os.fork()
    if child == 0:
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    print(mesh.publish(sys.argv[2], 1).position)
"""


def test_a_forked_child_leaves_the_parents_block_without_a_word(gateway, topic):
    ended = script(FORKED, gateway.url, topic, env={"PYTHONWARNINGS": "ignore"})
    assert (ended.stdout, ended.stderr) == ("1\n", "")
