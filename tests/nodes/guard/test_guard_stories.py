"""Guards over several events: reuse of ports, lost resets, kill and restart."""

from __future__ import annotations

import pytest

from nodes.guard.guard import GuardCounters
from nodes.guard.segment import Flags, Segment
from tests.nodes import stories, stories_heal, stories_life
from tests.nodes.lab_process import LabProcess
from tests.nodes.packet_states import RST, State
from tests.nodes.packet_table import bare_reset

pytestmark = [pytest.mark.live, pytest.mark.beside]

versions = pytest.mark.parametrize("ip", [4, 6], ids=["ipv4", "ipv6"])

_NOTHING = GuardCounters()
_ACCEPTED = GuardCounters(copies_received=1, copies_accepted=1)
_REJECTED = GuardCounters(copies_received=1, copies_rejected=1)
_ABORTED = Flags.RST | Flags.ACK


@versions
def test_connection_that_survived_its_reset_does_not_survive_its_next_segment(
    lab: LabProcess, guard: str, ip: int
) -> None:
    left = lab.run(stories.reset_that_tcp_did_not_take, guard, ip)
    if guard == "ebpf":
        assert left == []


@versions
def test_data_that_tcp_discarded_does_not_save_a_connection(
    lab: LabProcess, guard: str, ip: int
) -> None:
    counted = lab.run(stories.copy_after_data_that_tcp_discarded, guard, ip)
    assert counted == _ACCEPTED


@versions
def test_a_late_copy_does_not_affect_the_next_connection_of_the_same_ends(
    lab: LabProcess, guard: str, ip: int
) -> None:
    seen = lab.run(stories.late_copy, guard, ip)
    assert seen == ("ESTABLISHED", _REJECTED)


@versions
def test_a_late_copy_does_not_affect_the_next_connection_while_it_opens(
    lab: LabProcess, guard: str, ip: int
) -> None:
    assert lab.run(stories.late_copy_while_opening, guard, ip) == "ESTABLISHED"


@versions
def test_data_after_close_is_refused_and_not_fanned_out(
    lab: LabProcess, guard: str, ip: int
) -> None:
    seen = lab.run(stories.data_after_close, guard, ip)
    assert seen == ({_ABORTED}, _NOTHING)


@versions
def test_syn_clears_the_record_of_an_abort(
    lab: LabProcess, guard: str, ip: int
) -> None:
    resets = lab.run(stories.connect_after_abort, guard, ip)
    assert [reset.flags for reset in resets] == [RST]


@versions
def test_a_connection_that_ends_silently_here_is_not_fanned_out(
    lab: LabProcess, guard: str, ip: int
) -> None:
    at_once, later = lab.run(stories.end_without_a_segment, guard, ip)
    assert at_once == ({_ABORTED} if guard == "ebpf" else set())
    assert RST in later


@versions
def test_one_stray_of_many_is_answered(lab: LabProcess, guard: str, ip: int) -> None:
    # The one that has received more is answered too, but not fanned out a second time.
    assert lab.run(stories.repeated_strays, guard, ip) == ([RST, _ABORTED], 6)


@versions
def test_real_client_is_reset(lab: LabProcess, guard: str, ip: int) -> None:
    assert lab.run(stories.real_client, guard, ip) == "ConnectionResetError"


@versions
def test_listener_under_syn_flood_accepts_only_its_own_cookies(
    lab: LabProcess, guard: str, ip: int
) -> None:
    state, read, resets = lab.run(stories.syn_cookies, guard, ip)
    assert (state, read) == (None, 5)
    assert [reset.flags for reset in resets] == [RST]


@pytest.mark.parametrize("what", ["own ipv4 address", "own ipv6 address"])
def test_other_addresses_are_left_to_the_kernel(
    lab: LabProcess, guard: str, what: str
) -> None:
    resets, counted = lab.run(stories.not_judged, guard, what)
    assert [(reset.flags, reset.ack) for reset in resets] == [(RST, 0)]
    assert counted == _NOTHING


@pytest.mark.parametrize(
    "what", ["ip options", "fragment", "extension header", "ipv6 fragment"]
)
def test_tcp_that_cannot_be_judged_does_not_pass(
    lab: LabProcess, guard: str, what: str
) -> None:
    resets, counted = lab.run(stories.not_judged, guard, what)
    assert resets == []
    assert counted == GuardCounters(unreadable=1)


