"""Lifetimes of sockets, from the kernel's reports."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from experiments.analysis.socket_states import SocketLifetime, socket_lifetimes
from experiments.record.socket_events import (
    RESET_RECEIVED,
    RESET_SENT,
    STATE,
    STATES,
    SocketEvent,
)
from topologies.domain.connection import FourTuple

CONNECTION = FourTuple("10.1.0.1", 20001, "10.0.0.1", 10809)
OTHER = CONNECTION._replace(sport=20002)
SOCKET = 0xFFFF888000001000


def at_node(
    time_ns: int,
    change: str,
    connection: FourTuple = CONNECTION,
    socket: int = SOCKET,
) -> SocketEvent:
    """``change`` is ``OLD>NEW`` or the kind of the report."""
    old, _, new = change.partition(">")
    kind = STATE if new else change
    return SocketEvent(
        time_ns, kind, socket, connection[2:], connection[:2], old if new else "", new
    )


def at_client(time_ns: int, change: str, port: int = CONNECTION.sport) -> SocketEvent:
    node = at_node(time_ns, change, CONNECTION._replace(sport=port), SOCKET + 8)
    return node._replace(local=node.remote, remote=node.local)


def only(events: list[SocketEvent]) -> SocketLifetime:
    (life,) = socket_lifetimes(events)
    return life


def test_a_reset_connection_at_its_node() -> None:
    life = only(
        [
            at_node(1, "LISTEN>SYN_RECV"),
            at_node(2, "SYN_RECV>ESTABLISHED"),
            at_node(3, RESET_RECEIVED),
            at_node(4, "ESTABLISHED>CLOSE"),
        ]
    )
    assert life == SocketLifetime(CONNECTION, False, 1, 2, reset_ns=3, closed_ns=4)
    assert not life.lost


def test_before_linux_6_18_a_nodes_socket_begins_when_it_is_established() -> None:
    life = only([at_node(2, "SYN_RECV>ESTABLISHED"), at_node(4, "ESTABLISHED>CLOSE")])
    assert life == SocketLifetime(CONNECTION, False, 2, 2, closed_ns=4)


def test_a_socket_is_on_the_host_in_whose_namespace_it_is() -> None:
    events = [at_node(1, "SYN_RECV>ESTABLISHED"), at_node(2, "ESTABLISHED>CLOSE")]
    assert only([one._replace(host="c1n2") for one in events]).host == "c1n2"
    assert only(events).host is None


def test_a_client_whose_port_is_chosen_late() -> None:
    life = only(
        [
            at_client(1, "CLOSE>SYN_SENT", port=0),
            at_client(2, "SYN_SENT>ESTABLISHED"),
        ]
    )
    assert life == SocketLifetime(CONNECTION, True, 1, 2)


def test_an_address_is_used_again_for_another_connection() -> None:
    first, second = socket_lifetimes(
        [
            at_node(1, "LISTEN>SYN_RECV"),
            at_node(2, "SYN_RECV>ESTABLISHED"),
            at_node(3, "ESTABLISHED>CLOSE"),
            at_node(4, "LISTEN>SYN_RECV", OTHER),
            at_node(5, RESET_RECEIVED, OTHER),
            at_node(6, "SYN_RECV>CLOSE", OTHER),
        ]
    )
    assert (first.connection, first.closed_ns, first.reset_ns) == (CONNECTION, 3, None)
    assert (second.connection, second.closed_ns, second.reset_ns) == (OTHER, 6, 5)


def test_an_address_is_used_again_for_the_same_connection() -> None:
    first, second = socket_lifetimes(
        [
            at_node(1, "LISTEN>SYN_RECV"),
            at_node(2, "SYN_RECV>CLOSE"),
            at_node(3, "LISTEN>SYN_RECV"),
        ]
    )
    assert (first.opened_ns, first.closed_ns) == (1, 2)
    assert (second.opened_ns, second.closed_ns) == (3, None)


def test_an_address_is_used_again_although_its_end_was_lost() -> None:
    first, second = socket_lifetimes(
        [at_node(1, "LISTEN>SYN_RECV"), at_node(9, "LISTEN>SYN_RECV", OTHER)]
    )
    assert first.closed_ns is None
    assert second.connection == OTHER


def test_an_abort_sends_its_reset_after_the_socket_is_closed() -> None:
    life = only(
        [
            at_node(1, "LISTEN>SYN_RECV"),
            at_node(2, "ESTABLISHED>CLOSE"),
            at_node(3, RESET_SENT),
        ]
    )
    assert (life.closed_ns, life.aborted_ns, life.lost) == (2, 3, False)


def test_an_orderly_close_is_not_a_loss() -> None:
    life = only(
        [
            at_node(1, "LISTEN>SYN_RECV"),
            at_node(2, "ESTABLISHED>CLOSE_WAIT"),
            at_node(3, "CLOSE_WAIT>LAST_ACK"),
            at_node(4, "LAST_ACK>CLOSE"),
        ]
    )
    assert (life.closing_ns, life.closed_ns, life.lost) == (2, 4, False)


def test_a_socket_that_ends_without_a_close_or_reset_was_lost() -> None:
    life = only([at_node(1, "LISTEN>SYN_RECV"), at_node(9, "ESTABLISHED>CLOSE")])
    assert life.lost


def test_a_socket_from_before_the_probes_began() -> None:
    life = only([at_node(5, RESET_RECEIVED), at_node(6, "ESTABLISHED>CLOSE")])
    assert (life.opened_ns, life.first_ns, life.reset_ns) == (None, 0, 5)
    assert life.closed_ns == 6


def test_sockets_without_a_connection_have_no_lifetime() -> None:
    listener = CONNECTION._replace(src="0.0.0.0", sport=0)
    assert not socket_lifetimes(
        [
            at_node(1, "CLOSE>LISTEN", listener),
            at_node(2, "LISTEN>CLOSE", listener),
            at_node(3, RESET_SENT, socket=0),
            at_node(4, "CLOSE>CLOSE", OTHER),
            at_node(5, "LISTEN>SYN_RECV", FourTuple("10.2.1.1", 1, "10.2.1.2", 2)),
        ]
    )


ends = st.tuples(st.ip_addresses().map(str), st.integers(0, 65535))
states = st.sampled_from(["", *STATES])


@given(
    st.builds(
        SocketEvent,
        st.integers(0, 2**63),
        st.sampled_from([STATE, RESET_RECEIVED, RESET_SENT]),
        st.integers(0, 2**64 - 1),
        ends,
        ends,
        states,
        states,
    )
)
def test_an_event_is_read_back_as_it_was_written(event: SocketEvent) -> None:
    assert SocketEvent.from_line(event.to_line()) == event
