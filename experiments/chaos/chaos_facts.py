"""What is seen during chaos: facts in the order of time, and the file that keeps them.

All times are CLOCK_REALTIME seconds. What each fact says comes from the kernel (socket
tables, socket probes, process states), from the clients' histories, or from the code that
does the actions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from experiments.chaos.chaos_actions import Action
from experiments.record.socket_events import SocketEvent
from topologies.domain.arrangement import Arrangement
from topologies.domain.connection import FourTuple


class NodeSocket(NamedTuple):
    """A connection that a node's kernel holds. ``cookie``: the socket's identity."""

    node: str
    connection: FourTuple
    cookie: int


@dataclass(frozen=True)
class Begun:
    """An action begins."""

    t: float
    action: Action


@dataclass(frozen=True)
class Ended:
    """It is over, or undone. ``skipped``: why it was not possible; empty if it was."""

    t: float
    action: Action
    skipped: str = ""


@dataclass(frozen=True)
class Changing:
    """The membership begins to change: old routes and new ones are right."""

    t: float


@dataclass(frozen=True)
class Changed:
    """The membership has this arrangement, in every switch that can be reached."""

    t: float
    arrangement: Arrangement


@dataclass(frozen=True)
class Look:
    """One look at everything.

    ``held``: what nodes hold, without handshakes that are not complete. ``of_clients``:
    the connections of which a client's kernel has a socket that was established.
    ``idle``: programs that should run now, but have ended, are stopped (state T), or are
    not ready yet. ``ended``: those of them that have ended. ``late_s``: how much later
    than planned this look came.
    """

    t: float
    held: tuple[NodeSocket, ...]
    of_clients: frozenset[FourTuple]
    idle: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    late_s: float = 0.0


@dataclass(frozen=True)
class Opened:
    """A client's kernel sent a SYN."""

    t: float
    connection: FourTuple


@dataclass(frozen=True)
class Closed:
    """A client's socket ended. ``reset``: by a reset that it received when established."""

    t: float
    connection: FourTuple
    reset: bool


@dataclass(frozen=True)
class Operation:
    """One line of a client's history (``nodes/clients/register_client.py``)."""

    t: float
    what: str
    block: int
    value: int


@dataclass(frozen=True)
class WrongEcho:
    """A client got an answer that is not its request."""

    t: float
    client: str
    text: str


@dataclass(frozen=True)
class Memory:
    """Resident memory of programs, in KiB."""

    t: float
    kib: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """An error in the cluster's own threads, or an event that failed."""

    t: float
    text: str


Fact = (
    Begun
    | Ended
    | Changing
    | Changed
    | Look
    | Opened
    | Closed
    | Operation
    | WrongEcho
    | Memory
    | Fault
)

_KINDS: Mapping[str, type[Any]] = {
    kind.__name__.lower(): kind
    for kind in (
        *(Begun, Ended, Changing, Changed, Look, Opened, Closed),
        *(Operation, WrongEcho, Memory, Fault),
    )
}


class TimelineWriter:
    """Writes facts to a file, a line each."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, fact: Fact) -> None:
        """Adds one."""
        self._file.write(to_line(fact) + "\n")


def read_timeline(path: Path) -> Iterator[Fact]:
    """The facts of such a file. Raises :class:`ValueError`."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield of_line(line)


def to_line(fact: Fact) -> str:
    """One line of JSON: the kind, then the values of its fields."""
    values = [_plain(value) for value in vars(fact).values()]
    return json.dumps([type(fact).__name__.lower(), *values])


def of_line(line: str) -> Fact:
    """The fact of a line. Raises :class:`ValueError`."""
    name, *values = json.loads(line)
    kind = _KINDS[name]
    made: Fact = kind(*map(_rebuilt, kind.__dataclass_fields__, values))
    return made


def fact_of_socket_event(
    event: SocketEvent, established: set[FourTuple], reset: set[FourTuple]
) -> Fact | None:
    """The fact that a probe's event of a client's socket tells, if any.

    ``established`` and ``reset``: connections in that state so far; they are updated.
    """
    connection, t = event.connection, event.time_ns / 1e9
    if connection is None or not event.at_client:
        return None
    if event.kind == "reset-received" and connection in established:
        reset.add(connection)
    if event.new == "SYN_SENT":
        return Opened(t, connection)
    if event.new == "ESTABLISHED":
        established.add(connection)
    if event.new == "CLOSE" and connection in established:
        was_reset = connection in reset
        established.discard(connection)
        reset.discard(connection)
        return Closed(t, connection, was_reset)
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, (Action, Arrangement)):
        return value.to_json()
    return sorted(value) if isinstance(value, frozenset) else value


def _rebuilt(name: str, value: Any) -> Any:
    if name == "action":
        return Action.from_json(value)
    if name == "arrangement":
        return Arrangement.from_json(value)
    if name == "connection":
        return FourTuple(*value)
    if name == "held":
        return tuple(NodeSocket(n, FourTuple(*c), cookie) for n, c, cookie in value)
    if name == "of_clients":
        return frozenset(FourTuple(*one) for one in value)
    return frozenset(value) if name in ("idle", "ended") else value