def test_a_frame_with_a_vlan_tag_is_left_to_the_kernel(
    lab: LabProcess, guard: str
) -> None:
    assert lab.run(stories.not_judged, guard, "vlan") == ([], _NOTHING)


@versions
def test_a_request_leaves_as_the_keepalive_of_its_connection(
    lab: LabProcess, guard: str, ip: int
) -> None:
    connection, left, unknown, counted = lab.run(stories_heal.requests, guard, ip)
    assert [(one.seq, one.ack, one.flags) for one in left] == [
        ((connection.snd_una - 1) % 2**32, connection.rcv_nxt, Flags.ACK)
    ]
    assert unknown == []
    assert counted.probes == 1


@versions
def test_a_clients_reset_is_relayed_once_in_the_interval(
    lab: LabProcess, guard: str, ip: int
) -> None:
    relayed, counted = lab.run(stories_heal.repeated_resets, guard, ip)
    assert relayed == 1
    assert counted == GuardCounters(relays_sent=1)


@versions
def test_a_reset_after_the_connections_own_end_is_not_relayed(
    lab: LabProcess, guard: str, ip: int
) -> None:
    assert lab.run(stories_heal.reset_after_the_end, guard, ip) == (0, _NOTHING)


@versions
def test_the_budget_limits_fan_outs_but_not_the_clients_resets(
    lab: LabProcess, guard: str, ip: int
) -> None:
    resets, relayed, counted = lab.run(stories_heal.over_budget, guard, ip)
    assert resets == [RST, RST, _ABORTED, _ABORTED, _ABORTED]
    assert relayed == 0
    assert counted == GuardCounters(
        strays=5, resets=2, resets_limited=3, relays_limited=1
    )


@versions
def test_a_relay_takes_the_tokens_of_all_its_copies(
    lab: LabProcess, guard: str, ip: int
) -> None:
    relayed, counted = lab.run(stories_heal.dear_relays, guard, ip)
    assert relayed == 2
    assert counted == GuardCounters(
        strays=2, resets=1, resets_limited=1, relays_sent=2, relays_limited=1
    )


@versions
def test_marked_frame_of_another_protocol_is_dropped(
    lab: LabProcess, guard: str, ip: int
) -> None:
    assert lab.run(stories.marked_ping, guard, ip) == 1


@versions
@pytest.mark.parametrize("state", [State.ESTABLISHED, State.UNACKNOWLEDGED])
def test_killed_guard_is_restarted_and_sees_the_connections(
    lab: LabProcess, guard: str, ip: int, state: State
) -> None:
    seen = lab.run(stories_life.restart, guard, ip, state)
    assert seen == {
        "undisturbed": [],
        "restored": ["c1n3"],
        "again": [],
        "kept": "ESTABLISHED",
        "kept still": "ESTABLISHED",
        "counted": GuardCounters(
            copies_received=3, copies_accepted=1, copies_rejected=2
        ),
    }


@versions
def test_node_is_silent_while_its_guard_process_is_dead(
    lab: LabProcess, ip: int
) -> None:
    assert lab.run(stories_life.strays_while_guard_is_dead, ip) == []


def test_closed_guard_leaves_nothing(lab: LabProcess, guard: str) -> None:
    assert not any(lab.run(stories_life.close, guard).values())


@versions
def test_nodes_are_counted_and_detached_one_by_one(
    lab: LabProcess, guard: str, ip: int
) -> None:
    seen = lab.run(stories_life.two_nodes, guard, ip)
    stray = Segment("", "", 4, 7, 1, 2, Flags.ACK)
    assert _numbers(seen["answers"]) == _numbers([bare_reset(stray)])
    assert seen["counted"] == GuardCounters(strays=1, resets=1)
    assert seen["elsewhere"] == _NOTHING
    assert _numbers(seen["kernel's own"]) == [(2, 0, RST)]
    assert seen["attached"] == ["c1n3"]


def _numbers(segments: object) -> list[tuple[int, int, Flags]]:
    assert isinstance(segments, list)
    return [(one.seq, one.ack, one.flags) for one in segments]
