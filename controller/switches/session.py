"""One connected switch: what it has, and the order that is under way to it."""

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
    """A switch refused an order, did not answer in time, or is gone; names it."""


class SwitchSession:
    """The connection of one switch.

    One thread gives the orders, one at a time (:meth:`request_dump`, then :meth:`receive_dump`;
    :meth:`start_update`, then :meth:`finish_update`), so that many switches can be at work at once.
    :meth:`handle_message` and :meth:`mark_changed` are for other threads, and never wait.
    """

    def __init__(self, name: str, datapath: Any) -> None:
        """Nothing is known yet of what the switch has."""
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
        #: When it was last known to have what was wanted of it (CLOCK_REALTIME).
        self.confirmed_s = 0.0
        #: Since when its caches hold nothing older; None while nobody has waited for
        #: that: for a new connection nobody knows what was ordered by an earlier one.
        self.settled_s: float | None = None

    @property
    def entries_known(self) -> bool:
        """Whether it is known what entries the switch has."""
        return self._installed is not None and not self._stale

    @property
    def never_synced(self) -> bool:
        """Whether it has only been looked at so far, and never been put right."""
        return not self._desired

    def in_operation(self, wanted: Sequence[FlowEntry]) -> bool:
        """Whether, when it was looked at, it forwarded by other entries than those.

        It is then a part of a whole that is to change in order. A switch without
        entries forwards nothing: whatever it is given breaks nothing.
        """
        have = self._installed or ()
        return bool(have) and bool(difference(have, wanted))

    @property
    def closed(self) -> bool:
        """Whether the connection has ended, or we have ended it."""
        return self._closed

    @property
    def entries(self) -> int:
        """Number of entries that the switch has, as far as is known."""
        return len(self._installed or ())

    def matches(self, wanted: Sequence[FlowEntry]) -> bool:
        """Whether the switch has exactly the entries ``wanted``."""
        return self.entries_known and self._installed == wanted

    def handle_message(self, message: Any) -> None:
        """A message from the switch; None when it is gone."""
        self._closed = self._closed or message is None
        self._inbox.put((time.time(), message))

    def mark_changed(self) -> None:
        """Somebody else has changed the switch's entries."""
        self._stale = True

    def request_dump(self) -> None:
        """Ask for every entry that the switch has, and to be told of others' changes.

        What somebody changes from here on is told to :meth:`mark_changed`, whether before or
        after the answer, so that nothing falls in between.
        """
        self._change = Change((), ())
        self._changed_by_others = self._changed_by_others or self._stale
        self._stale = False
        self._installed = None
        questions = [openflow.dump_request(self.datapath)]
        if not self._monitored:
            self._monitored = True
            questions.insert(0, openflow.monitor_request(self.datapath))
        self._send(questions)

    def receive_dump(self, deadline: float) -> None:
        """Wait for the answer to :meth:`request_dump`. Raises :class:`SwitchError`."""
        found: list[SwitchEntry] = []
        more = True
        while more:
            _, message = self._next(deadline)
            if message.msg_type == ofproto.OFPT_ERROR:
                self._handle_dump_error(message)
                continue
            ours = (stats for stats in message.body if not openflow.is_learned(stats))
            found += map(DumpedEntry.from_stats, ours)
            more = message.flags & ofproto.OFPMPF_REPLY_MORE
        self._installed = tuple(found)

    def _handle_dump_error(self, message: Any) -> None:
        """Without the answer we cannot go on; without the watch we can, and say so."""
        error = self._error(message)
        if message.xid == self._next_xid - 1:
            raise error
        log.warning("changes by others will go unnoticed: %s", error)

    def start_update(self, wanted: Sequence[FlowEntry]) -> Change[SwitchEntry]:
        """Order what makes the switch's entries equal to ``wanted``; returns it.

        What the switch has must be known. Where somebody has meddled, every entry is
        put there anew, over what is there: a modified one still has our cookie.
        """
        self._change = difference(self._installed or (), wanted)
        if self._changed_by_others:
            self._change = replace(self._change, add=tuple(wanted))
        self._desired = wanted
        self._pending = []
        if self._change:
            self.settled_s = None
            bundle_id = self._next_xid
            self._send(openflow.bundle(self.datapath, bundle_id, self._change))
        return self._change

    def finish_update(self, deadline: float) -> float:
        """Wait until the switch has what was ordered; returns the instant.

        ``deadline`` is of the monotonic clock, the result of CLOCK_REALTIME. Raises
        :class:`SwitchError`; nothing has changed then, for a bundle is atomic.
        """
        if self._pending:
            self._installed = None
            self.confirmed_s = self._await_barrier(deadline)
            self._changed_by_others = False
        elif self._installed != self._desired:
            self.confirmed_s = time.time()  # it has just been looked at
        self._installed = self._desired
        return self.confirmed_s

    def close(self) -> None:
        """Hang up; the switch connects again by itself and is looked at anew."""
        self._closed = True
        self.datapath.close()

    def _send(self, messages: list[Any]) -> None:
        """Send an order; forgets what is left of answers to an earlier one."""
        self._pending = messages
        self._first_xid, self._next_xid = (
            self._next_xid,
            self._next_xid + len(messages),
        )
        self.datapath.send(openflow.serialized(messages, self._first_xid))

    def _next(self, deadline: float) -> tuple[float, Any]:
        """The next message that answers the order, and when it came."""
        while True:
            try:
                patience = max(0.001, deadline - time.monotonic())
                instant, message = self._inbox.get(timeout=patience)
            except hub.QueueEmpty:
                raise SwitchError(f"switch {self.name} does not answer") from None
            if self._closed:
                raise SwitchError(f"switch {self.name} has gone")
            if self._first_xid <= message.xid < self._next_xid:
                return instant, message

    def _await_barrier(self, deadline: float) -> float:
        """Wait for the order's end; raise what went wrong on the way, if anything."""
        refused: SwitchError | None = None
        while True:
            instant, message = self._next(deadline)
            if message.msg_type == ofproto.OFPT_ERROR:
                # The first error is the cause; the bundle's own failure follows it.
                refused = refused or self._error(message)
            if message.msg_type == ofproto.OFPT_BARRIER_REPLY:
                if refused:
                    raise refused
                return instant

    def _error(self, message: Any) -> SwitchError:
        position = message.xid - self._first_xid
        failed_message = type(self._pending[position]).__name__
        # A bundle's first message opens it; its additions come next.
        if 1 <= position <= len(self._change.add):
            failed_message = f"flow entry {self._change.add[position - 1]}"
        reason = openflow.error_text(message)
        return SwitchError(f"switch {self.name} refused {failed_message}: {reason}")
