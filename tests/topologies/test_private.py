"""Sockets and files have fixed modes under every umask."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.service.control_server import serve as serve_controller
from controller.service.reconciler import Reconciler
from experiments.cluster import control
from experiments.cluster.copy_injector import CopyInjector
from experiments.cluster.event_log import EventLog
from experiments.cluster.faults import Faults
from tests.controller.switches import accepts, wait_until
from topologies.private import bind_private, make_folder, open_new

UMASKS = [0o000, 0o022, 0o077, 0o777]


@pytest.fixture(params=UMASKS, ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


pytestmark = pytest.mark.usefixtures("_umask")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that can be entered under any umask."""
    folder = tmp_path_factory.getbasetemp()
    made = folder / f"private-{os.urandom(4).hex()}"
    make_folder(made)
    return made


def test_folders_and_files_are_read_by_all_and_written_by_their_owner(
    folder: Path,
) -> None:
    assert mode(folder) == 0o755
    (folder / "old").touch()
    (folder / "old").chmod(0o600)
    for name in ("old", "new"):
        os.close(open_new(folder / name))
        assert mode(folder / name) == 0o644


def test_a_socket_is_its_owners(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bind_private(bound, folder / "a.sock")
        assert mode(folder / "a.sock") == 0o600


def test_a_clusters_socket_is_its_owners(folder: Path) -> None:
    server = control.serve(folder / "control.sock", {"ping": dict})
    assert mode(folder / "control.sock") == 0o600
    assert control.request(folder / "control.sock", "ping") == {}
    server.shutdown()
    server.server_close()


@pytest.mark.live  # only root may have such a long receive queue
def test_the_copy_injectors_socket_is_its_owners(folder: Path) -> None:
    faults = Faults(EventLog(folder / "events.jsonl"))
    injector = CopyInjector(folder / "guards.sock", list, faults)
    assert mode(folder / "guards.sock") == 0o600
    injector.close()


def umask() -> str:
    """This process's umask, read without changing it (proc(5))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("Umask:"))


def test_the_controllers_socket_is_its_owners(folder: Path) -> None:
    path = folder / "controller.sock"
    before = umask()
    reconciler = Reconciler(None, None)
    threading.Thread(
        target=serve_controller, args=(path, reconciler), daemon=True
    ).start()
    wait_until(lambda: accepts(path), "the socket")
    assert mode(path) == 0o600
    wait_until(lambda: umask() == before, "the umask of before")
