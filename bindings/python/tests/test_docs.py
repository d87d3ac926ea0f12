"""Every program of the page runs."""

import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

PAGE = pathlib.Path(__file__).parent / "python.md"
if not PAGE.is_file():
    pytest.skip("needs python.md", allow_module_level=True)
PROGRAMS = re.findall(r"^```python(?: needs=(\w+))?\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


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
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
