"""A cluster's sockets and files, under any umask of the user who started it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.commands import Background
from topologies.runs import run_directory

pytestmark = [pytest.mark.live, pytest.mark.beside]

#: A user without rights, as on every Debian (base-passwd).
NOBODY = 65534

SOCKETS = {"control.sock", "controller.sock", "ofp.sock", "guards.sock"}

#: Connects to each socket that it is given; prints how each attempt ended.
KNOCK = """
import os, socket, sys
user = int(sys.argv[1])
os.setgroups([]), os.setgid(user), os.setuid(user)
for path in sys.argv[2:]:
    kind = socket.SOCK_DGRAM if "guards" in path else socket.SOCK_STREAM
    try:
        socket.socket(socket.AF_UNIX, kind).connect(path)
        print("LetIn")
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.fixture(scope="module", params=[0o000, 0o077], ids=oct)
def runtime(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The run directory of a cluster that was brought up under that umask."""
    before = os.umask(request.param)
    try:
        cluster = Background.up("private", "--reset", "out-of-band", "--nodes", "1")
    finally:
        os.umask(before)
    yield run_directory("private")
    cluster.down()


def test_every_socket_is_accessible_to_root_only(runtime: Path) -> None:
    sockets = {p.name: p for p in runtime.rglob("*") if p.is_socket()}
    assert set(sockets) == SOCKETS
    for path in sockets.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for user, outcome in ((NOBODY, "PermissionError"), (0, "LetIn")):
        done = subprocess.run(
            [sys.executable, "-c", KNOCK, str(user), *map(str, sockets.values())],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [outcome] * len(SOCKETS)


def test_every_file_is_writable_by_root_only_and_readable_by_all(runtime: Path) -> None:
    made = [path for path in (runtime, *runtime.rglob("*")) if not path.is_socket()]
    assert {"owner.json", "state.json", "log", "store"} <= {p.name for p in made}
    for path in made:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o755 == mode, path
        assert mode & 0o444 == 0o444 or path.parent.name == "store", path
