"""What the monitor of reservations reads: tgtadm's list, and marks on units."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nodes.clients.client_ports import PORT_RANGE
from nodes.clients.reservation_monitor import UnitSession, holder, sessions_in
from nodes.servers.iscsi_server import configuration
from nodes.servers.iscsi_units import (
    LEDGER,
    MAX_CHANGES,
    NUMBER,
    SECTOR,
    TAKEN,
    UNIT_SIZE,
    UNITS,
    create_units,
    taken_at,
    unit_files,
)

#: As tgtadm 1.0.85 prints it.
SHOWN = """\
Target 1: iqn.2024-01.resetbed:store
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 7
            Initiator: iqn.2024-01.resetbed:unit-33 alias: h2:20001
            Connection: 0
                IP Address: 10.1.0.2
        I_T nexus: 12
            Initiator: iqn.2024-01.resetbed:unit-4 alias: h1:59999
            Connection: 0
                IP Address: fd00:10:1::1
        I_T nexus: 13
            Initiator: iqn.2024-01.resetbed:monitor alias: none
            Connection: 0
                IP Address: 127.0.0.1
    LUN information:
        LUN: 0
            Type: controller
"""


def test_clients_sessions_are_told_from_the_monitors_own() -> None:
    assert sessions_in(SHOWN) == [
        UnitSession(33, "h2:20001"),
        UnitSession(4, "h1:59999"),
    ]
    assert sessions_in("") == []


def test_who_has_a_unit_is_who_marked_it_last() -> None:
    marks = {"h1:1": 5.0, "h1:2": 0.0, "h1:3": 4.0}
    assert holder(["h1:1", "h1:2"], marks) == "h1:1", "the second asks in vain"
    assert holder(["h1:2", "h1:3"], marks) == "h1:3"
    assert holder(["h1:2"], marks) == "h1:2", "it has reserved, and marks next"


def test_a_mark_is_its_own_sessions_and_nobody_elses(tmp_path: Path) -> None:
    create_units(tmp_path)
    unit = unit_files(tmp_path)[-1]
    assert taken_at(unit, "h1:59999") == 0.0
    now = time.time()
    with unit.open("r+b") as file:
        file.seek(59999 * SECTOR)
        file.write(TAKEN.pack(now, b"h1:59999"))
    assert taken_at(unit, "h1:59999") == now
    assert taken_at(unit, "h2:59999") == 0.0, "the same port of another host"
    assert taken_at(unit, "h1:59998") == 0.0


def test_marks_ledger_and_head_do_not_overlap() -> None:
    assert SECTOR == NUMBER.size == TAKEN.size
    assert max(PORT_RANGE) < LEDGER
    assert (LEDGER + MAX_CHANGES) * SECTOR == UNIT_SIZE


def test_the_target_gets_every_unit_before_its_portals() -> None:
    files = unit_files(Path("/store"))
    calls = configuration(files)
    units = [call[call.index("--lun") + 1] for call in calls if "--lun" in call]
    assert units == [str(number) for number in range(1, UNITS + 1)]
    assert [
        call[call.index("--backing-store") + 1] for call in calls if "--lun" in call
    ]
    last = [n for n, call in enumerate(calls) if "--lun" in call][-1]
    assert all("portal" in call for call in calls[last + 2 :])


@pytest.mark.parametrize("name", ["h1:1.5", "h1"])
def test_a_name_has_a_port(name: str, tmp_path: Path) -> None:
    create_units(tmp_path)
    with pytest.raises(ValueError):
        taken_at(unit_files(tmp_path)[0], name)
