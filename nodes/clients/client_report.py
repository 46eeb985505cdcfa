"""What clients say on standard output, JSON lines: the writer and the reader of them.

Every line has ``t`` (seconds, CLOCK_REALTIME) and ``event``:

============ ============================ ===========================================
event        fields                       meaning
============ ============================ ===========================================
ready        connections, ports           every connection was opened once
reset        conn, port                   the peer reset it (ECONNRESET)
closed       conn, port                   the peer closed it in good order (FIN)
error        conn, port, reason           it broke in another way, or did not open
reconnected  conn, port, old_port         it was opened again
rested       conn, port                   the client closed it, as its pattern says
reopened     conn, port                   it was opened anew after that
port-skipped conn, port                   something else holds that source port
lost         conn, ...                    an answer is not what was acknowledged
summary      the fields of Summary        the last line
============ ============================ ===========================================

``conn`` counts from 0; N, one past the last, is the connection an NBD client verifies
with in the end.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO


class ReportError(ValueError):
    """A file that is not the report of a client; the message names the line."""


class ServerClosed(ConnectionError):
    """The server ended the connection in good order, though it was still in use."""


@dataclass
class Summary:
    """What a client did. Counts; for writes, acknowledged = verified+lost+unverified.

    What a *write* is depends on the client: see its ``--help``.
    """

    #: Connections that were established at least once.
    opened: int = 0
    #: Established connections that the peer reset.
    resets: int = 0
    #: Established connections that the peer closed.
    closed: int = 0
    #: Connections established again after they broke, however they did.
    reconnected: int = 0
    #: Connections that the client closed, as its pattern says, and opened anew.
    reopened: int = 0
    #: Connections whose last request, or goodbye, got no answer in time at the end.
    hung: int = 0
    #: Connections that were not established at the end.
    disconnected: int = 0
    #: Attempts to connect that failed, and connections that broke in another way.
    errors: int = 0
    #: Source ports passed over because something else held them.
    skipped_ports: int = 0
    acknowledged_writes: int = 0
    verified_writes: int = 0
    lost_writes: int = 0
    #: Acknowledged, and nobody could look at them at the end.
    unverified_writes: int = 0

    @property
    def exit_status(self) -> int:
        """What the client exits with: 1 if an acknowledged write was lost, else 0."""
        return 1 if self.lost_writes else 0


class Journal:
    """A client's report while it runs: writes each event, keeps the summary's counts.

    ``connections`` is how many there must be before ``ready`` is written.
    """

    def __init__(self, out: TextIO, connections: int) -> None:
        self.summary = Summary()
        self._out = out
        self._ports: list[int | None] = [None] * connections
        self._resting: set[int] = set()

    def established(self, conn: int, port: int) -> None:
        """Connection number ``conn`` serves, from ``port``."""
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

    def rested(self, conn: int) -> None:
        """The client ended an established connection, to open another one later."""
        self._resting.add(conn)
        self._write("rested", conn=conn, port=self._ports[conn])

    def broken(self, conn: int, error: OSError) -> None:
        """An established connection ended, and the client did not end it."""
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
        """``conn`` would have used that source port, but something else holds it."""
        self.summary.skipped_ports += 1
        self._write("port-skipped", conn=conn, port=port)

    def lost(self, conn: int, **what: object) -> None:
        """An acknowledged write is not there; ``what`` helps to find out why."""
        self._write("lost", conn=conn, **what)

    def finish(self) -> int:
        """Write the summary. The exit status that goes with it."""
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
        """Number of the connection. Raises ``KeyError`` where the event has none."""
        return int(self.fields["conn"])

    @property
    def port(self) -> int:
        """Source port. Raises ``KeyError`` where the event has none."""
        return int(self.fields["port"])


@dataclass(frozen=True)
class ClientReport:
    """A client's whole report: its events in order and, if it ended well, a summary."""

    events: tuple[Event, ...]
    summary: Summary | None

    def of_kind(self, kind: str) -> tuple[Event, ...]:
        """The events of that kind, in order."""
        return tuple(event for event in self.events if event.kind == kind)

    @property
    def ports(self) -> tuple[int, ...]:
        """Source port of each connection when all were open; empty before that."""
        ready = self.of_kind("ready")
        return tuple(ready[0].fields["ports"]) if ready else ()


def parse_report(path: Path) -> ClientReport:
    """The report in the file at ``path``, of a client that runs or has ended.

    An unfinished last line is left out: the client is writing it, or was killed while
    it did. Raises :class:`ReportError` for anything else that is no report line.
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
