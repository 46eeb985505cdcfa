"""A computation on a scheduler and two workers of this machine; needs no root."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.commands import ROOT, eventually, must, resetbed

pytestmark = pytest.mark.live
# In continuous integration its absence fails the tests, and skips none.
if os.environ.get("CI") != "true":
    pytest.importorskip(
        "distributed", reason="Dask is missing: ./resetbed setup extra dask"
    )

SPEC = ("model", "rack", "--json", "--set", "policy=directed")
SIZE = ("--set", "model.connections=400000", "--set", "model.for_s=30")


class Machines:
    """A scheduler and workers, each with a log."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._started = folder, list[subprocess.Popen[bytes]]()
        self.keys = ("--keys", str(folder / "keys"))
        must(resetbed("cluster-keys", "--out", self.keys[1]))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        listen = ("--listen", self.address.removeprefix("tcp://"))
        self.start("scheduler", "scheduler", *listen, "--dashboard", "127.0.0.1:0")

    def start(self, log: str, *arguments: str) -> subprocess.Popen[bytes]:
        """One command; ends with :meth:`close`."""
        with (self.folder / log).open("wb") as output:
            command = [sys.executable, "-m", "experiments", *arguments, *self.keys]
            started = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        self._started.append(started)
        return started

    def start_worker(self, name: str) -> subprocess.Popen[bytes]:
        """A worker that has joined."""
        work = ("--name", name, "--work", str(self.folder / "work"))
        worker = self.start(name, "worker", self.address, *work)
        log = self.folder / name
        eventually(f"{name} at work", lambda: "works for" in log.read_text(), 60)
        return worker

    def close(self) -> None:
        """Ends all of them."""
        for one in self._started:
            one.kill()
            one.wait()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """A scheduler."""
    made = Machines(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_two_workers_compute_what_one_machine_does_though_one_dies(
    machines: Machines,
) -> None:
    """Byte by byte. The worker is killed while it computes a shard."""
    machines.start_worker("alpha")
    beta = machines.start_worker("beta")
    shards = ("--scheduler", machines.address, "--shards", "6")
    command = machines.start("model", *SPEC, *SIZE, *shards)
    at_work = machines.folder / "work" / "beta"
    eventually("a shard on beta", lambda: any(at_work.rglob("model-shard-*")), 60)
    beta.kill()
    assert command.wait(120) == 0, (machines.folder / "model").read_text()
    said = (machines.folder / "model").read_text().splitlines()
    alone = must(resetbed(*SPEC, *SIZE)).splitlines()
    assert said[-1:] == alone
    assert any("beta works here" in line for line in said)
