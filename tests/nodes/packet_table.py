"""The packet tests of the guard: state of the node, packet, expected effect.

The same rows run against the pure table (``test_verdict.py``) and, with a real listening
server and real connections in a real kernel, against every guard (``test_guards.py``).
A row's packet and answer are written from the connection's own sequence variables, so
that they mean the same whatever initial sequence numbers the kernel chose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from nodes.guard.segment import Flags, Segment
from nodes.guard.verdict import Action, Mode
from tests.nodes.packet_states import ACK, FIN, PSH, RST, SYN, Connection, State

_MIB = 1 << 20

Packet = Callable[[Connection], Segment]


class Effect(Enum):
    """What becomes of the node's end."""

    NONE = "the kernel's table is as before"
    FREED = "the connection is gone, the server sees that it was reset"
    DELIVERED = "the server reads the payload"
    REFUSED = "the kernel answers RST|ACK"
    GONE = "the kernel closes it, as its peer wishes"


@dataclass(frozen=True)
class Row:
    """One test: in ``state``, ``packet`` arrives; verdict, packet out, effect."""

    name: str
    state: State
    packet: Callable[[Connection], Segment]
    action: Action
    out: Callable[[Segment], Segment] | None = None
    effect: Effect = Effect.NONE
    counts: tuple[str, ...] = ()
    mode: Mode = Mode.ANSWER
    healing: bool = False


def bare_reset(stray: Segment) -> Segment:
    """<SEQ=SEG.ACK><CTL=RST>, and SEG.SEQ where the acknowledgment would be."""
    return Segment(
        stray.dst, stray.src, stray.dport, stray.sport, stray.ack, stray.seq, RST
    )


def refusal(segment: Segment) -> Segment:
    """<SEQ=SEG.ACK><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>."""
    length = (
        segment.length + bool(segment.flags & FIN) + bool(segment.flags & SYN)
    ) + segment.seq
    return replace(bare_reset(segment), flags=RST | ACK, ack=length % 2**32)


STRAY = ("strays", "resets")
ACCEPTED = ("copies_received", "copies_accepted")
REJECTED = ("copies_received", "copies_rejected")
RECEIVED = ("copies_received",)


def _stray(name: str, packet: Callable[[Connection], Segment], state: State) -> Row:
    return Row(name, state, packet, Action.ANSWER, bare_reset, counts=STRAY)


def _silent(name: str, packet: Callable[[Connection], Segment], state: State) -> Row:
    return Row(name, state, packet, Action.DROP, counts=("strays",), mode=Mode.SILENT)


def _passed_on(name: str, packet: Callable[[Connection], Segment]) -> Row:
    counts = ("strays", "passed_on")
    state, mode = State.LISTENING, Mode.PASS_ON
    return Row(name, state, packet, Action.PASS_ON, counts=counts, mode=mode)


def _freed(name: str, packet: Callable[[Connection], Segment], state: State) -> Row:
    return Row(name, state, packet, Action.FREE, effect=Effect.FREED, counts=ACCEPTED)


def _rejected(name: str, packet: Callable[[Connection], Segment], state: State) -> Row:
    return Row(name, state, packet, Action.DROP, counts=REJECTED)


def _ignored(name: str, packet: Callable[[Connection], Segment], state: State) -> Row:
    return Row(name, state, packet, Action.DROP, counts=RECEIVED)


