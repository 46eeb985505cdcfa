"""Traffic patterns: what a client's connections do with their time, one line each.

A pattern is a handful of figures that every client reads; a client of a protocol that
cannot follow one names it, with the reason, beside the protocol's port.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """How the connections of a client are used; the defaults are ``busy``."""

    name: str
    summary: str
    #: The pause between two requests, in times the interval that was asked for.
    pause_factor: float = 1.0
    #: Requests outstanding on one connection.
    depth: int = 1
    #: Bytes in one request; None: as small as the client's protocol has them.
    request_bytes: int | None = None
    #: Bytes a second that a connection sends at most (SO_MAX_PACING_RATE, socket(7));
    #: None: as fast as it goes.
    pace: int | None = None
    #: Seconds that a connection works before the client closes it; None: for good.
    work_s: float | None = None
    #: Seconds from there to the next connection.
    rest_s: float = 0.0
    #: Reconnect from the source port of the connection that was lost.
    same_port: bool = False
    #: The client has shut down its sending side, and reads what still comes.
    half_closed: bool = False


BUSY = Pattern("busy", "small requests, one at a time, all the time")
#: One request in 3,000 intervals: with the default of 20 ms, one a minute. What the
#: network sees of a connection is its keepalive.
IDLE = Pattern("idle", "long pauses: between them only keepalive", pause_factor=3000)
#: Longer than a spec's ``steady_s``: the first burst is at work when the event comes.
BURSTS = Pattern(
    "bursts", "connections open, work, close, and open anew", work_s=1.5, rest_s=0.5
)
PIPELINED = Pattern("pipelined", "several requests outstanding", depth=4)
#: Half a second in flight, whatever the machine can do: at any instant most
#: connections are amid a transfer, and forty of them do not fill two cores.
LARGE = Pattern(
    "large",
    "large transfers, in flight when the event comes",
    request_bytes=256 * 1024,
    pace=512 * 1024,
)
#: As clients of NFS version 4.0 do, whose server knows them by it (RFC 7530, 3.1.1).
PORT_REUSE = Pattern(
    "port-reuse", "reconnects at once from the same source port", same_port=True
)
HALF_CLOSED = Pattern(
    "half-closed", "the client has shut down its side and reads on", half_closed=True
)

PATTERNS: Mapping[str, Pattern] = {
    pattern.name: pattern
    for pattern in (BUSY, IDLE, BURSTS, PIPELINED, LARGE, PORT_REUSE, HALF_CLOSED)
}


def possible(refused: Mapping[str, str]) -> tuple[str, ...]:
    """The patterns that a protocol can follow: all but the ``refused`` (name: why)."""
    return tuple(name for name in PATTERNS if name not in refused)
