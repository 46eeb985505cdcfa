"""The threads of a cluster survive errors and record them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import pytest

from controller.service.trapped_resets import TrappedReset
from experiments.cluster.copy_injector import CopyInjector, SwitchPort
from experiments.cluster.event_log import EventLog
from experiments.cluster.faults import Faults
from experiments.cluster.supervised_processes import SupervisedProcesses
from experiments.cluster.supervisor import Supervisor
from tests.topologies.waiting import eventually


class Program:
    """A program that can be made to have died."""

    dead = False

    def poll(self) -> int | None:
        """As ``Popen.poll``."""
        return 1 if self.dead else None

    def wait(self, timeout: float | None = None) -> int:
        """As ``Popen.wait``."""
        return 1

    def send_signal(self, sig: int, /) -> None:
        """As ``Popen.send_signal``."""


def refuse(*_: object) -> Program:
    """A start that fails."""
    raise OSError("no room")


@dataclass
class House:
    """A supervisor and what it supervises."""

    log: EventLog
    path: Path
    processes: SupervisedProcesses = field(default_factory=SupervisedProcesses)
    guard: Mock = field(default_factory=lambda: Mock(check_cost_s=0.0))
    switches: list[tuple[str, Mock]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The supervisor is not started yet."""
        self.guard.check.return_value = []
        self.faults = Faults(self.log)
        self.supervisor = Supervisor(
            *(self.processes, self.guard, lambda: 1, lambda: self.switches),
            *(threading.RLock(), self.log, self.faults),
        )

    def program(self, name: str, start: Callable[[], Program] = Program) -> Program:
        """One that runs and, once dead, is started by ``start``."""
        supervised = self.processes.start(name, Program)
        supervised.start = start
        assert isinstance(supervised.process, Program)
        return supervised.process

    def records(self, what: str) -> list[dict[str, str]]:
        """The event log's records of that kind."""
        lines = map(json.loads, self.path.read_text().splitlines())
        return [line for line in lines if line["what"] == what]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A supervisor with a healthy guard and nothing else."""
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    house = House(log, path)
    yield house
    house.supervisor.stop()
    log.close()


def restarted(house: House) -> set[str]:
    return {record["program"] for record in house.records("restarted")}


def test_a_dead_controller_is_restarted_if_everything_else_fails(
    house: House, capfd: pytest.CaptureFixture[str]
) -> None:
    house.program("server c1n1", refuse).dead = True
    house.guard.check.side_effect = ZeroDivisionError("a guard")
    broken = Mock(**{"alive.return_value": False, "dead_daemons.return_value": ["a"]})
    broken.restart.side_effect = RuntimeError("a daemon")
    well = Mock(**{"alive.return_value": False, "dead_daemons.return_value": ["b"]})
    house.switches = [("c1", broken), ("c2", well)]
    controller = house.program("controller")
    house.supervisor.start()
    eventually("a look", lambda: house.guard.check.called)
    controller.dead = True
    eventually("restarted", lambda: "controller" in restarted(house))
    eventually("c2 is started", lambda: well.restart.called)
    faults = [
        "server c1n1 could not be restarted: OSError: no room",
        "guards could not be checked: ZeroDivisionError: a guard",
        "switch c1 could not be restarted: RuntimeError: a daemon",
    ]
    assert house.faults.texts == faults
    assert [record["fault"] for record in house.records("fault")] == faults
    message = capfd.readouterr().err
    assert all(fault in message for fault in faults)
    assert "Traceback" in message


def test_the_supervisor_survives_an_error_of_the_cluster(house: House) -> None:
    house.supervisor._nodes = refuse  # type: ignore[assignment]
    house.supervisor._switches = refuse  # type: ignore[assignment]
    house.supervisor.start()
    eventually("two faults", lambda: len(house.faults.texts) == 2)
    house.program("controller").dead = True
    eventually("restarted", lambda: "controller" in restarted(house))


def test_a_recurring_fault_with_changing_text_does_not_fill_the_memory(
    house: House,
) -> None:
    for number in range(1000):
        with house.faults.recorded("here"):
            raise RuntimeError(number)
    assert len(house.faults.texts) == len(house.records("fault")) == 100


NOTICE = TrappedReset("10.1.0.1", 40001, "10.0.0.1", 10809, 7, 9)


@pytest.mark.live  # only root may have such a long receive queue
def test_the_copy_injector_continues_after_a_fault(
    house: House, tmp_path: Path
) -> None:
    asked = threading.Semaphore(0)
    gone = iter(["c1n1"])

    def switch_ports() -> list[SwitchPort]:
        asked.release()
        for name in gone:
            raise KeyError(name)
        return []

    path = tmp_path / "guards.sock"
    injector = CopyInjector(path, switch_ports, house.faults)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as controller:
        controller.connect(str(path))
        for datagram in (NOTICE.to_bytes(), b"", b"no notice", NOTICE.to_bytes()):
            controller.send(datagram)
    assert asked.acquire(timeout=10)
    assert asked.acquire(timeout=10)
    first, second = house.faults.texts
    assert first == "the copies of a reset were not sent: KeyError: 'c1n1'"
    assert second.startswith("the copies of a reset were not sent: ")
    injector.close()
