"""The decision table of a guard: what happens to each segment at a node.

A pure function: segment, flow information and mode -> verdict. All behaviour is decided
here. ``guard.bpf.c`` implements the same table in the kernel. It takes names and
constants from this module (:mod:`nodes.guard.verdict_header`), and the same packet tests
(``tests/nodes/packet_table.py``) run on both.

The table is for TCP to or from the virtual address. Any other frame with the mark is
dropped. All other traffic is left to the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache

from nodes.guard.segment import (
    Flags,
    Segment,
    distance,
    exact_reset,
    exact_reset_from,
    keepalive,
    not_recognised_reset,
    probe,
    refusal_reset,
    within,
)
from topologies.domain.plan import SECOND_CHANCE_MAC, SECOND_CHANCE_MASK

#: Largest distance of a copy's acknowledgment field from RCV.NXT, in octets. The field
#: is the SEG.SEQ of a stray, and a whole window before that stray may have been lost.
#: Linux receive windows are limited by ``net.ipv4.tcp_rmem[2]``: 6 MiB by default, 16 MiB
#: and more where tuned.
SEQUENCE_SLACK = 16 * 1024 * 1024

#: How long a node remembers its recent action on a connection, in seconds. Longer than
#: segments stay in flight here, shorter than a reconnection without a SYN.
RECENT_S = 1.0

#: Shortest time between two equal "not recognised" resets for a connection, in seconds.
#: Each reset causes a copy for every node of the cluster. Several strays in flight, or
#: retransmissions, must not cause a fan-out each. A stray with another acknowledgment
#: number is answered immediately: its client has received more in the meantime, so it
#: ignored the earlier reset (RFC 5961, 3.2). But that answer is RST|ACK, which is not
#: fanned out: the owner has its copy already. The time is that of Linux for segments out
#: of window (``net.ipv4.tcp_invalid_ratelimit``), and shorter than a client's timeout.
#: A client's own reset is relayed once in this time, too.
RESET_INTERVAL_S = 0.5

#: How long the state of a flow is valid without a further segment, in seconds.
FLOW_VALID_S = 0.2


class Action(Enum):
    """What to do with a segment."""

    PASS = "pass"  # deliver it as usual
    DROP = "drop"
    ANSWER = "answer"  # drop it; send the verdict's segment to the client
    FREE = "free"  # drop it; deliver the verdict's segment to the node's own TCP
    PROBE = "probe"  # as FREE; decide again with the numbers in TCP's answer
    AMEND = "amend"  # send the verdict's segment in its place
    PASS_ON = "pass on"  # redirect it to the switches, for the owner before this one
    RELAY = "relay"  # send it back to the switches, for the owner of its connection


class Mode(Enum):
    """How strays are handled, as the reset policy says.

    ``ANSWER``: by a reset. ``SILENT``: not at all (policy ``drop``). ``PASS_ON``: they
    are redirected to the earlier owners (policy ``second-chance``), and answered at the
    last one.
    """

    ANSWER = "answer"
    SILENT = "silent"
    PASS_ON = "pass-on"


class Kind(Enum):
    """The kind of a segment, by its flags."""

    RESET = "RST"  # without ACK: means "not recognised"
    ABORT = "RST|ACK"  # means "aborted" or "refused"
    SYN = "SYN"
    SYN_ACK = "SYN|ACK"
    ACK = "ACK"  # any other with ACK: data, FIN, keepalive, ...
    OTHER = "no ACK"


class Status(Enum):
    """The state of a connection at a node. A listening socket counts as NOTHING."""

    NOTHING = "nothing"
    EMBRYONIC = "SYN-RECEIVED"  # RFC 9293, 3.3.2; in Linux a request or a SYN cookie
    CONNECTION = "connection"  # ESTABLISHED to LAST-ACK
    TIME_WAIT = "TIME-WAIT"
    ABORTED = "aborted"  # aborted by this node within RECENT_S
    FREED = "freed"  # reset by an accepted copy within RECENT_S
    ANSWERED = "answered"  # the same reset was sent within RESET_INTERVAL_S
    FANNED_OUT = "fanned out"  # one with another number was sent within that time
    RELAYED = "relayed"  # a reset of the client was seen here within RESET_INTERVAL_S
    # Nothing, but a segment found the connection here within FLOW_VALID_S. The kernel
    # unhashes a socket before it sends its reset (tcp_set_state in __tcp_close,
    # tcp_disconnect), and this segment arrived in between. It is not a stray of another
    # node. Only the guard in the kernel sees this, because it looks up every segment.
    HELD = "held"


class Fit(Enum):
    """Whether a copy's numbers match the connection held here."""

    FITS = "fits"
    MISFITS = "misfits"
    UNSURE = "unsure"  # the connection's numbers are not known yet


