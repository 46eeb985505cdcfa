"""How many connections one client program holds: what it says itself, a spec says first."""

from __future__ import annotations

from nodes.clients.patterns import Pattern

#: Every connection keeps a source port to spare out of 40,000.
ECHO_CONNECTIONS = 19_000
#: Every block is read back and compared: more would wait for the client, not the nodes.
BLOCK_CONNECTIONS = 1000
#: A fio is a process of its own, and they are started one after the other.
FIO_CONNECTIONS = 64

DEFAULT_BLOCK = 4096


def block_size(pattern: Pattern) -> int:
    """Bytes in one write of a client that writes blocks, unless it is told otherwise."""
    return pattern.request_bytes or DEFAULT_BLOCK
