"""Reconciles every connected switch with the desired flow entries.

One thread runs :meth:`Reconciler.run` and makes all decisions. Other threads only queue
jobs and deliver the switches' replies.
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

#: How long a switch may take to reply if the request has no deadline, in seconds.
_SWITCH_TIMEOUT_S = 5.0


@dataclass
class _Request:
    """A caller waits until every switch has the entries of ``state``."""

    state: ClusterState
    requested_s: float
    deadline: float
    reply: Any = field(default_factory=hub.Queue)


class Reconciler:
    """The connected switches and their desired flow entries."""

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
        #: When this state was first requested; a request may be repeated.
        self._requested_s = 0.0
        if state is not None:
            self._set_desired(state, time.time())

    # Called by other threads.

    def internal_error(self, text: str) -> None:
        """Record an internal error. Later requests fail with it."""
        self._internal_errors.append(text)

    def connected(self, datapath: Any) -> None:
        """A switch has connected and finished its handshake."""
        self._jobs.put(partial(self._add_session, datapath))

    def disconnected(self, datapath: Any) -> None:
        """A switch's connection has ended."""
        session = self.session(datapath)
        if session:
            session.handle_message(None)
        self._jobs.put(partial(self._remove_session, datapath))

    def changed_by_others(self, datapath: Any) -> None:
        """Someone else has changed a switch's entries."""
        session = self.session(datapath)
        if session:
            log.warning("%s: entries changed by others", session.name)
            session.mark_changed()
            self._jobs.put(lambda: None)

    def session(self, datapath: Any) -> SwitchSession | None:
        """The session of that connection; None for an unknown datapath."""
        sessions = list(self._sessions.values())
        return next((s for s in sessions if s.datapath is datapath), None)

    def apply(self, state: ClusterState, timeout_s: float) -> dict[str, Any]:
        """Make every switch equal to ``state``; returns the reply to the request.

        Raises :class:`SwitchError`, :class:`~controller.switches.settle.SettleError`, or
        :class:`RuntimeError` for an internal error of the controller.
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
        """Every switch of the plan: connected, in sync, number of entries."""
        self._raise_internal_errors()
        desired, sessions = dict(self._desired), dict(self._sessions)
        return {
            name: {
                "connected": name in sessions,
                "in_sync": name in sessions and sessions[name].matches(entries),
                "entries": sessions[name].entries if name in sessions else 0,
            }
            for name, entries in desired.items()
        }

    def _raise_internal_errors(self) -> None:
        if self._internal_errors:
            first = self._internal_errors[0]
            raise RuntimeError(f"internal error of the controller: {first}")

    # From here on: called in the reconciler's own thread.

    def run(self) -> None:
        """Run jobs until the process ends."""
        while True:
            try:
                self._step()
            except Exception:
                log.exception("reconciler failed")
                self.internal_error(traceback.format_exc())
                self._fail_all_requests(RuntimeError(self._internal_errors[0]))

    def _step(self) -> None:
        """Run one job, then everything that it made possible."""
        self._next_job()()
        if self._jobs.empty():
            self._sync_new_switches()
            self._process_requests()
        if self._jobs.empty() and not self._requests:
            self._repair()

    def _next_job(self) -> Callable[[], object]:
        """The next job, or a no-op when the first request's deadline has passed."""
        timeout = None
        if self._requests:
            timeout = max(0.001, self._requests[0].deadline - time.monotonic())
        try:
            job: Callable[[], object] = self._jobs.get(timeout=timeout)
        except hub.QueueEmpty:
            return lambda: None
        return job

    def _set_desired(self, state: ClusterState, requested_s: float) -> None:
        """Make ``state`` the desired state of every switch."""
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
        """Accept a switch of the plan. Any other is refused: it gets no messages."""
        dpids = self._state.plan.switches if self._state else {}
        name = next((n for n, dpid in dpids.items() if dpid == datapath.id), None)
        if name is None:
            log.warning("refused: the plan has no switch %#x", datapath.id)
            self._unknown_datapaths.append(datapath)
            return
        log.info("%s connected", name)
        self._sessions[name] = SwitchSession(name, datapath)

    def _remove_session(self, datapath: Any) -> None:
        """Remove a closed connection. A newer one of the same switch stays."""
        session = self.session(datapath)
        if session:
            log.warning("%s disconnected", session.name)
            del self._sessions[session.name]
        if datapath in self._unknown_datapaths:
            self._unknown_datapaths.remove(datapath)

    def _sync_new_switches(self) -> None:
        """Dump the entries of switches where they are unknown.

        Update a switch immediately only if that cannot break anything. A switch that
        forwards by an earlier state, as all do after a controller's death, is updated
        with its tier.
        """
        unknown = self._open_sessions(lambda s: not s.entries_known)
        with suppress(SwitchError):
            dump_entries(unknown, _default_deadline())
        operating = self._open_sessions(lambda s: s.in_operation(self._desired[s.name]))
        for session in operating:
            if session in unknown:
                log.info("%s is operating: updated with its tier", session.name)
        with suppress(SwitchError):
            new = self._open_sessions(
                lambda s: s.entries_known and s.never_synced and s not in operating
            )
            sync(new, self._desired, _default_deadline())

    def _repair(self) -> None:
        """Finish a failed update. Also update chassis that no request waits for: failed or
        cut off.

        Tier by tier: a tier is updated only when the one before it is complete and has
        settled.
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
            unreachable = tuple(self._state.membership.unreachable_chassis)
            sync(self._out_of_sync(unreachable), self._desired, _default_deadline())

    def _open_sessions(
        self, chosen: Callable[[SwitchSession], bool]
    ) -> list[SwitchSession]:
        return [s for s in self._sessions.values() if not s.closed and chosen(s)]

    def _out_of_sync(self, group: Sequence[str]) -> list[SwitchSession]:
        """The group's switches with known entries that are not the desired ones."""
        return [
            s
            for s in self._sessions_of(group)
            if s.entries_known and not s.matches(self._desired[s.name])
        ]

    def _sessions_of(self, group: Sequence[str]) -> list[SwitchSession]:
        return self._open_sessions(lambda s: s.name in group)

    def _process_requests(self) -> None:
        """Process requests in order while the switches that they need are connected."""
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
        """The switches that the fabric can reach and that are not connected."""
        chassis = state.membership.reachable_chassis(state.plan)
        connected = {session.name for session in self._open_sessions(lambda s: True)}
        return [n for n in (FABRIC, *(c.name for c in chassis)) if n not in connected]

    def _complete(self, request: _Request, missing: list[str]) -> object:
        """The reply to a request, or the exception that it fails with."""
        if missing:
            return SwitchError(f"not connected: switch {', '.join(missing)}")
        try:
            return self._roll_out(request)
        except (SwitchError, SettleError) as error:
            return error

    def _roll_out(self, request: _Request) -> dict[str, Any]:
        """Update tier by tier; a tier has settled before the next is updated.

        This includes switches that an earlier request changed and did not wait for: it
        failed half-way, or the controller died.
        """
        changes: dict[str, SwitchChange] = {}
        updated: list[SwitchSession] = []
        for group in tiers(request.state):
            sessions = self._sessions_of(group)
            dump_entries([s for s in sessions if not s.entries_known], request.deadline)
            changes |= sync(sessions, self._desired, request.deadline)
            self._settle(sessions, request.deadline)
            updated += sessions
        applied_s = max(self._requested_s, *(s.confirmed_s for s in updated))
        settled = (s.settled_s for s in updated if s.settled_s is not None)
        return {
            "requested_s": self._requested_s,
            "applied_s": applied_s,
            "settled_s": max(applied_s, *settled) if self._control_socket else None,
            "switches": {name: asdict(change) for name, change in changes.items()},
        }

    def _settle(self, sessions: Iterable[SwitchSession], deadline: float) -> None:
        """Wait for the flow caches of switches that have changed since the last wait."""
        unsettled = [session for session in sessions if session.settled_s is None]
        if self._control_socket is None or not unsettled:
            return
        sockets = {s.name: self._control_socket(s.name) for s in unsettled}
        settle(sockets, deadline - time.monotonic())
        for session in unsettled:
            session.settled_s = time.time()

    def _fail_all_requests(self, error: Exception) -> None:
        """Fail every waiting request."""
        while self._requests:
            self._requests.popleft().reply.put(error)


def _default_deadline() -> float:
    """The deadline of a switch's reply if the request has none."""
    return time.monotonic() + _SWITCH_TIMEOUT_S