@dataclass(frozen=True)
class Numbers:
    """A connection's send and receive sequence variables (RFC 9293, 3.3.1)."""

    snd_una: int
    snd_nxt: int
    rcv_nxt: int


@dataclass(frozen=True)
class FlowInfo:
    """Status and numbers of a segment's connection when the segment arrives."""

    status: Status
    numbers: Numbers | None = None


@dataclass(frozen=True)
class Verdict:
    """What to do, with which segment, and which guard counters to increment."""

    action: Action
    segment: Segment | None = None
    counts: tuple[str, ...] = ()


def kind_of(segment: Segment) -> Kind:
    """The kind of a segment."""
    has_ack = bool(segment.flags & Flags.ACK)
    if segment.flags & Flags.RST:
        return Kind.ABORT if has_ack else Kind.RESET
    if segment.flags & Flags.SYN:
        return Kind.SYN_ACK if has_ack else Kind.SYN
    return Kind.ACK if has_ack else Kind.OTHER


def fit_of(copy: Segment, numbers: Numbers | None) -> Fit:
    """Whether the stray that caused a copy belongs to the connection held here.

    The copy's SEG.SEQ is what the client had acknowledged, so this node must have sent
    it. The acknowledgment field is the client's position: it must be close to RCV.NXT.
    """
    if numbers is None:
        return Fit.UNSURE
    acknowledged = within(numbers.snd_una, copy.seq, numbers.snd_nxt)
    near = abs(distance(numbers.rcv_nxt, copy.ack)) <= SEQUENCE_SLACK
    return Fit.FITS if acknowledged and near else Fit.MISFITS


def fit_of_relayed(reset: Segment, numbers: Numbers | None) -> Fit:
    """Whether a client's own reset, which another node relayed, means the connection here.

    A bare RST draws its SEG.SEQ from the acknowledgment of the segment that it answers,
    so from this owner's RCV.NXT: it must be equal (RFC 5961, 3.2). An RST|ACK has the
    client's own numbers: both are checked as those of a copy, which has them swapped.
    """
    if numbers is None:
        return Fit.UNSURE
    if reset.flags & Flags.ACK:
        return fit_of(replace(reset, seq=reset.ack, ack=reset.seq), numbers)
    return Fit.FITS if reset.seq == numbers.rcv_nxt else Fit.MISFITS


def _pass(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.PASS)


def _drop(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.DROP)


def _pass_on(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.PASS_ON)


def _not_recognised(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.ANSWER, not_recognised_reset(segment))


def _refuse(segment: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.ANSWER, refusal_reset(segment))


def _free(copy: Segment, numbers: Numbers | None) -> Verdict:
    # A request socket does not show its numbers. Its window starts at the client's
    # ISN + 1, which is the position of the stray (tcp_check_req checks it).
    position = copy.seq if copy.relayed else copy.ack
    rcv_nxt = position if numbers is None else numbers.rcv_nxt
    return Verdict(Action.FREE, exact_reset(copy, rcv_nxt))


def _relay(reset: Segment, numbers: Numbers | None) -> Verdict:
    # A reset may carry data (RFC 9293, 3.5.3). It is not multiplied: no known TCP sends any.
    return Verdict(Action.PASS if reset.length else Action.RELAY)


def _withhold(reset: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.PASS if reset.length else Action.DROP)


def _probe(copy: Segment, numbers: Numbers | None) -> Verdict:
    return Verdict(Action.PROBE, probe(copy))


class Source(Enum):
    """The sender of an arriving segment, by its Ethernet source."""

    CLIENT = "client"  # forwarded by the switches, perhaps after it was passed on
    COPY = "fan-out copy"  # made by the switches of a node's reset (E5)
    RELAYED = "relayed"  # a client's own reset, relayed by another node


@dataclass(frozen=True)
class Rule:
    """One row of the table. None in a column matches anything.

    ``limited``: whether the budget refuses a fan-out now (:mod:`nodes.guard.budget`).
    """

    source: Source
    kind: Kind | None
    status: Status | None
    fit: Fit | None
    mode: Mode | None
    then: Callable[[Segment, Numbers | None], Verdict]
    counts: tuple[str, ...] = ()
    healing: bool | None = None
    limited: bool | None = None


