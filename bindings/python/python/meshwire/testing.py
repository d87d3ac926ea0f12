"""A gateway for tests: a process of its own, on a free port, in memory."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import IO

from .errors import InternalError, NotFoundError, UnavailableError

#: How many seconds a gateway may take to say that it listens.
READY = 10.0
#: About how much of what it logs is kept for the error of one that does not start.
QUOTED = 64 << 10

#: Runs the gateway and kills it when standard input ends, however this process ends; a line on it asks the gateway to stop. The shell
#: gives background commands an empty input, so the lifeline goes by another number.
_WATCHER = """exec 3<&0
"$@" </dev/null 3<&- & gateway=$!
(read -r stop <&3 && kill $gateway; cat <&3; kill -9 $gateway) >/dev/null 2>&1 & watch=$!
wait $gateway; code=$?
kill $watch 2>/dev/null
exit $code"""


class Gateway:
    """A gateway that runs until it is stopped or killed, and never longer than this process.

    It is the program that ``MESHWIRE_BIN`` names, else ``meshwire`` on the search path. ``args`` take the place of ``--memory``,
    ``listen`` is where it listens. ``on_log`` is called with each line that it logs, by a thread that must not be held up.

        with Gateway() as gateway:
            mesh = meshwire.sync.connect(gateway.url)
    """

    def __init__(
        self,
        args: Sequence[str] = ("--memory",),
        *,
        listen: str = "127.0.0.1:0",
        on_log: Callable[[str], object] | None = None,
    ) -> None:
        program = os.environ.get("MESHWIRE_BIN", "meshwire")
        found = shutil.which(program)
        if found is None:
            raise NotFoundError(
                f"there is no program {program!r}; set MESHWIRE_BIN to the meshwire binary, or put meshwire on the PATH",
                operation="start gateway",
            )
        command = ["sh", "-c", _WATCHER, "sh", found, "serve", "--listen", listen, *args]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stdout is not None and self._process.stderr is not None
        said: list[str] = []
        self._readers = [_Reader(self._process.stderr, said, on_log), _Reader(self._process.stdout, None)]
        self._address = self._readers[1].address()
        if self._address is None:
            self.kill()
            raise UnavailableError(
                f"{program} serve did not say that it listens; it said: {''.join(said).strip()}",
                operation="start gateway",
            )

    @property
    def address(self) -> str:
        """Where it listens, as ``host:port``."""
        return self._address or ""

    @property
    def url(self) -> str:
        """Where it listens, for ``connect``."""
        return f"mesh://{self.address}"

    def kill(self) -> None:
        """Kills it at once, as ``kill -9`` does, and waits for its end. Again is nothing."""
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                # It has ended.
                pass
        self._ended()

    def stop(self) -> None:
        """Asks it to stop, as SIGTERM does, and waits for its end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("stop\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            # One that has ended reads no more; its code says how.
            pass
        code = self._process.wait()
        self.kill()
        if code != 0:
            raise InternalError(f"the gateway ended with {code}", operation="stop gateway")

    def _ended(self) -> None:
        self._process.wait()
        for reader in self._readers:
            reader.join()

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class _Reader(threading.Thread):
    """Reads on to the end, so that the gateway never waits for a reader."""

    def __init__(
        self, stream: IO[str], keep: list[str] | None, on_line: Callable[[str], object] | None = None
    ) -> None:
        super().__init__(name="meshwire-gateway", daemon=True)
        self._on_line = on_line
        self._stream = stream
        self._keep = keep
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.start()

    def run(self) -> None:
        kept = 0
        with self._stream:
            for line in self._stream:
                if self._on_line is not None:
                    self._on_line(line.rstrip("\n"))
                if self._keep is None:
                    if line.startswith("listening "):
                        self._lines.put(line.removeprefix("listening ").strip())
                elif kept < QUOTED:
                    kept += len(line)
                    self._keep.append(line)
        self._lines.put(None)

    def address(self) -> str | None:
        """What stands behind ``listening``, once."""
        try:
            return self._lines.get(timeout=READY)
        except queue.Empty:
            return None
