"""What the guard in the kernel must make of a packet, by the decision table alone.

Pure: a case and a world give an expectation. The verdict is that of
:func:`~nodes.guard.verdict.judge_ingress` and :func:`~nodes.guard.verdict.judge_egress`.
Here it is only turned into what shows from outside: return code, bytes, counters, memory.
A new action of the table is a line in :data:`_CARRIED_OUT`; a new memory is a line in
:func:`_after_ingress` or :func:`_after_egress`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from nodes.guard.segment import Flags, Segment
from nodes.guard.verdict import (
    FLOW_VALID_S,
    RECENT_S,
    RESET_INTERVAL_S,
    Action,
    FlowInfo,
    Kind,
    Mode,
    Status,
    Verdict,
    causes_fan_out,
    judge_egress,
    judge_ingress,
    judge_request,
    kind_of,
)
from tests.nodes.fuzz.raw_frames import (
    is_unreadable,
    packed,
    read_frame,
    reset_frame,
    rewritten,
)
from topologies.domain.connection import VIPS, FourTuple
from topologies.domain.plan import (
    FANOUT_MAC,
    GATEWAY_MAC,
    PROBE_MAC,
    RELAY_MAC,
    SECOND_CHANCE_MAC,
)

#: linux/pkt_cls.h: what the programs return.
UNSPEC, SHOT, REDIRECT = -1, 2, 7
#: ``GUARD_MARK`` of guard_reply.bpf.h.
GUARD_MARK = 0x67756172

_FANOUT, _SECOND_CHANCE = packed(FANOUT_MAC), packed(SECOND_CHANCE_MAC)
_RELAY, _PROBE, _GATEWAY = packed(RELAY_MAC), packed(PROBE_MAC), packed(GATEWAY_MAC)
_MSS_INDICES = 4
_NOTHING = FlowInfo(Status.NOTHING)


class Age(Enum):
    """How long an entry of the memory is still valid."""

    FRESH = "longer than any renewal"
    LATE = "less than half of FLOW_VALID_S"
    EXPIRED = "no longer"


class Entry(NamedTuple):
    """One fact that a node remembers of a connection; ``number`` is that of an answer.

    ``status``: ABORTED, FREED, HELD, ANSWERED or RELAYED. Each has a map of its own.
    """

    status: Status
    age: Age = Age.FRESH
    number: int = 0


class Renewed(NamedTuple):
    """An entry that the packet makes, valid for ``seconds`` from now."""

    status: Status
    seconds: float
    number: int = 0


#: What is remembered of a connection, by its status.
Memory = Mapping[Status, "Entry | Renewed"]


class World(NamedTuple):
    """The sockets of a node. A tuple without one has a listener, or nothing.

    ``cookies``: the (SEG.SEQ, SEG.ACK) that return a SYN cookie of the listener.
    """

    sockets: Mapping[FourTuple, FlowInfo]
    cookies: Mapping[FourTuple, tuple[int, int]]


class Device(NamedTuple):
    """An interface that packets are said to come in by or to leave by."""

    interface: int
    mac: bytes
    guarded: bool


class Case(NamedTuple):
    """A packet, and all that its fate depends on. ``memory`` is that of ``remembers``.

    ``limited``: the budget of fan-outs is used up.
    """

    egress: bool
    mode: Mode
    device: Device
    frame: bytes
    mark: int
    remembers: FourTuple
    memory: tuple[Entry, ...]
    healing: bool = False
    limited: bool = False


class Expected(NamedTuple):
    """What shows. ``frame``: what leaves, None if nothing does.

    ``connection``: the one whose ``memory`` is meant, None if the guard minds none.
    """

    code: int
    frame: bytes | None
    mark: int
    counts: tuple[str, ...] = ()
    connection: FourTuple | None = None
    memory: Memory = MappingProxyType({})


def expect(case: Case, world: World) -> Expected:
    """What the guard in the kernel must do in this case."""
    return _expect_egress(case, world) if case.egress else _expect_ingress(case, world)


def _left_alone(case: Case) -> Expected:
    return Expected(UNSPEC, case.frame, case.mark)


def _expect_ingress(case: Case, world: World) -> Expected:
    frame = case.frame
    if not case.device.guarded or frame[:6] != case.device.mac:
        return _left_alone(case)
    segment = read_frame(frame)
    if segment is None or segment.dst not in VIPS:
        return _expect_other(case)
    connection = segment.ingress_connection
    before = _remembered(case, connection)
    info = _knowledge(segment, connection, world, before)
    verdict = judge_ingress(segment, info, case.mode, case.healing)
    if case.limited and causes_fan_out(verdict):
        verdict = judge_ingress(segment, info, case.mode, case.healing, limited=True)
    after = _after_ingress(case, segment, info.status, verdict, before)
    return _seen(case, verdict, connection, after)


def _expect_other(case: Case) -> Expected:
    """A packet that no rule of the table is for."""
    if is_unreadable(case.frame):
        return Expected(SHOT, None, case.mark, ("unreadable",))
    if case.frame[6:12] in (_FANOUT, _RELAY):
        return Expected(SHOT, None, case.mark)
    return _left_alone(case)


def _expect_egress(case: Case, world: World) -> Expected:
    if case.mark == GUARD_MARK:
        return _left_alone(case)
    segment = read_frame(case.frame)
    asks = case.frame[:6] == _PROBE
    if segment is None or segment.src not in VIPS:
        return Expected(SHOT, None, case.mark) if asks else _left_alone(case)
    connection = segment.egress_connection
    # By the low bytes of the MAC, as the guard does (guard_maps.bpf.h, guard_nodes).
    is_own = case.frame[10:12] == case.device.mac[4:]
    before = _remembered(case, connection) if is_own else {}
    if asks:
        verdict = judge_request(segment, world.sockets.get(connection, _NOTHING))
        counts = verdict.counts if is_own else ()
        verdict = Verdict(verdict.action, verdict.segment, counts)
        return _seen(case, verdict, connection if is_own else None, before)
    status = Status.FREED if Status.FREED in before else Status.NOTHING
    after = dict(before)
    if kind_of(segment) in (Kind.RESET, Kind.ABORT):
        after[Status.ABORTED] = Renewed(Status.ABORTED, RECENT_S)
    verdict = judge_egress(segment, status)
    return _seen(case, verdict, connection if is_own else None, after)


def _remembered(case: Case, connection: FourTuple) -> dict[Status, Entry | Renewed]:
    """What is still valid of that connection."""
    if connection != case.remembers:
        return {}
    return {e.status: e for e in case.memory if e.age is not Age.EXPIRED}


def _knowledge(
    segment: Segment, connection: FourTuple, world: World, before: Memory
) -> FlowInfo:
    found = world.sockets.get(connection)
    if found:
        return found
    flags = segment.flags & (Flags.SYN | Flags.ACK | Flags.RST)
    if flags == Flags.ACK and _returns_cookie(segment, world.cookies.get(connection)):
        return FlowInfo(Status.EMBRYONIC)
    if segment.marked or segment.relayed:
        return _NOTHING
    if flags & Flags.RST and Status.RELAYED in before:
        return FlowInfo(Status.RELAYED)
    for status in (Status.ABORTED, Status.HELD, Status.ANSWERED, Status.FREED):
        if status in before:
            answered = status is Status.ANSWERED
            if answered and before[status].number != segment.ack:
                return FlowInfo(Status.FANNED_OUT)
            return FlowInfo(status)
    return _NOTHING


def _returns_cookie(segment: Segment, cookie: tuple[int, int] | None) -> bool:
    """Whether the numbers are those of a valid SYN cookie (``check_tcp_syn_cookie``).

    What counts is the difference of both; it holds the index of the MSS, of 0 to 3. The
    SYN had no MSS option, so the index of ``cookie`` is 0.
    """
    if cookie is None:
        return False
    seq, ack = cookie
    return (segment.ack - ack - (segment.seq - seq)) % (1 << 32) < _MSS_INDICES


def _after_ingress(
    case: Case, segment: Segment, status: Status, verdict: Verdict, before: Memory
) -> Memory:
    """docs/guard.md, "Memory"."""
    after = dict(before)
    if segment.marked or segment.relayed:
        if verdict.action is Action.FREE and status is Status.CONNECTION:
            after[Status.FREED] = Renewed(Status.FREED, RECENT_S)
        return after
    kind = kind_of(segment)
    if kind is Kind.SYN:
        return {}
    if kind in (Kind.RESET, Kind.ABORT):
        after.pop(Status.HELD, None)
        if case.healing and verdict.action is not Action.DROP:
            after[Status.RELAYED] = Renewed(Status.RELAYED, RESET_INTERVAL_S)
    elif "resets" in verdict.counts:
        after[Status.ANSWERED] = Renewed(Status.ANSWERED, RESET_INTERVAL_S, segment.ack)
    elif "resets_repeated" in verdict.counts:
        after[Status.ANSWERED] = Entry(Status.ANSWERED, number=segment.ack)
    elif status is Status.CONNECTION and kind in (Kind.ACK, Kind.SYN_ACK):
        held = before.get(Status.HELD)
        if held is None or (isinstance(held, Entry) and held.age is Age.LATE):
            after[Status.HELD] = Renewed(Status.HELD, FLOW_VALID_S)
    return after


def _seen(
    case: Case, verdict: Verdict, connection: FourTuple | None, memory: Memory
) -> Expected:
    code, frame, mark = _CARRIED_OUT[verdict.action](case, verdict)
    return Expected(code, frame, mark, verdict.counts, connection, memory)


_Effect = tuple[int, "bytes | None", int]


def _pass(case: Case, verdict: Verdict) -> _Effect:
    return UNSPEC, case.frame, case.mark


def _drop(case: Case, verdict: Verdict) -> _Effect:
    return SHOT, None, case.mark


def _answer(case: Case, verdict: Verdict) -> _Effect:
    assert verdict.segment
    frame = reset_frame(verdict.segment, case.frame[6:12], case.frame[:6])
    return REDIRECT, frame, GUARD_MARK


def _free(case: Case, verdict: Verdict) -> _Effect:
    return _answer(case, verdict) if case.egress else _amend(case, verdict)


def _amend(case: Case, verdict: Verdict) -> _Effect:
    """In place: what the table does not name stays, as the payload and the options."""
    assert verdict.segment
    frame = rewritten(case.frame, verdict.segment)
    if case.egress and case.frame[:6] == _PROBE:
        frame = _GATEWAY + frame[6:]
    return UNSPEC, frame, case.mark


def _pass_on(case: Case, verdict: Verdict) -> _Effect:
    source = case.frame[6:12]
    timed = source[:2] + b"\0\0" + source[4:] == _SECOND_CHANCE
    onward = source if timed else _SECOND_CHANCE
    frame = onward + case.frame[:6] + case.frame[12:]
    return REDIRECT, frame, case.mark


def _relay(case: Case, verdict: Verdict) -> _Effect:
    return REDIRECT, _RELAY + case.frame[:6] + case.frame[12:], case.mark


#: Action -> (return code, frame, mark). A probe is for a guard that lacks numbers, which
#: this one never does.
_CARRIED_OUT = {
    Action.PASS: _pass,
    Action.DROP: _drop,
    Action.ANSWER: _answer,
    Action.FREE: _free,
    Action.AMEND: _amend,
    Action.PASS_ON: _pass_on,
    Action.RELAY: _relay,
}