_COPY, _RELAYED, _PLAIN, _ANY = Source.COPY, Source.RELAYED, Source.CLIENT, None
_ANSWER, _SILENT, _PASS_ON = Mode.ANSWER, Mode.SILENT, Mode.PASS_ON
_IN = ("copies_received",)
_ACCEPTED = ("copies_received", "copies_accepted")
_REJECTED = ("copies_received", "copies_rejected")
_RELAYS = ("relays_received",)
_RELAY_ACCEPTED = ("relays_received", "relays_accepted")
_SENT = ("relays_sent",)
_REPEATED = ("strays", "resets_repeated")
_LIMITED = ("strays", "resets_limited")
_HEAL = True

#: Segments from the client. The first rule that matches decides.
#:
#: A SYN|ACK is answered like any other segment with ACK (RFC 9293, 3.10.7.1). But the
#: virtual address never opens connections, so no node can own this one: the answer is an
#: RST|ACK, which is not fanned out. The same holds for segments that were in flight when
#: the application here aborted its connection, and for strays whose fan-out would be a
#: second one in RESET_INTERVAL_S, or more than the budget allows.
INGRESS: tuple[Rule, ...] = (
    # Fan-out copies (E5).
    # source  segment       status            numbers      mode   action     counts
    Rule(_COPY, Kind.RESET, Status.CONNECTION, Fit.FITS, _ANY, _free, _ACCEPTED),
    Rule(_COPY, Kind.RESET, Status.CONNECTION, Fit.MISFITS, _ANY, _drop, _REJECTED),
    Rule(_COPY, Kind.RESET, Status.CONNECTION, Fit.UNSURE, _ANY, _probe),
    # A late copy may arrive while the next connection of the same addresses opens.
    Rule(_COPY, Kind.RESET, Status.EMBRYONIC, Fit.MISFITS, _ANY, _drop, _REJECTED),
    Rule(_COPY, Kind.RESET, Status.EMBRYONIC, _ANY, _ANY, _free, _ACCEPTED),
    Rule(_COPY, Kind.RESET, _ANY, _ANY, _ANY, _drop, _IN),
    Rule(_COPY, _ANY, _ANY, _ANY, _ANY, _drop),
    # Clients' own resets, which a node without the connection has relayed.
    *(
        Rule(_RELAYED, kind, status, fit, _ANY, then, counts)
        for kind in (Kind.RESET, Kind.ABORT)
        for status, fit, then, counts in (
            (Status.CONNECTION, Fit.FITS, _free, _RELAY_ACCEPTED),
            (Status.CONNECTION, Fit.UNSURE, _probe, ()),
            (Status.EMBRYONIC, Fit.MISFITS, _drop, _RELAYS),
            (Status.EMBRYONIC, _ANY, _free, _RELAY_ACCEPTED),
            (_ANY, _ANY, _drop, _RELAYS),
        )
    ),
    Rule(_RELAYED, _ANY, _ANY, _ANY, _ANY, _drop),
    # Segments that come straight from the client.
    Rule(_PLAIN, Kind.SYN, _ANY, _ANY, _ANY, _pass),
    *(
        Rule(_PLAIN, kind, Status.NOTHING, _ANY, _ANY, then, counts, _HEAL, limited)
        for kind in (Kind.RESET, Kind.ABORT)
        for limited, then, counts in (
            (False, _relay, _SENT),
            (True, _withhold, ("relays_limited",)),
        )
    ),
    Rule(_PLAIN, Kind.RESET, _ANY, _ANY, _ANY, _pass),
    Rule(_PLAIN, Kind.ABORT, _ANY, _ANY, _ANY, _pass),
    Rule(_PLAIN, Kind.OTHER, _ANY, _ANY, _ANY, _pass),
    Rule(_PLAIN, _ANY, Status.CONNECTION, _ANY, _ANY, _pass),
    Rule(_PLAIN, _ANY, Status.EMBRYONIC, _ANY, _ANY, _pass),
    Rule(_PLAIN, _ANY, Status.TIME_WAIT, _ANY, _ANY, _pass),
    Rule(_PLAIN, _ANY, Status.ABORTED, _ANY, _SILENT, _drop),
    Rule(_PLAIN, _ANY, Status.ABORTED, _ANY, _ANY, _refuse),
    Rule(_PLAIN, _ANY, Status.HELD, _ANY, _SILENT, _drop),
    Rule(_PLAIN, _ANY, Status.HELD, _ANY, _ANY, _refuse),
    Rule(_PLAIN, Kind.SYN_ACK, _ANY, _ANY, _SILENT, _drop),
    Rule(_PLAIN, Kind.SYN_ACK, _ANY, _ANY, _ANY, _refuse),
    Rule(_PLAIN, Kind.ACK, Status.ANSWERED, _ANY, _ANSWER, _drop, ("strays",)),
    Rule(_PLAIN, Kind.ACK, Status.FANNED_OUT, _ANY, _ANSWER, _refuse, _REPEATED),
    Rule(
        *(_PLAIN, Kind.ACK, _ANY, _ANY, _ANSWER, _refuse, _LIMITED),
        limited=True,
    ),
    Rule(_PLAIN, Kind.ACK, _ANY, _ANY, _ANSWER, _not_recognised, ("strays", "resets")),
    Rule(_PLAIN, Kind.ACK, _ANY, _ANY, _SILENT, _drop, ("strays",)),
    Rule(_PLAIN, Kind.ACK, _ANY, _ANY, _PASS_ON, _pass_on, ("strays", "passed_on")),
)


