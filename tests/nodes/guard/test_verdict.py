"""The decision table against the packet table, and each of its rules against need."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from nodes.guard import verdict
from nodes.guard.segment import Flags, Segment
from nodes.guard.verdict import (
    INGRESS,
    Action,
    FlowInfo,
    Kind,
    Mode,
    Numbers,
    Status,
    Verdict,
    causes_fan_out,
    judge_egress,
    judge_ingress,
    judge_request,
    kind_of,
)
from tests.nodes.packet_states import STATUS, Connection, State
from tests.nodes.packet_table import ROWS, SUPERPACKETS, Row, refusal
from topologies.domain.connection import FourTuple

_TUPLE = FourTuple("10.1.0.7", 40000, "10.0.0.1", 10809)
#: Both directions wrap around zero within a few octets.
_WRAPPING = Connection(_TUPLE, 2**32 - 900, 100, 2**32 - 3)


def _connection(state: State) -> Connection:
    if state is State.UNACKNOWLEDGED:
        return _WRAPPING
    return replace(_WRAPPING, snd_una=_WRAPPING.snd_nxt)


def _knowledge(row: Row, connection: Connection) -> FlowInfo:
    status = STATUS[row.state]
    if status is not Status.CONNECTION:
        return FlowInfo(status)
    numbers = Numbers(connection.snd_una, connection.snd_nxt, connection.rcv_nxt)
    return FlowInfo(status, numbers)


@pytest.mark.parametrize("row", [*ROWS, *SUPERPACKETS], ids=lambda row: row.name)
def test_row(row: Row) -> None:
    connection = _connection(row.state)
    packet = row.packet(connection)
    knows = _knowledge(row, connection)
    got = judge_ingress(packet, knows, row.mode, row.healing)
    assert (got.action, got.counts) == (row.action, row.counts)
    if row.out:
        assert got.segment == row.out(packet)
    elif row.action is Action.FREE:
        exact = replace(packet, seq=connection.rcv_nxt, ack=0, flags=Flags.RST)
        assert got.segment == exact
    else:
        assert got.segment is None


def test_every_segment_has_a_verdict() -> None:
    flags = [Flags(bits) for bits in range(64)]
    info = [FlowInfo(status) for status in Status]
    sources = ((True, False), (False, True), (False, False))
    settings = itertools.product(Mode, (True, False), (True, False))
    for bits, knows, source, setting in itertools.product(
        flags, info, sources, [*settings]
    ):
        marked, relayed = source
        packet = replace(_WRAPPING.segment(bits), marked=marked, relayed=relayed)
        assert isinstance(judge_ingress(packet, knows, *setting), Verdict)


def test_every_rule_is_needed_by_some_row(monkeypatch: pytest.MonkeyPatch) -> None:
    unneeded = []
    for i, rule in enumerate(INGRESS):
        monkeypatch.setattr(verdict, "INGRESS", INGRESS[:i] + INGRESS[i + 1 :])
        verdict.first_rule.cache_clear()
        if _all_rows_hold():
            unneeded.append(rule)
    verdict.first_rule.cache_clear()
    # Rows have one packet each. UNSURE depends on the guard's state, not on the packet.
    # The numbers of an embryonic connection cannot be read from the kernel. ANSWERED and
    # HELD need several packets (test_guard_stories.py), and so does a budget.
    assert unneeded == [
        rule
        for rule in INGRESS
        if rule.fit is verdict.Fit.UNSURE
        or rule.status in (Status.ANSWERED, Status.FANNED_OUT, Status.HELD)
        or (rule.fit, rule.status) == (verdict.Fit.MISFITS, Status.EMBRYONIC)
        or rule.limited
    ]


def _all_rows_hold() -> bool:
    try:
        for row in ROWS:
            test_row(row)
    except AssertionError:
        return False
    return True


def test_unknown_numbers_are_asked_for_outside_the_window() -> None:
    copy = _WRAPPING.copy()
    got = judge_ingress(copy, FlowInfo(Status.CONNECTION), Mode.ANSWER)
    assert got.action is Action.PROBE
    assert got.segment
    assert kind_of(got.segment) is Kind.ACK
    assert got.segment.length == 1
    assert (got.segment.seq - _WRAPPING.rcv_nxt) % 2**32 == 3 << 30


def test_one_stray_of_many_is_answered() -> None:
    stray, knows = _WRAPPING.segment(Flags.ACK), FlowInfo(Status.ANSWERED)
    quiet = Verdict(Action.DROP, None, ("strays",))
    assert judge_ingress(stray, knows, Mode.ANSWER) == quiet
    assert judge_ingress(stray, knows, Mode.PASS_ON).action is Action.PASS_ON
    passed_on = replace(stray, passed_on=True)
    assert judge_ingress(passed_on, knows, Mode.PASS_ON) == quiet


def test_a_stray_with_another_number_is_answered_without_a_fan_out() -> None:
    stray, knows = _WRAPPING.segment(Flags.ACK), FlowInfo(Status.FANNED_OUT)
    got = judge_ingress(stray, knows, Mode.ANSWER)
    counts = ("strays", "resets_repeated")
    assert got == Verdict(Action.ANSWER, refusal(stray), counts)
    assert not causes_fan_out(got)


def test_a_budget_limits_fan_outs_and_never_the_clients_own_reset() -> None:
    stray, knows = _WRAPPING.segment(Flags.ACK), FlowInfo(Status.NOTHING)
    allowed = judge_ingress(stray, knows, Mode.ANSWER)
    assert causes_fan_out(allowed)
    got = judge_ingress(stray, knows, Mode.ANSWER, limited=True)
    assert got == Verdict(Action.ANSWER, refusal(stray), ("strays", "resets_limited"))
    reset = _WRAPPING.segment(Flags.RST)
    assert causes_fan_out(judge_ingress(reset, knows, Mode.ANSWER, healing=True))
    got = judge_ingress(reset, knows, Mode.ANSWER, healing=True, limited=True)
    assert got == Verdict(Action.DROP, None, ("relays_limited",))


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.NOTHING])
@pytest.mark.parametrize("flags", [Flags.RST, Flags.RST | Flags.ACK])
def test_a_reset_is_relayed_only_by_a_node_that_knows_nothing(
    status: Status, flags: Flags
) -> None:
    reset = _WRAPPING.segment(flags)
    got = judge_ingress(reset, FlowInfo(status), Mode.ANSWER, healing=True)
    assert got == Verdict(Action.PASS)


def test_without_healing_no_reset_is_relayed() -> None:
    reset, knows = _WRAPPING.segment(Flags.RST), FlowInfo(Status.NOTHING)
    assert judge_ingress(reset, knows, Mode.ANSWER) == Verdict(Action.PASS)


def test_a_request_leaves_as_a_keepalive_of_that_connection() -> None:
    request = Segment("10.0.0.1", "10.1.0.7", 10809, 40000, 0, 0, Flags.ACK)
    request = replace(request, is_request=True)
    numbers = Numbers(0, 100, 2**32 - 3)
    got = judge_request(request, FlowInfo(Status.CONNECTION, numbers))
    assert got.action is Action.AMEND
    assert got.segment == replace(
        request, seq=2**32 - 1, ack=2**32 - 3, is_request=False
    )


@pytest.mark.parametrize("status", Status)
def test_a_request_leaves_in_no_other_state(status: Status) -> None:
    request = replace(_WRAPPING.segment(Flags.ACK), is_request=True)
    assert judge_request(request, FlowInfo(status)) == Verdict(Action.DROP)


def test_a_late_copy_spares_the_next_connection_while_it_opens() -> None:
    opening = Numbers(_WRAPPING.snd_nxt, _WRAPPING.snd_nxt + 1, _WRAPPING.rcv_nxt)
    knows = FlowInfo(Status.EMBRYONIC, opening)
    late, fitting = _WRAPPING.copy(seq=-5000), _WRAPPING.copy()
    assert judge_ingress(late, knows, Mode.ANSWER).action is Action.DROP
    assert judge_ingress(fitting, knows, Mode.ANSWER).action is Action.FREE


@pytest.mark.parametrize("status", Status)
def test_bare_reset_of_the_kernel_leaves_as_an_abort(status: Status) -> None:
    reset = _WRAPPING.segment(Flags.RST)
    got = judge_egress(reset, status)
    assert got.action is Action.AMEND
    assert got.segment == replace(reset, flags=Flags.RST | Flags.ACK)


def test_connection_that_survived_its_reset_is_reset_where_it_is_now() -> None:
    sent = replace(_WRAPPING.segment(Flags.ACK), seq=77, ack=2**32 - 1)
    got = judge_egress(sent, Status.FREED)
    assert got.action is Action.FREE
    assert got.segment
    assert (got.segment.seq, got.segment.flags) == (2**32 - 1, Flags.RST)
    assert (got.segment.src, got.segment.dport) == (sent.dst, sent.sport)


@pytest.mark.parametrize("status", [k for k in Status if k is not Status.FREED])
@pytest.mark.parametrize("flags", [Flags.ACK, Flags.SYN | Flags.ACK, Flags.RST | 16])
def test_other_segments_leave_as_they_are(status: Status, flags: Flags) -> None:
    assert judge_egress(_WRAPPING.segment(flags), status) == Verdict(Action.PASS)


@pytest.mark.parametrize("mode", [Mode.ANSWER, Mode.PASS_ON])
def test_a_segment_between_close_and_reset_is_refused(mode: Mode) -> None:
    late = _WRAPPING.segment(Flags.ACK)
    got = judge_ingress(late, FlowInfo(Status.HELD), mode)
    assert got == Verdict(Action.ANSWER, refusal(late))


def test_a_segment_between_close_and_reset_gets_no_answer_from_a_silent_node() -> None:
    late = _WRAPPING.segment(Flags.ACK)
    got = judge_ingress(late, FlowInfo(Status.HELD), Mode.SILENT)
    assert got == Verdict(Action.DROP)
