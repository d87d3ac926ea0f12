"""Every program and every command of the page and of the README runs."""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import zipfile
from time import monotonic

import pytest
from conftest import PATIENCE

from meshwire import sync
from meshwire.testing import Gateway

HERE = pathlib.Path(__file__).parent


def blocks(name, language):
    """What stands in the blocks of a page, each with what it needs beside the package."""
    page = HERE / name
    if not page.is_file():
        return []
    form = rf"^```{language}(?: needs=(\w+))?\n(.*?)^```"
    return re.findall(form, page.read_text(), re.MULTILINE | re.DOTALL)


if not (HERE / "python.md").is_file():
    pytest.skip("needs python.md", allow_module_level=True)
PROGRAMS = blocks("python.md", "python")
COMMANDS = blocks("python.md", "sh")
README = blocks("README.md", "python")


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_of_the_page_runs(number, gateway, tmp_path, monkeypatch):
    needs, program = PROGRAMS[number]
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"needs {needs}")
    monkeypatch.setenv("MESHWIRE_URL", gateway.url)
    is_test = "def test_" in program
    path = tmp_path / ("test_program.py" if is_test else "program.py")
    path.write_text(program)
    command = [sys.executable, *(["-m", "pytest", "-p", "no:cacheprovider"] if is_test else []), str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


#: Has the application live, sends it one request, and lets it end, as a server does.
SERVED = """
import asyncio, json
from program import app

async def main():
    to_app, from_app = asyncio.Queue(), asyncio.Queue()
    state = {}
    living = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    begun = await from_app.get()
    assert begun["type"] == "lifespan.startup.complete", begun

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": "POST",
        "path": "/orders", "raw_path": b"/orders", "root_path": "", "query_string": b"", "state": state,
        "headers": [(b"host", b"here"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }
    asked, answered = asyncio.Queue(), []
    await asked.put({"type": "http.request", "body": b'{"id": 7}', "more_body": False})

    async def send(message):
        answered.append(message)

    await app(scope, asked.get, send)

    await to_app.put({"type": "lifespan.shutdown"})
    over = await from_app.get()
    assert over["type"] == "lifespan.shutdown.complete", over
    await living
    body = b"".join(message.get("body", b"") for message in answered)
    print(json.dumps([answered[0]["status"], json.loads(body)]))

asyncio.run(main())
"""


def test_what_is_posted_to_the_application_of_the_page_arrives(gateway, tmp_path, monkeypatch):
    if importlib.util.find_spec("fastapi") is None:
        pytest.skip("needs fastapi")
    [program] = [program for needs, program in PROGRAMS if needs == "fastapi"]
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "served.py").write_text(SERVED)
    monkeypatch.setenv("MESHWIRE_URL", gateway.url)
    # Other programs of the page publish to the same topic.
    with sync.connect(gateway.url) as mesh, mesh.subscribe("orders") as deliveries:
        command = [sys.executable, "served.py"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        status, position = json.loads(ended.stdout)
        [delivery] = deliveries.next_batch(1, wait=PATIENCE)
        assert (status, delivery.position, delivery.json()) == (200, position, {"id": 7})


def test_the_program_of_the_readme_receives_what_it_publishes_and_goes_on_until_it_is_stopped(tmp_path):
    if not README:
        pytest.skip("needs README.md")
    [(_, program)] = README
    (tmp_path / "program.py").write_text(program)
    # Whoever started this may have it ignore the signal, as a shell does in the background.
    heard = "import runpy, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nrunpy.run_path('program.py', run_name='__main__')"
    with Gateway() as gateway, sync.connect(gateway.url) as mesh:
        process = subprocess.Popen(
            [sys.executable, "-c", heard],
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "MESHWIRE_URL": gateway.url},
        )
        try:
            until = monotonic() + PATIENCE
            while not is_handled(mesh, "orders", "billing"):
                assert process.poll() is None and monotonic() < until, process.communicate()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        assert said.rstrip().endswith("KeyboardInterrupt"), said


def is_handled(mesh, topic, group):
    """Whether a group has had one event, and has settled it."""
    try:
        return mesh.groups(topic).get(group).settled_through == 1
    except LookupError:
        # Not yet.
        return False


def wheel(folder):
    """Packs what is installed as it came: the page has it installed from a folder."""
    installed = importlib.metadata.distribution("meshwire")
    tag = re.search(r"^Tag: (\S+)$", installed.read_text("WHEEL"), re.MULTILINE)[1]
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / f"meshwire-{installed.version}-{tag}.whl", "w") as packed:
        for file in installed.files:
            # What is made or written by installing is no part of it.
            if "__pycache__" not in file.parts and file.name not in ("INSTALLER", "REQUESTED", "direct_url.json"):
                packed.write(file.locate(), str(file))


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_the_commands_of_the_page_install_the_package_without_an_index(number, tmp_path):
    wheel(tmp_path / "dist/python")
    # The page's python3 is the one that runs this.
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin/python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    for name in ("PYTHONPATH", "PIP_FIND_LINKS", "PIP_INDEX_URL"):
        env.pop(name, None)
    _, commands = COMMANDS[number]
    run = {"capture_output": True, "text": True, "timeout": 120, "cwd": tmp_path, "env": env}
    ended = subprocess.run(["sh", "-ec", commands], **run)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    ended = subprocess.run([".venv/bin/python", "-c", "import meshwire; print(meshwire.__file__)"], **run)
    assert ended.stdout.startswith(f"{tmp_path}/.venv/"), ended.stderr


def test_the_pages_have_no_block_that_is_not_run():
    for name in ("python.md", "README.md"):
        opened = re.findall(r"^```(.+)$", (HERE / name).read_text(), re.MULTILINE) if (HERE / name).is_file() else []
        assert {info.split()[0] for info in opened} <= {"python", "sh"}, name
    assert len(README) <= 1 and not blocks("README.md", "sh")