def source_of(segment: Segment) -> Source:
    """The sender of an arriving segment."""
    if segment.marked:
        return Source.COPY
    return Source.RELAYED if segment.relayed else Source.CLIENT


def judge_ingress(
    segment: Segment,
    info: FlowInfo,
    mode: Mode,
    healing: bool = False,
    limited: bool = False,
) -> Verdict:
    """The verdict on a segment that arrives at the node's interface.

    A stray is redirected until it is passed on for the last time. Then it is answered.
    ``limited``: whether the budget refuses a fan-out now; it is asked only for a segment
    that would cause one (:func:`causes_fan_out`).
    """
    if mode is Mode.PASS_ON and segment.passed_on:
        mode = Mode.ANSWER
    source, kind = source_of(segment), kind_of(segment)
    fits = fit_of_relayed if segment.relayed else fit_of
    fit = fits(segment, info.numbers)
    rule = first_rule(source, kind, info.status, fit, mode, healing, limited)
    verdict = rule.then(segment, info.numbers)
    counts = () if verdict.action is Action.PASS else rule.counts
    return Verdict(verdict.action, verdict.segment, counts)


@cache
def first_rule(
    source: Source,
    kind: Kind,
    status: Status,
    fit: Fit,
    mode: Mode,
    healing: bool,
    limited: bool,
) -> Rule:
    """The rule of :data:`INGRESS` that decides.

    It is asked for every segment, and there are some thousand questions at most.
    """
    for rule in INGRESS:
        columns = (
            (rule.source, source),
            (rule.kind, kind),
            (rule.status, status),
            (rule.fit, fit),
            (rule.mode, mode),
            (rule.healing, healing),
            (rule.limited, limited),
        )
        if all(wanted in (None, got) for wanted, got in columns):
            return rule
    raise AssertionError(f"no rule for {source}, {kind}, {status}, {fit}, {mode}")


def destination_to_pass_on(source: str) -> str:
    """The Ethernet destination of a stray that is redirected; ``source``: its source.

    A source that carries a time says where the search has got to, so it is kept.

    >>> destination_to_pass_on("02:00:00:07:00:0e")
    '02:00:00:07:00:0e'
    >>> destination_to_pass_on("02:00:00:00:00:02")
    '02:00:00:00:00:0e'
    """
    number, mark, mask = (
        int(mac.replace(":", ""), 16)
        for mac in (source, SECOND_CHANCE_MAC, SECOND_CHANCE_MASK)
    )
    return source if number & mask == mark else SECOND_CHANCE_MAC


def causes_fan_out(verdict: Verdict) -> bool:
    """Whether the switches send copies to the nodes because of this verdict."""
    return verdict.action is Action.RELAY or "resets" in verdict.counts


def judge_egress(segment: Segment, status: Status) -> Verdict:
    """The verdict on a segment that the node's own TCP sends.

    An RST without ACK from the kernel never means "not recognised", since strays do not
    reach the kernel. It means that a socket refused a segment (data after close, for
    example). It is changed into RST|ACK, which switches do not fan out. A connection
    that still sends after an accepted copy had a newer RCV.NXT (a segment was in its
    backlog). The segment it sends carries that number, so the next reset is exact.
    """
    kind = kind_of(segment)
    if kind is Kind.RESET:
        amended = replace(segment, flags=segment.flags | Flags.ACK)
        return Verdict(Action.AMEND, amended)
    if status is Status.FREED and kind in (Kind.ACK, Kind.SYN_ACK):
        return Verdict(Action.FREE, exact_reset_from(segment))
    return Verdict(Action.PASS)


def judge_request(request: Segment, info: FlowInfo) -> Verdict:
    """The verdict on a request for a keepalive, which leaves the node's healer.

    It leaves as the keepalive of a connection that is held here, or not at all.
    """
    if info.status is not Status.CONNECTION or info.numbers is None:
        return Verdict(Action.DROP)
    numbers = info.numbers
    return Verdict(
        Action.AMEND, keepalive(request, numbers.snd_una, numbers.rcv_nxt), ("probes",)
    )
