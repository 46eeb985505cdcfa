"""One connected switch: its known entries and the pending request."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from controller.flows.entries import FlowEntry
from controller.pipeline.difference import Change, difference
from controller.switches import openflow
from controller.switches.framework import hub, ofproto
from controller.switches.openflow import DumpedEntry, SwitchEntry

log = logging.getLogger("resetbed.controller")


class SwitchError(RuntimeError):
    """A switch refused a request, timed out or disconnected; the text names it."""


class SwitchSession:
    """The connection of one switch.

    One thread sends requests, one at a time: :meth:`request_dump`, then
    :meth:`receive_dump`; :meth:`start_update`, then :meth:`finish_update`. The two steps
    allow many switches to work in parallel. Other threads call :meth:`handle_message` and
    :meth:`mark_changed`, which never block.
    """

    def __init__(self, name: str, datapath: Any) -> None:
        """The switch's entries are not known yet."""
        self.name = name
        self.datapath = datapath
        self._installed: Sequence[SwitchEntry] | None = None
        self._stale = False
        self._changed_by_others = False
        self._monitored = False
        self._closed = False
        self._inbox: Any = hub.Queue()
        self._pending: list[Any] = []
        self._first_xid = 0
        self._next_xid = 1
        self._change: Change[SwitchEntry] = Change((), ())
        self._desired: Sequence[FlowEntry] = ()
        #: When the switch was last known to have the desired entries (CLOCK_REALTIME).
        self.confirmed_s = 0.0
        #: Since when its flow caches hold nothing older; None until that was waited for. A
        #: new connection starts with None: an earlier one may have changed entries.
        self.settled_s: float | None = None

    @property
    def entries_known(self) -> bool:
        """Whether the switch's entries are known."""
        return self._installed is not None and not self._stale

    @property
    def never_synced(self) -> bool:
        """Whether we have never updated its entries in this session."""
        return not self._desired

    def in_operation(self, desired: Sequence[FlowEntry]) -> bool:
        """Whether its dump had entries, other than ``desired``.

        Such a switch is updated in the order of the tiers. A switch without entries
        forwards nothing, so an update cannot break anything.
        """
        installed = self._installed or ()
        return bool(installed) and bool(difference(installed, desired))

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, by the switch or by us."""
        return self._closed

    @property
    def entries(self) -> int:
        """Number of known entries of the switch."""
        return len(self._installed or ())

    def matches(self, desired: Sequence[FlowEntry]) -> bool:
        """Whether the switch is known to have exactly the entries ``desired``."""
        return self.entries_known and self._installed == desired

    def handle_message(self, message: Any) -> None:
        """Queue a message from the switch; None: it has disconnected."""
        self._closed = self._closed or message is None
        self._inbox.put((time.time(), message))

    def mark_changed(self) -> None:
        """Someone else has changed the switch's entries."""
        self._stale = True

    def request_dump(self) -> None:
        """Request all entries of the switch, and notifications of changes by others.

        Changes by others from here on are reported to :meth:`mark_changed`, before or
        after the reply, so none is missed.
        """
        self._change = Change((), ())
        self._changed_by_others = self._changed_by_others or self._stale
        self._stale = False
        self._installed = None
        requests = [openflow.dump_request(self.datapath)]
        if not self._monitored:
            self._monitored = True
            requests.insert(0, openflow.monitor_request(self.datapath))
        self._send(requests)

    def receive_dump(self, deadline: float) -> None:
        """Wait for the reply to :meth:`request_dump`. Raises :class:`SwitchError`."""
        entries: list[SwitchEntry] = []
        more = True
        while more:
            _, message = self._next(deadline)
            if message.msg_type == ofproto.OFPT_ERROR:
                self._handle_dump_error(message)
                continue
            ours = (stats for stats in message.body if not openflow.is_learned(stats))
            entries += map(DumpedEntry.from_stats, ours)
            more = message.flags & ofproto.OFPMPF_REPLY_MORE
        self._installed = tuple(entries)

    def _handle_dump_error(self, message: Any) -> None:
        """An error of the dump is fatal. Without the monitor we continue, and warn."""
        error = self._error(message)
        if message.xid == self._next_xid - 1:
            raise error
        log.warning("changes by others will not be detected: %s", error)

    def start_update(self, desired: Sequence[FlowEntry]) -> Change[SwitchEntry]:
        """Send the change that makes the switch's entries equal to ``desired``; returns it.

        The switch's entries must be known. If others have changed entries, every entry is
        installed again: a modified one may still have our cookie.
        """
        self._change = difference(self._installed or (), desired)
        if self._changed_by_others:
            self._change = replace(self._change, add=tuple(desired))
        self._desired = desired
        self._pending = []
        if self._change:
            self.settled_s = None
            bundle_id = self._next_xid
            self._send(openflow.bundle(self.datapath, bundle_id, self._change))
        return self._change

    def finish_update(self, deadline: float) -> float:
        """Wait until the switch has confirmed the update; returns the time.

        ``deadline`` is of the monotonic clock, the result of CLOCK_REALTIME. Raises
        :class:`SwitchError`; nothing has changed then, because a bundle is atomic.
        """
        if self._pending:
            self._installed = None
            self.confirmed_s = self._await_barrier(deadline)
            self._changed_by_others = False
        elif self._installed != self._desired:
            self.confirmed_s = time.time()  # just confirmed by its dump
        self._installed = self._desired
        return self.confirmed_s

    def close(self) -> None:
        """Disconnect. The switch reconnects by itself and is dumped again."""
        self._closed = True
        self.datapath.close()

    def _send(self, messages: list[Any]) -> None:
        """Send a request. Late replies to an earlier one will be ignored."""
        self._pending = messages
        self._first_xid, self._next_xid = (
            self._next_xid,
            self._next_xid + len(messages),
        )
        self.datapath.send(openflow.serialized(messages, self._first_xid))

    def _next(self, deadline: float) -> tuple[float, Any]:
        """The next message that replies to the request, and when it was received."""
        while True:
            try:
                timeout = max(0.001, deadline - time.monotonic())
                instant, message = self._inbox.get(timeout=timeout)
            except hub.QueueEmpty:
                raise SwitchError(f"switch {self.name} does not reply") from None
            if self._closed:
                raise SwitchError(f"switch {self.name} disconnected")
            if self._first_xid <= message.xid < self._next_xid:
                return instant, message

    def _await_barrier(self, deadline: float) -> float:
        """Wait for the barrier reply; raise the request's first error, if any."""
        refused: SwitchError | None = None
        while True:
            instant, message = self._next(deadline)
            if message.msg_type == ofproto.OFPT_ERROR:
                if openflow.is_known_meter(message):
                    continue
                # The first error is the cause. The bundle's failure follows it.
                refused = refused or self._error(message)
            if message.msg_type == ofproto.OFPT_BARRIER_REPLY:
                if refused:
                    raise refused
                return instant

    def _error(self, message: Any) -> SwitchError:
        position = message.xid - self._first_xid
        failed_message = type(self._pending[position]).__name__
        # After the meters, a message opens the bundle; the adds come next.
        position -= len(openflow.meters_of(self._change.add)) + 1
        if 0 <= position < len(self._change.add):
            failed_message = f"flow entry {self._change.add[position]}"
        reason = openflow.error_text(message)
        return SwitchError(f"switch {self.name} refused {failed_message}: {reason}")
