"""Source ports: the same seed gives the same ports, in any order of resets."""

from __future__ import annotations

import socket

import pytest

from nodes.clients.client_ports import PORT_RANGE, SourcePorts, seeded_ports


def take(slots: SourcePorts, slot: int) -> int:
    """The port that the slot binds next. The socket is closed again."""
    sock, port = slots.bind(slot, socket.AF_INET, lambda _: None)
    sock.close()
    return port


@pytest.fixture(autouse=True)
def few_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve ports for everybody: slots run out soon."""
    monkeypatch.setattr("nodes.clients.client_ports.PORT_RANGE", range(45000, 45012))


def test_every_port_is_used_once() -> None:
    assert sorted(seeded_ports(1, "h1")) == list(range(45000, 45012))


def test_the_range_leaves_well_known_ports_alone() -> None:
    assert (PORT_RANGE[0], PORT_RANGE[-1]) == (20000, 59999)


def test_the_order_is_the_seeds_and_the_streams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nodes.clients.client_ports.PORT_RANGE", PORT_RANGE)
    first = seeded_ports(1, "h1")
    assert first[:3] == [38750, 34154, 45902]
    assert first == seeded_ports(1, "h1")
    assert first != seeded_ports(2, "h1") != seeded_ports(1, "h2")


def test_connections_open_from_the_first_ports_in_order() -> None:
    order = seeded_ports(3, "h1")
    slots = SourcePorts(3, "h1", slots=4)
    assert [take(slots, slot) for slot in range(4)] == order[:4]


def test_a_lane_does_not_depend_on_the_others() -> None:
    order = seeded_ports(3, "h1")
    slots = SourcePorts(3, "h1", slots=4)
    for _ in range(2):
        take(slots, 1)
    assert [take(slots, 0) for _ in range(3)] == order[0::4]


def test_a_lane_that_keeps_its_port_never_takes_another() -> None:
    order = seeded_ports(3, "h1")
    slots = SourcePorts(3, "h1", slots=4, keep=True)
    assert [take(slots, 1) for _ in range(3)] == [order[1]] * 3
    skipped: list[int] = []
    with socket.socket() as holder:
        holder.bind(("", order[1]))
        with pytest.raises(OSError, match="every source port of slot 1"):
            slots.bind(1, socket.AF_INET, skipped.append)
    assert skipped == [order[1]]


def test_a_lane_that_keeps_its_port_begins_with_a_free_one() -> None:
    order = seeded_ports(3, "h1")
    slots = SourcePorts(3, "h1", slots=4, keep=True)
    with socket.socket() as holder:
        holder.bind(("", order[1]))
        assert take(slots, 1) == order[5]
    assert take(slots, 1) == order[5]


def test_a_lane_that_runs_out_starts_again() -> None:
    slots = SourcePorts(3, "h1", slots=4)
    ports = [take(slots, 2) for _ in range(4)]
    assert ports[3] == ports[0]


def test_a_held_port_is_skipped_and_reported() -> None:
    order = seeded_ports(3, "h1")
    slots = SourcePorts(3, "h1", slots=4)
    skipped: list[int] = []
    with socket.socket() as holder:
        holder.bind(("", order[1]))
        sock, port = slots.bind(1, socket.AF_INET, skipped.append)
    sock.close()
    assert (skipped, port) == ([order[1]], order[5])


def test_a_lane_with_every_port_held_is_an_error() -> None:
    slots = SourcePorts(3, "h1", slots=12)
    with socket.socket() as holder:
        holder.bind(("", seeded_ports(3, "h1")[0]))
        with pytest.raises(OSError, match="every source port of slot 0"):
            slots.bind(0, socket.AF_INET, lambda _: None)
