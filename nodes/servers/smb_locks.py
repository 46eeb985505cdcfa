#!/usr/bin/env python3
"""Writes which SMB sessions hold locks of shared files, several times a second, until SIGTERM.

smbd has a process for each connection, and /proc says which client's connection it is.
Which of these processes hold locks says the kernel, or smbstatus(1) if Samba keeps its
locks to itself.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

if not __package__:  # run as a script: the packages are two folders up
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from nodes.servers.lock_log import INTERVAL_S, LockSample
from nodes.servers.smb_server import SMB_PORT
from topologies.domain.plan import MAX_CLIENTS, Client

PROC = Path("/proc")
#: Pause between two calls of smbstatus, which takes 40 ms of a processor.
STATUS_INTERVAL_S = 0.1
_PROGRAM = "smbd"
_STATUS_LOCKS = "Byte range locks:"
_ESTABLISHED = "01"  # include/net/tcp_states.h


def holders(locks: str, files: Collection[int]) -> set[int]:
    """The processes that hold a lock of those files (inode numbers).

    ``locks``: the text of /proc/locks (proc(5)). Lines with an arrow are of those that wait.
    """
    found = set()
    for line in locks.splitlines():
        words = line.split()
        if words[1] == "POSIX" and int(words[5].rsplit(":", 1)[1]) in files:
            found.add(int(words[4]))
    return found


def holders_by_samba(status: str) -> set[int]:
    """The processes that hold byte-range locks, by the output of ``smbstatus -B``.

    It lists sessions first, which begin with a process id, too. A durable handle whose
    client is gone keeps its locks; it has no process then.
    """
    _, _, locks = status.partition(_STATUS_LOCKS)
    words = (line.split(maxsplit=1)[0] for line in locks.splitlines() if line.strip())
    return {int(word) for word in words if word.isdigit()}


def peers(table: str, port: int = SMB_PORT) -> dict[int, tuple[str, int]]:
    """The clients of the connections to ``port``: socket's inode -> address and port.

    ``table``: the text of /proc/net/tcp or tcp6 (proc(5)).
    """
    found = {}
    for line in table.splitlines()[1:]:
        words = line.split()
        _, local_port = words[1].split(":")
        if int(local_port, 16) != port or words[3] != _ESTABLISHED:
            continue
        address, peer_port = words[2].split(":")
        found[int(words[9])] = _address(address), int(peer_port, 16)
    return found


def _address(text: str) -> str:
    """An address as /proc prints it: words of 32 bits in the machine's byte order."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    octets = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return str(IPv4Address(octets) if len(octets) == 4 else IPv6Address(octets))


class Sessions:
    """The client of each smbd that has one, as ``HOST:PORT``.

    A process is looked at once: which connection it serves never changes.
    """

    def __init__(self, hosts: Mapping[str, str], proc: Path = PROC) -> None:
        """``hosts``: address of a client -> name of its host."""
        self._hosts = hosts
        self._proc = proc
        self._known: dict[int, str | None] = {}

    def look(self) -> dict[int, str]:
        """Process id -> client, for all sessions that there are now."""
        alive = {int(name) for name in os.listdir(self._proc) if name.isdigit()}
        self._known = {pid: self._known[pid] for pid in alive & self._known.keys()}
        tables: dict[str, dict[int, tuple[str, int]]] = {}
        for pid in alive - self._known.keys():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                self._known[pid] = self._client(pid, tables)
        return {pid: client for pid, client in self._known.items() if client}

    def _client(
        self, pid: int, tables: dict[str, dict[int, tuple[str, int]]]
    ) -> str | None:
        """``tables``: the connections of each network namespace that was read just now."""
        folder = self._proc / str(pid)
        # Newer versions add the client to the name.
        if not (folder / "comm").read_text().startswith(_PROGRAM):
            return None
        namespace = os.readlink(folder / "ns" / "net")
        if namespace not in tables:
            tables[namespace] = {
                **peers((folder / "net" / "tcp").read_text()),
                **peers((folder / "net" / "tcp6").read_text()),
            }
        for inode in _sockets(folder / "fd"):
            if inode in tables[namespace]:
                address, port = tables[namespace][inode]
                return f"{self._hosts.get(address, address)}:{port}"
        return None


def _sockets(folder: Path) -> Iterable[int]:
    """The inode numbers of a process' sockets, from its /proc/PID/fd."""
    for name in os.listdir(folder):
        target = os.readlink(folder / name)
        if target.startswith("socket:["):
            yield int(target[8:-1])


def client_hosts() -> dict[str, str]:
    """The host of each address that a client may have."""
    clients = [Client(number) for number in range(1, MAX_CLIENTS + 1)]
    return {
        address: client.name
        for client in clients
        for address in (client.ipv4, client.ipv6)
    }


def sample(sessions: Sessions, look: Callable[[], set[int]]) -> LockSample:
    """One look. Who waits is not known: a client asks again and again.

    ``look``: the processes that hold locks.
    """
    holding = look()
    clients = sessions.look()
    return LockSample(
        time.time(),
        tuple(sorted(clients.values())),
        tuple(sorted(client for pid, client in clients.items() if pid in holding)),
        waiting=0,
    )


def ask_kernel(files: Path) -> set[int]:
    """The processes that hold a lock of a file in that folder."""
    inodes = {entry.inode() for entry in os.scandir(files)}
    return holders((PROC / "locks").read_text(), inodes)


def ask_samba(configuration: Path) -> set[int]:
    """The processes that hold locks by Samba's own databases."""
    argv = ["smbstatus", "-B", "-s", str(configuration)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return holders_by_samba(done.stdout)


def main(argv: list[str]) -> int:
    """Looks until SIGTERM. Returns 1 if smbstatus fails."""
    parser = argparse.ArgumentParser(prog="smb_locks.py", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--files", type=Path, help="the shared folder")
    source.add_argument("--status", type=Path, help="the smb.conf for smbstatus")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sessions = Sessions(client_hosts())
    look, pause_s = lambda: ask_kernel(options.files), INTERVAL_S
    if options.status:
        look, pause_s = lambda: ask_samba(options.status), STATUS_INTERVAL_S
    try:
        while True:
            sys.stdout.write(sample(sessions, look).to_json())
            sys.stdout.flush()
            time.sleep(pause_s)
    except subprocess.CalledProcessError as error:
        print(f"smb_locks.py: {error}: {error.stderr.strip()}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
