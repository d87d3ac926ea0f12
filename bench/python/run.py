"""Ours and theirs in alternating pairs, and the ratio of their medians.

    python run.py [PAIRS]    needs MESHWIRE_BIN (a release build), and nats-server in NATS_SERVER or on PATH
"""

from __future__ import annotations

import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from meshwire.testing import Gateway

HERE = pathlib.Path(__file__).parent


def measured(program: str, url: str, what: str = "both", events: str = "") -> dict[str, float]:
    command = [sys.executable, str(HERE / program), what, url, *([events] if events else [])]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return {name: float(value) for name, value in (line.split() for line in ended.stdout.splitlines())}


def nats(folder: str) -> tuple[subprocess.Popen[bytes], str] | None:
    program = os.environ.get("NATS_SERVER") or shutil.which("nats-server")
    if program is None:
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", folder]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, f"nats://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.02)


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(pairs):
            with Gateway() as gateway:
                for name, value in measured("ours.py", gateway.url).items():
                    ours.setdefault(name, []).append(value)
            peer = nats(folder)
            if peer is None:
                print("skipped: needs nats-server")
                break
            try:
                for name, value in measured("theirs.py", peer[1]).items():
                    theirs.setdefault(name, []).append(value)
            finally:
                peer[0].kill()
                peer[0].wait()
    for name, values in ours.items():
        median = statistics.median(values)
        line = f"{name:<8} {median:>9.0f} events/s"
        if name in theirs:
            other = statistics.median(theirs[name])
            line += f"   nats-py {other:>8.0f}   {median / other:.2f} times"
        print(line)
    with Gateway() as gateway:
        print(f"round trip of an awaited publish {measured('ours.py', gateway.url, 'round-trip', '5000')['round-trip']:.0f} us")
        print(f"resident slope {measured('ours.py', gateway.url, 'slope', '1000000')['slope']:.3f} bytes a publish")


main()
