"""A gateway for the suite, and tests that are coroutines."""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import subprocess
import sys
import textwrap

import pytest

from meshwire.testing import Gateway

#: Nothing here takes so long.
PATIENCE = 30
_numbers = itertools.count(1)


def looped(test):
    """Runs a test that is a coroutine in an event loop of its own."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), PATIENCE))

    return run


def script(text, *args, timeout=PATIENCE, env=None):
    """Runs a program of Python, and gives how it ended."""
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(text), *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})}
    )


@pytest.fixture(scope="session")
def gateway():
    with Gateway() as gateway:
        yield gateway


@pytest.fixture
def topic():
    return f"topic-{next(_numbers)}"
