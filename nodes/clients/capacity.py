"""The maximum number of connections of one client. Client and spec both check it."""

from __future__ import annotations

from nodes.clients.patterns import Pattern

#: 40,000 source ports: two for each connection.
ECHO_CONNECTIONS = 19_000
#: Every block is read back and compared. With more, the client would be the bottleneck.
BLOCK_CONNECTIONS = 1000
#: Each fio is a process, and they are started one after the other.
FIO_CONNECTIONS = 64

DEFAULT_BLOCK = 4096


def block_size(pattern: Pattern) -> int:
    """Default number of bytes in one write of a block client."""
    return pattern.request_bytes or DEFAULT_BLOCK
