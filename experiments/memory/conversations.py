"""What a client says to a server until it has a session, and to be sent much; pure.

As bytes, because ten thousand clients of a protocol's library would need more memory than
what is measured.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nodes.servers.postgres_server import DATABASE, USER

#: Octets of the answer that a client asks for and does not read.
ANSWER = 65536
#: Its file or object.
ANSWER_NAME = "answer"

_NBD_READ = struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, ANSWER)
_NBD_GO = struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, 0)
_PG_READY = b"Z\x00\x00\x00\x05"


@dataclass(frozen=True)
class Step:
    """Send ``send``, then receive until the octets end with ``until``, or until there are
    ``count`` of them."""

    send: bytes = b""
    until: bytes = b""
    count: int = 0

    def to_json(self) -> list[str | int]:
        """For :mod:`experiments.memory.holder`."""
        return [self.send.hex(), self.until.hex(), self.count]


@dataclass(frozen=True)
class Conversation:
    """``steps``: until the client has a session. ``ask``: a request for ``owed`` octets.
    ``most``: connections that one server accepts."""

    workload: str
    steps: tuple[Step, ...]
    ask: bytes
    owed: int = ANSWER
    most: int = 20_000


def _pg_message(kind: bytes, text: str) -> bytes:
    body = text.encode() + b"\0"
    return kind + struct.pack(">I", len(body) + 4) + body


def _pg_startup() -> bytes:
    words = ("user", USER, "database", DATABASE)
    body = struct.pack(">I", 196608) + b"".join(w.encode() + b"\0" for w in words)
    return struct.pack(">I", len(body) + 5) + body + b"\0"


#: By name. ``postgres`` is PgBouncer alone: a client that has asked for nothing yet.
#: ``postgres-transaction``: with a session of the database, and a transaction in it.
CONVERSATIONS = {
    # nbdkit has three files open for each connection (its limit: 20,000 on most machines).
    "nbd": Conversation(
        "nbd", (Step(count=18), Step(_NBD_GO, count=10)), _NBD_READ, most=6000
    ),
    # nginx closes idle connections when fewer than a sixteenth of its 8,192 are free.
    "http": Conversation(
        "http",
        (Step(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n", until=b"\r\n\r\n"),),
        f"GET /blocks/{ANSWER_NAME} HTTP/1.1\r\nHost: vip\r\n\r\n".encode(),
        most=7500,
    ),
    # What it can be asked for must fit into a flight that nobody acknowledges.
    "echo": Conversation("echo", (Step(b"x", count=1),), b"x" * 8192, owed=8192),
    "postgres": Conversation(
        "postgres",
        (Step(_pg_startup(), until=_PG_READY + b"I"),),
        b"",
    ),
    "postgres-transaction": Conversation(
        "postgres",
        (
            Step(_pg_startup(), until=_PG_READY + b"I"),
            Step(_pg_message(b"Q", "begin"), until=_PG_READY + b"T"),
        ),
        _pg_message(b"Q", f"select repeat('x', {ANSWER})"),
        most=200,
    ),
}
