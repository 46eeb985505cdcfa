"""Resets as the sockets of both ends saw them; pure.

A probe sees what a kernel does to a socket, no segment. So a reset here is a client's socket
that accepted a RST, and the socket of the connection's owner that ended.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from experiments.record.socket_events import RESET_RECEIVED, STATE, SocketEvent
from topologies.domain.connection import FourTuple

#: So long an owner's freeing is waited for before a reset without it is shown, in seconds.
PATIENCE_S = 0.5
#: Ladders can be asked for of so many shown resets, and so many are followed at once.
_KEPT = 64
_FOLLOWED = 4096


@dataclass
class SeenReset:
    """One connection's reset. Times are CLOCK_REALTIME ns; None: not seen.

    ``owner``: the node that held it, None if none did. ``new_node``: its owner by the
    tables at that time. ``by_reset``: a RST has freed the owner's socket.
    """

    connection: FourTuple
    client: str
    owner: str | None
    new_node: str | None
    client_ns: int
    freed_ns: int | None = None
    by_reset: bool = False
    serial: int = 0

    @property
    def start_ns(self) -> int:
        """The first instant that was seen of it."""
        return min(self.client_ns, self.freed_ns or self.client_ns)


@dataclass
class _Freed:
    """A node's socket that has ended."""

    node: str
    at_ns: int
    by_reset: bool


@dataclass
class SeenResets:
    """Follows resets. ``holders``: nodes that hold a connection. ``owner_of``: by the present
    tables."""

    holders: Callable[[FourTuple], Collection[str]]
    owner_of: Callable[[FourTuple], str | None]
    #: Client -> connections of it that were reset.
    of_client: Counter[str] = field(default_factory=Counter)
    latest: SeenReset | None = None
    _shown: OrderedDict[int, SeenReset] = field(default_factory=OrderedDict)
    _open: OrderedDict[FourTuple, SeenReset] = field(default_factory=OrderedDict)
    _freed: OrderedDict[FourTuple, _Freed] = field(default_factory=OrderedDict)
    _resetting: set[tuple[str, int]] = field(default_factory=set)
    _serial: int = 0

    def apply(self, event: SocketEvent) -> None:
        """Takes in one event. Call it before the tally has it: then the owner still holds."""
        connection = event.connection
        if connection is None or not event.host:
            return
        if event.kind == RESET_RECEIVED:
            if event.at_client:
                self._client_reset(connection, event)
            else:
                self._resetting.add((event.host, event.socket))
        elif event.kind == STATE and event.new == "CLOSE" and not event.at_client:
            self._node_freed(connection, event)

    def look(self, now_ns: int) -> bool:
        """Shows a reset that no owner's freeing follows; returns whether one is new."""
        before = self.latest
        for connection, one in list(self._open.items()):
            if now_ns - one.client_ns < PATIENCE_S * 1e9:
                break
            del self._open[connection]
            self._show(one)
        return self.latest is not before

    def published(self) -> SeenReset | None:
        """The latest one, which :meth:`find` finds from now on."""
        if self.latest is not None:
            self._shown[self.latest.serial] = self.latest
            if len(self._shown) > _KEPT:
                self._shown.popitem(last=False)
        return self.latest

    def find(self, serial: int) -> SeenReset | None:
        """A reset that was published; None if it is gone."""
        return self._shown.get(serial)

    def _client_reset(self, connection: FourTuple, event: SocketEvent) -> None:
        self.of_client[event.host] += 1
        freed = self._freed.pop(connection, None)
        if freed and event.time_ns - freed.at_ns > PATIENCE_S * 1e9:
            freed = None  # an earlier connection from the same port
        nodes = self.holders(connection)
        owner = freed.node if freed else next(iter(nodes), None)
        new = self.owner_of(connection)
        one = SeenReset(connection, event.host, owner, new, event.time_ns)
        if freed:
            one.freed_ns, one.by_reset = freed.at_ns, freed.by_reset
            self._show(one)
            return
        self._open[connection] = one
        if len(self._open) > _FOLLOWED:
            self._open.popitem(last=False)

    def _node_freed(self, connection: FourTuple, event: SocketEvent) -> None:
        by_reset = (event.host, event.socket) in self._resetting
        self._resetting.discard((event.host, event.socket))
        one = self._open.get(connection)
        if one is not None and one.owner == event.host:
            del self._open[connection]
            one.freed_ns, one.by_reset = event.time_ns, by_reset
            self._show(one)
        else:
            # The owner's kernel may be faster than the client's.
            self._freed.pop(connection, None)
            self._freed[connection] = _Freed(event.host, event.time_ns, by_reset)
            if len(self._freed) > _FOLLOWED:
                self._freed.popitem(last=False)

    def _show(self, one: SeenReset) -> None:
        self._serial += 1
        one.serial = self._serial
        self.latest = one