STRAYS = (
    _stray("stray ACK", lambda c: c.segment(ACK), State.LISTENING),
    _stray("stray data", lambda c: c.segment(ACK | PSH, length=700), State.LISTENING),
    _stray("stray keepalive", lambda c: c.segment(ACK, seq=-1), State.LISTENING),
    _stray("stray FIN", lambda c: c.segment(ACK | FIN), State.LISTENING),
    _stray(
        "stray FIN with data",
        lambda c: c.segment(ACK | FIN | PSH, length=9),
        State.LISTENING,
    ),
    _stray("stray to a closed port", lambda c: c.segment(ACK), State.NOTHING),
    _silent("silent: stray ACK", lambda c: c.segment(ACK), State.LISTENING),
    _silent(
        "silent: stray data", lambda c: c.segment(ACK | PSH, length=9), State.NOTHING
    ),
    Row(
        "SYN|ACK is answered, never fanned out",
        State.LISTENING,
        lambda c: c.segment(SYN | ACK),
        Action.ANSWER,
        refusal,
    ),
    Row(
        "silent: SYN|ACK",
        State.LISTENING,
        lambda c: c.segment(SYN | ACK),
        Action.DROP,
        mode=Mode.SILENT,
    ),
    Row(
        "in flight while the application aborted: answered, never fanned out",
        State.ABORTED,
        lambda c: c.segment(ACK | PSH, length=700),
        Action.ANSWER,
        refusal,
    ),
    Row(
        "silent: in flight while the application aborted",
        State.ABORTED,
        lambda c: c.segment(ACK | PSH, length=700),
        Action.DROP,
        mode=Mode.SILENT,
    ),
)

KERNELS = (
    Row(
        "SYN to a closed port",
        State.NOTHING,
        lambda c: c.segment(SYN),
        Action.PASS,
        effect=Effect.REFUSED,
    ),
    Row(
        "data without ACK, unknown",
        State.NOTHING,
        lambda c: c.segment(PSH, length=9),
        Action.PASS,
        effect=Effect.REFUSED,
    ),
    Row(
        "RST without ACK, unknown",
        State.LISTENING,
        lambda c: c.segment(RST),
        Action.PASS,
    ),
    Row("RST|ACK, unknown", State.NOTHING, lambda c: c.segment(RST | ACK), Action.PASS),
    Row(
        "client's exact RST",
        State.ESTABLISHED,
        lambda c: c.segment(RST),
        Action.PASS,
        effect=Effect.FREED,
    ),
    Row(
        "client's RST out of window",
        State.ESTABLISHED,
        lambda c: c.segment(RST, seq=1 << 30),
        Action.PASS,
    ),
    Row(
        "data of a connection held here",
        State.ESTABLISHED,
        lambda c: c.segment(ACK | PSH, length=700),
        Action.PASS,
        effect=Effect.DELIVERED,
    ),
    Row(
        "handshake's last ACK",
        State.SYN_RECEIVED,
        lambda c: c.segment(ACK | PSH, length=8),
        Action.PASS,
        effect=Effect.DELIVERED,
    ),
    Row(
        "retransmission in TIME-WAIT",
        State.TIME_WAIT,
        lambda c: c.segment(ACK | FIN, seq=-1),
        Action.PASS,
    ),
)

