"""Types: the stubs say what the native part has, and programs are checked strictly."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def checked(*command):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("needs mypy")
    ended = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=HERE)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_stubs_are_what_the_modules_have():
    allowed = HERE / "stubtest.txt"
    checked("mypy.stubtest", "meshwire", "--allowlist", str(allowed), "--ignore-missing-stub")


def test_the_package_is_strict():
    checked("mypy", "--strict", "--config-file=", "-p", "meshwire")


def test_programs_are_checked_strictly():
    programs = [str(path) for path in sorted(HERE.glob("programs/*.py"))]
    examples = [str(path) for path in sorted(HERE.glob("examples/*.py"))]
    for program in programs + examples:
        checked("mypy", "--strict", "--config-file=", program)
