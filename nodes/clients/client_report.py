"""The clients' report on standard output, as JSON lines: writer and reader.

Every line has ``t`` (seconds, CLOCK_REALTIME) and ``event``:

============ ============================ ===========================================
event        fields                       meaning
============ ============================ ===========================================
opening      opened                       so many were opened once; at most one a second
ready        connections, ports           every connection was opened once
reset        conn, port                   the peer reset it (ECONNRESET)
closed       conn, port                   the peer closed it (FIN)
error        conn, port, reason           it broke otherwise, or did not open
reconnected  conn, port, old_port         it was opened again after it broke
rested       conn, port                   the client closed it, by its pattern
reopened     conn, port                   it was opened again after that
port-skipped conn, port                   that source port is in use
lost         conn, ...                    a block or answer is not the expected one
lock-asked   conn, port                   it asked for its first lock
lock-granted conn, port, waited_ms        it got that lock
lock-unmet   conn, port, waited_ms        it did not, until it broke or the run ended
summary      the fields of Summary        the last line
============ ============================ ===========================================

``conn`` counts from 0. The number after the last is the connection for the verification
at the end.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

#: Seconds between two events that tell how many connections were opened.
OPENING_PERIOD_S = 1.0


class ReportError(ValueError):
    """A file is not the report of a client. The message names the line."""


class ServerClosed(ConnectionError):
    """The server closed the connection with FIN while it was in use."""


@dataclass
class Summary:
    """Counts of a client. For writes, acknowledged = verified + lost + unverified.

    The meaning of a *write* depends on the client: see its ``--help``.
    """

    #: Connections that were established at least once.
    opened: int = 0
    #: Established connections that the peer reset.
    resets: int = 0
    #: Established connections that the peer closed.
    closed: int = 0
    #: Connections established again after they broke in any way.
    reconnected: int = 0
    #: Connections that the client closed and reopened, by its pattern.
    reopened: int = 0
    #: Connections whose last request was not answered in time at the end.
    hung: int = 0
    #: Connections that were not established at the end.
    disconnected: int = 0
    #: Failed attempts to connect, and connections that broke in another way.
    errors: int = 0
    #: Source ports skipped because they were in use.
    skipped_ports: int = 0
    acknowledged_writes: int = 0
    verified_writes: int = 0
    lost_writes: int = 0
    #: Acknowledged, but not verified at the end.
    unverified_writes: int = 0

    @property
    def exit_status(self) -> int:
        """Exit status of the client: 1 if an acknowledged write was lost, else 0."""
        return 1 if self.lost_writes else 0


class ReportWriter:
    """Writes a client's report, event by event, and counts for the summary.

    ``ready`` is written when that number of ``connections`` is established.
    """

    def __init__(
        self,
        out: TextIO,
        connections: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.summary = Summary()
        self._out = out
        self._now = now
        self._told_s = now()
        self._ports: list[int | None] = [None] * connections
        self._resting: set[int] = set()

    def established(self, conn: int, port: int) -> None:
        """Connection number ``conn`` was established, from ``port``."""
        old_port, self._ports[conn] = self._ports[conn], port
        if conn in self._resting:
            self._resting.remove(conn)
            self.summary.reopened += 1
            self._write("reopened", conn=conn, port=port)
            return
        if old_port is not None:
            self.summary.reconnected += 1
            self._write("reconnected", conn=conn, port=port, old_port=old_port)
            return
        self.summary.opened += 1
        if self.summary.opened == len(self._ports):
            self._write("ready", connections=len(self._ports), ports=self._ports)
        elif self._now() - self._told_s >= OPENING_PERIOD_S:
            self._told_s = self._now()
            self._write("opening", opened=self.summary.opened)

    def rested(self, conn: int) -> None:
        """The client closed an established connection and will reopen it."""
        self._resting.add(conn)
        self._write("rested", conn=conn, port=self._ports[conn])

    def broken(self, conn: int, error: OSError) -> None:
        """An established connection ended, but not by the client."""
        port = self._ports[conn]
        if isinstance(error, ConnectionResetError):
            self.summary.resets += 1
            self._write("reset", conn=conn, port=port)
        elif isinstance(error, ServerClosed):
            self.summary.closed += 1
            self._write("closed", conn=conn, port=port)
        else:
            self.failed(conn, port, error)

    def failed(self, conn: int, port: int | None, error: OSError) -> None:
        """An attempt to open a connection failed, or it broke in an unusual way."""
        self.summary.errors += 1
        self._write("error", conn=conn, port=port, reason=str(error) or repr(error))

    def skipped(self, conn: int, port: int) -> None:
        """Connection ``conn`` skipped a source port that is in use."""
        self.summary.skipped_ports += 1
        self._write("port-skipped", conn=conn, port=port)

    def note(self, kind: str, conn: int, **what: object) -> None:
        """An event of an established connection that no count depends on."""
        self._write(kind, conn=conn, port=self._ports[conn], **what)

    def lost(self, conn: int, **what: object) -> None:
        """An acknowledged write was not found. ``what``: details for the report."""
        self._write("lost", conn=conn, **what)

    def finish(self) -> int:
        """Write the summary. Returns the exit status."""
        self._write("summary", **dataclasses.asdict(self.summary))
        return self.summary.exit_status

    def _write(self, event: str, **fields: object) -> None:
        line = json.dumps({"t": time.time(), "event": event, **fields})
        self._out.write(line + "\n")
        self._out.flush()


@dataclass(frozen=True)
class Event:
    """One line of a report: ``t`` in seconds (CLOCK_REALTIME), the rest in fields."""

    t: float
    kind: str
    fields: Mapping[str, Any]

    @property
    def conn(self) -> int:
        """Number of the connection. Raises ``KeyError`` if the event has none."""
        return int(self.fields["conn"])

    @property
    def port(self) -> int:
        """Source port. Raises ``KeyError`` if the event has none."""
        return int(self.fields["port"])


@dataclass(frozen=True)
class ClientReport:
    """The report of a client: its events in order, and its summary if it ended cleanly."""

    events: tuple[Event, ...]
    summary: Summary | None

    def of_kind(self, kind: str) -> tuple[Event, ...]:
        """The events of that kind, in order."""
        return tuple(event for event in self.events if event.kind == kind)

    @property
    def opened(self) -> int:
        """How many connections were opened once, as far as the client has said."""
        told = self.of_kind("opening")
        return len(self.ports) or (int(told[-1].fields["opened"]) if told else 0)

    @property
    def last_error(self) -> str | None:
        """What the last error was; None without one."""
        errors = self.of_kind("error")
        return str(errors[-1].fields["reason"]) if errors else None

    @property
    def ports(self) -> tuple[int, ...]:
        """Source port of each connection when all were open; empty before that."""
        ready = self.of_kind("ready")
        return tuple(ready[0].fields["ports"]) if ready else ()


def parse_report(path: Path) -> ClientReport:
    """The report in the file ``path``, of a client that runs or has ended.

    An incomplete last line is ignored: the client is writing it, or was killed then.
    Raises :class:`ReportError` for any other invalid line.
    """
    lines = path.read_text().split("\n")[:-1]
    events = tuple(
        _parse_event(line, f"{path}:{n}") for n, line in enumerate(lines, start=1)
    )
    if events and events[-1].kind == "summary":
        where = f"{path}:{len(lines)}"
        return ClientReport(events, _parse_summary(events[-1], where))
    return ClientReport(events, None)


def _parse_event(line: str, where: str) -> Event:
    try:
        fields = json.loads(line)
        return Event(float(fields.pop("t")), str(fields.pop("event")), fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReportError(f"{where}: not a report line: {line[:80]!r}") from error


def _parse_summary(event: Event, where: str) -> Summary:
    try:
        return Summary(
            **{f.name: int(event.fields[f.name]) for f in dataclasses.fields(Summary)}
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{where}: not a summary: {error!r}") from error
