"""A program that is killed while it starts is started again, or named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from experiments.cluster.backend import start_backend
from experiments.cluster.supervised_processes import SupervisedProcesses
from experiments.instruments.instruments import Instrument, InstrumentError
from experiments.running import launch
from experiments.workloads import WORKLOADS
from experiments.workloads.workload import Workload
from topologies import sandbox
from topologies.domain.plan import Plan


def backend_that(script: str) -> Workload:
    """A workload whose backend is that shell script; it is ready when it says so."""
    return dataclasses.replace(
        WORKLOADS["postgres"],
        backend=lambda store: ["sh", "-c", script, "sh", str(store)],
        backend_is_ready=lambda store: (store / "ready").exists(),
        lock_monitor=None,
    )


def test_a_backend_that_is_killed(tmp_path: Path) -> None:
    """The first time; the second time it is ready."""
    script = (
        'mkdir "$1/first" 2>/dev/null && kill -9 $$; touch "$1/ready"; exec sleep 99'
    )
    processes = SupervisedProcesses()
    try:
        start_backend(backend_that(script), tmp_path, tmp_path, processes)
        assert processes.running["backend"].restarts == 1
    finally:
        processes.stop_all()


def test_an_instrument_that_ends(tmp_path: Path) -> None:
    """The module has no program, and says nothing."""
    with pytest.raises(InstrumentError, match="no 'ready': it ended with status 0"):
        Instrument("packet_filter", [], tmp_path / "log")


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (137, "SIGKILL ended this console; nothing of it still runs"),
        (1, ""),
        (255, ""),
    ],
)
def test_a_job_that_a_signal_ended(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    says: str,
) -> None:
    monkeypatch.setattr(sandbox, "enter", lambda *_, **__: status)
    monkeypatch.setattr(launch, "require", lambda _: None)
    monkeypatch.setattr(launch, "find_datapath", lambda _: None)
    options = {"links": {}, "workload": "nbd", "policy": "flood", "datapath": "auto"}
    assert launch.launch_console("any", Plan.build(1, 1, 1), options) == status
    said = capsys.readouterr().err
    assert says in said
    assert bool(said) == bool(says)
