"""What events ask of the switches: until they answer, and nothing where links alone change."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from controller.service.controller_client import ApplyResult, ControllerError
from experiments.cluster.event_executor import EventExecutor
from tests.topologies.domain.test_events import fresh_state
from topologies.domain.events import event_of
from topologies.domain.link_options import LinkOptions

DEADLINE_S = 10.0
SLOW = LinkOptions(delay_ms=5)


def test_what_dies_while_an_event_waits_is_restarted(tmp_path: Path) -> None:
    """The controller answers when the dead switch is back; its first answer is an error."""
    dead, restarted = threading.Event(), threading.Event()
    attempts = []

    def apply(_state: Any) -> ApplyResult:
        restarted.clear()
        dead.set()
        attempts.append(restarted.wait(DEADLINE_S))
        if len(attempts) == 1:
            raise ControllerError("closed the connection")
        return ApplyResult(1.0, 2.0, None, {})

    def restart_dead() -> None:
        if dead.is_set():
            dead.clear()
            restarted.set()

    controller = MagicMock(apply=apply)
    rest = MagicMock(), controller, tmp_path / "state.json", MagicMock(), restart_dead
    executor = EventExecutor(fresh_state(), *rest)
    (record,) = executor.execute([(event_of("drain-node"), "c1n2")])
    assert attempts == [True, True]
    assert record.applied_s == 2.0


def test_switches_are_not_asked_where_links_alone_change(tmp_path: Path) -> None:
    """No table changes: the state stays, with its history, and its number."""
    machines, controller = MagicMock(), MagicMock()
    rest = machines, controller, tmp_path / "state.json", MagicMock(), MagicMock()
    executor = EventExecutor(fresh_state(), *rest)
    before = executor.state
    records = executor.execute(
        [(event_of("link", SLOW), host) for host in ("h1", "c1n2")]
    )
    assert controller.apply.call_count == 0
    assert executor.state is before
    shaped = [call.args for call in machines.shape_link.call_args_list]
    assert shaped == [("h1", SLOW), ("c1n2", SLOW)]
    for record in records:
        assert record.requested_s <= record.applied_s
        assert record.settled_s is None
        assert (record.before, record.after) == (before, before)
        assert record.to_json()["delay_ms"] == 5
    assert executor.records == records