COPIES = (
    _freed("copy, all acknowledged", lambda c: c.copy(), State.ESTABLISHED),
    _freed("copy of a keepalive", lambda c: c.copy(ack=-1), State.ESTABLISHED),
    _freed(
        "copy, nothing in flight acknowledged",
        lambda c: c.copy(seq=-1000),
        State.UNACKNOWLEDGED,
    ),
    _freed(
        "copy, half in flight acknowledged",
        lambda c: c.copy(seq=-500),
        State.UNACKNOWLEDGED,
    ),
    _freed(
        "copy, all in flight acknowledged", lambda c: c.copy(), State.UNACKNOWLEDGED
    ),
    _freed(
        "copy, client's pipelined data lost",
        lambda c: c.copy(ack=5 * _MIB),
        State.ESTABLISHED,
    ),
    _freed("copy, client's retransmission", lambda c: c.copy(ack=-700), State.HOLE),
    _freed("copy, a segment missing here", lambda c: c.copy(ack=1400), State.HOLE),
    _freed("copy in SYN-RECEIVED", lambda c: c.copy(), State.SYN_RECEIVED),
    _freed("copy in FIN-WAIT-2", lambda c: c.copy(), State.FIN_WAIT),
    _freed("copy in CLOSE-WAIT", lambda c: c.copy(), State.CLOSE_WAIT),
    _rejected("copy, seq before SND.UNA", lambda c: c.copy(seq=-1), State.ESTABLISHED),
    _rejected("copy, seq after SND.NXT", lambda c: c.copy(seq=1), State.ESTABLISHED),
    _rejected(
        "copy, seq before what is in flight",
        lambda c: c.copy(seq=-1001),
        State.UNACKNOWLEDGED,
    ),
    _rejected(
        "copy, seq of the other half of the circle",
        lambda c: c.copy(seq=1 << 31),
        State.ESTABLISHED,
    ),
    _rejected(
        "copy, ack far after RCV.NXT",
        lambda c: c.copy(ack=16 * _MIB + 1),
        State.ESTABLISHED,
    ),
    _rejected(
        "copy, ack far before RCV.NXT",
        lambda c: c.copy(ack=-16 * _MIB - 1),
        State.ESTABLISHED,
    ),
    _rejected(
        "late copy of an earlier connection with the same ends",
        lambda c: c.copy(seq=-(1 << 29), ack=-(1 << 28)),
        State.ESTABLISHED,
    ),
    _rejected(
        "forged copy: the client's own exact RST, marked",
        lambda c: replace(c.segment(RST), marked=True),
        State.ESTABLISHED,
    ),
    _ignored("copy in TIME-WAIT", lambda c: c.copy(), State.TIME_WAIT),
    _ignored("copy, only a listener", lambda c: c.copy(), State.LISTENING),
    _ignored("copy, nothing here", lambda c: c.copy(), State.NOTHING),
    _ignored("copy, aborted here", lambda c: c.copy(), State.ABORTED),
    Row(
        "marked RST|ACK is no copy",
        State.ESTABLISHED,
        lambda c: c.copy(flags=RST | ACK),
        Action.DROP,
    ),
    Row(
        "marked data is no copy",
        State.ESTABLISHED,
        lambda c: replace(c.segment(ACK | PSH, length=9), marked=True),
        Action.DROP,
    ),
    Row(
        "marked SYN is no copy",
        State.LISTENING,
        lambda c: replace(c.segment(SYN), marked=True),
        Action.DROP,
    ),
)

SECOND_CHANCES = (
    _passed_on("pass-on: stray ACK", lambda c: c.segment(ACK)),
    _passed_on("pass-on: stray data", lambda c: c.segment(ACK | PSH, length=701)),
    _passed_on("pass-on: stray FIN", lambda c: c.segment(ACK | FIN)),
    Row(
        "pass-on: a stray that was passed on is answered",
        State.LISTENING,
        lambda c: replace(c.segment(ACK | PSH, length=9), passed_on=True),
        Action.ANSWER,
        bare_reset,
        counts=STRAY,
        mode=Mode.PASS_ON,
    ),
    Row(
        "pass-on: what was passed on to its owner",
        State.ESTABLISHED,
        lambda c: replace(c.segment(ACK | PSH, length=700), passed_on=True),
        Action.PASS,
        effect=Effect.DELIVERED,
        mode=Mode.PASS_ON,
    ),
    Row(
        "pass-on: SYN|ACK is answered",
        State.LISTENING,
        lambda c: c.segment(SYN | ACK),
        Action.ANSWER,
        refusal,
        mode=Mode.PASS_ON,
    ),
    Row(
        "pass-on: in flight while the application aborted",
        State.ABORTED,
        lambda c: c.segment(ACK | PSH, length=700),
        Action.ANSWER,
        refusal,
        mode=Mode.PASS_ON,
    ),
)

RELAY_ACCEPTED = ("relays_received", "relays_accepted")


def _relayed(flags: Flags, seq: int = 0, ack: int = 0) -> Packet:
    return lambda c: replace(c.segment(flags, seq=seq, ack=ack), relayed=True)


def _healed(name: str, packet: Packet, state: State) -> Row:
    row = Row(name, state, packet, Action.FREE, effect=Effect.FREED)
    return replace(row, counts=RELAY_ACCEPTED, healing=True)


def _in_vain(name: str, packet: Packet, state: State) -> Row:
    counts = ("relays_received",)
    return Row(name, state, packet, Action.DROP, counts=counts, healing=True)


