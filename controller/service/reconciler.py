"""Keeps every connected switch equal to the pipeline's answer; makes all decisions.

One thread runs :meth:`Reconciler.run`. Everything else only hands it something to do, and
delivers the switches' answers.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from controller.flows.entries import FlowEntry
from controller.pipeline.cluster_state import ClusterState
from controller.pipeline.difference import tiers
from controller.switches.change import SwitchChange
from controller.switches.framework import hub
from controller.switches.rollout import dump_entries, sync
from controller.switches.session import SwitchError, SwitchSession
from controller.switches.settle import SettleError, settle
from topologies.domain.plan import FABRIC

log = logging.getLogger("resetbed.controller")

#: How long a switch may take to answer when nobody has said otherwise.
_SWITCH_TIMEOUT_S = 5.0


@dataclass
class _Request:
    """Somebody waits for every switch to be equal to ``state``."""

    state: ClusterState
    requested_s: float
    deadline: float
    reply: Any = field(default_factory=hub.Queue)


class Reconciler:
    """The switches that are connected, and what they are to be equal to."""

    def __init__(
        self, state: ClusterState | None, control_socket: Callable[[str], str] | None
    ) -> None:
        """``control_socket``: a switch's name -> path of its ovs-vswitchd's socket."""
        self._control_socket = control_socket
        self._jobs: Any = hub.Queue()
        self._requests: deque[_Request] = deque()
        self._sessions: dict[str, SwitchSession] = {}
        self._unknown_datapaths: list[Any] = []
        self._internal_errors: list[str] = []
        self._desired: dict[str, tuple[FlowEntry, ...]] = {}
        self._state: ClusterState | None = None
        #: When this state was heard of first; a request for it may be repeated.
        self._requested_s = 0.0
        if state is not None:
            self._set_desired(state, time.time())

    # From other threads.

    def internal_error(self, text: str) -> None:
        """Something went wrong that nobody foresaw: whoever asks next learns of it."""
        self._internal_errors.append(text)

    def connected(self, datapath: Any) -> None:
        """A switch has connected and said who it is."""
        self._jobs.put(partial(self._add_session, datapath))

    def disconnected(self, datapath: Any) -> None:
        """A switch's connection has ended."""
        session = self.session(datapath)
        if session:
            session.handle_message(None)
        self._jobs.put(partial(self._remove_session, datapath))

    def changed_by_others(self, datapath: Any) -> None:
        """Somebody else has changed a switch's entries."""
        session = self.session(datapath)
        if session:
            log.warning("somebody changed the entries of %s", session.name)
            session.mark_changed()
            self._jobs.put(lambda: None)

    def session(self, datapath: Any) -> SwitchSession | None:
        """The session of that connection; None for a stranger's."""
        sessions = list(self._sessions.values())
        return next((s for s in sessions if s.datapath is datapath), None)

    def apply(self, state: ClusterState, timeout_s: float) -> dict[str, Any]:
        """Make every switch equal to ``state``; returns the reply to whoever asked.

        Raises :class:`SwitchError`, :class:`~controller.switches.settle.SettleError`, or
        :class:`RuntimeError` for a fault of the controller's own.
        """
        self._raise_internal_errors()
        request = _Request(state, time.time(), time.monotonic() + timeout_s)
        self._jobs.put(partial(self._requests.append, request))
        result = request.reply.get()
        if isinstance(result, Exception):
            raise result
        self._raise_internal_errors()
        reply: dict[str, Any] = result
        return reply

    def status(self) -> dict[str, dict[str, Any]]:
        """Every switch there should be: connected, in sync, number of entries."""
        self._raise_internal_errors()
        wanted, sessions = dict(self._desired), dict(self._sessions)
        return {
            name: {
                "connected": name in sessions,
                "in_sync": name in sessions and sessions[name].matches(entries),
                "entries": sessions[name].entries if name in sessions else 0,
            }
            for name, entries in wanted.items()
        }

    def _raise_internal_errors(self) -> None:
        if self._internal_errors:
            raise RuntimeError(f"the controller is broken: {self._internal_errors[0]}")

    # From here on, in the reconciler's own thread.

    def run(self) -> None:
        """Do what there is to do, for ever."""
        while True:
            try:
                self._step()
            except Exception:
                log.exception("reconciler failed")
                self.internal_error(traceback.format_exc())
                self._fail_all_requests(RuntimeError(self._internal_errors[0]))

    def _step(self) -> None:
        """One job, then whatever has become possible by it."""
        self._next_job()()
        if self._jobs.empty():
            self._sync_new_switches()
            self._process_requests()
        if self._jobs.empty() and not self._requests:
            self._repair()

    def _next_job(self) -> Callable[[], object]:
        """The next job; nothing, when the first request's time is up."""
        timeout = None
        if self._requests:
            timeout = max(0.001, self._requests[0].deadline - time.monotonic())
        try:
            job: Callable[[], object] = self._jobs.get(timeout=timeout)
        except hub.QueueEmpty:
            return lambda: None
        return job

    def _set_desired(self, state: ClusterState, requested_s: float) -> None:
        """From now on every switch is to be equal to ``state``."""
        if self._state is None or self._state.to_json() != state.to_json():
            self._requested_s = requested_s
        self._state = state
        self._desired = state.tables()
        for name in self._sessions.keys() - self._desired.keys():
            self._unknown_datapaths.append(self._sessions.pop(name).datapath)
        unknown, self._unknown_datapaths = self._unknown_datapaths, []
        for datapath in unknown:
            self._add_session(datapath)

    def _add_session(self, datapath: Any) -> None:
        """Take on a switch of the plan; any other is refused: it is told nothing."""
        dpids = self._state.plan.switches if self._state else {}
        name = next((n for n, dpid in dpids.items() if dpid == datapath.id), None)
        if name is None:
            log.warning("refused: no plan has a switch %#x", datapath.id)
            self._unknown_datapaths.append(datapath)
            return
        log.info("%s is connected", name)
        self._sessions[name] = SwitchSession(name, datapath)

    def _remove_session(self, datapath: Any) -> None:
        """The connection has ended; a newer one of the same switch stays."""
        session = self.session(datapath)
        if session:
            log.warning("%s has gone", session.name)
            del self._sessions[session.name]
        if datapath in self._unknown_datapaths:
            self._unknown_datapaths.remove(datapath)

    def _sync_new_switches(self) -> None:
        """Learn what those switches have of which it is not known.

        Put it right at once only where that cannot break anything. A switch that is at
        work by an earlier state, as all are after a controller's death, changes with
        its tier.
        """
        unknown = self._open_sessions(lambda s: not s.entries_known)
        with suppress(SwitchError):
            dump_entries(unknown, _default_deadline())
        at_work = self._open_sessions(lambda s: s.in_operation(self._desired[s.name]))
        for session in at_work:
            if session in unknown:
                log.info("%s is at work: it changes with its tier", session.name)
        with suppress(SwitchError):
            new = self._open_sessions(
                lambda s: s.entries_known and s.never_synced and s not in at_work
            )
            sync(new, self._desired, _default_deadline())

    def _repair(self) -> None:
        """Finish what a failed order has left undone, and look after those chassis
        that nobody waits for: failed or cut off.

        Still tier by tier: none is touched before all of the one before it is right,
        and has settled.
        """
        if self._state is None:
            return
        for group in tiers(self._state):
            with suppress(SwitchError):
                sync(self._out_of_sync(group), self._desired, _default_deadline())
            if len(self._sessions_of(group)) < len(group) or self._out_of_sync(group):
                break
            try:
                self._settle(self._sessions_of(group), _default_deadline())
            except SettleError as error:
                log.warning("not settled: %s", error)
                break
        with suppress(SwitchError):
            aside = tuple(self._state.membership.unreachable_chassis)
            sync(self._out_of_sync(aside), self._desired, _default_deadline())

    def _open_sessions(
        self, chosen: Callable[[SwitchSession], bool]
    ) -> list[SwitchSession]:
        return [s for s in self._sessions.values() if not s.closed and chosen(s)]

    def _out_of_sync(self, group: Sequence[str]) -> list[SwitchSession]:
        """Those of the group whose entries are known, and not what they should be."""
        return [
            s
            for s in self._sessions_of(group)
            if s.entries_known and not s.matches(self._desired[s.name])
        ]

    def _sessions_of(self, group: Sequence[str]) -> list[SwitchSession]:
        return self._open_sessions(lambda s: s.name in group)

    def _process_requests(self) -> None:
        """Fulfil the requests in their order, as far as the switches are there."""
        while self._requests:
            request = self._requests[0]
            if self._state is not request.state:
                self._set_desired(request.state, request.requested_s)
                self._sync_new_switches()
            missing = self._missing(request.state)
            if missing and time.monotonic() < request.deadline:
                return
            self._requests.popleft()
            request.reply.put(self._complete(request, missing))

    def _missing(self, state: ClusterState) -> list[str]:
        """The switches that are not here, though the fabric reaches their chassis."""
        chassis = state.membership.reachable_chassis(state.plan)
        here = {session.name for session in self._open_sessions(lambda s: True)}
        return [n for n in (FABRIC, *(c.name for c in chassis)) if n not in here]

    def _complete(self, request: _Request, missing: list[str]) -> object:
        """The reply to a request, or the exception that is one."""
        if missing:
            return SwitchError(f"not connected: switch {', '.join(missing)}")
        try:
            return self._roll_out(request)
        except (SwitchError, SettleError) as error:
            return error

    def _roll_out(self, request: _Request) -> dict[str, Any]:
        """Tier by tier; one has settled before the next is touched.

        Settled also what an earlier order has changed, one that failed half-way or a
        controller that died: what nobody has waited for since it changed.
        """
        told: dict[str, SwitchChange] = {}
        whole: list[SwitchSession] = []
        for group in tiers(request.state):
            sessions = self._sessions_of(group)
            dump_entries([s for s in sessions if not s.entries_known], request.deadline)
            told |= sync(sessions, self._desired, request.deadline)
            self._settle(sessions, request.deadline)
            whole += sessions
        applied_s = max(self._requested_s, *(s.confirmed_s for s in whole))
        settled = (s.settled_s for s in whole if s.settled_s is not None)
        return {
            "requested_s": self._requested_s,
            "applied_s": applied_s,
            "settled_s": max(applied_s, *settled) if self._control_socket else None,
            "switches": {name: asdict(change) for name, change in told.items()},
        }

    def _settle(self, sessions: Iterable[SwitchSession], deadline: float) -> None:
        """Wait for the caches of those that have changed since they were waited for."""
        unsettled = [session for session in sessions if session.settled_s is None]
        if self._control_socket is None or not unsettled:
            return
        sockets = {s.name: self._control_socket(s.name) for s in unsettled}
        settle(sockets, deadline - time.monotonic())
        for session in unsettled:
            session.settled_s = time.time()

    def _fail_all_requests(self, error: Exception) -> None:
        """Nobody is to wait for what will not come."""
        while self._requests:
            self._requests.popleft().reply.put(error)


def _default_deadline() -> float:
    """By when a switch must have answered if nobody said otherwise."""
    return time.monotonic() + _SWITCH_TIMEOUT_S
