"""Runs each test marked ``sandboxed`` in its own sandbox, by its own pytest.

Such a test reads like any other and may do to the network what it likes; nothing of it
reaches the machine's own, and nothing of it is left, whatever it does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import count

import pytest

from topologies.runs import RUN_VARIABLE
from topologies.sandbox import enter, kill, list_runs

_numbers = count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "sandboxed: runs in a sandbox of its own")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a sandboxed test by another pytest inside; its output is shown here."""
    if RUN_VARIABLE in os.environ or not pyfuncitem.get_closest_marker("sandboxed"):
        return None
    inside = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short"]
    inside += ["-p", "no:cacheprovider", pyfuncitem.nodeid]
    # Without plugins: loading them takes longer than most tests.
    env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    status = enter(inside, f"test-{os.getpid()}-{next(_numbers)}", env=env)
    if status != 0:
        pytest.fail("failed in its sandbox, see its output", pytrace=False)
    return True


@pytest.fixture
def run_name() -> Iterator[str]:
    """A unique name for a run; the run is ended afterwards if it still exists."""
    name = f"test-{os.getpid()}-{next(_numbers)}"
    yield name
    if RUN_VARIABLE not in os.environ:
        for run in list_runs():
            if run.name == name or run.name.startswith(f"{name}-"):
                kill(run.name)
