"""Who holds a lock of a shared file, read from texts of /proc."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nodes.servers.smb_locks import (
    Sessions,
    client_hosts,
    holders,
    holders_by_samba,
    peers,
)
from topologies.domain.plan import Client

LOCKS = """\
1: POSIX  ADVISORY  WRITE 210 00:2a:77 0 0
2: POSIX  ADVISORY  WRITE 211 00:2a:78 0 0
2: -> POSIX  ADVISORY  WRITE 212 00:2a:78 0 0
3: POSIX  ADVISORY  READ 213 00:2a:90 4 4
4: OFDLCK ADVISORY  WRITE -1 00:2a:77 0 0
5: FLOCK  ADVISORY  WRITE 214 00:2a:77 0 EOF
"""

STATUS = """\

Samba version 4.17.12-Debian
PID     Username     Group        Machine                            Protocol Version
--------------------------------------------------------------------------------------
209     nobody       nogroup      10.1.0.2 (ipv4:10.1.0.2:30000)     SMB3_00
210     nobody       nogroup      10.1.0.2 (ipv4:10.1.0.2:30001)     SMB3_00

Service      pid     Machine       Connected at                     Encryption
------------------------------------------------------------------------------
store        210     10.1.0.2      Thu Nov 26 17:40:03 2026 UTC     -

"""
STATUS_LOCKS = """\
Byte range locks:
Pid        dev:inode       R/W  start     size      SharePath               Name
--------------------------------------------------------------------------------
210        65024:77:0      W    0         1         /files                  account-1
disconnected 65024:78:0    W    0         1         /files                  account-2
"""

_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
_REST = "00000000:00000000 02:000A0000 00000000     0        0"


def _line(local: str, remote: str, state: str, inode: int) -> str:
    return f"   0: {local} {remote} {state} {_REST} {inode} 2 0000000000000000"


def _words(octets: bytes) -> str:
    """As the kernel prints an address: each word a number of this machine."""
    words = (octets[at : at + 4] for at in range(0, len(octets), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


VIP4, CLIENT4 = _words(bytes((10, 0, 0, 1))), _words(bytes((10, 1, 0, 2)))
CLIENT6 = _words(bytes.fromhex("fd000010000100000000000000000001"))
TCP = "\n".join(
    (
        _HEAD,
        _line(f"{VIP4}:01BD", f"{CLIENT4}:4E20", "01", 500),
        _line(f"{VIP4}:01BD", f"{CLIENT4}:4E21", "0A", 501),  # listens
        _line(f"{VIP4}:01BC", f"{CLIENT4}:4E22", "01", 502),  # another port
    )
)
TCP6 = "\n".join((_HEAD, _line(f"{CLIENT6}:01BD", f"{CLIENT6}:4E23", "01", 503)))


def test_a_lock_is_its_process_own_if_it_is_one_of_a_shared_file() -> None:
    assert holders(LOCKS, {77, 78}) == {210, 211}
    assert holders(LOCKS, {90}) == {213}
    assert holders(LOCKS, {1}) == holders("", {77}) == set()


def test_a_session_without_a_lock_holds_none_by_smbstatus() -> None:
    assert holders_by_samba(STATUS) == holders_by_samba("") == set()
    assert holders_by_samba(STATUS + STATUS_LOCKS) == {210}


def test_a_clients_end_is_read_from_both_tables() -> None:
    assert peers(TCP) == {500: ("10.1.0.2", 20000)}
    assert peers(TCP6) == {503: ("fd00:10:1::1", 20003)}
    assert peers(_HEAD) == {}


def test_every_client_has_a_name_for_both_addresses() -> None:
    hosts = client_hosts()
    assert hosts["10.1.0.2"] == hosts["fd00:10:1::2"] == "h2"
    assert Client(250).ipv4 in hosts


class Processes:
    """A made-up /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "self").mkdir()

    def add(self, pid: int, name: str, socket: int, namespace: str = "net:[1]") -> None:
        folder = self.root / str(pid)
        for part in ("ns", "net", "fd"):
            (folder / part).mkdir(parents=True)
        (folder / "comm").write_text(f"{name}\n")
        (folder / "ns" / "net").symlink_to(namespace)
        (folder / "net" / "tcp").write_text(TCP)
        (folder / "net" / "tcp6").write_text(TCP6)
        (folder / "fd" / "0").symlink_to("/dev/null")
        (folder / "fd" / "1").symlink_to(f"socket:[{socket}]")

    def end(self, pid: int) -> None:
        os.rename(self.root / str(pid), self.root / f"gone-{pid}")


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


def test_a_session_is_an_smbd_with_a_client(processes: Processes) -> None:
    processes.add(7, "smbd", 500)
    processes.add(8, "smbd", 501)  # the one that listens
    processes.add(9, "python3", 500)
    processes.add(10, "smbd[fd00:10:1:", 503, "net:[2]")
    sessions = Sessions(client_hosts(), processes.root)
    assert sessions.look() == {7: "h2:20000", 10: "h1:20003"}


def test_a_session_ends_with_its_process(processes: Processes) -> None:
    processes.add(7, "smbd", 500)
    sessions = Sessions(client_hosts(), processes.root)
    assert sessions.look() == {7: "h2:20000"}
    processes.end(7)
    assert sessions.look() == {}
    processes.add(8, "smbd", 500)
    assert sessions.look() == {8: "h2:20000"}


def test_a_process_that_ends_while_it_is_looked_at_is_no_session(
    processes: Processes,
) -> None:
    (processes.root / "11").mkdir()
    sessions = Sessions(client_hosts(), processes.root)
    assert sessions.look() == {}


def test_an_address_that_is_no_clients_stays_an_address(processes: Processes) -> None:
    processes.add(7, "smbd", 500)
    assert Sessions({}, processes.root).look() == {7: "10.1.0.2:20000"}
