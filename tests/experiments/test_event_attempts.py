"""An event whose switch dies while it waits for it: the switch is restarted meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from controller.service.controller_client import ApplyResult, ControllerError
from experiments.cluster.event_executor import EventExecutor
from tests.topologies.domain.test_events import fresh_state

DEADLINE_S = 10.0


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
    (record,) = executor.execute([("drain-node", "c1n2")])
    assert attempts == [True, True]
    assert record.applied_s == 2.0
