"""Starts a testee: `many.py SCRIPT [--many]`.

With `--many` it starts one for each byte that comes, as a child in which all that a testee imports is there already, and tells on both streams
with which code each ended. No client was made before, so a child has nothing of its parent's but the interpreter, whose start is most of what a case costs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def is_child() -> bool:
    """Whether this is a process for one case; `False`: there are no more."""
    import asyncio  # noqa: F401

    import words  # noqa: F401

    from meshwire import sync  # noqa: F401

    while True:
        # A child may have left its end so that nobody waits in it.
        os.set_blocking(0, True)
        if not os.read(0, 1):
            return False
        child = os.fork()
        if child == 0:
            return True
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for stream in (1, 2):
            os.write(stream, b'{"exited": %d}\n' % code)


script = sys.argv[1]
if sys.argv[2:] != ["--many"] or is_child():
    exec(compile(Path(script).read_bytes(), script, "exec"), {"__name__": "__main__", "__file__": script})
