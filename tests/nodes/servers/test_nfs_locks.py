"""What the monitor of NFS locks reads: the kernel's lists of locks and of sockets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.clients.client_ports import PORT_RANGE
from nodes.servers import nfs_server
from nodes.servers.nfs_files import (
    FILE_SIZE,
    HEAD,
    LEDGER,
    MAX_CHANGES,
    NUMBER,
    holders_in,
)
from nodes.servers.nfs_locks import client_names, peers_in
from nodes.servers.nfs_server import (
    NFS_PORT,
    settings,
    show_as_disk,
    with_tmpfs_renamed,
)

HOSTS = {2147310: "h1", 2147311: "h2"}
#: As Linux 6.18 prints it: two of ours, one that waits, one of another file, a POSIX lock of
#: ours, and one on a part that no client locks.
LOCKS = """\
1: OFDLCK ADVISORY  WRITE -1 fe:00:2147310 0 20000
2: OFDLCK ADVISORY  WRITE -1 00:2c:2147311 0 59998
2: -> OFDLCK ADVISORY  WRITE -1 00:2c:2147311 0 20002
3: OFDLCK ADVISORY  READ -1 fe:00:5421720 100 100
4: POSIX  ADVISORY  WRITE 812 fe:00:2147310 0 20002
5: OFDLCK ADVISORY  WRITE -1 fe:00:2147311 7 20000
6: OFDLCK ADVISORY  WRITE -1 fe:00:2147311 0 EOF
"""


def test_a_lock_tells_its_holders_host_and_port() -> None:
    assert holders_in(LOCKS, HOSTS) == ["h1:20001", "h2:59999"]
    assert holders_in(LOCKS, {}) == []
    assert holders_in("", HOSTS) == []


@given(st.sampled_from(PORT_RANGE), st.sampled_from(sorted(HOSTS)))
def test_every_port_that_clients_use_can_be_told(port: int, inode: int) -> None:
    line = f"1: OFDLCK ADVISORY  WRITE -1 00:01:{inode} 0 {port - 1}\n"
    assert holders_in(line, HOSTS) == [f"{HOSTS[inode]}:{port}"]


def row(local: str, remote: str, state: str) -> str:
    """A line of /proc/net/tcp6."""
    return f"   1: {local} {remote} {state} 00000000:00000000 00:00000000 0 0 1\n"


V4_SERVER = "0000000000000000FFFF00000100000A:0801"
V4_CLIENT = "0000000000000000FFFF00000100010A:4E21"
V6_SERVER = "100000FD000000000000000001000000:0801"
V6_CLIENT = "100000FD000001000000000002000000:EA5F"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (row(V4_SERVER, V4_CLIENT, "01"), [("10.1.0.1", 20001)]),
        (row(V6_SERVER, V6_CLIENT, "01"), [("fd00:10:1::2", 59999)]),
        (row(V4_SERVER, V4_CLIENT, "08"), [("10.1.0.1", 20001)]),
        (row(V4_SERVER, V4_CLIENT, "06"), []),
        (row(V4_SERVER.replace("0801", "0802"), V4_CLIENT, "01"), []),
        (row(V4_CLIENT, V4_SERVER, "01"), []),
    ],
    ids=["ipv4", "ipv6", "close-wait", "time-wait", "another port", "a client's side"],
)
def test_a_servers_connections_are_told_by_their_clients(
    line: str, expected: list[tuple[str, int]]
) -> None:
    assert list(peers_in("header\n" + line, NFS_PORT)) == expected


def test_a_clients_address_has_its_hosts_name() -> None:
    names = client_names()
    assert (names["10.1.0.1"], names["fd00:10:1::2"]) == ("h1", "h2")


def test_head_and_ledger_do_not_overlap_and_fit() -> None:
    assert HEAD + NUMBER.size <= LEDGER
    assert LEDGER + MAX_CHANGES * NUMBER.size == FILE_SIZE


def test_each_server_has_its_own_state_and_the_lease_that_was_asked_for() -> None:
    texts = [
        settings(Path("/s/export"), Path(f"/s/nfs-{pid}"), Path("/m"), 7)
        for pid in (1, 2)
    ]
    for pid, text in zip((1, 2), texts, strict=True):
        assert f'RecoveryRoot = "/s/nfs-{pid}"' in text
        assert "Lease_Lifetime = 7;" in text
        assert 'Path = "/s/export"' in text
        assert text.count("{") == text.count("}")


MOUNTED = """\
/dev/vda / ext4 rw,relatime 0 0
tmpfs /run tmpfs rw,nosuid,size=10% 0 0
tmpfs /run/lock tmpfs rw 0 0
/dev/vdb /run/disk ext4 rw 0 0
"""


def test_ganesha_is_shown_no_tmpfs_where_the_files_are() -> None:
    """Its types alone differ, and only that of the innermost mount."""
    renamed = with_tmpfs_renamed(MOUNTED, Path("/run/resetbed/demo/store"))
    assert renamed == MOUNTED.replace("/run tmpfs", "/run memory")
    renamed = with_tmpfs_renamed(MOUNTED, Path("/run/lock/store"))
    assert renamed == MOUNTED.replace("/run/lock tmpfs", "/run/lock memory")


@pytest.mark.parametrize("folder", ["/var/tmp/store", "/run/disk/store", "/runner"])
def test_a_folder_on_a_disk_is_shown_as_it_is(folder: str) -> None:
    assert with_tmpfs_renamed(MOUNTED, Path(folder)) is None


def test_what_is_mounted_over_another_mount_counts() -> None:
    assert (
        with_tmpfs_renamed(MOUNTED + "/dev/vdc /run ext4 rw 0 0\n", Path("/run/x"))
        is None
    )


def test_where_a_tmpfs_cannot_be_hidden_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"none {tmp_path} tmpfs rw 0 0\n")
    monkeypatch.setattr(nfs_server, "MOUNTS", table)
    refused: subprocess.CompletedProcess[str] = subprocess.CompletedProcess([], 32)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: refused)
    show_as_disk(tmp_path, tmp_path)
    assert "overlayfs cannot hide it: Ganesha 6 exports none" in capsys.readouterr().err
