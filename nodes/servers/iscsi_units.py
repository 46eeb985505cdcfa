"""Logical units that are reserved: one for each connection, and what is on it.

A unit has a **head**, the number of the last change that was made whole; a **ledger**, a
sector for each change; and a sector for each source port, where who reserved the unit says
so: SPC-2 has no command that tells.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from nodes.servers.nbd_server import create_backing_file

#: Connections of one client, and clients: each connection has a unit, and each target all
#: units.
RESERVE_CONNECTIONS = 32
RESERVE_CLIENTS = 2
UNITS = RESERVE_CONNECTIONS * RESERVE_CLIENTS

SECTOR = 512
#: Change n is in sector LEDGER + n, and its number in the head, sector 0. The sector of a
#: source port has the port's number.
LEDGER = 2**16
MAX_CHANGES = 2**15
UNIT_SIZE = (LEDGER + MAX_CHANGES) * SECTOR

#: The number of a change.
NUMBER = struct.Struct("!Q504x")
#: Seconds since 1970, and the name of who reserved the unit then: ``HOST:PORT``.
TAKEN = struct.Struct("!d504s")

#: Traffic patterns that these clients do not support, with the reason.
RESERVE_UNSUPPORTED: Mapping[str, str] = {
    "idle": "a unit is reserved by a client that works",
    "bursts": "a client keeps its session from reservation to reservation",
    "pipelined": "a session has one reservation at a time",
    "large": "a change is one sector",
    "port-reuse": "a new session is told from the old one by its source port",
    "half-closed": "an iSCSI target closes a connection when the client shuts down its side",
}


def unit_files(store: Path) -> list[Path]:
    """The backing files in the order of their units, which count from 1."""
    return [store / f"unit-{number}" for number in range(1, UNITS + 1)]


def create_units(store: Path) -> None:
    """Creates every unit, empty and sparse. Raises ``FileExistsError``."""
    for file in unit_files(store):
        create_backing_file(file, UNIT_SIZE)


def taken_at(file: Path, name: str) -> float:
    """When ``HOST:PORT`` reserved that unit last, by its own mark; 0.0: never."""
    port = int(name.rpartition(":")[2])
    with file.open("rb") as unit:
        unit.seek(port * SECTOR)
        when, holder = TAKEN.unpack(unit.read(SECTOR))
    return float(when) if holder.rstrip(b"\0") == name.encode() else 0.0
