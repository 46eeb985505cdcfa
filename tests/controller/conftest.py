"""Fixtures of the live tests: a private switch, a controller under either framework."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controller.clusters import PLAN
from tests.controller.controllers import ControllerProcess
from tests.controller.switches import VSwitch, build

_ROOT = Path(__file__).resolve().parents[2]
_PREPARE = """Ryu 4.34 needs an environment of its own, with Python 3.11 or older:
  python3 -m venv .venv-ryu
  .venv-ryu/bin/pip install 'setuptools==57.5.0' 'wheel<0.40'
  .venv-ryu/bin/pip install --no-build-isolation 'ryu==4.34'"""


def ryu_python() -> str:
    """Interpreter of the environment with Ryu, or skip; in CI it must exist."""
    named = os.environ.get("RESETBED_RYU_PYTHON")
    python = named or str(_ROOT / ".venv-ryu" / "bin" / "python")
    found = Path(python).exists() and not subprocess.call([python, "-c", "import ryu"])
    if found:
        return python
    if named or os.environ.get("CI") == "true":
        pytest.fail(f"{python} cannot import ryu. {_PREPARE}", pytrace=False)
    if sys.version_info < (3, 12):
        pytest.fail(_PREPARE, pytrace=False)
    pytest.skip("Ryu 4.34 does not run on Python 3.12 or newer")


@pytest.fixture
def switch() -> Iterator[VSwitch]:
    """An Open vSwitch with no bridge yet."""
    vswitch = VSwitch()
    try:
        vswitch.start()
        yield vswitch
    finally:
        vswitch.stop()


@pytest.fixture
def cluster(switch: VSwitch) -> VSwitch:
    """An Open vSwitch with every switch of the plan, not connected to anything."""
    build(switch, PLAN)
    return switch


@pytest.fixture(params=["os-ken", "ryu"])
def controller(
    request: pytest.FixtureRequest, cluster: VSwitch
) -> Iterator[ControllerProcess]:
    """The controller, not yet started."""
    python = ryu_python() if request.param == "ryu" else sys.executable
    process = ControllerProcess(cluster, python)
    try:
        yield process
    finally:
        process.kill()
        print(process.log.read_text() if process.log.exists() else "")


@pytest.fixture
def os_ken(cluster: VSwitch) -> Iterator[ControllerProcess]:
    """The same under os-ken only, for tests independent of the framework."""
    process = ControllerProcess(cluster)
    try:
        yield process
    finally:
        process.kill()
        print(process.log.read_text() if process.log.exists() else "")
