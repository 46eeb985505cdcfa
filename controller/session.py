"""One connected switch: what it has, and the questions and orders under way to it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Any

from controller import openflow
from controller.flows import FlowEntry
from controller.framework import hub, ofproto
from controller.openflow import FoundEntry, SwitchEntry
from controller.reconcile import Change, difference

#: Room for the messages of one order in the numbering of messages.
_XIDS = 1 << 20


class SwitchError(RuntimeError):
    """A switch refused an order, did not answer in time, or is gone; names it."""


class SwitchSession:
    """The connection of one switch.

    One thread gives orders, one at a time (``ask_...`` or ``begin``, then ``finish_...``
    or ``finish``, so that many switches work at once); :meth:`deliver` may be called
    from any other and never waits.
    """

    _numbers = itertools.count(1)

    def __init__(self, name: str, datapath: Any) -> None:
        """Nothing is known yet of what the switch has."""
        self.name = name
        self.datapath = datapath
        self.installed: Sequence[SwitchEntry] = ()
        self.known = False
        self._inbox: Any = hub.Queue()
        self._first_xid = 0
        self._orders: Sequence[Any] = ()

    def deliver(self, message: Any) -> None:
        """A message from the switch, or None: it is gone."""
        self._inbox.put((time.time(), message))

    def ask_entries(self) -> None:
        """Ask for every flow entry that the switch has, and to be told of changes."""
        self.known = False
        self._send([openflow.dump(self.datapath)])

    def finish_entries(self, deadline: float) -> None:
        """Take in the answer. Raises :class:`SwitchError`."""
        found: list[SwitchEntry] = []
        while True:
            _, message = self._next(deadline)
            if message.msg_type == ofproto.OFPT_MULTIPART_REPLY:
                found += map(FoundEntry.from_stats, message.body)
                if not message.flags & ofproto.OFPMPF_REPLY_MORE:
                    break
        self.installed, self.known = tuple(found), True
