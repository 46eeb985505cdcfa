"""Dumps and updates many switches in parallel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from controller.flows.entries import FlowEntry
from controller.switches.change import SwitchChange
from controller.switches.session import SwitchError, SwitchSession

log = logging.getLogger("resetbed.controller")

Tables = Mapping[str, Sequence[FlowEntry]]


def dump_entries(sessions: Sequence[SwitchSession], deadline: float) -> None:
    """Dump the switches' entries; see :func:`_for_all` for errors."""
    for session in sessions:
        session.request_dump()
    _for_all(sessions, lambda session: session.receive_dump(deadline))


def sync(
    sessions: Sequence[SwitchSession], desired: Tables, deadline: float
) -> dict[str, SwitchChange]:
    """Make each switch's entries equal to ``desired``, with one atomic bundle each.

    Their present entries must be known; see :func:`_for_all` for errors.
    """
    changes = {s.name: s.start_update(desired[s.name]) for s in sessions}
    done: dict[str, SwitchChange] = {}

    def finish(session: SwitchSession) -> None:
        change, applied_s = changes[session.name], session.finish_update(deadline)
        added, deleted = len(change.add), len(change.delete)
        log.info("%s: %d entries added, %d deleted", session.name, added, deleted)
        done[session.name] = SwitchChange(added, deleted, applied_s)

    _for_all(sessions, finish)
    return done


def _for_all(
    sessions: Sequence[SwitchSession], action: Callable[[SwitchSession], None]
) -> None:
    """Run the action on each session. A failure does not stop the others.

    A switch that fails is disconnected. It reconnects by itself and is dumped again.
    Raises the first failure after all have been tried.
    """
    failures = []
    for session in sessions:
        try:
            action(session)
        except SwitchError as error:
            log.error("%s", error)
            session.close()
            failures.append(error)
    if failures:
        raise failures[0]