def _sent_on(name: str, packet: Packet, state: State) -> Row:
    counts = ("relays_sent",)
    return Row(name, state, packet, Action.RELAY, counts=counts, healing=True)


def _kept(name: str, packet: Packet, state: State) -> Row:
    return Row(name, state, packet, Action.PASS, healing=True)


#: Clients' own resets, with healing.
RELAYS = (
    _sent_on("healing: RST, unknown", lambda c: c.segment(RST), State.LISTENING),
    _sent_on(
        "healing: RST|ACK, unknown", lambda c: c.segment(RST | ACK), State.NOTHING
    ),
    _kept(
        "healing: RST with data is not multiplied",
        lambda c: c.segment(RST, length=9),
        State.LISTENING,
    ),
    _kept("healing: RST, aborted here", lambda c: c.segment(RST), State.ABORTED),
    _kept(
        "healing: client's RST out of window",
        lambda c: c.segment(RST, seq=1 << 30),
        State.ESTABLISHED,
    ),
    replace(
        _kept(
            "healing: client's exact RST", lambda c: c.segment(RST), State.ESTABLISHED
        ),
        effect=Effect.FREED,
    ),
    _healed("relayed RST, exact", _relayed(RST), State.ESTABLISHED),
    _healed("relayed RST in CLOSE-WAIT", _relayed(RST), State.CLOSE_WAIT),
    _healed("relayed RST in SYN-RECEIVED", _relayed(RST), State.SYN_RECEIVED),
    _healed("relayed RST|ACK in SYN-RECEIVED", _relayed(RST | ACK), State.SYN_RECEIVED),
    _healed("relayed RST|ACK, exact", _relayed(RST | ACK), State.ESTABLISHED),
    _healed(
        "relayed RST|ACK, client's data lost",
        _relayed(RST | ACK, seq=5 * _MIB),
        State.ESTABLISHED,
    ),
    _healed(
        "relayed RST|ACK, half in flight acknowledged",
        _relayed(RST | ACK, ack=-500),
        State.UNACKNOWLEDGED,
    ),
    _in_vain("relayed RST, one off", _relayed(RST, seq=1), State.ESTABLISHED),
    _in_vain("relayed RST, one before", _relayed(RST, seq=-1), State.ESTABLISHED),
    _in_vain(
        "relayed RST|ACK of an earlier connection",
        _relayed(RST | ACK, seq=-(1 << 28), ack=-(1 << 29)),
        State.ESTABLISHED,
    ),
    _in_vain(
        "relayed RST|ACK, ack after SND.NXT",
        _relayed(RST | ACK, ack=1),
        State.ESTABLISHED,
    ),
    _in_vain("relayed RST, only a listener", _relayed(RST), State.LISTENING),
    _in_vain("relayed RST in TIME-WAIT", _relayed(RST), State.TIME_WAIT),
    Row(
        "relayed data is no reset",
        State.ESTABLISHED,
        lambda c: replace(c.segment(ACK | PSH, length=9), relayed=True),
        Action.DROP,
        healing=True,
    ),
)

ROWS: tuple[Row, ...] = (*STRAYS, *KERNELS, *COPIES, *SECOND_CHANCES, *RELAYS)

#: Larger than the MTU: such packets arrive before segmentation (TSO).
SUPERPACKETS: tuple[Row, ...] = (
    _stray(
        "stray superpacket",
        lambda c: c.segment(ACK | PSH, length=60000),
        State.LISTENING,
    ),
    _passed_on(
        "pass-on: stray superpacket", lambda c: c.segment(ACK | PSH, length=60000)
    ),
    _silent(
        "silent: stray superpacket",
        lambda c: c.segment(ACK | PSH, length=60000),
        State.LISTENING,
    ),
    Row(
        "superpacket in flight while the application aborted",
        State.ABORTED,
        lambda c: c.segment(ACK | PSH, length=60000),
        Action.ANSWER,
        refusal,
    ),
    Row(
        "superpacket of a connection held here",
        State.ESTABLISHED,
        lambda c: c.segment(ACK | PSH, length=60000),
        Action.PASS,
        effect=Effect.DELIVERED,
    ),
)
