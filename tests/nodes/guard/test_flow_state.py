"""The reference guard's flow table: updates by segments, and look-ups in the kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nodes.guard.flow_state import FlowState
from nodes.guard.segment import Flags, Segment
from nodes.guard.socket_lookup import SocketInfo
from nodes.guard.verdict import (
    FLOW_VALID_S,
    RECENT_S,
    RESET_INTERVAL_S,
    FlowInfo,
    Numbers,
    Status,
)
from topologies.domain.connection import FourTuple

_ENDS = FourTuple("10.1.0.7", 40000, "10.0.0.1", 10809)
_ISN, _CLIENT_ISN = 2**32 - 1, 2**32 - 4


class _Kernel:
    """A fake kernel with one socket. It counts look-ups."""

    def __init__(self) -> None:
        self.holds = SocketInfo(Status.NOTHING)
        self.lookups = 0

    def find(self, connection: FourTuple) -> SocketInfo:
        assert connection == _ENDS
        self.lookups += 1
        return self.holds


class _World:
    """A flow state under test, with its kernel and its clock."""

    def __init__(self) -> None:
        self.kernel = _Kernel()
        self.time = 0.0
        self.flows = FlowState(self.kernel.find, lambda: self.time)

    def arrive(self, flags: Flags, seq: int, ack: int = 0, length: int = 0) -> None:
        self.flows.on_ingress(_from_client(flags, seq, ack, length))

    def leave(self, flags: Flags, seq: int, ack: int = 0, length: int = 0) -> None:
        ends = (_ENDS.dst, _ENDS.src, _ENDS.dport, _ENDS.sport)
        self.flows.on_egress(Segment(*ends, seq % 2**32, ack % 2**32, flags, length))

    def knows(self, length: int = 0, marked: bool = False) -> FlowInfo:
        return self.flows.info(_from_client(Flags.ACK, 12345, 0, length, marked=marked))

    def shake_hands(self) -> None:
        self.arrive(Flags.SYN, _CLIENT_ISN)
        self.leave(Flags.SYN | Flags.ACK, _ISN, _CLIENT_ISN + 1)
        self.arrive(Flags.ACK, _CLIENT_ISN + 1, _ISN + 1)


def _from_client(
    flags: Flags, seq: int, ack: int, length: int, marked: bool = False
) -> Segment:
    ends = (_ENDS.src, _ENDS.dst, _ENDS.sport, _ENDS.dport)
    return Segment(*ends, seq % 2**32, ack % 2**32, flags, length, marked)


@pytest.fixture
def world() -> _World:
    return _World()


def test_handshake_is_followed(world: _World) -> None:
    world.arrive(Flags.SYN, _CLIENT_ISN)
    world.leave(Flags.SYN | Flags.ACK, _ISN, _CLIENT_ISN + 1)
    numbers = Numbers(_ISN, 0, _CLIENT_ISN + 1)
    assert world.knows() == FlowInfo(Status.EMBRYONIC, numbers)
    world.arrive(Flags.ACK, _CLIENT_ISN + 1, _ISN + 1)
    assert world.knows() == FlowInfo(Status.CONNECTION, Numbers(0, 0, _CLIENT_ISN + 1))
    assert world.kernel.lookups == 0


def test_data_of_both_directions_is_followed_around_zero(world: _World) -> None:
    world.shake_hands()
    world.arrive(Flags.ACK, _CLIENT_ISN + 1, 0, length=10)
    world.leave(Flags.ACK, 0, _CLIENT_ISN + 11, length=100)
    assert world.knows().numbers == Numbers(0, 100, 7)
    world.arrive(Flags.ACK, 7, 60)
    assert world.knows().numbers == Numbers(60, 100, 7)


@pytest.mark.parametrize(
    ("seq", "length", "rcv_nxt"),
    [(7, 10, 17), (3, 10, 13), (3, 4, 7), (8, 10, 7), (2**32 - 4, 4, 7), (7, 0, 7)],
    ids=["next", "overlapping", "old", "with a gap", "long ago", "empty"],
)
def test_rcv_nxt_follows_what_is_in_order(
    world: _World, seq: int, length: int, rcv_nxt: int
) -> None:
    world.shake_hands()
    world.arrive(Flags.ACK, _CLIENT_ISN + 1, 0, length=10)
    world.arrive(Flags.ACK, seq, 0, length=length)
    numbers = world.knows().numbers
    assert numbers
    assert numbers.rcv_nxt == rcv_nxt


def test_filled_gap_shows_in_the_acknowledgment(world: _World) -> None:
    world.shake_hands()
    world.arrive(Flags.ACK, 97, 0, length=100)
    world.arrive(Flags.ACK, _CLIENT_ISN + 1, 0, length=100)
    world.leave(Flags.ACK, 0, 197)
    numbers = world.knows().numbers
    assert numbers
    assert numbers.rcv_nxt == 197


@pytest.mark.parametrize("ack", [2**32 - 1, 101])
def test_acknowledgment_of_what_was_not_sent_is_ignored(
    world: _World, ack: int
) -> None:
    world.shake_hands()
    world.leave(Flags.ACK, 0, _CLIENT_ISN + 1, length=100)
    world.arrive(Flags.ACK, _CLIENT_ISN + 1, ack)
    numbers = world.knows().numbers
    assert numbers
    assert numbers.snd_una == 0


def test_unknown_connection_is_looked_up_and_added_without_numbers(
    world: _World,
) -> None:
    assert world.knows() == FlowInfo(Status.NOTHING)
    world.kernel.holds = SocketInfo(Status.CONNECTION, unacknowledged=30)
    assert world.knows() == FlowInfo(Status.CONNECTION)
    assert world.kernel.lookups == 2
    world.leave(Flags.ACK, 1000, 5)
    assert world.knows().numbers == Numbers(970, 1000, 5)


def test_connection_that_sends_is_added(world: _World) -> None:
    world.kernel.holds = SocketInfo(Status.CONNECTION)
    world.leave(Flags.ACK, 1000, 5, length=10)
    assert world.knows().numbers == Numbers(1010, 1010, 5)


def test_last_segment_of_a_closed_connection_makes_no_flow(world: _World) -> None:
    world.leave(Flags.ACK | Flags.FIN, 1000, 5)
    assert world.knows() == FlowInfo(Status.NOTHING)


def test_quiet_connection_is_looked_up_again(world: _World) -> None:
    world.shake_hands()
    world.time = FLOW_VALID_S
    assert world.knows() == FlowInfo(Status.NOTHING)


def test_connection_with_a_recent_segment_is_not_looked_up(world: _World) -> None:
    world.shake_hands()
    world.time = FLOW_VALID_S * 0.9
    world.leave(Flags.ACK, 0, _CLIENT_ISN + 1)
    world.time = FLOW_VALID_S * 1.8
    assert world.knows().status is Status.CONNECTION
    assert world.kernel.lookups == 0


def test_copy_is_always_looked_up(world: _World) -> None:
    world.shake_hands()
    world.kernel.holds = SocketInfo(Status.TIME_WAIT)
    assert world.knows(marked=True).status is Status.TIME_WAIT


@pytest.mark.parametrize("flags", [Flags.RST, Flags.RST | Flags.ACK])
def test_connection_is_looked_up_after_a_reset_of_the_client(
    world: _World, flags: Flags
) -> None:
    world.shake_hands()
    world.kernel.holds = SocketInfo(Status.CONNECTION)
    world.arrive(flags, 12345)
    assert world.knows() == FlowInfo(Status.CONNECTION)
    assert world.kernel.lookups == 1


def test_abort_is_remembered_for_a_limited_time(world: _World) -> None:
    world.shake_hands()
    world.leave(Flags.RST | Flags.ACK, 0)
    assert world.knows() == FlowInfo(Status.ABORTED)
    world.time = RECENT_S
    assert world.knows() == FlowInfo(Status.NOTHING)


def test_answer_is_remembered_for_the_reset_interval(world: _World) -> None:
    world.flows.record_reset(_from_client(Flags.ACK, 12345, ack=0, length=0))
    assert world.knows() == FlowInfo(Status.ANSWERED)
    world.time = RESET_INTERVAL_S
    assert world.knows() == FlowInfo(Status.NOTHING)


def test_a_client_that_has_received_more_gets_another_answer(world: _World) -> None:
    world.flows.record_reset(_from_client(Flags.ACK, 12345, ack=77, length=0))
    assert world.knows() == FlowInfo(Status.FANNED_OUT)
    world.flows.record_reset(
        _from_client(Flags.ACK, 12345, ack=0, length=0), fanned_out=False
    )
    assert world.knows() == FlowInfo(Status.ANSWERED)
    world.time = RESET_INTERVAL_S
    assert world.knows() == FlowInfo(Status.NOTHING), "the time began with the first"


def test_a_flood_of_answers_does_not_push_out_other_actions(
    world: _World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.guard.flow_state.CAPACITY", 3)
    world.flows.record_action(_ENDS, Status.FREED)
    world.flows.record_action(_ENDS, Status.ABORTED)
    for port in range(4):
        other = _ENDS._replace(dport=port, src="10.1.9.9")
        world.flows.record_action(other, Status.ANSWERED)
    assert world.flows.was_freed(_ENDS)
    assert world.flows.recent_action(_ENDS) is Status.ABORTED


@pytest.mark.parametrize("flags", [Flags.RST, Flags.RST | Flags.ACK])
def test_a_reset_of_the_client_is_remembered_for_resets_only(
    world: _World, flags: Flags
) -> None:
    world.arrive(flags, 12345)
    reset = _from_client(flags, 12345, ack=0, length=0)
    assert world.flows.info(reset) == FlowInfo(Status.RELAYED)
    assert world.knows() == FlowInfo(Status.NOTHING)
    world.time = RESET_INTERVAL_S
    assert world.flows.info(reset) == FlowInfo(Status.NOTHING)


@pytest.mark.parametrize(
    "recent_action", [Status.ABORTED, Status.FREED, Status.ANSWERED]
)
def test_syn_clears_the_recent_action(world: _World, recent_action: Status) -> None:
    world.flows.record_action(_ENDS, recent_action)
    assert world.flows.recent_action(_ENDS) is recent_action
    world.arrive(Flags.SYN, 5)
    assert world.flows.recent_action(_ENDS) is Status.NOTHING


def _finish(world: _World) -> None:
    world.shake_hands()
    world.leave(Flags.ACK | Flags.FIN, 0, _CLIENT_ISN + 1)


def test_data_after_the_end_is_refused(world: _World) -> None:
    _finish(world)
    assert world.knows(length=5) == FlowInfo(Status.ABORTED)


def test_data_after_the_nodes_fin_is_accepted_by_a_half_closed_socket(
    world: _World,
) -> None:
    _finish(world)
    world.kernel.holds = SocketInfo(Status.CONNECTION)
    assert world.knows(length=5).status is Status.CONNECTION


def test_last_acknowledgment_is_no_stray(world: _World) -> None:
    _finish(world)
    world.time = FLOW_VALID_S
    assert world.knows().status is Status.CONNECTION
    assert world.knows() == FlowInfo(Status.NOTHING)


def _answer_cookie(world: _World, seq: int, ack: int) -> FlowInfo:
    world.arrive(Flags.SYN, _CLIENT_ISN)
    world.leave(Flags.SYN | Flags.ACK, _ISN, _CLIENT_ISN + 1)
    world.time = FLOW_VALID_S
    return world.flows.info(_from_client(Flags.ACK, seq, ack, 0))


@pytest.mark.parametrize(
    ("seq", "ack", "status"),
    [
        (_CLIENT_ISN + 1, _ISN + 1, Status.EMBRYONIC),
        (_CLIENT_ISN + 1, _ISN + 2, Status.NOTHING),
        (_CLIENT_ISN + 2, _ISN + 1, Status.NOTHING),
    ],
)
def test_a_possible_syn_cookie_is_left_to_the_kernel(
    world: _World, seq: int, ack: int, status: Status
) -> None:
    assert _answer_cookie(world, seq, ack).status is status


@pytest.mark.parametrize(
    "make",
    [
        _World.shake_hands,
        lambda world: world.flows.record_action(_ENDS, Status.ABORTED),
    ],
)
def test_number_of_entries_is_bounded(
    world: _World, make: Callable[[_World], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.guard.flow_state.CAPACITY", 3)
    make(world)
    for port in range(3):
        ends = (_ENDS.dst, _ENDS.src, _ENDS.dport, port)
        world.flows.on_egress(Segment(*ends, 1, 1, Flags.SYN | Flags.ACK))
        for action in (Status.FREED, Status.ABORTED):
            world.flows.record_action(
                FourTuple(_ENDS.src, port + 10, _ENDS.dst, 1), action
            )
    assert world.knows() == FlowInfo(Status.NOTHING)
