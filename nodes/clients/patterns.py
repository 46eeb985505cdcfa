"""Traffic patterns: how a client uses its connections.

A pattern is a set of parameters that every client reads. If a protocol does not support
a pattern, the protocol's module lists it with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """How the connections of a client are used. The defaults are those of ``busy``."""

    name: str
    summary: str
    #: Pause between two requests, as a multiple of the interval.
    pause_factor: float = 1.0
    #: Requests outstanding on one connection.
    depth: int = 1
    #: Bytes in one request; None: the small default of the protocol.
    request_bytes: int | None = None
    #: Maximum rate of sending in bytes per second (SO_MAX_PACING_RATE, socket(7)); None:
    #: no limit.
    pace: int | None = None
    #: Seconds until the client closes a connection; None: until the end.
    work_s: float | None = None
    #: Seconds from the close to the next connection.
    rest_s: float = 0.0
    #: Reconnect from the source port of the lost connection.
    same_port: bool = False
    #: The client shuts down its sending side, and continues to read.
    half_closed: bool = False


BUSY = Pattern("busy", "small requests, one at a time, all the time")
#: One request in 3,000 intervals: with the default of 20 ms, one per minute. In between,
#: only TCP keepalive is on the wire.
IDLE = Pattern("idle", "long pauses: between them only keepalive", pause_factor=3000)
#: Longer than a spec's ``steady_s``: the event happens during the first burst.
BURSTS = Pattern(
    "bursts", "connections open, work, close, and reopen", work_s=1.5, rest_s=0.5
)
PIPELINED = Pattern("pipelined", "several requests outstanding", depth=4)
#: Half a second in flight at any speed of the machine. At any time most connections have
#: a transfer in flight, and forty of them do not saturate two cores.
LARGE = Pattern(
    "large",
    "large transfers, in flight when the event comes",
    request_bytes=256 * 1024,
    pace=512 * 1024,
)
#: As NFS version 4.0: the server identifies the client by its port (RFC 7530, 3.1.1).
PORT_REUSE = Pattern(
    "port-reuse", "reconnects immediately from the same source port", same_port=True
)
HALF_CLOSED = Pattern(
    "half-closed", "the client has shut down its side and still reads", half_closed=True
)

PATTERNS: Mapping[str, Pattern] = {
    pattern.name: pattern
    for pattern in (BUSY, IDLE, BURSTS, PIPELINED, LARGE, PORT_REUSE, HALF_CLOSED)
}


def supported_patterns(unsupported: Mapping[str, str]) -> tuple[str, ...]:
    """The patterns that a protocol supports: all except ``unsupported`` (name: reason)."""
    return tuple(name for name in PATTERNS if name not in unsupported)
