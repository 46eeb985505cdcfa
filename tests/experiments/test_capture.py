"""The capture process, on real TCP between two network namespaces."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.observations import RST, SYN, Observation, read_observations
from experiments.instruments.instruments import ring_bytes
from experiments.record.pcapng import open_pcapng
from tests.experiments.two_hosts import (
    CLIENT,
    NODE,
    JsonLines,
    TwoHosts,
    running,
    two_hosts,
)

pytestmark = [pytest.mark.live, pytest.mark.beside]
PORT = 10809
FAMILIES = [socket.AF_INET, socket.AF_INET6]


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as made:
        yield made


def at_node(hosts: TwoHosts, **more: Any) -> dict[str, Any]:
    return {
        "pid": hosts.node,
        "interface": NODE.interface,
        "label": NODE.name,
        "kind": "node",
        **more,
    }


def at_client(hosts: TwoHosts) -> dict[str, Any]:
    return {"pid": hosts.client, "interface": CLIENT.interface, "label": CLIENT.name}


def config_file(tmp_path: Path, **config: Any) -> str:
    path = tmp_path / "capture.json"
    path.write_text(json.dumps({"output": str(tmp_path / "run.pcapng"), **config}))
    return str(path)


def capturing(path: str) -> Any:
    return running("experiments.instruments.capture", "--config", path)


def exchange(hosts: TwoHosts, family: int = socket.AF_INET) -> None:
    """A connection, 3 bytes and 5 bytes back, aborted by the node."""
    with hosts.listen(family, PORT) as server:
        client = hosts.connect(server, family)
        served, _ = server.accept()
        client.sendall(b"abc")
        served.sendall(served.recv(3) + b"de")
        client.recv(5, socket.MSG_WAITALL)
        served.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1" + bytes(7))
        served.close()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        client.close()


def observed(tmp_path: Path) -> list[Observation]:
    return list(read_observations(str(tmp_path / "run.pcapng")))


def ready(program: JsonLines) -> None:
    assert program.read()["event"] == "ready"


@pytest.mark.parametrize("family", FAMILIES, ids=["ipv4", "ipv6"])
def test_both_ends_see_the_same_segments_in_order(
    hosts: TwoHosts, tmp_path: Path, family: int
) -> None:
    path = config_file(tmp_path, interfaces=[at_node(hosts), at_client(hosts)])
    with capturing(path) as program:
        ready(program)
        exchange(hosts, family)
        summary = program.end()

    seen = observed(tmp_path)
    assert summary["packets"] == len(seen)
    assert summary["dropped"] == 0
    assert [o.time_ns for o in seen] == sorted(o.time_ns for o in seen)
    by_end = {
        label: [(o.src, o.seq, o.flags, o.payload) for o in seen if o.label == label]
        for label in (NODE.name, CLIENT.name)
    }
    assert by_end[NODE.name] == by_end[CLIENT.name]
    assert by_end[NODE.name][0][2] == SYN
    assert {row[3] for row in by_end[NODE.name]} == {0, 3, 5}
    for one in seen:
        sent_by_client = one.dport == PORT
        assert one.outgoing == (sent_by_client == (one.label == CLIENT.name))


def test_the_strays_filter_distinguishes_directions(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    path = config_file(tmp_path, interfaces=[at_node(hosts, filter="strays")])
    with capturing(path) as program:
        ready(program)
        exchange(hosts)
        program.end()
    seen = observed(tmp_path)
    assert {o.payload for o in seen if not o.outgoing} == {0, 3}
    assert all(o.flags & (SYN | RST) for o in seen if o.outgoing)
    assert [o.flags & RST for o in seen if o.outgoing] == [0, RST]


def test_an_interface_can_be_added_while_it_runs(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    with capturing(config_file(tmp_path)) as program:
        ready(program)
        program.say({"add": at_node(hosts)})
        assert program.read()["label"] == NODE.name
        exchange(hosts)
        assert program.end()["packets"] > 0
    assert {o.label for o in observed(tmp_path)} == {NODE.name}


@pytest.mark.parametrize(
    "wrong", [{"interface": "none"}, {"pid": 0}, {"filter": "most"}, {"colour": "red"}]
)
def test_an_invalid_addition_gets_an_error_and_the_capture_continues(
    hosts: TwoHosts, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    path = config_file(tmp_path, interfaces=[at_node(hosts)])
    with capturing(path) as program:
        ready(program)
        program.say({"add": at_client(hosts) | wrong})
        assert program.read()["event"] == "error"
        exchange(hosts)
        assert program.end()["packets"] > 0


def test_the_capture_continues_after_a_link_was_down(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    path = config_file(tmp_path, interfaces=[at_node(hosts)])
    with capturing(path) as program:
        ready(program)
        exchange(hosts)
        hosts.ip(hosts.node, f"link set {NODE.interface} down")
        hosts.ip(hosts.node, f"link set {NODE.interface} up")
        exchange(hosts)
        program.end()
    resets = [o for o in observed(tmp_path) if o.flags & RST]
    assert len(resets) == 2


def test_dropped_segments_are_reported(hosts: TwoHosts, tmp_path: Path) -> None:
    # Two blocks of a page each, and a reader that is stopped: most cannot be kept.
    path = config_file(tmp_path, interfaces=[at_node(hosts, ring_bytes=8192)])
    with capturing(path) as program:
        ready(program)
        program.process.send_signal(19)  # SIGSTOP
        for _ in range(40):
            exchange(hosts)
        program.process.send_signal(18)  # SIGCONT
        summary = program.end()
    counts = summary["interfaces"][NODE.name]
    assert summary["dropped"] == counts["dropped"] > 0
    assert counts["received"] - counts["dropped"] == summary["packets"]
    with open_pcapng(str(tmp_path / "run.pcapng")) as reader:
        assert len(list(reader.packets())) == summary["packets"]
        assert reader.dropped == {NODE.name: summary["dropped"]}


def test_a_capture_without_segments_is_a_valid_file(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    path = config_file(tmp_path, interfaces=[at_node(hosts)])
    with capturing(path) as program:
        ready(program)
        assert program.end()["packets"] == 0
    assert observed(tmp_path) == []


def test_an_unknown_interface_is_refused_at_the_start(
    hosts: TwoHosts, tmp_path: Path
) -> None:
    path = config_file(tmp_path, interfaces=[at_node(hosts, interface="nowhere")])
    with capturing(path) as program:
        assert program.process.wait(10) == 2


@pytest.mark.parametrize(
    ("interfaces", "mib"), [(1, 4), (20, 4), (48, 2), (330, 1), (2000, 1)]
)
def test_the_rings_of_a_small_cluster_are_large(interfaces: int, mib: int) -> None:
    assert ring_bytes(interfaces) == mib << 20
