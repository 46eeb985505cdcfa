"""The tally of connections: kept up event by event, it equals what a count from new says."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from experiments.instruments.socket_table import HELD, HeldSocket
from experiments.watch.connection_tally import ConnectionTally
from tests.experiments.watch.recorded_feed import connection, event, opened, was_reset
from topologies.domain.connection import FourTuple
from topologies.domain.plan import VIP4

NODES, CLIENTS = ("c1n1", "c1n2", "c2n1"), ("h1", "h2")
STATES = ("SYN_RECV", "ESTABLISHED", "FIN_WAIT1", "CLOSE_WAIT", "LAST_ACK", "CLOSE")
ONE = connection(40001)

changes = st.tuples(
    st.sampled_from((*NODES, *CLIENTS)),
    st.integers(1, 4),
    st.sampled_from(STATES),
    st.integers(1, 2),
)
owners = st.dictionaries(st.integers(1, 4), st.sampled_from((*NODES, None)))


def counted(
    sockets: dict[tuple[str, FourTuple], str], owner_of: dict[int, str | None]
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """The counts from nothing but the sockets that there are."""
    at_client = {one for host, one in sockets if host in CLIENTS}
    established = dict.fromkeys((*NODES, *CLIENTS), 0)
    moved, half_open = dict.fromkeys(NODES, 0), dict.fromkeys(NODES, 0)
    for (host, one), state in sockets.items():
        established[host] += state == "ESTABLISHED"
        if host in NODES and state in HELD:
            moved[host] += owner_of.get(one.sport) != host
            ended = state in ("LAST_ACK", "CLOSING")
            half_open[host] += one not in at_client and not ended
    return established, moved, half_open


def owners_of(table: dict[int, str | None]) -> Callable[[FourTuple], str | None]:
    """By the client's port."""
    return lambda one: table.get(one.sport)


@given(st.lists(st.one_of(changes, owners), max_size=60))
def test_counts_equal_those_made_from_new(
    steps: list[tuple[str, int, str, int] | dict[int, str | None]],
) -> None:
    tally = ConnectionTally()
    sockets: dict[tuple[str, FourTuple], str] = {}
    addresses: dict[tuple[str, FourTuple], int] = {}
    table: dict[int, str | None] = {}
    tally.route(owners_of(table))
    for step in steps:
        if isinstance(step, dict):
            table = step
            tally.route(owners_of(table))
            continue
        host, port, state, address = step
        key = host, connection(port)
        tally.apply(event(*key, f"NONE>{state}", address=address))
        if state != "CLOSE":
            sockets[key], addresses[key] = state, address
        elif addresses.get(key) == address:
            sockets.pop(key, None)
            addresses.pop(key)
    established, moved, half_open = counted(sockets, table)
    assert {host: tally.established[host] for host in established} == established
    assert {node: tally.moved[node] for node in NODES} == moved
    assert {node: tally.half_open[node] for node in NODES} == half_open


def tally_of(*events_of: tuple[str, int]) -> ConnectionTally:
    """Connections that these nodes own, by port."""
    tally = ConnectionTally()
    tally.route(lambda _: "c1n1")
    for host, port in events_of:
        for one in opened(host, connection(port)):
            tally.apply(one)
    return tally


def test_a_connection_is_half_open_when_its_client_has_no_socket() -> None:
    tally = tally_of(("c1n1", 40001))
    assert tally.half_open["c1n1"] == 0
    for one in was_reset("h1", ONE):
        tally.apply(one)
    assert tally.half_open["c1n1"] == 1
    for one in was_reset("c1n1", ONE):
        tally.apply(one)
    assert tally.half_open["c1n1"] == 0 and tally.established["c1n1"] == 0


def test_new_tables_move_what_nodes_hold() -> None:
    tally = tally_of(("c1n1", 40001), ("c1n1", 40002))
    assert tally.moved["c1n1"] == 0
    assert tally.route(lambda one: "c2n1" if one.sport == 40001 else "c1n1") == 1
    assert tally.moved["c1n1"] == 1
    assert tally.route(lambda _: "c1n1") == 1
    assert tally.moved["c1n1"] == 0


def test_the_close_of_an_earlier_socket_does_not_end_a_later_one() -> None:
    """A client that uses its port again: the kernel may report the end of the first late."""
    tally = ConnectionTally()
    tally.apply(event("h1", ONE, "SYN_SENT>ESTABLISHED", address=1))
    tally.apply(event("h1", ONE, "SYN_SENT>ESTABLISHED", address=2))
    assert not tally.apply(event("h1", ONE, "FIN_WAIT2>CLOSE", address=1))
    assert tally.established["h1"] == 1
    assert tally.apply(event("h1", ONE, "ESTABLISHED>CLOSE", address=2))
    assert tally.established["h1"] == 0


def test_listeners_other_hosts_and_a_nodes_own_connections_do_not_count() -> None:
    tally = ConnectionTally()
    own = FourTuple(VIP4, 40001, VIP4, 10809)
    assert not tally.apply(event("c1n1", ONE, "CLOSE>LISTEN"))
    assert not tally.apply(event("", ONE, "SYN_RECV>ESTABLISHED"))
    assert not tally.apply(event("c1n1", own, "SYN_RECV>ESTABLISHED"))
    assert not tally.hosts()


def test_a_table_says_what_events_have_not_told() -> None:
    tally = tally_of(("c1n1", 40001), ("c1n1", 40002))
    table = [
        HeldSocket(ONE, "CLOSE_WAIT"),
        HeldSocket(connection(40003), "ESTABLISHED"),
    ]
    assert tally.differences("c1n1", False, table) == {
        ONE: "CLOSE_WAIT",
        connection(40002): None,
        connection(40003): "ESTABLISHED",
    }
    for of, state in tally.differences("c1n1", False, table).items():
        tally.correct("c1n1", False, of, state)
    assert tally.differences("c1n1", False, table) == {}
    assert tally.established["c1n1"] == 1
    # What a table told of has no address: any end of it is its end.
    assert tally.apply(event("c1n1", connection(40003), "ESTABLISHED>CLOSE"))
    tally.replace("c1n1", False, [])
    assert not tally.holders(ONE)


def test_a_host_without_power_holds_nothing() -> None:
    tally = tally_of(("c1n1", 40001), ("c1n2", 40002))
    tally.forget("c1n1")
    assert tally.established["c1n1"] == 0
    assert tally.established["c1n2"] == 1
