"""What CTDB's program is told, and what is said of its ends."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from experiments.cluster import kill_tcp
from experiments.cluster.errors import ClusterError
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4, VIP6
from topologies.domain.site import Site

CONNECTIONS = [
    FourTuple("10.1.0.1", 40001, VIP4, 10809),
    FourTuple("fd00:10:1::1", 40002, VIP6, 10809),
]


def test_a_connection_is_a_line_with_its_client_first() -> None:
    assert kill_tcp.listed(CONNECTIONS) == (
        b"10.1.0.1:40001 10.0.0.1:10809\n[fd00:10:1::1]:40002 [fd00:10::1]:10809\n"
    )


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of CTDB's, which a test writes; in this namespace."""
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setattr(kill_tcp, "PROGRAM", path)
    monkeypatch.setattr(kill_tcp, "enter_netns", lambda pid: nullcontext())
    return path


def test_each_node_has_a_program_that_gets_its_connections(
    program: Path, tmp_path: Path
) -> None:
    program.write_text(f'#!/bin/sh\ncat >"{tmp_path}/$1"\n')
    sites = [Site(f"c1n{n}", 1, f"c1n{n}-eth0", "") for n in (1, 2, 3)]
    first, second, none = sites
    kill_tcp.kill_tcp({first: CONNECTIONS[:1], second: CONNECTIONS[1:], none: []})
    given = {path.name: path.read_bytes() for path in tmp_path.glob("c1n*")}
    assert given == {
        "c1n1-eth0": kill_tcp.listed(CONNECTIONS[:1]),
        "c1n2-eth0": kill_tcp.listed(CONNECTIONS[1:]),
    }


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("cat >/dev/null; echo no such interface >&2; exit 1", "no such interface"),
        ("exec sleep 60", "did not end in 0.2 s"),
    ],
)
def test_a_program_that_fails_is_told_with_its_node(
    script: str, said: str, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill_tcp, "DEADLINE_S", 0.2)
    program.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(ClusterError, match=f"c1n2.*{said}"):
        kill_tcp.kill_tcp({Site("c1n2", 1, "c1n2-eth0", ""): CONNECTIONS})
