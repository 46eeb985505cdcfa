"""Memory of half-open connections: what the kernel says, and what is asked of servers."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.commands.cli import main
from experiments.memory.conversations import ANSWER, CONVERSATIONS
from experiments.memory.holder import opened
from experiments.memory.memory_table import IDLE, UNSENT, rows
from experiments.memory.readings import (
    Reading,
    data_bytes,
    each,
    object_bytes,
    pss_bytes,
    stack_bytes,
)
from experiments.workloads import WORKLOADS

STATUS = """\
VmPTE:\t      64 kB
Threads:\t3
"""
SLABINFO = """\
slabinfo - version: 2.1
# name <active_objs> <num_objs> <objsize> <objperslab> ...
TCP                  10     20   2560   12    8 : tunables 0 0 0 : slabdata 2 2 0
ext4_inode_cache   9000   9000   1100   29    8 : tunables 0 0 0 : slabdata 9 9 0
dentry             9000   9000    192   21    1 : tunables 0 0 0 : slabdata 9 9 0
sock_inode_cache     10     10    960   17    4 : tunables 0 0 0 : slabdata 1 1 0
"""
LISTING = """\
0      65536     10.0.0.1:7777 10.0.0.2:40000
12     0         10.0.0.1:7777 10.0.0.2:40001
"""


def test_what_the_kernel_says_is_read_in_octets() -> None:
    assert stack_bytes(STATUS) == 3 * 16384 + 64 * 1024
    assert pss_bytes("Rss:  9 kB\nPss:                 120 kB\nPss_Anon: 7 kB\n") == (
        120 * 1024
    )
    assert data_bytes(LISTING) == 65548
    assert pss_bytes("") == stack_bytes("") == 0, "a process that has ended"


def test_only_active_objects_of_connections_count() -> None:
    assert object_bytes(SLABINFO) == 10 * 2560 + 10 * 960


def test_a_connection_costs_what_was_added_divided_by_all() -> None:
    before, after = Reading(100, 10, 0, 0), Reading(1100, 60, 20, 80)
    assert each(before, after, 10) == Reading(100, 5, 2, 8)
    assert each(before, after, 10).to_json()["total"] == 115


def test_every_server_is_measured_idle_and_owed_an_answer_if_it_can_be_asked() -> None:
    found = rows(list(CONVERSATIONS), 10_000)
    assert {row.name for row in found if row.state == IDLE} == set(CONVERSATIONS)
    asked = {row.name for row in found if row.state == UNSENT}
    assert asked == set(CONVERSATIONS) - {"postgres"}
    assert all(row.connections <= CONVERSATIONS[row.name].most for row in found)
    assert {one.workload for one in CONVERSATIONS.values()} <= WORKLOADS.keys()


def test_an_unknown_server_is_refused() -> None:
    done = CliRunner().invoke(main, ["memory", "--only", "nbd,ftp"])
    assert done.exit_code == 2
    assert "no server 'ftp'" in done.output


def test_a_client_says_its_part_until_it_has_its_session() -> None:
    """A server that sends its greeting in pieces."""
    talk = CONVERSATIONS["nbd"]
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            one, _ = server.accept()
            with one:
                for piece in (b"NBDMAGIC", b"IHAVEOPT\0\3"):
                    one.sendall(piece)
                heard.append(one.recv(100))
                one.sendall(bytes(10))

        thread = threading.Thread(target=serve)
        thread.start()
        job = {
            "target": "127.0.0.1",
            "port": server.getsockname()[1],
            "steps": [step.to_json() for step in talk.steps],
        }
        opened(json.loads(json.dumps(job))).close()
        thread.join()
    assert heard == [b"\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0"]


@pytest.mark.live
def test_an_unsent_answer_costs_its_octets_more(tmp_path: Path) -> None:
    command = ["memory", "--only", "nbd", "--connections", "200", "--repetitions", "1"]
    done = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "out" / "memory.json").read_text())
    idle, unsent = (row["bytes_each"] for row in document["rows"])
    assert idle["data"] == 0
    assert ANSWER <= unsent["data"] < ANSWER + 100
    assert idle["server"] > 0
    assert unsent["server"] > idle["server"]
